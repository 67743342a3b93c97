/// A DRM fourcc code (drm_fourcc.h).
public struct FourCC: Hashable, Sendable, CustomStringConvertible {
    /// The four characters, first one in the lowest byte.
    public var rawValue: UInt32
    /// Wraps a code as it stands on the wire.
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// 32 bits a pixel: blue, green, red, ignored in memory order.
    public static let xrgb8888 = FourCC(0x3432_5258)
    /// As `xrgb8888`, with premultiplied alpha in the last byte.
    public static let argb8888 = FourCC(0x3432_5241)
    /// 32 bits a pixel: red, green, blue, ignored in memory order.
    public static let xbgr8888 = FourCC(0x3432_4258)
    /// As `xbgr8888`, with premultiplied alpha in the last byte.
    public static let abgr8888 = FourCC(0x3432_4241)
    /// Two planes: luma, then interleaved chroma of half width and half height.
    public static let nv12 = FourCC(0x3231_564e)

    /// The four characters where they can be printed, else the number in hexadecimal.
    public var description: String {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: rawValue >> ($0 * 8)) }
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            return "0x" + String(rawValue, radix: 16)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A DRM format modifier (drm_fourcc.h): how the pixels are laid out in memory.
public struct Modifier: Hashable, Sendable, CustomStringConvertible {
    /// The 64-bit number.
    public var rawValue: UInt64
    /// Wraps a modifier as it stands on the wire.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Row after row.
    public static let linear = Modifier(0)
    /// The layout is known to the driver alone.
    public static let invalid = Modifier(0x00ff_ffff_ffff_ffff)
    /// The two common ones by name, others in hexadecimal.
    public var description: String {
        switch self {
        case .linear: "LINEAR"
        case .invalid: "INVALID"
        default: "0x" + String(rawValue, radix: 16)
        }
    }
}

/// What the validator must know of a fourcc: its planes and how many bytes a row of each needs.
public struct PixelFormatInfo: Sendable {
    /// One plane: bytes a block of `horizontal` pixels takes, and the subsampling of its rows.
    public struct Plane: Sendable {
        /// Bytes of one block.
        public var blockBytes: UInt32
        /// Pixels side by side that share a block.
        public var horizontal: UInt32
        /// Picture rows that share one row of the plane.
        public var vertical: UInt32
    }

    /// One to three planes.
    public var planes: [Plane]
    /// Whether the format carries alpha.
    public var hasAlpha: Bool

    private static func packed(_ bytes: UInt32, alpha: Bool = false) -> PixelFormatInfo {
        PixelFormatInfo(
            planes: [Plane(blockBytes: bytes, horizontal: 1, vertical: 1)], hasAlpha: alpha)
    }

    private static let table: [UInt32: PixelFormatInfo] = [
        0x3432_5258: packed(4), 0x3432_5241: packed(4, alpha: true),  // XR24 AR24
        0x3432_4258: packed(4), 0x3432_4241: packed(4, alpha: true),  // XB24 AB24
        0x3432_5852: packed(4), 0x3432_4152: packed(4, alpha: true),  // RX24 RA24
        0x3432_5842: packed(4), 0x3432_4142: packed(4, alpha: true),  // BX24 BA24
        0x3033_5258: packed(4), 0x3033_5241: packed(4, alpha: true),  // XR30 AR30
        0x3033_4258: packed(4), 0x3033_4241: packed(4, alpha: true),  // XB30 AB30
        0x3631_4752: packed(2),  // RG16
        0x5659_5559: PixelFormatInfo(
            planes: [Plane(blockBytes: 4, horizontal: 2, vertical: 1)], hasAlpha: false),  // YUYV
        0x3231_564e: PixelFormatInfo(
            planes: [
                Plane(blockBytes: 1, horizontal: 1, vertical: 1),
                Plane(blockBytes: 2, horizontal: 2, vertical: 2),
            ], hasAlpha: false),  // NV12
        0x3031_3050: PixelFormatInfo(
            planes: [
                Plane(blockBytes: 2, horizontal: 1, vertical: 1),
                Plane(blockBytes: 4, horizontal: 2, vertical: 2),
            ], hasAlpha: false),  // P010
    ]

    /// What is known of a fourcc; nil for one this program does not know.
    public static func of(_ format: FourCC) -> PixelFormatInfo? { table[format.rawValue] }

    /// Every format that is known, by number.
    public static let known: [FourCC] = table.keys.sorted().map(FourCC.init)
}

/// One plane of a buffer as a producer describes it.
public struct PlaneLayout: Hashable, Sendable {
    /// Which of the buffer's descriptors holds the plane.
    public var descriptor: UInt32
    /// Bytes from the descriptor's start to the plane's first row.
    public var offset: UInt32
    /// Bytes from one row to the next.
    public var stride: UInt32
    /// A plane at an offset of one of the buffer's descriptors.
    public init(descriptor: UInt32, offset: UInt32, stride: UInt32) {
        self.descriptor = descriptor
        self.offset = offset
        self.stride = stride
    }
}

/// What kind of memory a buffer's descriptors are said to name.
public enum MemoryKind: UInt32, Sendable {
    /// dma-bufs.
    case dmaBuf = 1
    /// Memfds, sealed against shrinking.
    case memfd = 2
}

/// Everything that describes a buffer's pixels; descriptors apart.
public struct BufferLayout: Hashable, Sendable {
    /// Width and height in pixels.
    public var size: Size
    /// Pixel format.
    public var format: FourCC
    /// Memory layout.
    public var modifier: Modifier
    /// What the descriptors name.
    public var memory: MemoryKind
    /// Rows run from the bottom up.
    public var isBottomUp: Bool
    /// One to four planes.
    public var planes: [PlaneLayout]

    /// Describes a buffer.
    public init(
        size: Size, format: FourCC, modifier: Modifier, memory: MemoryKind,
        isBottomUp: Bool = false, planes: [PlaneLayout]
    ) {
        self.size = size
        self.format = format
        self.modifier = modifier
        self.memory = memory
        self.isBottomUp = isBottomUp
        self.planes = planes
    }

    /// Rows of a plane: fewer than the picture has where colour is subsampled.
    public func rows(ofPlane index: Int) -> Int {
        guard let info = PixelFormatInfo.of(format), index < info.planes.count else {
            return Int(size.height)
        }
        let vertical = info.planes[index].vertical
        return Int((UInt64(size.height) + UInt64(vertical) - 1) / UInt64(vertical))
    }
}
