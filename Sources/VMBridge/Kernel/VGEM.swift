import CLinux
import Descriptors
import Glibc

/// The kernel's virtual GEM driver: real dma-bufs and real fences without a GPU, for producers in tests.
///
/// Needs a *card* node (dumb buffers are refused on render nodes). A fence left alone signals by itself after 10 seconds.
public struct VGEM: ~Copyable {
    private let card: DRMCard

    /// Opens a card node and checks that vgem drives it; `ENODEV` if another driver does.
    public init(path: String) throws(KernelError) {
        card = try DRMCard(path: path, driver: "vgem")
    }

    private init(card: consuming DRMCard) { self.card = card }

    /// The first card that vgem drives; `ENODEV` if there is none.
    public static func find() throws(KernelError) -> VGEM {
        VGEM(card: try DRMCard.find(driver: "vgem"))
    }

    /// A buffer of this device.
    public struct Buffer: Sendable {
        /// The device's name for it.
        public let handle: UInt32
        /// Bytes from one row to the next.
        public let stride: UInt32
        /// Bytes in all.
        public let size: UInt64
    }

    /// Makes a linear buffer, in pixels of `bitsPerPixel`.
    public func create(
        width: UInt32, height: UInt32, bitsPerPixel: UInt32 = 32
    ) throws(KernelError) -> Buffer {
        let made = try card.create(width: width, height: height, bitsPerPixel: bitsPerPixel)
        return Buffer(handle: made.handle, stride: made.stride, size: made.size)
    }

    /// Gives up the device's name for a buffer; exported dma-bufs of it live on.
    public func close(handle: UInt32) throws(KernelError) { try card.close(handle: handle) }

    /// The buffer as a dma-buf.
    public func export(handle: UInt32) throws(KernelError) -> OwnedDescriptor {
        try card.export(handle: handle)
    }

    /// The device's name for somebody's dma-buf, so that a fence can be put on it.
    public func importDMABuf(_ dmaBuf: Int32) throws(KernelError) -> UInt32 {
        try card.importDMABuf(dmaBuf)
    }

    /// Puts a pending fence on the buffer and returns its number. ``KernelBuffers/exportFence(dmaBuf:for:)`` of the dma-buf shows it.
    ///
    /// `EBUSY` while another fence that excludes this one is pending.
    public func attachFence(handle: UInt32, writing: Bool) throws(KernelError) -> UInt32 {
        var request = vmb_vgem_fence_attach(
            handle: handle, flags: writing ? VMB_VGEM_FENCE_WRITE : 0, fence: 0, pad: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_VGEM_FENCE_ATTACH, &request), "VGEM_FENCE_ATTACH")
        return request.fence
    }

    /// Signals a fence; `ETIMEDOUT` if it had signalled by itself before.
    public func signal(fence: UInt32) throws(KernelError) {
        var request = vmb_vgem_fence_signal(fence: fence, flags: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_VGEM_FENCE_SIGNAL, &request), "VGEM_FENCE_SIGNAL")
    }
}
