/// The pixel formats that can be turned into a `Picture` and back. Raw values are the fourcc
/// numbers of drm_fourcc.h; names give the channels from the highest bits of the little-endian
/// word to the lowest, as there.
package enum PixelFormat: UInt32, CaseIterable, Sendable, CustomStringConvertible {
    case xrgb8888 = 0x3432_5258
    case argb8888 = 0x3432_5241
    case xbgr8888 = 0x3432_4258
    case abgr8888 = 0x3432_4241
    case rgbx8888 = 0x3432_5852
    case rgba8888 = 0x3432_4152
    case bgrx8888 = 0x3432_5842
    case bgra8888 = 0x3432_4142
    case xrgb2101010 = 0x3033_5258
    case argb2101010 = 0x3033_5241
    case xbgr2101010 = 0x3033_4258
    case rgb565 = 0x3631_4752
    /// A plane of brightness and one of interleaved, halved (both ways) Cb, Cr.
    case nv12 = 0x3231_564e
    /// Packed Y0 Cb Y1 Cr.
    case yuyv = 0x5659_5559
    /// NV12 with 10 bits in the high end of 16-bit words.
    case p010 = 0x3031_3050

    /// The format of a fourcc number; an error for numbers without a conversion.
    package init(fourcc: UInt32) throws(PictureError) {
        guard let format = PixelFormat(rawValue: fourcc) else {
            throw .unsupportedFormat(fourcc: fourcc)
        }
        self = format
    }

    /// "XR24" for 0x34325258; hexadecimal when a byte is not printable.
    package static func name(ofFourcc fourcc: UInt32) -> String {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: fourcc >> ($0 * 8)) }
        guard bytes.allSatisfy({ $0 >= 32 && $0 < 127 }) else {
            return "0x" + String(fourcc, radix: 16)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    package var description: String { Self.name(ofFourcc: rawValue) }

    /// Number of memory planes (linear layout).
    package var planeCount: Int { self == .nv12 || self == .p010 ? 2 : 1 }

    /// True when two neighbouring columns share their colour.
    package var halvesColour: Bool { self == .nv12 || self == .p010 || self == .yuyv }

    /// Bytes of one row of a plane, without padding.
    package func rowBytes(plane: Int, width: Int) -> Int {
        switch self {
        case .rgb565: width * 2
        case .yuyv: (width + 1) / 2 * 4
        case .nv12: plane == 0 ? width : (width + 1) / 2 * 2
        case .p010: plane == 0 ? width * 2 : (width + 1) / 2 * 4
        default: width * 4
        }
    }

    /// Rows of a plane.
    package func rows(plane: Int, height: Int) -> Int {
        plane == 0 ? height : (height + 1) / 2
    }

    /// Offsets and strides of the planes one after the other in one buffer, and the bytes that it
    /// needs. Strides are multiples of `alignment`; so is the size.
    package func linearLayout(
        width: Int, height: Int, alignment: Int = 64
    ) throws(PictureError) -> (planes: [(offset: Int, stride: Int)], size: Int) {
        try Picture.checkSize(width: width, height: height)
        let unit = max(alignment, 1)
        func aligned(_ bytes: Int) -> Int { (bytes + unit - 1) / unit * unit }
        var planes: [(offset: Int, stride: Int)] = []
        var end = 0
        for plane in 0..<planeCount {
            let stride = aligned(rowBytes(plane: plane, width: width))
            planes.append((end, stride))
            end += stride * rows(plane: plane, height: height)
        }
        return (planes, end)
    }

    /// How a 32-bit word with 8-bit channels is cut up: shifts of red, green, blue and alpha.
    /// `nil` for the other formats; `alpha` is where the unused byte is when `hasAlpha` is false.
    var byteChannels: (red: UInt32, green: UInt32, blue: UInt32, alpha: UInt32)? {
        switch self {
        case .xrgb8888, .argb8888: (16, 8, 0, 24)
        case .xbgr8888, .abgr8888: (0, 8, 16, 24)
        case .rgbx8888, .rgba8888: (24, 16, 8, 0)
        case .bgrx8888, .bgra8888: (8, 16, 24, 0)
        default: nil
        }
    }

    /// True when the format carries alpha (premultiplied, as Wayland has it).
    package var hasAlpha: Bool {
        switch self {
        case .argb8888, .abgr8888, .rgba8888, .bgra8888, .argb2101010: true
        default: false
        }
    }

    /// Refuses planes that do not lie within their memory. The last row needs its pixels only, not
    /// the padding after them. All sums are 64-bit and checked.
    func validate(
        width: Int, height: Int, planes: [(length: Int, offset: Int, stride: Int)]
    ) throws(PictureError) {
        try Picture.checkSize(width: width, height: height)
        guard planes.count == planeCount else {
            throw .planeCount(expected: planeCount, given: planes.count)
        }
        for (index, plane) in planes.enumerated() {
            guard plane.offset >= 0 else {
                throw .negativeOffset(plane: index, offset: plane.offset)
            }
            let needed = rowBytes(plane: index, width: width)
            guard plane.stride >= needed else {
                throw .strideTooShort(plane: index, stride: plane.stride, needed: needed)
            }
            let before = rows(plane: index, height: height) - 1
            let (body, overflow1) = plane.stride.multipliedReportingOverflow(by: before)
            let (start, overflow2) = plane.offset.addingReportingOverflow(body)
            let (end, overflow3) = start.addingReportingOverflow(needed)
            if overflow1 || overflow2 || overflow3 {
                throw .outOfBounds(plane: index, end: .max, length: plane.length)
            }
            guard end <= plane.length else {
                throw .outOfBounds(plane: index, end: end, length: plane.length)
            }
        }
    }
}

