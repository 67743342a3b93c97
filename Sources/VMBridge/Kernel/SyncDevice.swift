import CLinux
import Descriptors
import Glibc

/// A DRM node through which the kernel's timelines of fences (syncobjs) are reached. They are not the
/// device's: a timeline made through one node is known to every other (`drm_syncobj.c`), so any node
/// with the capability serves.
package final class SyncDevice {
    /// Path of the node.
    package let path: String
    fileprivate let node: OwnedDescriptor
    /// A syncobj without points, through which single fences pass.
    private let passage: UInt32

    private init(_ path: String, _ node: consuming OwnedDescriptor, passage: UInt32) {
        self.path = path
        self.node = node
        self.passage = passage
    }

    deinit { Self.destroy(passage, node.number) }

    /// Opens the first node that knows timelines, render nodes first; nil when there is none.
    ///
    /// - Parameter directory: where the nodes are.
    package static func find(directory: String = "/dev/dri") -> SyncDevice? {
        let names = SystemFiles.names(directory)
        for kind in ["renderD", "card"] {
            for name in names where name.hasPrefix(kind) {
                if let device = open("\(directory)/\(name)") { return device }
            }
        }
        return nil
    }

    private static func open(_ path: String) -> SyncDevice? {
        guard let node = try? DRMNode.open(path) else { return nil }
        var cap = vmb_drm_cap(capability: UInt64(VMB_DRM_CAP_SYNCOBJ_TIMELINE), value: 0)
        guard vmb_ioctl(node.number, VMB_DRM_GET_CAP, &cap) == 0, cap.value == 1,
            let passage = try? create(node.number)
        else { return nil }
        return SyncDevice(path, node, passage: passage)
    }

    private static func create(_ node: Int32) throws(KernelError) -> UInt32 {
        var request = vmb_drm_syncobj()
        try check(vmb_ioctl(node, VMB_DRM_SYNCOBJ_CREATE, &request), "SYNCOBJ_CREATE")
        return request.handle
    }

    fileprivate static func destroy(_ handle: UInt32, _ node: Int32) {
        var request = vmb_drm_syncobj(handle: handle, flags: 0)
        _ = vmb_ioctl(node, VMB_DRM_SYNCOBJ_DESTROY, &request)
    }

    /// A new timeline without points.
    package func makeTimeline() throws(KernelError) -> SyncTimeline {
        SyncTimeline(self, try Self.create(node.number))
    }

    /// The timeline behind a descriptor, which is lent. `EINVAL` when it is something else.
    package func openTimeline(_ descriptor: Int32) throws(KernelError) -> SyncTimeline {
        var request = vmb_drm_syncobj_handle()
        request.descriptor = descriptor
        try check(
            vmb_ioctl(node.number, VMB_DRM_SYNCOBJ_FD_TO_HANDLE, &request), "SYNCOBJ_FD_TO_HANDLE")
        return SyncTimeline(self, request.handle)
    }

    fileprivate func put(_ syncFile: Int32, _ handle: UInt32, _ point: UInt64) throws(KernelError) {
        var request = vmb_drm_syncobj_handle()
        request.handle = passage
        request.flags = VMB_DRM_SYNCOBJ_SYNC_FILE
        request.descriptor = syncFile
        try check(
            vmb_ioctl(node.number, VMB_DRM_SYNCOBJ_FD_TO_HANDLE, &request), "SYNCOBJ_FD_TO_HANDLE")
        try transfer(from: passage, 0, to: handle, point)
    }

    fileprivate func fence(
        _ handle: UInt32, _ point: UInt64
    ) throws(KernelError) -> OwnedDescriptor {
        try transfer(from: handle, point, to: passage, 0)
        var request = vmb_drm_syncobj_handle()
        request.handle = passage
        request.flags = VMB_DRM_SYNCOBJ_SYNC_FILE
        request.descriptor = -1
        try check(
            vmb_ioctl(node.number, VMB_DRM_SYNCOBJ_HANDLE_TO_FD, &request), "SYNCOBJ_HANDLE_TO_FD")
        return OwnedDescriptor(owning: request.descriptor)
    }

    private func transfer(
        from source: UInt32, _ sourcePoint: UInt64, to destination: UInt32, _ point: UInt64
    ) throws(KernelError) {
        var request = vmb_drm_syncobj_transfer()
        request.source = source
        request.destination = destination
        request.source_point = sourcePoint
        request.destination_point = point
        try check(
            vmb_ioctl(node.number, VMB_DRM_SYNCOBJ_TRANSFER, &request), "SYNCOBJ_TRANSFER")
    }
}

/// A timeline of fences: points of rising number, each with a fence once somebody gives it one.
/// Ours, or a guest's that was opened; closed with the object.
package final class SyncTimeline {
    private let device: SyncDevice
    private let handle: UInt32

    fileprivate init(_ device: SyncDevice, _ handle: UInt32) {
        self.device = device
        self.handle = handle
    }

    deinit { SyncDevice.destroy(handle, device.node.number) }

    /// A descriptor of it to give away; the caller's own.
    package func share() throws(KernelError) -> OwnedDescriptor {
        var request = vmb_drm_syncobj_handle()
        request.handle = handle
        request.descriptor = -1
        try check(
            vmb_ioctl(device.node.number, VMB_DRM_SYNCOBJ_HANDLE_TO_FD, &request),
            "SYNCOBJ_HANDLE_TO_FD")
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// Gives a point a sync_file's fence; the descriptor is lent. What error it ends with is lost on
    /// the way (Linux 6.12): watch the sync_file itself for that.
    package func put(_ syncFile: Int32, at point: UInt64) throws(KernelError) {
        try device.put(syncFile, handle, point)
    }

    /// Gives a point a fence that has signalled.
    package func signal(_ point: UInt64) throws(KernelError) {
        var handle = handle
        var point = point
        // UNSAFE: arrays of one element each, which the kernel reads during the call.
        let answer = withUnsafePointer(to: &handle) { handles in
            withUnsafePointer(to: &point) { points in
                var request = vmb_drm_syncobj_points()
                request.handles = UInt64(UInt(bitPattern: handles))
                request.points = UInt64(UInt(bitPattern: points))
                request.count = 1
                return vmb_ioctl(device.node.number, VMB_DRM_SYNCOBJ_TIMELINE_SIGNAL, &request)
            }
        }
        try check(answer, "SYNCOBJ_TIMELINE_SIGNAL")
    }

    /// A point's fence as a sync_file, the caller's own. `EINVAL` while it has none.
    package func fence(at point: UInt64) throws(KernelError) -> OwnedDescriptor {
        try device.fence(handle, point)
    }

    /// Has an eventfd, which is lent, made readable when a point has signalled, or as soon as it has a
    /// fence (Linux 6.6; `ENOTTY` before).
    package func notify(
        _ eventFile: Int32, at point: UInt64, whenAvailable: Bool
    ) throws(KernelError) {
        var request = vmb_drm_syncobj_eventfd()
        request.handle = handle
        request.flags = whenAvailable ? VMB_DRM_SYNCOBJ_AVAILABLE : 0
        request.point = point
        request.descriptor = eventFile
        try check(
            vmb_ioctl(device.node.number, VMB_DRM_SYNCOBJ_EVENTFD, &request), "SYNCOBJ_EVENTFD")
    }
}
