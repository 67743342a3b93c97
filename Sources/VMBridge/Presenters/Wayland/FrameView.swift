import VMBridgeCore

/// How a frame's buffer is to be shown, in the terms of wl_surface and wp_viewport: pure.
///
/// Crop, damage and opaque region of a frame count in the picture, from its upper left corner (source-v1
/// §2); the compositor's damage counts in rows of memory. A viewport's source and an opaque region count
/// in surface coordinates, which come after the buffer's transform.
struct FrameView: Equatable {
    /// wl_surface.set_buffer_transform; a buffer whose rows run from the bottom up is turned over by
    /// it, since compositors may refuse linux-dmabuf's flag for that.
    var transform: UInt32
    /// wp_viewport.set_source; nil for all of the buffer.
    var source: Rectangle?
    /// wp_viewport.set_destination; nil for the source's own size.
    var destination: Size?
    /// The picture's last row comes first in memory.
    var isBottomUp: Bool

    /// Works a frame's view out.
    ///
    /// - Parameters:
    ///   - frame: what to show.
    ///   - isBottomUp: the buffer's rows run from the bottom up.
    ///   - forced: the size that it is to be shown at; nil for the one that the frame asks for.
    init(_ frame: Frame, isBottomUp: Bool, forced: Size?) {
        let number = frame.transform.rawValue
        let transform = isBottomUp ? Self.turnedOver(number) : number
        self.transform = transform
        self.isBottomUp = isBottomUp
        destination = forced ?? frame.destination
        source = nil
        source = frame.crop.map {
            Self.toSurface(inMemory($0, of: frame.size), of: frame.size, transform)
        }
    }

    /// A rectangle of the picture where the buffer's memory has it.
    ///
    /// - Parameters:
    ///   - rectangle: inside the picture.
    ///   - size: of the picture.
    func inMemory(_ rectangle: Rectangle, of size: Size) -> Rectangle {
        guard isBottomUp else { return rectangle }
        var turned = rectangle
        turned.y = size.height - rectangle.y - rectangle.height
        return turned
    }

    /// The transform that first undoes a buffer's upside-down rows.
    static func turnedOver(_ transform: UInt32) -> UInt32 {
        switch transform {
        case 0: 6
        case 1: 5
        case 2: 4
        case 3: 7
        case 4: 2
        case 5: 1
        case 6: 0
        default: 3
        }
    }

    /// A rectangle of the buffer where the surface has it.
    ///
    /// - Parameters:
    ///   - rectangle: inside the buffer.
    ///   - size: of the buffer.
    ///   - transform: the surface's buffer transform.
    static func toSurface(_ rectangle: Rectangle, of size: Size, _ transform: UInt32) -> Rectangle {
        let (x, y, width, height) = (rectangle.x, rectangle.y, rectangle.width, rectangle.height)
        // Distances from the far edges.
        let right = size.width - x - width
        let bottom = size.height - y - height
        return switch transform {
        case 1: Rectangle(x: bottom, y: x, width: height, height: width)
        case 2: Rectangle(x: right, y: bottom, width: width, height: height)
        case 3: Rectangle(x: y, y: right, width: height, height: width)
        case 4: Rectangle(x: right, y: y, width: width, height: height)
        case 5: Rectangle(x: y, y: x, width: height, height: width)
        case 6: Rectangle(x: x, y: bottom, width: width, height: height)
        case 7: Rectangle(x: bottom, y: right, width: height, height: width)
        default: rectangle
        }
    }

    /// What of the turned buffer is shown, and how large the surface is.
    ///
    /// - Parameter size: of the buffer.
    func part(of size: Size) -> (source: Rectangle, shown: Size) {
        let whole = transform & 1 == 1 ? Size(width: size.height, height: size.width) : size
        let source = source ?? Rectangle(whole)
        return (source, destination ?? Size(width: source.width, height: source.height))
    }

    /// The opaque part in surface coordinates, rounded inwards; empty when nothing is left of it.
    ///
    /// - Parameters:
    ///   - region: opaque part of the buffer; clipped to it.
    ///   - size: of the buffer.
    func opaque(_ region: Rectangle, of size: Size) -> Rectangle {
        let inside = inMemory(region.clipped(to: size), of: size)
        let turned = Self.toSurface(inside, of: size, transform)
        let (source, shown) = part(of: size)
        let (x, width) = Self.scaled(
            turned.x, turned.width, from: source.x, source.width, to: shown.width)
        let (y, height) = Self.scaled(
            turned.y, turned.height, from: source.y, source.height, to: shown.height)
        return Rectangle(x: x, y: y, width: width, height: height)
    }

    /// One axis: the part of [start, start + length) inside the source, moved and scaled.
    private static func scaled(
        _ start: UInt32, _ length: UInt32, from origin: UInt32, _ extent: UInt32, to size: UInt32
    ) -> (UInt32, UInt32) {
        let low = max(start, origin) - origin
        let end = min(UInt64(start) + UInt64(length), UInt64(origin) + UInt64(extent))
        guard extent > 0, end > UInt64(origin) + UInt64(low) else { return (0, 0) }
        let high = end - UInt64(origin)
        let first = (UInt64(low) * UInt64(size) + UInt64(extent) - 1) / UInt64(extent)
        let last = high * UInt64(size) / UInt64(extent)
        guard last > first else { return (0, 0) }
        return (UInt32(clamping: first), UInt32(clamping: last - first))
    }
}
