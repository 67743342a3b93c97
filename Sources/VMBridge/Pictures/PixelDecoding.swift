import Glibc

// Unsafe here: pixels are read from mapped buffers of a guest. All bounds are checked before the
// first read; each row is copied out once and decoded from the copy, so that a guest that writes
// meanwhile changes colours and nothing else, and odd offsets need no aligned access.

extension Picture {
    /// Reads an image from memory.
    /// - Parameters:
    ///   - format: layout of the pixels; linear only.
    ///   - planes: as many as the format has, in its order. Offsets and strides may be hostile.
    ///   - inverted: the first row in memory is the bottom one (`y_invert` of linux-dmabuf).
    ///   - alpha: what becomes of premultiplied alpha. Formats without alpha give opaque pixels.
    ///   - encoding: for YUV formats.
    /// - Throws: a size, stride, offset or plane that does not fit; nothing is read then.
    package init(
        _ format: PixelFormat, width: Int, height: Int, planes: [PixelPlane],
        inverted: Bool = false, alpha: AlphaReading = .straight,
        encoding: YUVEncoding = .standard
    ) throws(PictureError) {
        try format.validate(
            width: width, height: height,
            planes: planes.map { ($0.memory.count, $0.offset, $0.stride) })
        let rows = RowSource(format: format, width: width, planes: planes)
        let coefficients = YUVCoefficients(encoding)
        self.init(width: width, height: height)
        draw { canvas in
            var y = 0
            while y < height {
                let source = inverted ? height - 1 - y : y
                rows.load(source)
                let target = canvas.base + y * width
                if let channels = format.byteChannels {
                    Self.decodeBytes(rows.words, target, width, channels, opaque: !format.hasAlpha)
                } else {
                    switch format {
                    case .rgb565: Self.decode565(rows.halves, target, width)
                    case .nv12: Self.decodeNV12(rows, target, width, coefficients)
                    case .p010: Self.decodeP010(rows, target, width, coefficients)
                    case .yuyv: Self.decodeYUYV(rows.bytes, target, width, coefficients)
                    default:
                        Self.decode10(
                            rows.words, target, width, swapped: format == .xbgr2101010,
                            opaque: !format.hasAlpha)
                    }
                }
                if format.hasAlpha { Self.settleAlpha(target, width, alpha) }
                y += 1
            }
        }
    }

    /// `init(_:width:height:planes:…)` for a format with one plane.
    package init(
        _ format: PixelFormat, width: Int, height: Int, memory: UnsafeRawBufferPointer,
        offset: Int = 0, stride: Int, inverted: Bool = false, alpha: AlphaReading = .straight
    ) throws(PictureError) {
        try self.init(
            format, width: width, height: height,
            planes: [PixelPlane(memory, offset: offset, stride: stride)], inverted: inverted,
            alpha: alpha)
    }

    private static func decodeBytes(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutablePointer<UInt32>, _ width: Int,
        _ channels: (red: UInt32, green: UInt32, blue: UInt32, alpha: UInt32), opaque: Bool
    ) {
        let extra: UInt32 = opaque ? 0xff00_0000 : 0
        var x = 0
        while x < width {
            let word = row[x]
            target[x] =
                (word &>> channels.red) & 255 | ((word &>> channels.green) & 255) &<< 8
                | ((word &>> channels.blue) & 255) &<< 16
                | ((word &>> channels.alpha) & 255) &<< 24 | extra
            x &+= 1
        }
    }

    private static func decode10(
        _ row: UnsafePointer<UInt32>, _ target: UnsafeMutablePointer<UInt32>, _ width: Int,
        swapped: Bool, opaque: Bool
    ) {
        var x = 0
        while x < width {
            let word = row[x]
            let high = (word >> 22) & 255
            let green = (word >> 12) & 255
            let low = (word >> 2) & 255
            let alpha: UInt32 = opaque ? 255 : (word >> 30) &* 85
            target[x] =
                (swapped ? low : high) | green << 8 | (swapped ? high : low) << 16 | alpha << 24
            x &+= 1
        }
    }

    private static func decode565(
        _ row: UnsafePointer<UInt16>, _ target: UnsafeMutablePointer<UInt32>, _ width: Int
    ) {
        var x = 0
        while x < width {
            let word = UInt32(row[x])
            let red = word >> 11
            let green = (word >> 5) & 63
            let blue = word & 31
            // The high bits once more at the low end: 31 and 63 become 255.
            target[x] =
                (red << 3 | red >> 2) | (green << 2 | green >> 4) << 8
                | (blue << 3 | blue >> 2) << 16 | 0xff00_0000
            x &+= 1
        }
    }

