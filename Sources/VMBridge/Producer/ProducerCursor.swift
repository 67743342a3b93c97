import VMBridgeCore

/// What the reference producer shows in the place of the host's pointer.
package enum ProducerCursor: String, CaseIterable, Sendable {
    /// Nothing: a cursor surface without a frame.
    case hidden = "none"
    /// A picture of 32x32 pixels, opaque, in four colours: red and green above, blue and white below. The pointer
    /// is at its pixel 8, 8.
    case quarters

    /// The point that the pointer is at.
    package static let hotSpot = HotSpot(x: 8, y: 8)

    /// The picture of `quarters`.
    package static var picture: Picture {
        var picture = Picture(width: 32, height: 32)
        for (index, colour) in [
            Colour(255, 0, 0), Colour(0, 255, 0), Colour(0, 0, 255), Colour.white,
        ].enumerated() {
            picture.fill(
                colour, PixelRect(x: index % 2 * 16, y: index / 2 * 16, width: 16, height: 16))
        }
        return picture
    }

    /// A cursor for a window of a producer.
    ///
    /// - Parameters:
    ///   - parent: the window.
    ///   - key: for the surface and for its buffer.
    func surface(
        on parent: ProducerSurface, key: UInt64, device: ProducerDevice
    ) throws(ProducerFailure) -> ProducerSurface {
        let painter = ProducerPainter(still: Self.picture, format: .argb8888)
        let buffers =
            self == .hidden
            ? []
            : [
                try ProducerBuffer(
                    BufferKey(key), size: Size(width: 32, height: 32), format: .argb8888,
                    memory: .memfd, device: device)
            ]
        return ProducerSurface(
            SurfaceKey(key), index: parent.index, title: "cursor", painter: painter,
            buffers: buffers)
    }
}
