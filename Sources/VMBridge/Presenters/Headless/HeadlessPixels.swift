import VMBridgeCore

// Unsafe here: a guest's memory is mapped for the time of one conversion and read through pointers.
// It cannot shrink under us: a dma-buf has a fixed size, a memfd is sealed (BufferValidator). One that is not is read.

extension BufferMemory {
    /// The picture that a frame of this buffer shows: cropped, turned and scaled.
    ///
    /// - Throws: also while somebody still writes into the buffer, by its implicit fences: waiting for
    ///   that is not for the loop.
    package func picture(
        of frame: Frame, access: some BufferAccess = LinuxBufferAccess()
    ) throws -> Picture {
        let format = try PixelFormat(fourcc: layout.format.rawValue)
        var picture = try withPlanes(0, [], access: access) { planes throws(PictureError) in
            try Picture(
                format, width: Int(layout.size.width), height: Int(layout.size.height),
                planes: planes, inverted: layout.isBottomUp, alpha: .straight)
        }
        if let crop = frame.crop {
            picture = picture.cropped(
                to: PixelRect(
                    x: Int(crop.x), y: Int(crop.y), width: Int(crop.width),
                    height: Int(crop.height)))
        }
        if frame.transform != .normal,
            let transform = PictureTransform(rawValue: frame.transform.rawValue)
        {
            picture = picture.transformed(transform.inverse)
        }
        if let size = frame.destination {
            picture = picture.scaledByArea(width: Int(size.width), height: Int(size.height))
        }
        return picture
    }

    /// Maps plane after plane and lends all of them at once.
    private func withPlanes<Result>(
        _ index: Int, _ planes: [PixelPlane], access: some BufferAccess,
        _ body: ([PixelPlane]) throws -> Result
    ) throws -> Result {
        guard index < layout.planes.count else { return try body(planes) }
        let plane = layout.planes[index]
        let rows = layout.rows(ofPlane: index)
        // Validated: offset + stride × rows lies within the descriptor's memory.
        let end = Int(plane.offset) + Int(plane.stride) * rows
        let descriptor = descriptor(ofPlane: index)
        if layout.memory == .dmaBuf {
            guard !access.isBusy(descriptor) else {
                throw Refusal(.fenceTimeout, "its dma-buf is still being written")
            }
            try access.begin(descriptor)
        }
        defer { if layout.memory == .dmaBuf { access.end(descriptor) } }
        func next(_ bytes: UnsafeRawBufferPointer) throws -> Result {
            let plane = PixelPlane(bytes, offset: Int(plane.offset), stride: Int(plane.stride))
            return try withPlanes(index + 1, planes + [plane], access: access, body)
        }
        guard !isUnsealed else {
            return try FileBytes.read(descriptor, count: end).withUnsafeBytes { try next($0) }
        }
        let mapped = try MappedMemory(descriptor, count: end)
        return try mapped.withUnsafeBytes { try next($0) }
    }
}
