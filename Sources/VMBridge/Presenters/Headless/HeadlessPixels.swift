import Glibc
import VMBridgeCore

// Unsafe here: a guest's memory is mapped for the time of one conversion and read through pointers.
// It cannot shrink under us: a dma-buf has a fixed size, and a memfd that is not sealed against it is read, not mapped.

extension BufferMemory {
    /// The picture that a frame of this buffer shows: cropped, turned and scaled.
    ///
    /// - Throws: also while somebody still writes into the buffer, by its implicit fences: waiting for
    ///   that is not for the loop.
    package func picture(
        of frame: Frame, access: some BufferAccess = LinuxBufferAccess()
    ) throws -> Picture {
        let picture = try unscaledPicture(of: frame, access: access)
        guard let size = frame.destination else { return picture }
        return picture.scaledByArea(width: Int(size.width), height: Int(size.height))
    }

    /// Checksum and size of the pixels that a frame of this buffer shows, cropped and turned but not scaled.
    ///
    /// - Throws: as ``picture(of:access:)``.
    package func checksum(
        of frame: Frame, access: some BufferAccess = LinuxBufferAccess()
    ) throws -> (size: Size, crc32: UInt32) {
        var checksum = PixelChecksum()
        let format = try PixelFormat(fourcc: layout.format.rawValue)
        guard format == .xrgb8888 || format == .argb8888, frame.transform == .normal,
            !layout.isBottomUp
        else {
            let picture = try unscaledPicture(of: frame, access: access)
            checksum.add(picture)
            let size = Size(width: UInt32(picture.width), height: UInt32(picture.height))
            return (size, checksum.value)
        }
        let area =
            frame.crop
            ?? Rectangle(x: 0, y: 0, width: layout.size.width, height: layout.size.height)
        try withPlanes(0, [], access: access) { planes in
            for plane in planes {
                for row in Int(area.y)..<Int(area.y) + Int(area.height) {
                    let begin = plane.offset + row * plane.stride + Int(area.x) * 4
                    let end = begin + Int(area.width) * 4
                    // Validated: a crop lies within its buffer, the buffer's rows within the plane.
                    guard end <= plane.memory.count else { throw KernelError("a row", ERANGE) }
                    checksum.add(
                        xrgb: UnsafeRawBufferPointer(rebasing: plane.memory[begin..<end]))
                }
            }
        }
        return (Size(width: area.width, height: area.height), checksum.value)
    }

    private func unscaledPicture(of frame: Frame, access: some BufferAccess) throws -> Picture {
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
        return picture
    }

    /// Maps plane after plane, or reads it where mapping is not safe, and lends all of them at once.
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
        func lend(_ bytes: UnsafeRawBufferPointer) throws -> Result {
            try withPlanes(
                index + 1,
                planes + [
                    PixelPlane(bytes, offset: Int(plane.offset), stride: Int(plane.stride))
                ], access: access, body)
        }
        if isUnsealed {
            return try MemoryFile.bytes(of: descriptor, count: end).withUnsafeBytes(lend)
        }
        let mapped = try MappedMemory(descriptor, count: end)
        return try mapped.withUnsafeBytes(lend)
    }
}
