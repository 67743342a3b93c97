/// The machine-readable frame number at the left edge of a test pattern.
///
/// The picture is cut into bands of 16 rows. Every band carries the same 32 cells, black or white,
/// as high as the band: four for finding (1 0 1 0), 24 bits of the frame number, highest first, and
/// four for checking. A screenshot that mixes two frames shows different numbers in different
/// bands, or rows that disagree within one.
package enum FrameMark {
    package static let bandHeight = 16
    package static let cellCount = 32
    /// Frame numbers are told apart modulo this: 77 hours at 60 frames a second.
    package static let modulus: UInt32 = 1 << 24

    private static let sync: UInt32 = 0b1010

    /// Pixels that a cell is wide in a picture of this width; `nil` when a mark has no room.
    package static func cellWidth(pictureWidth: Int) -> Int? {
        if pictureWidth >= 512 { return 4 }
        if pictureWidth >= 128 { return 2 }
        return pictureWidth >= 32 ? 1 : nil
    }

    /// The part of a picture that the mark covers; empty when it has no room.
    package static func area(width: Int, height: Int) -> PixelRect {
        let cell = cellWidth(pictureWidth: width) ?? 0
        return PixelRect(x: 0, y: 0, width: cell * cellCount, height: height)
    }

    /// Number of bands, a cut off one included.
    package static func bandCount(height: Int) -> Int { (height + bandHeight - 1) / bandHeight }

    /// The 32 cells of a frame number, the first one in the highest bit.
    package static func cells(frame: UInt32) -> UInt32 {
        let number = frame % modulus
        return sync << 28 | number << 4 | check(number)
    }

    /// The frame number in 32 cells; `nil` when they are no mark.
    package static func frame(cells: UInt32) -> UInt32? {
        let number = (cells >> 4) % modulus
        guard cells >> 28 == sync, cells & 15 == check(number) else { return nil }
        return number
    }

    /// The six groups of four bits, each turned by its place, so that a change of any single bit
    /// shows.
    private static func check(_ number: UInt32) -> UInt32 {
        var sum: UInt32 = 0b0110
        for place: UInt32 in 0..<6 {
            let group = (number >> (place * 4)) & 15
            let turn = place % 4
            sum ^= (group << turn | group >> (4 - turn)) & 15
        }
        return sum
    }

    /// Reads the number of every band of a test pattern that is shown in `rect` of a picture (the
    /// whole of it by default), from the top.
    ///
    /// All rows of a band must say the same. A band is `nil` when it cannot be read: rows disagree,
    /// a cell is neither dark nor light, or the check bits are wrong.
    package static func read(_ picture: Picture, _ rect: PixelRect? = nil) -> [UInt32?] {
        let shown = rect ?? picture.bounds
        guard shown.intersection(picture.bounds) == shown,
            let cell = cellWidth(pictureWidth: shown.width)
        else {
            return Array(repeating: nil, count: bandCount(height: max(shown.height, 0)))
        }
        return picture.withPixels { pixels in
            (0..<bandCount(height: shown.height)).map { band in
                let first = band * bandHeight
                let last = min(first + bandHeight, shown.height)
                var bandCells: UInt32?
                for y in first..<last {
                    let start = (shown.y + y) * picture.width + shown.x
                    guard let cells = readRow(pixels, start, cell),
                        bandCells == nil || bandCells == cells
                    else { return nil }
                    bandCells = cells
                }
                return bandCells.flatMap(frame(cells:))
            }
        }
    }

    /// The 32 cells of a row, looked at in the middle of each.
    private static func readRow(
        _ pixels: UnsafeBufferPointer<UInt32>, _ start: Int, _ cell: Int
    ) -> UInt32? {
        var cells: UInt32 = 0
        for index in 0..<cellCount {
            let word = pixels[start + index * cell + cell / 2]
            let channels = (word & 255, (word >> 8) & 255, (word >> 16) & 255)
            if channels.0 >= 192, channels.1 >= 192, channels.2 >= 192 {
                cells = cells << 1 | 1
            } else if channels.0 < 64, channels.1 < 64, channels.2 < 64 {
                cells <<= 1
            } else {
                return nil
            }
        }
        return cells
    }

    /// What the marks of one picture say together.
    package enum Verdict: Equatable, Sendable, CustomStringConvertible {
        /// Every band carries this number.
        case whole(UInt32)
        /// Bands carry different numbers, or some cannot be read: a mixed picture.
        case torn([UInt32?])
        /// No band can be read.
        case unreadable

        package var description: String {
            switch self {
            case .whole(let frame): return "frame \(frame)"
            case .unreadable: return "no frame mark"
            case .torn(let bands):
                // Equal neighbours as one: "bands 0-3: 7, 4-8: 8".
                var parts: [String] = []
                var start = 0
                while start < bands.count {
                    var end = start
                    while end + 1 < bands.count, bands[end + 1] == bands[start] { end += 1 }
                    parts.append("\(start)-\(end): " + (bands[start].map { "\($0)" } ?? "?"))
                    start = end + 1
                }
                return "torn, bands " + parts.joined(separator: ", ")
            }
        }
    }

    /// Reads all bands and says whether they belong to one frame.
    package static func verdict(_ picture: Picture, _ rect: PixelRect? = nil) -> Verdict {
        let bands = read(picture, rect)
        guard let readable = bands.first(where: { $0 != nil }), let frame = readable else {
            return .unreadable
        }
        return bands.allSatisfy { $0 == frame } ? .whole(frame) : .torn(bands)
    }
}
