import CLinux
import Descriptors
import Glibc

/// Anonymous memory behind a descriptor (memfd_create).
public enum MemoryFile {
    /// The system's page size in bytes.
    public static let pageSize = Int(vmb_page_size())

    /// `size` rounded up to whole pages; nil if that overflows.
    public static func pages(covering size: UInt64) -> UInt64? {
        let mask = UInt64(pageSize) - 1
        let (padded, overflow) = size.addingReportingOverflow(mask)
        return overflow ? nil : padded & ~mask
    }

    /// Makes a memfd of `size` bytes, zero-filled, and then adds `seals`. A udmabuf wants ``Seals/shrink`` and not ``Seals/write``.
    public static func create(
        name: String = "vm-bridge", size: UInt64, seals: Seals = [.shrink, .grow]
    ) throws(KernelError) -> OwnedDescriptor {
        let made = vmb_memfd_create(name, VMB_MFD_CLOEXEC | VMB_MFD_ALLOW_SEALING)
        let descriptor = OwnedDescriptor(owning: try check(made, "memfd_create"))
        guard size <= UInt64(Int64.max) else { throw KernelError("ftruncate", EFBIG) }
        try check(vmb_truncate(descriptor.number, size), "ftruncate")
        if !seals.isEmpty { try add(seals, to: descriptor.number) }
        return descriptor
    }

    /// Adds seals to a memfd; they cannot be taken off.
    public static func add(_ seals: Seals, to descriptor: Int32) throws(KernelError) {
        try check(
            vmb_fcntl(descriptor, VMB_F_ADD_SEALS, Int(seals.rawValue)), "F_ADD_SEALS")
    }

    /// The seals of a memfd.
    public static func seals(of descriptor: Int32) throws(KernelError) -> Seals {
        let answer = try check(vmb_fcntl(descriptor, VMB_F_GET_SEALS, 0), "F_GET_SEALS")
        return Seals(rawValue: UInt32(answer))
    }
}

/// Memory shared with a file or dma-buf; unmapped when its life ends. It keeps the file alive by itself, so the descriptor may be
/// closed before.
///
/// **SIGBUS**: reading beyond the file's end kills the process. Map only what cannot shrink: a dma-buf, or a memfd with ``Seals/shrink``.
public struct MappedMemory: ~Copyable {
    /// How the memory may be used.
    public enum Access: Sendable {
        /// Writing is a fault.
        case read
        /// Reading and writing; refused by the kernel for a memfd sealed against writing.
        case readWrite
    }

    // UNSAFE: the address and length of a mapping that this value alone undoes, in its deinit; spans handed out end with their closure.
    private let address: UnsafeMutableRawPointer
    /// Bytes mapped.
    public let count: Int
    /// What was asked for.
    public let access: Access

    /// Maps `count` bytes of `descriptor` from `offset`, a multiple of the page size.
    public init(
        _ descriptor: Int32, offset: UInt64 = 0, count: Int, access: Access = .read
    ) throws(KernelError) {
        guard count > 0, offset <= UInt64(Int64.max) else { throw KernelError("mmap", EINVAL) }
        let protection = access == .read ? VMB_MAP_READ : VMB_MAP_READ_WRITE
        var mapped: UnsafeMutableRawPointer?
        try check(vmb_map_shared(descriptor, offset, count, protection, &mapped), "mmap")
        guard let mapped else { throw KernelError("mmap", ENOMEM) }
        // A driver may say yes and put no pages there (hyper_dmabuf does): reading would kill us. The first page tells; that the kernel
        // does not answer for such a mapping (EINVAL) is no reason to distrust it.
        if vmb_populate_read(mapped, min(count, MemoryFile.pageSize)) == -EFAULT {
            _ = vmb_unmap(mapped, count)
            throw KernelError(
                "mmap", EFAULT, advice: "unreadable: its exporter gives the processor no pages")
        }
        self.address = mapped
        self.count = count
        self.access = access
    }

    deinit { _ = vmb_unmap(address, count) }

    /// Lends the bytes for reading. Another process may change them meanwhile: read each once.
    public borrowing func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: address, count: count).bytes)
    }

    /// The same as a buffer pointer, for what takes no span. It must not leave the closure.
    public borrowing func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: address, count: count))
    }

    /// Lends the bytes for writing; an empty buffer if the mapping is for reading. It must not leave the closure.
    public mutating func withUnsafeMutableBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let writable = access == .readWrite ? count : 0
        return try body(UnsafeMutableRawBufferPointer(start: address, count: writable))
    }
}
