/// How QEMU describes pixels that it sends or maps: a format of pixman, whose bytes we know.
public struct QEMUPicture: Sendable, Hashable {
    /// Width and height in pixels.
    public var size: Size
    /// Bytes from one row to the next.
    public var stride: UInt32
    /// The format; of a console's picture without alpha, whatever QEMU calls it: a screen shines through nowhere.
    public var format: FourCC
    /// Bytes of a pixel.
    public var pixelBytes: UInt32

    /// By pixman's number (bits << 24 | type << 16 | bits of alpha, red, green and blue): fourcc and bytes.
    static func format(pixman: UInt32) -> (fourcc: FourCC, bytes: UInt32)? {
        switch pixman {
        case 0x2002_0888, 0x2002_8888: (FourCC(0x3432_5258), 4)  // x8r8g8b8, a8r8g8b8: XR24
        case 0x2003_0888, 0x2003_8888: (FourCC(0x3432_4258), 4)  // x8b8g8r8, a8b8g8r8: XB24
        case 0x2008_0888, 0x2008_8888: (FourCC(0x3432_5842), 4)  // b8g8r8x8, b8g8r8a8: BX24
        case 0x2009_0888, 0x2009_8888: (FourCC(0x3432_5852), 4)  // r8g8b8x8, r8g8b8a8: RX24
        case 0x1002_0565: (FourCC(0x3631_4752), 2)  // r5g6b5: RG16
        default: nil
        }
    }

    /// Checks what QEMU says of a picture.
    ///
    /// - Throws: `badFormat`, `badValue` or `badLayout`.
    public init(
        width: UInt32, height: UInt32, stride: UInt32, pixman: UInt32
    ) throws(Refusal) {
        guard let (format, bytes) = Self.format(pixman: pixman) else {
            throw Refusal(
                .badFormat, "QEMU names pixman format 0x\(String(pixman, radix: 16)).")
        }
        size = try Self.size(width, height)
        guard UInt64(stride) >= UInt64(width) * UInt64(bytes), stride <= 1 << 20 else {
            throw Refusal(
                .badLayout, "A row of \(width) pixels cannot have a stride of \(stride) bytes.")
        }
        self.stride = stride
        self.format = format
        pixelBytes = bytes
    }

    /// Checks a size.
    static func size(_ width: UInt32, _ height: UInt32) throws(Refusal) -> Size {
        let sides = 1...VMLimits.maximumDimension
        guard sides.contains(width), sides.contains(height) else {
            throw Refusal(
                .badValue,
                "A picture of \(width)x\(height) pixels: each side has 1 to \(VMLimits.maximumDimension)."
            )
        }
        return Size(width: width, height: height)
    }

    /// Bytes that its rows take; the last one need not be whole.
    public var byteCount: UInt64 {
        UInt64(stride) * UInt64(size.height - 1) + UInt64(size.width) * UInt64(pixelBytes)
    }

    /// Refuses a picture that more bytes belong to than came.
    func require(_ count: Int) throws(Refusal) {
        guard byteCount <= UInt64(count) else {
            throw Refusal(
                .badLayout, "A picture of \(byteCount) bytes came with \(count).")
        }
    }
}

/// A rectangle as QEMU says it, clipped to the picture that it is about.
public struct QEMURectangle: Sendable, Equatable {
    /// The part inside the picture.
    public var inside: Rectangle
    /// Columns that lie left of the picture, and rows above it.
    public var skipped: (columns: UInt32, rows: UInt32) { (skippedColumns, skippedRows) }
    private var skippedColumns: UInt32
    private var skippedRows: UInt32

    /// Clips a rectangle.
    ///
    /// - Returns: nil when no pixel of it lies inside.
    /// - Throws: `badValue` for a negative width or height.
    public init?(
        x: Int32, y: Int32, width: Int32, height: Int32, in size: Size
    ) throws(Refusal) {
        guard width >= 0, height >= 0 else {
            throw Refusal(.badValue, "A rectangle is \(width) wide and \(height) high.")
        }
        let left = max(0, Int64(x))
        let top = max(0, Int64(y))
        let right = min(Int64(size.width), Int64(x) + Int64(width))
        let bottom = min(Int64(size.height), Int64(y) + Int64(height))
        guard left < right, top < bottom else { return nil }
        inside = Rectangle(
            x: UInt32(left), y: UInt32(top), width: UInt32(right - left),
            height: UInt32(bottom - top))
        skippedColumns = UInt32(left - Int64(x))
        skippedRows = UInt32(top - Int64(y))
    }
}

/// Pixels to be copied into a console's picture: where they lie among the bytes that came, and where they go.
public struct QEMUCopy: Sendable, Equatable {
    /// The place in the picture.
    public var target: Rectangle
    /// Bytes before the first pixel.
    public var start: Int
    /// Bytes from one row to the next.
    public var stride: Int
    /// Bytes of a row.
    public var rowBytes: Int

    /// Pixels to be copied.
    public init(target: Rectangle, start: Int, stride: Int, rowBytes: Int) {
        self.target = target
        self.start = start
        self.stride = stride
        self.rowBytes = rowBytes
    }
}
