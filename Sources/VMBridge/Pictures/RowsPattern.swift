import Glibc

// Unsafe here: rows are put together in memory of our own and copied into mapped buffers whose planes
// were validated before.

/// What a row of a `RowsPattern` says, as 128 cells of one pixel, black or white, the first one in the
/// highest bit of `high`:
///
///     high   16 sync | 32 frame, its lowest byte first | 16 seed
///     low    14 row | 14 width − 1 | 14 height − 1 | 6 zero | 16 check
///
/// The cells are repeated to the end of the row; the last copy is cut off where the row ends, and still
/// tells a frame from the next if it has 24 cells. The sync
/// cells of the copies after the first are the opposite of the first one's, so that the left edge is
/// known.
struct RowCode: Equatable {
    static let cellCount = 128
    static let firstSync: UInt64 = 0xf1a6
    static let laterSync: UInt64 = ~firstSync & 0xffff

    var seed: UInt16
    var frame: UInt32
    var row: Int
    var width: Int
    var height: Int

    init(seed: UInt16, frame: UInt32, row: Int, width: Int, height: Int) {
        self.seed = seed
        self.frame = frame
        self.row = row
        self.width = width
        self.height = height
    }

    /// From 128 cells; `nil` when they are no such code. The sync cells are not looked at.
    init?(_ high: UInt64, _ low: UInt64) {
        guard low >> 16 & 63 == 0, Self.check(high, low) == low & 0xffff else { return nil }
        seed = UInt16(truncatingIfNeeded: high)
        frame = UInt32(truncatingIfNeeded: high >> 16).byteSwapped
        row = Int(low >> 50)
        width = Int(low >> 36 & 0x3fff) + 1
        height = Int(low >> 22 & 0x3fff) + 1
        guard row < height, width >= Self.cellCount else { return nil }
    }

    /// The cells of the first copy or of a later one.
    func cells(isFirst: Bool) -> (high: UInt64, low: UInt64) {
        let high =
            (isFirst ? Self.firstSync : Self.laterSync) << 48
            | UInt64(frame.byteSwapped) << 16 | UInt64(seed)
        let low =
            UInt64(row) << 50 | UInt64(width - 1) << 36 | UInt64(height - 1) << 22
        return (high, low | Self.check(high, low))
    }

    /// CRC-16 (polynomial 0x1021) of all that is between sync and check.
    private static func check(_ high: UInt64, _ low: UInt64) -> UInt64 {
        var sum: UInt32 = 0xffff
        func take(_ word: UInt64, from first: UInt64, to last: UInt64) {
            var shift = first
            while true {
                sum ^= UInt32(truncatingIfNeeded: word >> shift & 255) << 8
                var bit = 0
                while bit < 8 {
                    sum = sum & 0x8000 == 0 ? sum << 1 : sum << 1 ^ 0x1021
                    bit += 1
                }
                sum &= 0xffff
                if shift == last { return }
                shift -= 8
            }
        }
        take(high, from: 40, to: 0)
        take(low, from: 56, to: 16)
        return UInt64(sum)
    }
}

/// A picture whose every row carries the surface's seed, the frame number and the row's own place in
/// full, several times: a picture mixed from two frames, however, shows in the very rows it is mixed in.
/// Drawn whole each time; read back by `RowsPattern.windows(in:)`.
package final class RowsPattern {
    /// The narrowest picture that has room for a row's code.
    package static let minimumWidth = RowCode.cellCount
    /// The number that stands for "overwritten after its release": no frame has it.
    package static let poison: UInt32 = 0xdead_dead

    package let width: Int
    package let height: Int
    package let format: PixelFormat
    /// Tells surfaces apart, modulo 2¹⁶.
    package let seed: UInt16
    /// Where formats that cannot be drawn directly are drawn before they are encoded.
    private var scratch: Picture?

    /// - Throws: `PictureError.size` outside 1…`Picture.maximumSide`, or narrower than `minimumWidth`.
    package init(
        width: Int, height: Int, format: PixelFormat = .xrgb8888, seed: UInt32 = 0
    ) throws(PictureError) {
        try Picture.checkSize(width: width, height: height)
        guard width >= Self.minimumWidth else { throw .size(width: width, height: height) }
        self.width = width
        self.height = height
        self.format = format
        self.seed = UInt16(truncatingIfNeeded: seed)
        if format.byteChannels == nil { scratch = Picture(width: width, height: height) }
    }

    /// Draws a whole frame.
    /// - Parameter planes: the format's planes; validated like a guest's.
    package func draw(
        frame: UInt32, into planes: [WritablePixelPlane]
    ) throws(PictureError) {
        try format.validate(
            width: width, height: height,
            planes: planes.map { ($0.memory.count, $0.offset, $0.stride) })
        if let channels = format.byteChannels {
            guard let base = planes[0].memory.baseAddress else { return }
            let start = base + planes[0].offset
            let stride = planes[0].stride
            render(frame, black: 255 << channels.alpha) { row, pixels in
                memcpy(start + row * stride, pixels, self.width * 4)
            }
            return
        }
        guard var picture = scratch.take() else { return }
        defer { scratch = picture }
        picture.withMutablePixels { target in
            guard let start = target.baseAddress else { return }
            render(frame, black: Colour.black.word) { row, pixels in
                memcpy(start + row * self.width, pixels, self.width * 4)
            }
        }
        try picture.encode(format, into: planes)
    }

    /// Makes one row after the other and hands it over, `width` pixels.
    private func render(
        _ frame: UInt32, black: UInt32, _ body: (Int, UnsafePointer<UInt32>) -> Void
    ) {
        let cells = RowCode.cellCount
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: width + cells) { buffer in
            guard let pixels = buffer.baseAddress else { return }
            var code = RowCode(seed: seed, frame: frame, row: 0, width: width, height: height)
            while code.row < height {
                let words = code.cells(isFirst: true)
                var bit: UInt64 = 0
                while bit < 64 {
                    pixels[Int(bit)] = words.high >> (63 - bit) & 1 == 1 ? .max : black
                    pixels[Int(bit) + 64] = words.low >> (63 - bit) & 1 == 1 ? .max : black
                    bit += 1
                }
                var start = cells
                if start < width {
                    memcpy(pixels + start, pixels, cells * 4)
                    var cell = 0
                    while cell < 16 {
                        pixels[start + cell] = pixels[cell] == black ? .max : black
                        cell += 1
                    }
                    start += cells
                }
                while start < width {
                    memcpy(pixels + start, pixels + cells, cells * 4)
                    start += cells
                }
                body(code.row, pixels)
                code.row += 1
            }
        }
    }

    /// A frame as somebody who reads the buffer sees it.
    package func picture(frame: UInt32) throws(PictureError) -> Picture {
        try Picture(format, width: width, height: height) { (planes) throws(PictureError) in
            try draw(frame: frame, into: planes)
        }
    }
}
