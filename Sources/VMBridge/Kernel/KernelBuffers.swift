import CLinux
import Descriptors
import Glibc

/// What the bridge asks of the kernel about buffers and fences; everything else in the house goes through this, so that
/// ``FailingKernelBuffers`` can stand in for a kernel that refuses.
///
/// Descriptors given as numbers are lent for the call; those returned belong to the caller and are close-on-exec.
public protocol KernelBuffers {
    /// A dma-buf over pages of a memfd (`UDMABUF_CREATE`). Offset and size in bytes, multiples of the page size.
    func udmabuf(memfd: Int32, offset: UInt64, size: UInt64) throws(KernelError) -> OwnedDescriptor
    /// A dma-buf over several such pieces, in order (`UDMABUF_CREATE_LIST`).
    func udmabuf(pieces: [UdmabufPiece]) throws(KernelError) -> OwnedDescriptor
    /// A dma-buf of `size` bytes of the heap `/dev/dma_heap/NAME`.
    func allocate(heap: String, size: UInt64) throws(KernelError) -> OwnedDescriptor
    /// Begins or ends CPU access (`DMA_BUF_IOCTL_SYNC`). **Beginning may wait for the buffer's fences**: only when they are known to be signalled.
    func synchronize(dmaBuf: Int32, _ access: DMABufAccess) throws(KernelError)
    /// A fence that signals when `access` may start (`DMA_BUF_IOCTL_EXPORT_SYNC_FILE`, Linux 6.0; `ENOTTY` before).
    func exportFence(dmaBuf: Int32, for access: DMABufDirection) throws(KernelError)
        -> OwnedDescriptor
    /// Makes others wait for `fence` before they touch the buffer (`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`, Linux 6.0). `access` is what
    /// the fence stands for: as a writer everybody waits, as a reader only writers do.
    func importFence(_ fence: Int32, dmaBuf: Int32, as access: DMABufDirection) throws(KernelError)
    /// Names a dma-buf for the system's debugging files, cut to 31 bytes.
    func setName(_ name: String, dmaBuf: Int32) throws(KernelError)
    /// The state of a sync_file (`SYNC_IOC_FILE_INFO`).
    func fenceInfo(_ fence: Int32) throws(KernelError) -> SyncFileInfo
    /// A fence that signals when both have (`SYNC_IOC_MERGE`).
    func merge(_ first: Int32, _ second: Int32) throws(KernelError) -> OwnedDescriptor
}

/// A run of pages of a memfd, in bytes.
public struct UdmabufPiece: Equatable, Sendable {
    /// The memfd, lent.
    public let memfd: Int32
    /// Where it starts, a multiple of the page size.
    public let offset: UInt64
    /// How long it is, a multiple of the page size.
    public let size: UInt64

    /// The piece of `memfd` from `offset`.
    public init(memfd: Int32, offset: UInt64, size: UInt64) {
        self.memfd = memfd
        self.offset = offset
        self.size = size
    }
}

/// What is done with a buffer.
public struct DMABufDirection: OptionSet, Sendable {
    /// The kernel's bits.
    public let rawValue: UInt32
    /// From the kernel's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// DMA_BUF_SYNC_READ
    public static let read = DMABufDirection(rawValue: 1)
    /// DMA_BUF_SYNC_WRITE
    public static let write = DMABufDirection(rawValue: 2)
}

/// The beginning or the end of CPU access to a buffer.
public enum DMABufAccess: Equatable, Sendable {
    /// Access in this direction begins.
    case begin(DMABufDirection)
    /// Access in this direction is over.
    case end(DMABufDirection)

    /// The argument of DMA_BUF_IOCTL_SYNC.
    var flags: UInt64 {
        switch self {
        case .begin(let direction): UInt64(direction.rawValue)
        case .end(let direction): UInt64(direction.rawValue) | 4
        }
    }
}

/// The running kernel.
public struct LinuxKernelBuffers: KernelBuffers {
    /// The control device for udmabufs.
    public static let udmabufDevice = "/dev/udmabuf"
    /// The directory with a device for each dma-buf heap.
    public static let heapDirectory = "/dev/dma_heap"

    /// Opens nothing yet.
    public init() {}

    /// Opens the control device for the one call.
    public func udmabuf(
        memfd: Int32, offset: UInt64, size: UInt64
    ) throws(KernelError) -> OwnedDescriptor {
        let device = try open(Self.udmabufDevice, advice: Self.udmabufAdvice)
        var request = vmb_udmabuf_create(
            memfd: UInt32(bitPattern: memfd), flags: VMB_UDMABUF_CLOEXEC, offset: offset, size: size
        )
        let made = vmb_ioctl(device.number, VMB_UDMABUF_CREATE, &request)
        return OwnedDescriptor(
            owning: try check(made, "UDMABUF_CREATE", advice: Self.createAdvice(-made)))
    }

