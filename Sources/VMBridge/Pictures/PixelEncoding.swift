import Glibc

// Unsafe here: pixels are written into mapped buffers. All bounds are checked before the first
// write; rows are made in memory of our own and copied, so that odd offsets are no matter.

extension Picture {
    /// Writes (a part of) the picture into an image of the same size in memory.
    ///
    /// Alpha is premultiplied for formats that carry it; the others take the colours as they are.
    /// YUV formats widen the part to even edges; a colour is the mean of the pixels that share it.
    /// - Parameters:
    ///   - planes: the whole image's planes, not the part's.
    ///   - part: the rectangle to write; everything by default. Clipped to the picture.
    package func encode(
        _ format: PixelFormat, into planes: [WritablePixelPlane], part: PixelRect? = nil,
        encoding: YUVEncoding = .standard
    ) throws(PictureError) {
        try format.validate(
            width: width, height: height,
            planes: planes.map { ($0.memory.count, $0.offset, $0.stride) })
        let area = format.writableArea((part ?? bounds).intersection(bounds), in: bounds)
        guard !area.isEmpty else { return }
        withPixels { pixels in
            guard let source = pixels.baseAddress else { return }
            let writer = RowWriter(format: format, area: area, planes: planes)
            if let channels = format.byteChannels {
                writer.packed(source, width) { row, target, count in
                    Self.encodeBytes(row, target, count, channels, alpha: format.hasAlpha)
                }
            } else if format == .rgb565 {
                writer.packed(source, width, Self.encode565)
            } else if format.halvesColour {
                writer.yuv(source, width, height, YUVCoefficients(encoding))
            } else {
                writer.packed(source, width) { row, target, count in
                    Self.encode10(
                        row, target, count, swapped: format == .xbgr2101010, alpha: format.hasAlpha)
                }
            }
        }
    }

    /// A pixel word with its colours multiplied by alpha.
    @inline(__always)
    static func premultiplied(_ word: UInt32) -> UInt32 {
        let alpha = word >> 24
        if alpha == 255 { return word }
        func scaled(_ shift: UInt32) -> UInt32 {
            ((((word &>> shift) & 255) &* alpha &+ 127) / 255) &<< shift
        }
        return scaled(0) | scaled(8) | scaled(16) | alpha << 24
    }

    private static func encodeBytes(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutableRawPointer, _ count: Int,
        _ channels: (red: UInt32, green: UInt32, blue: UInt32, alpha: UInt32), alpha: Bool
    ) {
        let words = target.assumingMemoryBound(to: UInt32.self)
        var x = 0
        while x < count {
            let word = alpha ? premultiplied(row[x]) : row[x] | 0xff00_0000
            words[x] =
                (word & 255) &<< channels.red | ((word >> 8) & 255) &<< channels.green
                | ((word >> 16) & 255) &<< channels.blue | (word >> 24) &<< channels.alpha
            x &+= 1
        }
    }

    private static func encode10(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutableRawPointer, _ count: Int,
        swapped: Bool, alpha: Bool
    ) {
        let words = target.assumingMemoryBound(to: UInt32.self)
        // The high bits once more at the low end: 255 becomes 1023.
        func widened(_ channel: UInt32) -> UInt32 { channel << 2 | channel >> 6 }
        var x = 0
        while x < count {
            let word = alpha ? premultiplied(row[x]) : row[x] | 0xff00_0000
            let red = widened(word & 255)
            let green = widened((word >> 8) & 255)
            let blue = widened((word >> 16) & 255)
            words[x] =
                (swapped ? red : blue) | green << 10 | (swapped ? blue : red) << 20
                | (((word >> 24) &+ 42) / 85) << 30
            x &+= 1
        }
    }

    private static func encode565(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutableRawPointer, _ count: Int
    ) {
        let halves = target.assumingMemoryBound(to: UInt16.self)
        var x = 0
        while x < count {
            let word = row[x]
            let packed = (word & 0xf8) << 8 | (word & 0xfc00) >> 5 | (word & 0xf8_0000) >> 19
            halves[x] = UInt16(truncatingIfNeeded: packed)
            x &+= 1
        }
    }
}

extension PixelFormat {
    /// A rectangle widened to whole groups of pixels that share a colour, within `bounds`.
    package func writableArea(_ rect: PixelRect, in bounds: PixelRect) -> PixelRect {
        guard halvesColour, !rect.isEmpty else { return rect }
        let (left, top) = (rect.x & ~1, rect.y & ~1)
        return PixelRect(
            x: left, y: top, width: (rect.right + 1) & ~1 - left,
            height: (rect.bottom + 1) & ~1 - top
        ).intersection(bounds)
    }
}

/// Makes rows of one area and copies them into the planes. Planes must have been validated.
private struct RowWriter {
    let format: PixelFormat
    let area: PixelRect
    let planes: [WritablePixelPlane]

    /// Where a plane's row begins, `column` bytes in.
    private func place(_ plane: Int, _ row: Int, _ column: Int) -> UnsafeMutableRawPointer? {
        let target = planes[plane]
        return target.memory.baseAddress.map { $0 + (target.offset + row * target.stride + column) }
    }