    private static func decodeNV12(
        _ rows: RowSource, _ target: UnsafeMutablePointer<UInt32>, _ width: Int,
        _ coefficients: YUVCoefficients
    ) {
        let (luma, chroma) = (rows.bytes, rows.chromaBytes)
        var x = 0
        while x < width {
            let pair = x & ~1
            target[x] = coefficients.word(
                y: Int(luma[x]) &* 4, cb: Int(chroma[pair]) &* 4, cr: Int(chroma[pair &+ 1]) &* 4)
            x &+= 1
        }
    }

    private static func decodeP010(
        _ rows: RowSource, _ target: UnsafeMutablePointer<UInt32>, _ width: Int,
        _ coefficients: YUVCoefficients
    ) {
        let (luma, chroma) = (rows.halves, rows.chromaHalves)
        var x = 0
        while x < width {
            let pair = x & ~1
            target[x] = coefficients.word(
                y: Int(luma[x] >> 6), cb: Int(chroma[pair] >> 6), cr: Int(chroma[pair &+ 1] >> 6))
            x &+= 1
        }
    }

    private static func decodeYUYV(
        _ row: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<UInt32>, _ width: Int,
        _ coefficients: YUVCoefficients
    ) {
        var x = 0
        while x < width {
            let group = row + (x >> 1) &* 4
            target[x] = coefficients.word(
                y: Int(group[(x & 1) &* 2]) &* 4, cb: Int(group[1]) &* 4, cr: Int(group[3]) &* 4)
            x &+= 1
        }
    }

    /// Divides premultiplied alpha out, or makes the row opaque.
    private static func settleAlpha(
        _ row: UnsafeMutablePointer<UInt32>, _ width: Int, _ reading: AlphaReading
    ) {
        var x = 0
        while x < width {
            let word = row[x]
            let alpha = word >> 24
            if reading == .overBlack {
                row[x] = word | 0xff00_0000
            } else if alpha == 0 {
                row[x] = 0
            } else if alpha < 255 {
                let half = alpha / 2
                let red = min(255, ((word & 255) * 255 + half) / alpha)
                let green = min(255, (((word >> 8) & 255) * 255 + half) / alpha)
                let blue = min(255, (((word >> 16) & 255) * 255 + half) / alpha)
                row[x] = red | green << 8 | blue << 16 | alpha << 24
            }
            x &+= 1
        }
    }
}

/// Copies of the memory rows that one picture row needs. Planes must have been validated.
private final class RowSource {
    private let format: PixelFormat
    private let planes: [PixelPlane]
    private let lengths: [Int]
    /// Two rows, each with its length rounded up to 8 bytes.
    private let storage: UnsafeMutableRawPointer
    private let second: Int
    private var loadedChroma = -1

    init(format: PixelFormat, width: Int, planes: [PixelPlane]) {
        self.format = format
        self.planes = planes
        lengths = planes.indices.map { format.rowBytes(plane: $0, width: width) }
        second = (lengths.reduce(0, max) + 7) / 8 * 8
        storage = .allocate(byteCount: second * 2, alignment: 8)
    }

    deinit { storage.deallocate() }

    func load(_ y: Int) {
        copy(plane: 0, row: y, to: storage)
        if planes.count > 1, loadedChroma != y / 2 {
            loadedChroma = y / 2
            copy(plane: 1, row: loadedChroma, to: storage + second)
        }
    }

    private func copy(plane index: Int, row: Int, to target: UnsafeMutableRawPointer) {
        let plane = planes[index]
        guard let base = plane.memory.baseAddress else { return }
        memcpy(target, base + (plane.offset + row * plane.stride), lengths[index])
    }

    var bytes: UnsafePointer<UInt8> { UnsafePointer(storage.assumingMemoryBound(to: UInt8.self)) }
    var halves: UnsafePointer<UInt16> {
        UnsafePointer(storage.assumingMemoryBound(to: UInt16.self))
    }
    var words: UnsafePointer<UInt32> {
        UnsafePointer(storage.assumingMemoryBound(to: UInt32.self))
    }
    var chromaBytes: UnsafePointer<UInt8> {
        UnsafePointer((storage + second).assumingMemoryBound(to: UInt8.self))
    }
    var chromaHalves: UnsafePointer<UInt16> {
        UnsafePointer((storage + second).assumingMemoryBound(to: UInt16.self))
    }
}
