import Glibc
import VMBridge

/// Says whether a screenshot shows what a producer drew, to the pixel. Runs in the test machine.
///
///     PictureCheck pattern SCREENSHOT WxH FOURCC SEED LABEL FRAMES [TOLERANCE]
///     PictureCheck picture SCREENSHOT PART
///     PictureCheck rows SCREENSHOT [--seed SEED]… [--windows N] [--covered]
///     PictureCheck guest SEED FRAMES PICTURE…
///     PictureCheck window SEED FRAMES WxH SCREENSHOT
///     PictureCheck frames SEED FRAMES LOG VM SLOT [--last FRAME] [--distinct N] [--others N] [--across FRAME]
///     PictureCheck last LOG VM SLOT PICTURE
///
/// `pattern` looks for the reference producer's test pattern of one of the frames (`7` or `3-9`) as a
/// reader of the buffer sees it, `picture` for a PNG. Prints where it is, `X Y` first. TOLERANCE is how
/// far a channel may be off, 0 if not given: compositors convert YUV in their own way.
///
/// `rows` finds every window with the producer's pattern `rows` and prints `X Y WxH seed S frame F rows R`
/// for each, R being the rows in sight that show frame F. A row that shows another frame, parts of two, or
/// none, and a frame that was overwritten after its release, are told and fail; so do fewer than N windows
/// (1 if not given) and a SEED that is not there. With `--covered` rows that cannot be read do not count:
/// something else hides them. Windows of other seeds may always hide each other.
///
/// `guest`, `window` and `frames` know the pattern of the small guest (Tests/vm/guest), see `GuestPictures`: of whole
/// pictures, of windows in a screenshot, and of the checksums in `frames.log` of `vm-bridge run --capture-frames`.
/// `last` says whether the newest picture in that log is the same as a PNG.
///
/// Exit codes: 0 found, 1 not found, 64 wrong usage or an unreadable file.
@main
struct PictureCheck {
    static func main() {
        do {
            exit(try run(Array(CommandLine.arguments.dropFirst())) ? 0 : 1)
        } catch {
            print("PictureCheck: \(error)")
            exit(64)
        }
    }

    struct WrongUsage: Error {}

    private static func run(_ arguments: [String]) throws -> Bool {
        guard arguments.count >= 2 else { throw WrongUsage() }
        switch arguments[0] {
        case "guest": return try GuestPictures(Array(arguments[1...])).check()
        case "window": return try GuestWindow(Array(arguments[1...])).check()
        case "last": return try LastPicture(Array(arguments[1...])).check()
        case "frames": return try GuestFrames(Array(arguments[1...])).check()
        default: break
        }
        let screenshot = try PNGFile.read(arguments[1])
        switch arguments[0] {
        case "picture" where arguments.count == 3:
            let part = try PNGFile.read(arguments[2])
            if found(part, in: screenshot, tolerance: 0, name: "the picture") { return true }
            print("the picture is not in the screenshot")
            tellNearest(part, in: screenshot)
            return false
        case "rows": return try rows(Array(arguments[2...]), in: screenshot)
        case "pattern" where arguments.count >= 7:
            return try pattern(Array(arguments[2...]), in: screenshot)
        default: throw WrongUsage()
        }
    }

    private static func rows(_ words: [String], in screenshot: Picture) throws -> Bool {
        var (seeds, least, isCovered): ([UInt16], Int, Bool) = ([], 1, false)
        var words = words
        while !words.isEmpty {
            switch words.removeFirst() {
            case "--covered": isCovered = true
            case "--seed":
                guard let seed = words.first.flatMap({ UInt16($0) }) else { throw WrongUsage() }
                seeds.append(seed)
                words.removeFirst()
            case "--windows":
                guard let number = words.first.flatMap({ Int($0) }) else { throw WrongUsage() }
                least = number
                words.removeFirst()
            default: throw WrongUsage()
            }
        }
        let windows = RowsPattern.windows(in: screenshot)
        var isGood = true
        for window in windows where !tell(window, isCovered) { isGood = false }
        if windows.count < least {
            print("windows found: \(windows.count), wanted: \(least)")
            isGood = false
        }
        for seed in seeds where !windows.contains(where: { $0.seed == seed }) {
            print("no window of seed \(seed)")
            isGood = false
        }
        return isGood
    }

