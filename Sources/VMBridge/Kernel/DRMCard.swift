import CLinux
import Descriptors
import Glibc

/// A card node of one known DRM driver: dumb buffers and PRIME, which all drivers of tests share.
///
/// Needs a *card* node: the kernel refuses dumb buffers on render nodes.
package struct DRMCard: ~Copyable {
    let device: OwnedDescriptor

    /// Opens a card node and checks which driver it has; `ENODEV` if it is another one.
    init(path: String, driver wanted: String) throws(KernelError) {
        let device = try DRMNode.open(path)
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
        guard name == wanted else {
            throw KernelError("open", ENODEV, subject: path, advice: "its driver is \(name)")
        }
        self.device = device
    }

    /// The first card that `driver` drives; `ENODEV` if there is none.
    static func find(driver: String) throws(KernelError) -> DRMCard {
        for number in 0..<16 {
            if let found = try? DRMCard(path: "/dev/dri/card\(number)", driver: driver) {
                return found
            }
        }
        throw KernelError("open", ENODEV, subject: "/dev/dri", advice: "load the module \(driver)")
    }

    /// A buffer of this device.
    package struct Buffer: Sendable {
        /// The device's name for it.
        package let handle: UInt32
        /// Bytes from one row to the next.
        package let stride: UInt32
        /// Bytes in all.
        package let size: UInt64
    }

    /// Makes a linear buffer, in pixels of `bitsPerPixel` (DRM_IOCTL_MODE_CREATE_DUMB).
    package func create(
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
    package func close(handle: UInt32) throws(KernelError) {
        var request = vmb_drm_gem_close(handle: handle, pad: 0)
        try check(vmb_ioctl(device.number, VMB_DRM_GEM_CLOSE, &request), "DRM_GEM_CLOSE")
    }

    /// The buffer as a dma-buf.
    package func export(handle: UInt32) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_drm_prime(
            handle: handle, flags: VMB_DRM_CLOEXEC | VMB_DRM_RDWR, descriptor: -1)
        try check(
            vmb_ioctl(device.number, VMB_DRM_PRIME_HANDLE_TO_FD, &request), "DRM_PRIME_HANDLE_TO_FD"
        )
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// The device's name for somebody's dma-buf, so that a fence can be put on it.
    package func importDMABuf(_ dmaBuf: Int32) throws(KernelError) -> UInt32 {
        var request = vmb_drm_prime(handle: 0, flags: 0, descriptor: dmaBuf)
        try check(
            vmb_ioctl(device.number, VMB_DRM_PRIME_FD_TO_HANDLE, &request), "DRM_PRIME_FD_TO_HANDLE"
        )
        return request.handle
    }
}