/// One plane of an image in memory that can be read. Offsets and strides are in bytes and may come
/// from a guest: they are checked before the first read.
package struct PixelPlane {
    package var memory: UnsafeRawBufferPointer
    package var offset: Int
    package var stride: Int

    package init(_ memory: UnsafeRawBufferPointer, offset: Int, stride: Int) {
        self.memory = memory
        self.offset = offset
        self.stride = stride
    }
}

/// One plane of an image in memory that can be written; else like `PixelPlane`.
package struct WritablePixelPlane {
    package var memory: UnsafeMutableRawBufferPointer
    package var offset: Int
    package var stride: Int

    package init(_ memory: UnsafeMutableRawBufferPointer, offset: Int, stride: Int) {
        self.memory = memory
        self.offset = offset
        self.stride = stride
    }

    /// The planes of `format` laid out in one buffer as `PixelFormat.linearLayout` says.
    package static func linear(
        _ memory: UnsafeMutableRawBufferPointer, _ format: PixelFormat, width: Int, height: Int
    ) throws(PictureError) -> [WritablePixelPlane] {
        try format.linearLayout(width: width, height: height).planes.map {
            WritablePixelPlane(memory, offset: $0.offset, stride: $0.stride)
        }
    }

    /// The same plane for reading.
    package var readable: PixelPlane {
        PixelPlane(UnsafeRawBufferPointer(memory), offset: offset, stride: stride)
    }
}

/// What becomes of a format's alpha in a `Picture`.
package enum AlphaReading: Sendable {
    /// Divided out: `Picture` (and PNG) have straight alpha. Colours above their alpha are cut to 255.
    case straight
    /// What a window shows over black: the premultiplied colours as they are, opaque.
    case overBlack
}

/// How brightness and colour difference become red, green and blue.
package struct YUVEncoding: Equatable, Sendable {
    package enum Matrix: Sendable {
        case bt601
        case bt709
        case bt2020
    }

    package var matrix: Matrix
    /// Full range uses 0…255; limited 16…235 for brightness, 16…240 for colour.
    package var fullRange: Bool

    package init(_ matrix: Matrix, fullRange: Bool = false) {
        self.matrix = matrix
        self.fullRange = fullRange
    }

    /// BT.601, limited range: what is meant when nobody says.
    package static let standard = YUVEncoding(.bt601)

    /// Weights of red and blue in brightness (ITU-R BT.601, BT.709, BT.2020).
    var weights: (red: Double, blue: Double) {
        switch matrix {
        case .bt601: (0.299, 0.114)
        case .bt709: (0.2126, 0.0722)
        case .bt2020: (0.2627, 0.0593)
        }
    }
}
