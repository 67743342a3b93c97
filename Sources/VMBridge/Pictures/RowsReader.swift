// Unsafe here: a picture's pixels as they lie in memory, read within its bounds; a debug build would need
// seconds for a screenshot otherwise.

/// One window that shows a `RowsPattern`, found in a picture.
package struct RowsWindow: Equatable, Sendable {
    /// What a row says.
    package enum Row: Equatable, Sendable {
        /// All of it is of this frame.
        case frame(UInt32)
        /// Parts of it are of different frames.
        case mixed([UInt32])
        /// A part of it is of no frame at all.
        case unreadable
        /// Nothing of it is in sight: outside the picture, or under another window of the kind.
        case hidden
    }

    /// Which surface it is.
    package let seed: UInt16
    /// Where it is; may reach beyond the picture.
    package let area: PixelRect
    /// From the top, one for each row of the window.
    package let rows: [Row]

    /// The frame that most rows are of; `nil` when no row is whole.
    package var frame: UInt32? {
        var counts: [UInt32: Int] = [:]
        for case .frame(let frame) in rows { counts[frame, default: 0] += 1 }
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// How many rows are of ``frame``.
    package var wholeRows: Int {
        guard let frame else { return 0 }
        return rows.count { $0 == .frame(frame) }
    }

    /// Rows that do not show ``frame`` and are in sight, and rows that show what was overwritten.
    ///
    /// - Parameter toleratesCover: rows that cannot be read are hidden by something else.
    package func faults(toleratesCover: Bool = false) -> [(row: Int, shows: Row)] {
        let frame = frame
        return rows.enumerated().compactMap { index, row in
            switch row {
            case .hidden: nil
            case .unreadable: toleratesCover ? nil : (index, row)
            case .mixed: (index, row)
            case .frame(let number):
                number == frame && number != RowsPattern.poison ? nil : (index, row)
            }
        }
    }
}

extension RowsPattern {
    /// Finds every window of this pattern in a picture and reads all its rows, from the upper left. A
    /// window is found when one of its rows has its left end in sight.
    package static func windows(in picture: Picture) -> [RowsWindow] {
        var reader = RowsReader(picture)
        return reader.windows()
    }
}

private struct RowsReader {
    private struct Place: Hashable {
        var seed: UInt16
        var area: PixelRect
    }

    private let picture: Picture
    private var places: [Place] = []

    init(_ picture: Picture) { self.picture = picture }

    mutating func windows() -> [RowsWindow] {
        find()
        return places.map { place in
            // Another surface's window may lie above this one.
            let others = places.filter { $0.seed != place.seed }.map(\.area)
            return RowsWindow(
                seed: place.seed, area: place.area,
                rows: (0..<place.area.height).map { read($0, place, others) })
        }
    }

    /// White is 1, black 0, anything else nil.
    @inline(__always)
    private static func bit(_ word: UInt32) -> UInt64? {
        let (red, green, blue) = (word & 255, word >> 8 & 255, word >> 16 & 255)
        if red >= 192, green >= 192, blue >= 192 { return 1 }
        return red < 64 && green < 64 && blue < 64 ? 0 : nil
    }

    private mutating func find() {
        var seen: Set<Place> = []
        var found: [Place] = []
        let (width, height) = (picture.width, picture.height)
        picture.withPixels { pixels in
            guard let base = pixels.baseAddress else { return }
            for y in 0..<height {
                var (high, low, count): (UInt64, UInt64, Int) = (0, 0, 0)
                let row = base + y * width
                for x in 0..<width {
                    guard let bit = Self.bit(row[x]) else {
                        count = 0
                        continue
                    }
                    high = high << 1 | low >> 63
                    low = low << 1 | bit
                    count += 1
                    guard count >= RowCode.cellCount, high >> 48 == RowCode.firstSync,
                        let code = RowCode(high, low)
                    else { continue }
                    let area = PixelRect(
                        x: x + 1 - RowCode.cellCount, y: y - code.row, width: code.width,
                        height: code.height)
                    let place = Place(seed: code.seed, area: area)
                    if seen.insert(place).inserted { found.append(place) }
                }
            }
        }
        places = found
    }

    /// Reads one row of a window, copy by copy.
    private func read(_ row: Int, _ place: Place, _ others: [PixelRect]) -> RowsWindow.Row {
        let area = place.area
        let y = area.y + row
        guard y >= 0, y < picture.height else { return .hidden }
        var frames: [UInt32] = []
        var isBroken = false
        // The cut-off copy at the end says nothing by itself: it is compared with the others.
        var rest: (cells: (high: UInt64, low: UInt64), part: PixelRect)?
        var start = 0
        while start < area.width {
            let part = PixelRect(
                x: area.x + start, y: y, width: min(RowCode.cellCount, area.width - start),
                height: 1)
            let isFirst = start == 0
            start += RowCode.cellCount
            guard part.x >= 0, part.right <= picture.width else { continue }
            let cells = cells(part)
            if let cells, part.width < RowCode.cellCount {
                rest = (cells, part)
                continue
            }
            if let cells, let code = RowCode(cells.high, cells.low),
                cells.high >> 48 == (isFirst ? RowCode.firstSync : RowCode.laterSync),
                code.seed == place.seed, code.row == row, code.width == area.width,
                code.height == area.height
            {
                if !frames.contains(code.frame) { frames.append(code.frame) }
            } else if !others.contains(where: { !$0.intersection(part).isEmpty }) {
                isBroken = true
            }
        }
        if frames.count > 1 { return .mixed(frames) }
        if isBroken { return .unreadable }
        guard let frame = frames.first else { return .hidden }
        if let rest {
            let code = RowCode(
                seed: place.seed, frame: frame, row: row, width: area.width, height: area.height)
            let isSame = Self.begins(code.cells(isFirst: false), with: rest.cells, rest.part.width)
            if !isSame, !others.contains(where: { !$0.intersection(rest.part).isEmpty }) {
                return .unreadable
            }
        }
        return .frame(frame)
    }

    /// Up to 128 cells, the first in the highest bit; nil when a pixel is neither black nor white.
    private func cells(_ part: PixelRect) -> (high: UInt64, low: UInt64)? {
        picture.withPixels { pixels in
            var (high, low): (UInt64, UInt64) = (0, 0)
            let start = part.y * picture.width + part.x
            for index in 0..<part.width {
                guard let bit = Self.bit(pixels[start + index]) else { return nil }
                if index < 64 {
                    high |= bit << UInt64(63 - index)
                } else {
                    low |= bit << UInt64(127 - index)
                }
            }
            return (high, low)
        }
    }

    private static func begins(
        _ whole: (high: UInt64, low: UInt64), with part: (high: UInt64, low: UInt64), _ count: Int
    ) -> Bool {
        let high: UInt64 = count >= 64 ? .max : ~(.max >> UInt64(count))
        let low: UInt64 = count > 64 ? ~(.max >> UInt64(count - 64)) : 0
        return whole.high & high == part.high && whole.low & low == part.low
    }
}