    /// Prints what a window shows; whether it is as it should be.
    private static func tell(_ window: RowsWindow, _ isCovered: Bool) -> Bool {
        let area = window.area
        let frame = window.frame.map { "\($0)" } ?? "none"
        print(
            "\(area.x) \(area.y) \(area.width)x\(area.height) seed \(window.seed) "
                + "frame \(frame) rows \(window.wholeRows)")
        let faults = window.faults(toleratesCover: isCovered)
        for fault in faults.prefix(8) {
            let words =
                switch fault.shows {
                case .frame(RowsPattern.poison): "overwritten after its release"
                case .frame(let number): "frame \(number)"
                case .mixed(let numbers):
                    "frames " + numbers.map { "\($0)" }.joined(separator: " and ")
                case .unreadable: "unreadable"
                case .hidden: "hidden"
                }
            print("  row \(fault.row): \(words)")
        }
        if faults.count > 8 { print("  and \(faults.count - 8) more rows") }
        return faults.isEmpty && window.frame != nil
    }

    private static func pattern(_ words: [String], in screenshot: Picture) throws -> Bool {
        let size = words[0].split(separator: "x").compactMap { Int($0) }
        let frames = words[4].split(separator: "-").compactMap { UInt32($0) }
        guard size.count == 2, let seed = UInt32(words[2]), let first = frames.first,
            let last = frames.last, first <= last,
            let format = PixelFormat.allCases.first(where: { $0.description == words[1] }),
            let tolerance = words.count > 5 ? Int(words[5]) : 0
        else { throw WrongUsage() }
        let pattern = try TestPattern(
            width: size[0], height: size[1], format: format, seed: seed, label: words[3])
        for frame in first...last {
            let part = try pattern.picture(frame: frame)
            if found(part, in: screenshot, tolerance: tolerance, name: "frame \(frame)") {
                return true
            }
        }
        print("none of the frames \(words[4]) is in the screenshot")
        tellNearest(try pattern.picture(frame: last), in: screenshot)
        return false
    }

    private static func found(
        _ part: Picture, in screenshot: Picture, tolerance: Int, name: String
    ) -> Bool {
        guard let place = place(of: part, in: screenshot, tolerance: tolerance) else {
            return false
        }
        let worst = difference(part, screenshot, place)
        print("\(place.x) \(place.y) \(name), largest difference of a channel \(worst)")
        return true
    }

    private static func tellNearest(_ part: Picture, in screenshot: Picture) {
        guard let near = place(of: part, in: screenshot, tolerance: 80) else { return }
        print("something near it is at \(near), off by \(difference(part, screenshot, near))")
    }

    private static func place(
        of part: Picture, in screenshot: Picture, tolerance: Int
    ) -> (x: Int, y: Int)? {
        guard part.width <= screenshot.width, part.height <= screenshot.height else { return nil }
        for y in 0...screenshot.height - part.height {
            for x in 0...screenshot.width - part.width
            where matches(part, screenshot, (x, y), tolerance) { return (x, y) }
        }
        return nil
    }

    private static func matches(
        _ part: Picture, _ screenshot: Picture, _ place: (x: Int, y: Int), _ tolerance: Int
    ) -> Bool {
        for row in 0..<part.height {
            for column in 0..<part.width {
                let wanted = part.pixels[row * part.width + column]
                let found = screenshot.pixels[
                    (place.y + row) * screenshot.width + place.x + column]
                if channelDifference(wanted, found) > tolerance { return false }
            }
        }
        return true
    }

    private static func difference(
        _ part: Picture, _ screenshot: Picture, _ place: (x: Int, y: Int)
    ) -> Int {
        var worst = 0
        for row in 0..<part.height {
            for column in 0..<part.width {
                let wanted = part.pixels[row * part.width + column]
                let found = screenshot.pixels[
                    (place.y + row) * screenshot.width + place.x + column]
                worst = max(worst, channelDifference(wanted, found))
            }
        }
        return worst
    }

    /// Of red, green and blue: what is on a screen has no alpha.
    private static func channelDifference(_ left: UInt32, _ right: UInt32) -> Int {
        if (left ^ right) & 0x00ff_ffff == 0 { return 0 }
        var worst = 0
        for shift: UInt32 in [0, 8, 16] {
            worst = max(worst, abs(Int(left >> shift & 255) - Int(right >> shift & 255)))
        }
        return worst
    }
}
