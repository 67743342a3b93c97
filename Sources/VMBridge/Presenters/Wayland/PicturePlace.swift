import VMBridgeCore

/// Places of a surface and of the picture that it shows, which are found from each other: pure.
extension FrameView {
    /// The place of the picture that a place of the surface shows. One outside, as of a pointer whose button
    /// is held, becomes the nearest one that is shown.
    ///
    /// Places are cells of 1/256 pixel, so that the first and the last of a pixel are in the same pixel again
    /// when it is mirrored.
    ///
    /// - Parameters:
    ///   - x: 1/256 of a pixel from the surface's left edge.
    ///   - y: the same from its upper edge.
    ///   - size: of the picture.
    func place(_ x: Int32, _ y: Int32, in size: Size) -> InputPoint {
        let (source, shown) = part(of: size)
        let across = Self.unscaled(x, from: shown.width, to: source.x, source.width)
        let down = Self.unscaled(y, from: shown.height, to: source.y, source.height)
        let (width, height) = (Int64(size.width) * 256, Int64(size.height) * 256)
        let (column, row): (Int64, Int64) =
            switch transform {
            case 1: (down, height - 1 - across)
            case 2: (width - 1 - across, height - 1 - down)
            case 3: (width - 1 - down, across)
            case 4: (width - 1 - across, down)
            case 5: (down, across)
            case 6: (across, height - 1 - down)
            case 7: (width - 1 - down, height - 1 - across)
            default: (across, down)
            }
        return InputPoint(
            x: Int32(clamping: column), y: Int32(clamping: isBottomUp ? height - 1 - row : row))
    }

    /// One axis: a place of the surface in the part that the viewport takes.
    private static func unscaled(
        _ place: Int32, from shown: UInt32, to origin: UInt32, _ extent: UInt32
    ) -> Int64 {
        guard shown > 0, extent > 0 else { return Int64(origin) * 256 }
        let inside = min(max(Int64(place), 0), Int64(shown) * 256 - 1)
        // Neither of the two has more than 2³² pixels: at most 2⁷², so not in 64 bits.
        let (high, low) = Int64(extent).multipliedFullWidth(by: inside)
        return Int64(origin) * 256 + Int64(shown).dividingFullWidth((high, low)).quotient
    }

    /// The pixel of the surface where it shows a pixel of the picture; the nearest one where it shows it not.
    ///
    /// - Parameters:
    ///   - point: a pixel; one outside of the picture is its nearest.
    ///   - size: of the picture.
    func pixel(of point: HotSpot, in size: Size) -> (x: Int32, y: Int32) {
        guard size.width > 0, size.height > 0 else { return (0, 0) }
        let inside = Rectangle(
            x: min(point.x, size.width - 1), y: min(point.y, size.height - 1), width: 1, height: 1)
        let turned = Self.toSurface(inMemory(inside, of: size), of: size, transform)
        let (source, shown) = part(of: size)
        return (
            Self.scaled(turned.x, from: source.x, source.width, to: shown.width),
            Self.scaled(turned.y, from: source.y, source.height, to: shown.height)
        )
    }

    private static func scaled(
        _ place: UInt32, from origin: UInt32, _ extent: UInt32, to shown: UInt32
    ) -> Int32 {
        guard extent > 0 else { return 0 }
        let inside = min(max(place, origin) - origin, extent - 1)
        return Int32(clamping: UInt64(inside) * UInt64(shown) / UInt64(extent))
    }
}
