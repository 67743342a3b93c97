import VMBridgeCore

/// Pixels row after row, in one piece of memory.
package struct LinearLayout: Equatable {
    /// Strides are multiples of this: what display hardware of all makers takes.
    package static let strideStep: UInt64 = 256
    /// Planes begin at multiples of this.
    package static let planeStep: UInt64 = 4096

    /// Offsets and strides; all in descriptor 0.
    package let planes: [PlaneLayout]
    /// Bytes of memory, whole pages.
    package let bytes: UInt64

    /// Nil for a format that is not known or a size without sense.
    package init?(_ size: Size, _ format: FourCC, strideStep: UInt64 = Self.strideStep) {
        let sides = 1...VMLimits.maximumDimension
        guard let info = PixelFormatInfo.of(format), sides.contains(size.width),
            sides.contains(size.height)
        else { return nil }
        // At most 16,384 rows of 65,536 bytes: nothing here overflows.
        var end: UInt64 = 0
        var planes: [PlaneLayout] = []
        for plane in info.planes {
            let blocks = Self.up(UInt64(size.width), UInt64(plane.horizontal))
            let rows = Self.up(UInt64(size.height), UInt64(plane.vertical)) / UInt64(plane.vertical)
            let row = blocks / UInt64(plane.horizontal) * UInt64(plane.blockBytes)
            let stride = Self.up(row, strideStep)
            let offset = Self.up(end, Self.planeStep)
            planes.append(
                PlaneLayout(descriptor: 0, offset: UInt32(offset), stride: UInt32(stride)))
            end = offset + stride * rows
        }
        self.planes = planes
        bytes = Self.up(end, max(Self.planeStep, UInt64(MemoryFile.pageSize)))
    }

    private static func up(_ value: UInt64, _ step: UInt64) -> UInt64 {
        (value + step - 1) / step * step
    }
}
