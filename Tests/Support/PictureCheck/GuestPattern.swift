import VMBridge

/// What the small guest of the tests (Tests/vm/guest) draws, told here a second time from its description:
/// pixel x, y of frame f is entry (x + 7y + 13f) mod 4096 of a line that the seed makes.
struct GuestPattern {
    private static let period = 4096
    /// The line, as 0x00RRGGBB.
    private let line: [UInt32]

    init(seed: UInt32) {
        line = (0..<UInt32(Self.period)).map { index in
            let red = index / 16
            let green = index % 16 * 17
            let blue = (seed &* 67 &+ index / 8 * 5) % 256
            return red * 65536 + green * 256 + blue
        }
    }

    private static func place(_ frame: Int, _ x: Int, _ y: Int) -> Int {
        (x + 7 * y + 13 * frame) % period
    }

    /// Of the whole frame, as `vm-bridge run --capture-frames` tells it.
    func checksum(frame: Int, width: Int, height: Int) -> UInt32 {
        var checksum = PixelChecksum()
        for y in 0..<height {
            var begin = Self.place(frame, 0, y)
            var left = width
            while left > 0 {
                let count = min(left, Self.period - begin)
                checksum.add(line[begin..<begin + count])
                (begin, left) = (0, left - count)
            }
        }
        return checksum.value
    }

    /// Which of the frames each row of a picture shows; nil for a row that shows none of them wholly.
    func rows(of picture: Picture, frames: ClosedRange<Int>) -> [Int?] {
        var likely = frames.lowerBound
        return (0..<picture.height).map { y in
            let row = picture.row(y).map(Self.word)
            if shows(row, y, likely) { return likely }
            guard let frame = frames.first(where: { shows(row, y, $0) }) else { return nil }
            likely = frame
            return frame
        }
    }

    /// Where a screenshot shows a frame wholly, at this size; nil where it does not.
    func find(
        width: Int, height: Int, frames: ClosedRange<Int>, in picture: Picture
    ) -> (x: Int, y: Int, frame: Int)? {
        guard width > 1, height > 1, width <= picture.width, height <= picture.height else {
            return nil
        }
        let rows = (0..<picture.height).map { y in picture.row(y).map(Self.word) }
        var places: [UInt32: Int] = [:]
        for (place, colour) in line.enumerated() { places[colour] = place }
        for y in 0...picture.height - height {
            for x in 0...picture.width - width {
                // A pixel tells its place in the line, hence the frame; its neighbours say whether that is worth a look.
                guard let place = places[rows[y][x]],
                    rows[y][x + 1] == line[(place + 1) % Self.period],
                    rows[y + 1][x] == line[(place + 7) % Self.period]
                else { continue }
                for frame in frames where Self.place(frame, 0, 0) == place {
                    let isWhole = (0..<height).allSatisfy {
                        shows(Array(rows[y + $0][x..<x + width]), $0, frame)
                    }
                    if isWhole { return (x, y, frame) }
                }
            }
        }
        return nil
    }

    /// A picture's word has its bytes in the order R, G, B, A.
    private static func word(_ pixel: UInt32) -> UInt32 {
        (pixel & 255) << 16 | pixel & 0xff00 | pixel >> 16 & 255
    }

    private func shows(_ row: [UInt32], _ y: Int, _ frame: Int) -> Bool {
        let begin = Self.place(frame, 0, y)
        return row.indices.allSatisfy { row[$0] == line[(begin + $0) % Self.period] }
    }
}

/// `PictureCheck guest SEED FRAMES PICTURE…`: which frame (`7` or `1-200`) each PNG shows, from its upper left
/// corner to its last pixel. One that shows none, or rows of several, fails; the rows are told.
struct GuestPictures {
    private let pattern: GuestPattern
    private let frames: ClosedRange<Int>
    private let paths: [String]

    init(_ words: [String]) throws {
        guard words.count >= 3, let seed = UInt32(words[0]) else {
            throw PictureCheck.WrongUsage()
        }
        pattern = GuestPattern(seed: seed)
        frames = try Self.frames(words[1])
        paths = Array(words[2...])
    }

    static func frames(_ text: String) throws -> ClosedRange<Int> {
        let numbers = text.split(separator: "-").compactMap { Int($0) }
        guard (1...2).contains(numbers.count), let first = numbers.first, let last = numbers.last,
            0 <= first, first <= last, last < 1_000_000
        else { throw PictureCheck.WrongUsage() }
        return first...last
    }

    func check() throws -> Bool {
        var isGood = true
        for path in paths where !tell(path, try PNGFile.read(path)) { isGood = false }
        return isGood
    }

    private func tell(_ path: String, _ picture: Picture) -> Bool {
        let rows = pattern.rows(of: picture, frames: frames)
        if let frame = rows.first ?? nil, rows.allSatisfy({ $0 == frame }) {
            print("\(path): \(picture.width)x\(picture.height) frame \(frame)")
            return true
        }
        print("\(path): \(picture.width)x\(picture.height) no whole frame of \(frames)")
        var first = 0
        for row in 1...max(rows.count, 1) where row == rows.count || rows[row] != rows[first] {
            let found = rows[first].map { "frame \($0)" } ?? "none"
            print("  rows \(first) to \(row - 1): \(found)")
            first = row
        }
        return false
    }
}

/// `PictureCheck window SEED FRAMES WxH SCREENSHOT`: looks for one of the frames, whole and of that size, anywhere in a
/// screenshot; prints `X Y frame F`.
struct GuestWindow {
    private let pattern: GuestPattern
    private let frames: ClosedRange<Int>
    private let sides: [Int]
    private let path: String

    init(_ words: [String]) throws {
        guard words.count == 4, let seed = UInt32(words[0]) else { throw PictureCheck.WrongUsage() }
        pattern = GuestPattern(seed: seed)
        frames = try GuestPictures.frames(words[1])
        sides = words[2].split(separator: "x").compactMap { Int($0) }
        guard sides.count == 2 else { throw PictureCheck.WrongUsage() }
        path = words[3]
    }

    func check() throws -> Bool {
        let picture = try PNGFile.read(path)
        guard
            let found = pattern.find(
                width: sides[0], height: sides[1], frames: frames, in: picture)
        else {
            print("\(path): no whole frame of \(frames) at \(sides[0])x\(sides[1])")
            return false
        }
        print("\(found.x) \(found.y) frame \(found.frame)")
        return true
    }
}
