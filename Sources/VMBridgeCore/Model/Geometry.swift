/// A width and a height in pixels.
public struct Size: Hashable, Sendable, CustomStringConvertible {
    /// Pixels from left to right.
    public var width: UInt32
    /// Pixels from top to bottom.
    public var height: UInt32
    /// A size in pixels.
    public init(width: UInt32, height: UInt32) {
        self.width = width
        self.height = height
    }
    /// No pixels at all; in a configure it means "choose your own".
    public static let zero = Size(width: 0, height: 0)
    /// Written "640x480".
    public var description: String { "\(width)x\(height)" }
}

/// A rectangle in buffer pixels, origin at the top left; never reaches past 2³² (checked on entry).
public struct Rectangle: Hashable, Sendable {
    /// Left edge.
    public var x: UInt32
    /// Top edge.
    public var y: UInt32
    /// Pixels from left to right.
    public var width: UInt32
    /// Pixels from top to bottom.
    public var height: UInt32

    /// A rectangle in buffer pixels.
    public init(x: UInt32, y: UInt32, width: UInt32, height: UInt32) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }

    /// The rectangle that covers a whole picture.
    public init(_ size: Size) {
        self.init(x: 0, y: 0, width: size.width, height: size.height)
    }

    /// Width × height.
    public var area: UInt64 { UInt64(width) * UInt64(height) }

    /// Whether no pixel of it lies outside a picture of that size.
    public func fits(in size: Size) -> Bool {
        UInt64(x) + UInt64(width) <= UInt64(size.width)
            && UInt64(y) + UInt64(height) <= UInt64(size.height)
    }

    /// The part inside a picture of that size; zero-sized when there is none.
    public func clipped(to size: Size) -> Rectangle {
        let left = min(x, size.width)
        let top = min(y, size.height)
        return Rectangle(
            x: left, y: top, width: min(width, size.width - left),
            height: min(height, size.height - top))
    }

    /// The smallest rectangle that covers both.
    public func union(_ other: Rectangle) -> Rectangle {
        let left = min(x, other.x)
        let top = min(y, other.y)
        let right = max(UInt64(x) + UInt64(width), UInt64(other.x) + UInt64(other.width))
        let bottom = max(UInt64(y) + UInt64(height), UInt64(other.y) + UInt64(other.height))
        return Rectangle(
            x: left, y: top, width: UInt32(clamping: right - UInt64(left)),
            height: UInt32(clamping: bottom - UInt64(top)))
    }
}

/// How a buffer's content is turned before it is shown; numbers of wl_output.transform.
public struct Transform: Hashable, Sendable {
    /// 0 normal, 1 to 3 turned by 90, 180, 270 degrees, 4 to 7 the same after a flip.
    public let rawValue: UInt32
    /// Nil for a number that wl_output.transform does not have.
    public init?(rawValue: UInt32) {
        guard rawValue <= 7 else { return nil }
        self.rawValue = rawValue
    }
    private init(known: UInt32) { rawValue = known }
    /// Shown as it is.
    public static let normal = Transform(known: 0)
    /// Mirrored top to bottom (flipped and turned by 180 degrees).
    public static let flippedVertically = Transform(known: 6)
    /// Whether width and height change places.
    public var swapsAxes: Bool { rawValue & 1 == 1 }
}