    /// Opens the control device for the one call; the kernel bounds the number of pieces (1024).
    public func udmabuf(pieces: [UdmabufPiece]) throws(KernelError) -> OwnedDescriptor {
        let device = try open(Self.udmabufDevice, advice: Self.udmabufAdvice)
        guard let count = UInt32(exactly: pieces.count), count > 0 else {
            throw KernelError("UDMABUF_CREATE_LIST", EINVAL)
        }
        // UNSAFE: the request is a head with a tail of items; both are 8-byte aligned and written whole before the call.
        let head = MemoryLayout<vmb_udmabuf_list>.stride
        let item = MemoryLayout<vmb_udmabuf_item>.stride
        let made = withUnsafeTemporaryAllocation(
            byteCount: head + item * pieces.count, alignment: 8
        ) { buffer -> Int32 in
            buffer.storeBytes(
                of: vmb_udmabuf_list(flags: VMB_UDMABUF_CLOEXEC, count: count),
                as: vmb_udmabuf_list.self)
            for (index, piece) in pieces.enumerated() {
                let entry = vmb_udmabuf_item(
                    memfd: UInt32(bitPattern: piece.memfd), pad: 0, offset: piece.offset,
                    size: piece.size)
                buffer.storeBytes(
                    of: entry, toByteOffset: head + item * index, as: vmb_udmabuf_item.self)
            }
            return vmb_ioctl(device.number, VMB_UDMABUF_CREATE_LIST, buffer.baseAddress)
        }
        return OwnedDescriptor(
            owning: try check(made, "UDMABUF_CREATE_LIST", advice: Self.createAdvice(-made)))
    }

    /// Opens the heap for the one call; a name with a slash is refused.
    public func allocate(heap: String, size: UInt64) throws(KernelError) -> OwnedDescriptor {
        guard !heap.isEmpty, !heap.contains("/"), heap != "..", !heap.utf8.contains(0) else {
            throw KernelError("DMA_HEAP_ALLOC", EINVAL, subject: heap, advice: "not a heap's name")
        }
        let device = try open(
            "\(Self.heapDirectory)/\(heap)", advice: "this kernel has no such dma-buf heap")
        var request = vmb_dma_heap_alloc(
            size: size, descriptor: 0, fd_flags: VMB_DRM_CLOEXEC | VMB_DRM_RDWR, heap_flags: 0)
        try check(
            vmb_ioctl(device.number, VMB_DMA_HEAP_ALLOC, &request), "DMA_HEAP_ALLOC", subject: heap)
        return OwnedDescriptor(owning: Int32(bitPattern: request.descriptor))
    }

    /// Repeats an interrupted call, but not for ever.
    public func synchronize(dmaBuf: Int32, _ access: DMABufAccess) throws(KernelError) {
        var request = vmb_dma_buf_sync(flags: access.flags)
        // Both may come again and again without progress of ours; the loop must not hang on them.
        var attempts = 0
        while true {
            let answer = vmb_ioctl(dmaBuf, VMB_DMA_BUF_SYNC, &request)
            attempts += 1
            if answer == -EINTR || answer == -EAGAIN, attempts < 100 { continue }
            try check(answer, "DMA_BUF_IOCTL_SYNC")
            return
        }
    }

    /// `ENOTTY`: no dma-buf, or a kernel before 6.0.
    public func exportFence(
        dmaBuf: Int32, for access: DMABufDirection
    ) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_dma_buf_sync_file(flags: access.rawValue, descriptor: -1)
        let answer = vmb_ioctl(dmaBuf, VMB_DMA_BUF_EXPORT_SYNC_FILE, &request)
        try check(answer, "DMA_BUF_IOCTL_EXPORT_SYNC_FILE", advice: Self.fenceAdvice(-answer))
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// `ENOTTY`: no dma-buf, or a kernel before 6.0.
    public func importFence(
        _ fence: Int32, dmaBuf: Int32, as access: DMABufDirection
    ) throws(KernelError) {
        var request = vmb_dma_buf_sync_file(flags: access.rawValue, descriptor: fence)
        let answer = vmb_ioctl(dmaBuf, VMB_DMA_BUF_IMPORT_SYNC_FILE, &request)
        try check(answer, "DMA_BUF_IOCTL_IMPORT_SYNC_FILE", advice: Self.fenceAdvice(-answer))
    }

    /// Shown in the debugging files of the kernel.
    public func setName(_ name: String, dmaBuf: Int32) throws(KernelError) {
        // The kernel refuses (EINVAL) what does not end within 32 bytes.
        let cut = String(decoding: name.utf8.prefix(31), as: UTF8.self)
        let bytes = Array(cut.utf8.prefix(31)) + [0]
        // UNSAFE: the kernel reads the terminated bytes during the call only.
        let answer = bytes.withUnsafeBytes {
            vmb_ioctl(
                dmaBuf, VMB_DMA_BUF_SET_NAME, UnsafeMutableRawPointer(mutating: $0.baseAddress))
        }
        try check(answer, "DMA_BUF_SET_NAME")
    }

    /// Asks for the state alone, not for the single fences.
    public func fenceInfo(_ fence: Int32) throws(KernelError) -> SyncFileInfo {
        try SyncFileInfo.read(fence)
    }

    /// The result is independent of both.
    public func merge(_ first: Int32, _ second: Int32) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_sync_merge()
        request.other = second
        try check(vmb_ioctl(first, VMB_SYNC_MERGE, &request), "SYNC_IOC_MERGE")
        return OwnedDescriptor(owning: request.merged)
    }

    private func open(
        _ device: String, advice: @autoclosure () -> String
    ) throws(KernelError) -> OwnedDescriptor {
        let number = vmb_open(device, VMB_OPEN_READ_WRITE)
        let why = number == -EACCES ? "no right to use the device" : advice()
        return OwnedDescriptor(owning: try check(number, "open", subject: device, advice: why))
    }

    private static let udmabufAdvice = "load the module udmabuf"

    private static func createAdvice(_ code: Int32) -> String {
        switch code {
        case EINVAL:
            "offset and size must be whole pages within the module's limits, the memfd sealed against shrinking and not against writing"
        case EBADFD: "not a memfd"
        default: ""
        }
    }

    private static func fenceAdvice(_ code: Int32) -> String {
        code == ENOTTY ? "not a dma-buf, or a kernel before 6.0" : ""
    }
}