    /// Formats of one plane with whole pixels.
    func packed(
        _ source: UnsafePointer<UInt32>, _ width: Int,
        _ encode: (UnsafePointer<UInt32>, UnsafeMutableRawPointer, Int) -> Void
    ) {
        let length = format.rowBytes(plane: 0, width: area.width)
        let column = format.rowBytes(plane: 0, width: area.x)
        withUnsafeTemporaryAllocation(byteCount: length, alignment: 8) { buffer in
            guard let row = buffer.baseAddress else { return }
            for y in area.y..<area.bottom {
                encode(source + (y * width + area.x), row, area.width)
                if let target = place(0, y, column) { memcpy(target, row, length) }
            }
        }
    }

    /// NV12, P010 (two rows at a time) and YUYV (one row at a time).
    func yuv(
        _ source: UnsafePointer<UInt32>, _ width: Int, _ height: Int,
        _ coefficients: YUVCoefficients
    ) {
        let pairs = (area.width + 1) / 2
        let tall = format == .yuyv ? 1 : 2
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: pairs * 6) { buffer in
            guard let line = buffer.baseAddress else { return }
            // Brightness of up to two rows (16-bit values), then Cb and Cr in turns.
            let chroma = line + pairs * 4
            var y = area.y
            while y < area.bottom {
                let top = source + (y * width + area.x)
                let hasBelow = tall == 2 && y + 1 < height
                let below = hasBelow ? top + width : top
                brightness(top, line, coefficients)
                if hasBelow { brightness(below, line + pairs * 2, coefficients) }
                colour(top, below, chroma, coefficients)
                if format == .yuyv {
                    storeYUYV(line, chroma, pairs, y)
                } else {
                    store(line, plane: 0, row: y, count: area.width, first: area.x)
                    if hasBelow {
                        store(
                            line + pairs * 2, plane: 0, row: y + 1, count: area.width, first: area.x
                        )
                    }
                    store(chroma, plane: 1, row: y / 2, count: pairs * 2, first: area.x)
                }
                y += tall
            }
        }
    }

    /// Sample values are kept as 16 bits with the 8-bit (or for P010 10-bit) value on top.
    private var fraction: Int { format == .p010 ? 14 : 16 }

    @inline(__always)
    private func sample(_ value: Int, _ fraction: Int) -> UInt16 {
        var rounded = (value &+ (1 << (fraction &- 1))) >> fraction
        // Full range: pure blue and red lie half a step above the top.
        let top = (1 << (24 &- fraction)) &- 1
        if rounded > top { rounded = top }
        return UInt16(truncatingIfNeeded: rounded << (fraction &- 8))
    }

    private func brightness(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutablePointer<UInt16>,
        _ coefficients: YUVCoefficients
    ) {
        let bits = fraction
        var x = 0
        while x < area.width {
            target[x] = sample(coefficients.y(row[x]), bits)
            x &+= 1
        }
        // The missing half of an odd last pair.
        if area.width & 1 == 1 { target[x] = target[x - 1] }
    }

    private func colour(
        _ top: UnsafePointer<UInt32>, _ below: UnsafePointer<UInt32>,
        _ target: UnsafeMutablePointer<UInt16>, _ coefficients: YUVCoefficients
    ) {
        let bits = fraction
        var x = 0
        while x < area.width {
            let next = x + 1 < area.width ? x + 1 : x
            let (a, b, c, d) = (top[x], top[next], below[x], below[next])
            let red = (a & 255) &+ (b & 255) &+ (c & 255) &+ (d & 255)
            let green =
                ((a >> 8) & 255) &+ ((b >> 8) & 255) &+ ((c >> 8) & 255) &+ ((d >> 8) & 255)
            let blue =
                ((a >> 16) & 255) &+ ((b >> 16) & 255) &+ ((c >> 16) & 255) &+ ((d >> 16) & 255)
            let (cb, cr) = coefficients.chroma(Int(red), Int(green), Int(blue), shift: 2)
            target[x] = sample(cb, bits)
            target[x + 1] = sample(cr, bits)
            x &+= 2
        }
    }

    private func store(
        _ samples: UnsafePointer<UInt16>, plane: Int, row: Int, count: Int, first: Int
    ) {
        let size = format == .p010 ? 2 : 1
        guard let target = place(plane, row, first * size) else { return }
        if size == 2 {
            memcpy(target, samples, count * 2)
            return
        }
        let bytes = target.assumingMemoryBound(to: UInt8.self)
        var x = 0
        while x < count {
            bytes[x] = UInt8(truncatingIfNeeded: samples[x] >> 8)
            x &+= 1
        }
    }

    private func storeYUYV(
        _ line: UnsafePointer<UInt16>, _ chroma: UnsafePointer<UInt16>, _ pairs: Int, _ row: Int
    ) {
        guard let target = place(0, row, area.x * 2) else { return }
        let bytes = target.assumingMemoryBound(to: UInt8.self)
        var x = 0
        while x < pairs * 2 {
            bytes[x &* 2] = UInt8(truncatingIfNeeded: line[x] >> 8)
            bytes[x &* 2 &+ 1] = UInt8(truncatingIfNeeded: chroma[x] >> 8)
            x &+= 1
        }
    }
}
