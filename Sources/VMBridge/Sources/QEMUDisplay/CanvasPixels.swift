import Descriptors
import Glibc
import VMBridgeCore

/// The picture of a console that comes as bytes: what QEMU sent, put together.
final class CanvasPixels {
    /// What it holds.
    let picture: QEMUPicture
    // UNSAFE: memory of ours, as large as the picture's rows, freed in deinit.
    private let memory: UnsafeMutableRawPointer
    private let count: Int

    /// A black picture; nil when there is no memory for it.
    init?(_ picture: QEMUPicture) {
        let count = Int(picture.stride) * Int(picture.size.height)
        guard let memory = calloc(count, 1) else { return nil }
        self.picture = picture
        self.memory = memory
        self.count = count
    }

    deinit { free(memory) }

    /// Copies pixels into it; nothing when they lie outside it, or outside what came.
    ///
    /// - Returns: bytes copied.
    func write(_ copy: QEMUCopy, from bytes: DBusBytes) -> UInt64 {
        let source = bytes.memory
        let rows = Int(copy.target.height)
        guard rows > 0, copy.rowBytes > 0, copy.target.fits(in: picture.size),
            copy.rowBytes == Int(copy.target.width) * Int(picture.pixelBytes), copy.start >= 0,
            copy.stride >= copy.rowBytes, let from = source.baseAddress,
            copy.start + copy.stride * (rows - 1) + copy.rowBytes <= source.count
        else { return 0 }
        // UNSAFE: both ends were checked just now: the last row's end on either side.
        let stride = Int(picture.stride)
        let first =
            memory + Int(copy.target.y) * stride + Int(copy.target.x) * Int(picture.pixelBytes)
        if copy.stride == stride, copy.rowBytes == stride {
            memcpy(first, from + copy.start, stride * rows)
        } else {
            for row in 0..<rows {
                memcpy(
                    first + row * stride, from + copy.start + row * copy.stride, copy.rowBytes)
            }
        }
        return UInt64(copy.rowBytes) * UInt64(rows)
    }

    /// Copies parts of it into a buffer of the same layout.
    ///
    /// - Returns: bytes copied.
    func fill(_ buffer: CanvasBuffer, _ damage: Damage) -> UInt64 {
        guard buffer.count == count else { return 0 }
        if damage.isWhole { return copy(Rectangle(picture.size), buffer) }
        var copied: UInt64 = 0
        for index in 0..<damage.count {
            copied += copy(damage[index].clipped(to: picture.size), buffer)
        }
        return copied
    }

    private func copy(_ part: Rectangle, _ buffer: CanvasBuffer) -> UInt64 {
        guard part.area > 0 else { return 0 }
        // UNSAFE: the part lies in the picture, and the buffer is as large as that.
        let stride = Int(picture.stride)
        let rowBytes = Int(part.width) * Int(picture.pixelBytes)
        let start = Int(part.y) * stride + Int(part.x) * Int(picture.pixelBytes)
        buffer.withMemory { target in
            guard let to = target.baseAddress, target.count == count else { return }
            for row in 0..<Int(part.height) {
                memcpy(to + start + row * stride, memory + start + row * stride, rowBytes)
            }
        }
        return UInt64(rowBytes) * UInt64(part.height)
    }
}

/// A memfd of ours with a picture for the compositor: mapped here as long as it is used.
final class CanvasBuffer {
    private var memory: MappedMemory
    private var descriptor: OwnedDescriptor
    /// Bytes of it.
    let count: Int

    /// Makes one, sealed against shrinking and growing.
    init(size: UInt64) throws(KernelError) {
        guard let count = Int(exactly: size) else { throw KernelError("memfd_create", EFBIG) }
        descriptor = try MemoryFile.create(size: size)
        memory = try MappedMemory(descriptor.number, count: count, access: .readWrite)
        self.count = count
    }

    /// A buffer with these bytes.
    convenience init(_ bytes: [UInt8]) throws(KernelError) {
        try self.init(size: UInt64(bytes.count))
        withMemory { $0.copyBytes(from: bytes) }
    }

    /// Hands the descriptor over; not valid the second time.
    func takeDescriptor() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &descriptor)
        return taken
    }

    fileprivate func withMemory(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
        memory.withUnsafeMutableBytes(body)
    }
}
