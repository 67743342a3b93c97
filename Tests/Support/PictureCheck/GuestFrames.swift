import Glibc
import VMBridge

/// `PictureCheck frames SEED FRAMES LOG VM SLOT`: which frame each line of a `frames.log` shows.
///
/// What was shown before the first frame of the guest does not count (its boot). After it every picture must be
/// one of FRAMES, and none older than the one before. Prints how many there were.
///
/// - `--last FRAME`: the last picture must show it.
/// - `--distinct N`: so many different frames at least; 1 if not given.
/// - `--others N`: so many pictures of something else are borne; 0 if not given.
/// - `--across FRAME`: any number of them is where the pictures go from FRAME or an earlier one to a later one, a
///   reboot's for example, which must be there.
struct GuestFrames {
    private let pattern: GuestPattern
    private let frames: ClosedRange<Int>
    private let path: String
    private let surface: [Substring]
    private var last: Int?
    private var (distinct, others) = (1, 0)
    private var across: Int?

    init(_ words: [String]) throws {
        guard words.count >= 5, words.count % 2 == 1, let seed = UInt32(words[0]) else {
            throw PictureCheck.WrongUsage()
        }
        pattern = GuestPattern(seed: seed)
        frames = try GuestPictures.frames(words[1])
        path = words[2]
        surface = [Substring(words[3]), Substring(words[4])]
        for index in stride(from: 5, to: words.count, by: 2) {
            guard let number = Int(words[index + 1]) else { throw PictureCheck.WrongUsage() }
            switch words[index] {
            case "--last": last = number
            case "--distinct": distinct = number
            case "--others": others = number
            case "--across": across = number
            default: throw PictureCheck.WrongUsage()
            }
        }
    }

    /// One size's frames by their checksum.
    private func checksums(_ size: Substring) throws -> [UInt32: Int] {
        let sides = size.split(separator: "x").compactMap { Int($0) }
        guard sides.count == 2, sides.allSatisfy((1...Picture.maximumSide).contains) else {
            throw PictureCheck.WrongUsage()
        }
        return Dictionary(
            frames.map {
                (pattern.checksum(frame: $0, width: sides[0], height: sides[1]), $0)
            }, uniquingKeysWith: { first, _ in first })
    }

    func check() throws -> Bool {
        var known: [Substring: [UInt32: Int]] = [:]
        var shown: [Int] = []
        var (before, other, between) = (0, 0, 0)
        var (isGood, end) = (true, Int?.none)
        var strange: [Substring] = []
        for line in try lines() {
            let words = line.split(separator: " ")
            guard words.count >= 5, Array(words[0..<2]) == surface else { continue }
            let ofSize = try known[words[3]] ?? checksums(words[3])
            known[words[3]] = ofSize
            end = UInt32(words[4], radix: 16).flatMap { ofSize[$0] }
            if let frame = end {
                if let former = shown.last, frame < former {
                    print("frame \(frame) after frame \(former): \(line)")
                    isGood = false
                }
                if let across, let former = shown.last, former <= across, across < frame {
                    between = strange.count
                } else {
                    other += strange.count
                    for line in strange { print("no frame of \(frames): \(line)") }
                }
                strange.removeAll()
                shown.append(frame)
            } else if shown.isEmpty {
                before += 1
            } else {
                strange.append(line)
            }
        }
        other += strange.count
        for line in strange { print("no frame of \(frames): \(line)") }
        if let across, !(shown.contains { $0 <= across } && shown.contains { $0 > across }) {
            print("no frames on both sides of \(across)")
            isGood = false
        }
        let different = Set(shown).count
        print(
            "before \(before), shown \(shown.count), different \(different), other \(other), "
                + "between \(between), first \(shown.first ?? -1), last \(end ?? -1)")
        return isGood && different >= distinct && other <= others
            && (last == nil || end == last)
    }

    private func lines() throws -> [Substring] {
        let file = try ReadableFile(path: path)
        let text = String(decoding: file.bytes(at: 0, count: Int(file.size)), as: UTF8.self)
        return text.split(separator: "\n")
    }
}
