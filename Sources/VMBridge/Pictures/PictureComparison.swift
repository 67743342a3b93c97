import Glibc

/// Two pictures compared to the pixel.
package struct PictureComparison: Equatable, Sendable, CustomStringConvertible {
    /// One pixel that differs.
    package struct Difference: Equatable, Sendable {
        package let x: Int
        package let y: Int
        package let expected: Colour
        package let actual: Colour
    }

    /// True when sizes and all compared pixels are equal.
    package var isEqual: Bool { sizesAgree && count == 0 }
    package let expectedSize: String
    package let actualSize: String
    package let sizesAgree: Bool
    /// Pixels that differ; 0 when the sizes do.
    package let count: Int
    /// Pixels compared.
    package let compared: Int
    /// The first one, row by row.
    package let first: Difference?
    /// The largest difference of one channel, 0…255.
    package let maximumDifference: Int

    /// Compares two pictures, or the same part of both.
    /// - Parameters:
    ///   - crop: the part; positions in the result count from the pictures' own corner.
    ///   - ignoringAlpha: colours only.
    package init(
        expected: Picture, actual: Picture, crop: PixelRect? = nil, ignoringAlpha: Bool = false
    ) {
        expectedSize = "\(expected.width)x\(expected.height)"
        actualSize = "\(actual.width)x\(actual.height)"
        sizesAgree = expected.width == actual.width && expected.height == actual.height
        let area = (crop ?? expected.bounds).intersection(expected.bounds)
        guard sizesAgree else {
            (count, compared, first, maximumDifference) = (0, 0, nil, 0)
            return
        }
        let mask: UInt32 = ignoringAlpha ? 0x00ff_ffff : 0xffff_ffff
        var count = 0
        var largest = 0
        var first: Difference?
        expected.withPixels { wanted in
            actual.withPixels { found in
                guard let a = wanted.baseAddress, let b = found.baseAddress else { return }
                for y in area.y..<max(area.y, area.bottom) {
                    let start = y * expected.width + area.x
                    // Most rows are equal: only the others are looked at pixel by pixel.
                    if memcmp(a + start, b + start, area.width * 4) == 0 { continue }
                    var x = 0
                    while x < area.width {
                        let (left, right) = (a[start + x] & mask, b[start + x] & mask)
                        if left != right {
                            count += 1
                            if first == nil {
                                first = Difference(
                                    x: area.x + x, y: y, expected: Colour(word: a[start + x]),
                                    actual: Colour(word: b[start + x]))
                            }
                            largest = max(largest, Self.channelDifference(left, right))
                        }
                        x += 1
                    }
                }
            }
        }
        self.count = count
        self.compared = area.width * area.height
        self.first = first
        maximumDifference = largest
    }

    private static func channelDifference(_ left: UInt32, _ right: UInt32) -> Int {
        var largest = 0
        for shift: UInt32 in [0, 8, 16, 24] {
            let difference = Int((left >> shift) & 255) - Int((right >> shift) & 255)
            largest = max(largest, abs(difference))
        }
        return largest
    }

    package var description: String {
        guard sizesAgree else {
            return "sizes differ: expected \(expectedSize), got \(actualSize)"
        }
        guard let first else { return "equal: all \(compared) pixels" }
        return "\(count) of \(compared) pixels differ, by at most \(maximumDifference); first at "
            + "(\(first.x), \(first.y)): expected \(first.expected), got \(first.actual)"
    }
}

extension Picture {
    /// Where `part` occurs in this picture, to the pixel: the places in reading order.
    /// - Parameters:
    ///   - within: where to look; the whole picture by default.
    ///   - limit: stops after so many places.
    package func places(
        of part: Picture, within: PixelRect? = nil, limit: Int = 1
    ) -> [(x: Int, y: Int)] {
        let area = (within ?? bounds).intersection(bounds)
        guard part.width > 0, part.height > 0, part.width <= area.width,
            part.height <= area.height, limit > 0
        else { return [] }
        var places: [(x: Int, y: Int)] = []
        withPixels { large in
            part.withPixels { small in
                guard let base = large.baseAddress, let needle = small.baseAddress else { return }
                let lead = needle[0]
                let lastColumn = area.right - part.width
                for y in area.y...(area.bottom - part.height) {
                    let row = base + y * width
                    var x = area.x
                    while x <= lastColumn {
                        if row[x] == lead, memcmp(row + x, needle, part.width * 4) == 0,
                            rowsMatch(row + x, needle, part)
                        {
                            places.append((x, y))
                            if places.count == limit { return }
                        }
                        x += 1
                    }
                }
            }
        }
        return places
    }

    /// The first place of `part` in this picture, to the pixel.
    package func find(_ part: Picture, within: PixelRect? = nil) -> (x: Int, y: Int)? {
        places(of: part, within: within).first
    }

    private func rowsMatch(
        _ place: UnsafePointer<UInt32>, _ needle: UnsafePointer<UInt32>, _ part: Picture
    ) -> Bool {
        var row = 1
        while row < part.height {
            if memcmp(place + row * width, needle + row * part.width, part.width * 4) != 0 {
                return false
            }
            row += 1
        }
        return true
    }
}
