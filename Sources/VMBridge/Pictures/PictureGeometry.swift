import Glibc

// Unsafe below: pixel loops through pointers, because array subscripts cost a debug build ten times
// as much. Every index is made from the two pictures' own sizes.

/// How a picture is turned: the values of `wl_output.transform` (wayland.xml), 0…7. Rotations are
/// counter-clockwise; the flipped ones mirror left and right first.
package enum PictureTransform: UInt32, CaseIterable, Sendable {
    case normal = 0
    case rotated90 = 1
    case rotated180 = 2
    case rotated270 = 3
    case flipped = 4
    case flipped90 = 5
    case flipped180 = 6
    case flipped270 = 7

    /// The transform that undoes this one. A client that sets a buffer transform says that it has
    /// applied it already; what is to be seen is the buffer with the inverse applied.
    package var inverse: PictureTransform {
        switch self {
        case .rotated90: .rotated270
        case .rotated270: .rotated90
        default: self
        }
    }

    /// True when width and height change places.
    package var swapsSides: Bool { rawValue & 1 == 1 }
}

extension Picture {
    /// The picture with a transform applied to it.
    package func transformed(_ transform: PictureTransform) -> Picture {
        let (width, height) = (width, height)
        var result = Picture(
            width: transform.swapsSides ? height : width,
            height: transform.swapsSides ? width : height)
        // Where (0, 0) goes, and how far one step right and one step down lead in the result.
        let line = result.width
        let (start, right, down): (Int, Int, Int) =
            switch transform {
            case .normal: (0, 1, line)
            case .rotated90: ((width - 1) * line, -line, 1)
            case .rotated180: ((height - 1) * line + width - 1, -1, -line)
            case .rotated270: (height - 1, line, -1)
            case .flipped: (width - 1, -1, line)
            case .flipped90: (0, line, 1)
            case .flipped180: ((height - 1) * line, 1, -line)
            case .flipped270: ((width - 1) * line + height - 1, -line, -1)
            }
        withPixels { source in
            guard let from = source.baseAddress else { return }
            result.draw { canvas in
                var y = 0
                while y < height {
                    let row = from + y * width
                    var target = start + y * down
                    var x = 0
                    while x < width {
                        canvas.base[target] = row[x]
                        target += right
                        x += 1
                    }
                    y += 1
                }
            }
        }
        return result
    }

    /// The largest size with this picture's shape that fits; never larger than the picture
    /// unless `enlarging`. At least 1x1.
    package func fittingSize(
        maximumWidth: Int, maximumHeight: Int, enlarging: Bool = false
    ) -> (width: Int, height: Int) {
        guard width > 0, height > 0 else { return (1, 1) }
        var fitWidth = min(max(maximumWidth, 1), Self.maximumSide)
        var fitHeight = min(max(maximumHeight, 1), Self.maximumSide)
        if !enlarging {
            fitWidth = min(fitWidth, width)
            fitHeight = min(fitHeight, height)
        }
        if fitWidth * height <= fitHeight * width {
            fitHeight = max(1, (fitWidth * height + width / 2) / width)
        } else {
            fitWidth = max(1, (fitHeight * width + height / 2) / height)
        }
        return (fitWidth, fitHeight)
    }

    /// Scaled to exactly this size by taking the pixel under each centre.
    package func scaledNearest(width newWidth: Int, height newHeight: Int) -> Picture {
        var result = Picture(width: newWidth, height: newHeight)
        guard width > 0, height > 0 else { return result }
        let columns = (0..<newWidth).map { ($0 * 2 + 1) * width / (newWidth * 2) }
        withPixels { source in
            guard let from = source.baseAddress else { return }
            columns.withUnsafeBufferPointer { columns in
                guard let column = columns.baseAddress else { return }
                result.draw { canvas in
                    var y = 0
                    while y < newHeight {
                        let row = from + ((y * 2 + 1) * height / (newHeight * 2)) * width
                        let target = canvas.base + y * newWidth
                        var x = 0
                        while x < newWidth {
                            target[x] = row[column[x]]
                            x += 1
                        }
                        y += 1
                    }
                }
            }
        }
        return result
    }

    /// Scaled to exactly this size; each new pixel is the mean of the area that it covers, weighted
    /// by alpha. Meant for making pictures smaller; enlarging gives blurred blocks.
    package func scaledByArea(width newWidth: Int, height newHeight: Int) -> Picture {
        if newWidth == width, newHeight == height { return self }
        var result = Picture(width: newWidth, height: newHeight)
        guard width > 0, height > 0, newWidth > 0, newHeight > 0 else { return result }
        let (width, height) = (width, height)
        // Old pixels are `new` units long, new ones `old` units: all shares are whole numbers.
        // Largest sum: 255 × 255 × 16384² = 2⁴⁴, far from 64 bits.
        let lanes = newWidth * 4
        var sums = [Int](repeating: 0, count: lanes)
        withPixels { source in
            sums.withUnsafeMutableBufferPointer { buffer in
                guard let from = source.baseAddress, let sum = buffer.baseAddress else { return }
                result.draw { canvas in
                    var y = 0
                    while y < newHeight {
                        memset(sum, 0, lanes * MemoryLayout<Int>.stride)
                        let top = y * height
                        let bottom = top + height
                        var row = top / newHeight
                        while row * newHeight < bottom {
                            let covered =
                                min(bottom, (row + 1) * newHeight) - max(top, row * newHeight)
                            Self.addRow(from + row * width, width, newWidth, covered, sum)
                            row += 1
                        }
                        Self.finishRow(sum, newWidth, width * height, canvas.base + y * newWidth)
                        y += 1
                    }
                }
            }
        }
        return result
    }

    /// Adds one old row, times its share, to the sums (R, G, B times alpha, and alpha) of a new row.
    private static func addRow(
        _ row: UnsafePointer<UInt32>, _ width: Int, _ newWidth: Int, _ share: Int,
        _ sums: UnsafeMutablePointer<Int>
    ) {
        var x = 0
        var position = 0
        var target = 0
        var edge = width
        while x < width {
            let word = row[x]
            let alpha = Int(word >> 24)
            let red = Int(word & 255) &* alpha
            let green = Int((word >> 8) & 255) &* alpha
            let blue = Int((word >> 16) & 255) &* alpha
            let end = position &+ newWidth
            while position < end {
                let stop = edge < end ? edge : end
                let weight = (stop &- position) &* share
                let lane = sums + target &* 4
                lane[0] &+= red &* weight
                lane[1] &+= green &* weight
                lane[2] &+= blue &* weight
                lane[3] &+= alpha &* weight
                position = stop
                if stop == edge {
                    edge &+= width
                    target &+= 1
                }
            }
            x &+= 1
        }
    }

    private static func finishRow(
        _ sums: UnsafePointer<Int>, _ count: Int, _ area: Int,
        _ target: UnsafeMutablePointer<UInt32>
    ) {
        var x = 0
        while x < count {
            let lane = sums + x * 4
            let weight = lane[3]
            if weight == 0 {
                target[x] = 0
            } else {
                let half = weight / 2
                let red = UInt32((lane[0] + half) / weight)
                let green = UInt32((lane[1] + half) / weight)
                let blue = UInt32((lane[2] + half) / weight)
                let alpha = UInt32((weight + area / 2) / area)
                target[x] = red | green << 8 | blue << 16 | alpha << 24
            }
            x += 1
        }
    }
}
