import CLinux
import Descriptors
import Glibc

/// The kernel's virtual GEM driver: real dma-bufs and real fences without a GPU, for producers in tests.
///
/// Needs a *card* node (dumb buffers are refused on render nodes). A fence left alone signals by itself after 10 seconds.
public struct VGEM: ~Copyable {
    private let device: OwnedDescriptor

    /// Opens a card node and checks that vgem drives it; `ENODEV` if another driver does.
    public init(path: String) throws(KernelError) {
        let device = OwnedDescriptor(
            owning: try check(vmb_open(path, VMB_OPEN_READ_WRITE), "open", subject: path))
        // UNSAFE: the kernel writes at most name_length bytes to the buffer and answers with the name's full length.
        let name = try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) {
            (buffer) throws(KernelError) -> String in
            var version = vmb_drm_version()
            version.name = buffer.baseAddress
            version.name_length = buffer.count
            try check(
                vmb_ioctl(device.number, VMB_DRM_VERSION, &version), "DRM_IOCTL_VERSION",
                subject: path)
            let length = min(Int(version.name_length), buffer.count)
            return String(
                decoding: UnsafeRawBufferPointer(start: buffer.baseAddress, count: length),
                as: UTF8.self)
        }
        guard name == "vgem" else {
            throw KernelError("open", ENODEV, subject: path, advice: "its driver is \(name)")
        }
        self.device = device
    }

    /// The first card that vgem drives; `ENODEV` if there is none.
    public static func find() throws(KernelError) -> VGEM {
        for number in 0..<16 {
            if let found = try? VGEM(path: "/dev/dri/card\(number)") { return found }
        }
        throw KernelError("open", ENODEV, subject: "/dev/dri", advice: "load the module vgem")
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
        var request = vmb_drm_create_dumb()
        request.width = width
        request.height = height
        request.bpp = bitsPerPixel
        try check(
            vmb_ioctl(device.number, VMB_DRM_MODE_CREATE_DUMB, &request), "DRM_MODE_CREATE_DUMB")
        return Buffer(handle: request.handle, stride: request.pitch, size: request.size)
    }

    /// Gives up the device's name for a buffer; exported dma-bufs of it live on.
    public func close(handle: UInt32) throws(KernelError) {
        var request = vmb_drm_gem_close(handle: handle, pad: 0)
        try check(vmb_ioctl(device.number, VMB_DRM_GEM_CLOSE, &request), "DRM_GEM_CLOSE")
    }

    /// The buffer as a dma-buf.
    public func export(handle: UInt32) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_drm_prime(
            handle: handle, flags: VMB_DRM_CLOEXEC | VMB_DRM_RDWR, descriptor: -1)
        try check(
            vmb_ioctl(device.number, VMB_DRM_PRIME_HANDLE_TO_FD, &request), "DRM_PRIME_HANDLE_TO_FD"
        )
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// The device's name for somebody's dma-buf, so that a fence can be put on it.
    public func importDMABuf(_ dmaBuf: Int32) throws(KernelError) -> UInt32 {
        var request = vmb_drm_prime(handle: 0, flags: 0, descriptor: dmaBuf)
        try check(
            vmb_ioctl(device.number, VMB_DRM_PRIME_FD_TO_HANDLE, &request), "DRM_PRIME_FD_TO_HANDLE"
        )
        return request.handle
    }

    /// Puts a pending fence on the buffer and returns its number. ``KernelBuffers/exportFence(dmaBuf:for:)`` of the dma-buf shows it.
    ///
    /// `EBUSY` while another fence that excludes this one is pending.
    public func attachFence(handle: UInt32, writing: Bool) throws(KernelError) -> UInt32 {
        var request = vmb_vgem_fence_attach(
            handle: handle, flags: writing ? VMB_VGEM_FENCE_WRITE : 0, fence: 0, pad: 0)
        try check(
            vmb_ioctl(device.number, VMB_VGEM_FENCE_ATTACH, &request), "VGEM_FENCE_ATTACH")
        return request.fence
    }

    /// Signals a fence; `ETIMEDOUT` if it had signalled by itself before.
    public func signal(fence: UInt32) throws(KernelError) {
        var request = vmb_vgem_fence_signal(fence: fence, flags: 0)
        try check(
            vmb_ioctl(device.number, VMB_VGEM_FENCE_SIGNAL, &request), "VGEM_FENCE_SIGNAL")
    }
}
