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
    func write(_ copy: QEMUCopy, from bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.withUnsafeBytes { write(copy, from: $0) }
    }

    // UNSAFE: bytes that are lent for the call; a copy stays within what its picture has.
    private func write(_ copy: QEMUCopy, from source: UnsafeRawBufferPointer) -> UInt64 {
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

    /// A larger one that shows the same.
    func grown(to picture: QEMUPicture) -> CanvasPixels? {
        guard let larger = CanvasPixels(picture) else { return nil }
        let old = self.picture
        let copy = QEMUCopy(
            target: Rectangle(
                Size(
                    width: min(old.size.width, picture.size.width),
                    height: min(old.size.height, picture.size.height))),
            start: 0, stride: Int(old.stride),
            rowBytes: Int(min(old.size.width, picture.size.width) * old.pixelBytes))
        // UNSAFE: lent for the call.
        _ = larger.write(
            copy, from: UnsafeRawBufferPointer(start: memory, count: count))
        return larger
    }

    /// Copies parts of its upper left corner into a buffer.
    ///
    /// - Parameter size: of the buffer's picture; nothing is copied when it is larger than this one.
    /// - Returns: bytes copied.
    func fill(_ buffer: CanvasBuffer, _ damage: Damage, size: Size) -> UInt64 {
        guard Rectangle(size).fits(in: picture.size) else { return 0 }
        if damage.isWhole { return copy(Rectangle(size), buffer) }
        var copied: UInt64 = 0
        for index in 0..<damage.count {
            copied += copy(damage[index].clipped(to: size), buffer)
        }
        return copied
    }

    private func copy(_ part: Rectangle, _ buffer: CanvasBuffer) -> UInt64 {
        guard part.area > 0 else { return 0 }
        let bytes = Int(picture.pixelBytes)
        let rowBytes = Int(part.width) * bytes
        let rows = Int(part.height)
        let stride = Int(picture.stride)
        let from = Int(part.y) * stride + Int(part.x) * bytes
        let to = Int(part.y) * buffer.stride + Int(part.x) * bytes
        guard to + (rows - 1) * buffer.stride + rowBytes <= buffer.count,
            from + (rows - 1) * stride + rowBytes <= count
        else { return 0 }
        // UNSAFE: both ends were checked just now.
        buffer.withMemory { target in
            guard let start = target.baseAddress, target.count == buffer.count else { return }
            for row in 0..<rows {
                memcpy(
                    start + to + row * buffer.stride, memory + from + row * stride, rowBytes)
            }
        }
        return UInt64(rowBytes) * UInt64(rows)
    }
}

/// A memfd of ours with a picture for the compositor: mapped here as long as it is used.
final class CanvasBuffer {
    private var memory: MappedMemory
    private var descriptor: OwnedDescriptor
    /// Bytes of it.
    let count: Int
    /// Bytes from one row to the next.
    let stride: Int

    /// Makes one, sealed against shrinking and growing.
    init(size: UInt64, stride: Int) throws(KernelError) {
        guard let count = Int(exactly: size) else { throw KernelError("memfd_create", EFBIG) }
        descriptor = try MemoryFile.create(size: size)
        memory = try MappedMemory(descriptor.number, count: count, access: .readWrite)
        self.count = count
        self.stride = stride
    }

    /// A buffer with these bytes.
    convenience init(_ bytes: [UInt8], stride: Int) throws(KernelError) {
        try self.init(size: UInt64(bytes.count), stride: stride)
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
