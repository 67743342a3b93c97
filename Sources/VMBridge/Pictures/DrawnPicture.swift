extension Picture {
    /// What somebody reads from a buffer of that format that was drawn into, with what the format loses.
    ///
    /// - Parameter draw: draws into the planes of memory that is there for the call.
    init(
        _ format: PixelFormat, width: Int, height: Int,
        drawn draw: ([WritablePixelPlane]) throws(PictureError) -> Void
    ) throws(PictureError) {
        let layout = try format.linearLayout(width: width, height: height)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.size, alignment: 64)
        defer { memory.deallocate() }
        let planes = layout.planes.map {
            WritablePixelPlane(memory, offset: $0.offset, stride: $0.stride)
        }
        try draw(planes)
        try self.init(format, width: width, height: height, planes: planes.map(\.readable))
    }
}
