/// A mapped buffer as the planes of an image, for drawing.
extension MappedMemory {
    /// Lends the planes; they must not leave the closure. Places are not checked here: whoever draws
    /// checks them against the memory's length, as `Picture.encode` and `TestPattern` do.
    ///
    /// - Parameter places: offset and stride of each plane, in bytes.
    package mutating func withPlanes<Failure: Error>(
        _ places: [(offset: Int, stride: Int)],
        _ body: ([WritablePixelPlane]) throws(Failure) -> Void
    ) throws(Failure) {
        // UNSAFE: the mapping lives as long as this value, which is borrowed for the call.
        try withUnsafeMutableBytes { (bytes) throws(Failure) -> Void in
            try body(places.map { WritablePixelPlane(bytes, offset: $0.offset, stride: $0.stride) })
        }
    }
}
