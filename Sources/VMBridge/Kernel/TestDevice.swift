import CLinux
import Descriptors
import Glibc

/// The tests' own DRM device (Tests/vm/modules): dumb buffers, fences on command that may also fail or
/// never signal, and time lines. For producers in tests; no host has it.
///
/// When this value's life ends, its pending fences end with `ECANCELED`; those that never signal stay.
package struct TestDevice: ~Copyable {
    /// The driver's name.
    package static let driver = "vmbtest"
    /// Its dumb buffers and PRIME.
    package let card: DRMCard

    /// The first card of the driver; `ENODEV` if there is none.
    package static func find() throws(KernelError) -> TestDevice {
        let card = try DRMCard.find(driver: driver)
        card.leaveScreen()
        return TestDevice(card: card)
    }

    private init(card: consuming DRMCard) { self.card = card }

    /// What a new fence does.
    package enum FenceKind: Sendable {
        /// Signals on command (``signal(fence:error:)``), or with `ECANCELED` when the device is closed.
        case pending
        /// Has signalled already.
        case signalled
        /// Never signals, whatever is closed.
        case never
        /// Has ended already, with `EIO`.
        case failed

        fileprivate var number: UInt32 {
            switch self {
            case .pending: VMB_TEST_FENCE_PENDING
            case .signalled: VMB_TEST_FENCE_SIGNALLED
            case .never: VMB_TEST_FENCE_NEVER
            case .failed: VMB_TEST_FENCE_FAILED
            }
        }
    }

    /// A new fence as a sync_file, and its number if it is pending, else 0.
    package struct Fence: ~Copyable {
        /// Names it for ``signal(fence:error:)``.
        package let number: UInt32
        private let syncFile: OwnedDescriptor

        fileprivate init(number: UInt32, syncFile: consuming OwnedDescriptor) {
            self.number = number
            self.syncFile = syncFile
        }

        /// Hands the sync_file over.
        package consuming func takeSyncFile() -> OwnedDescriptor { syncFile }
    }

    /// Makes a fence.
    package func makeFence(_ kind: FenceKind) throws(KernelError) -> Fence {
        var request = vmb_test_fence()
        request.kind = kind.number
        request.flags = VMB_TEST_FENCE_SYNC_FILE
        request.descriptor = -1
        try check(vmb_ioctl(card.device.number, VMB_TEST_FENCE, &request), "VMBTEST_FENCE")
        return Fence(
            number: request.id, syncFile: OwnedDescriptor(owning: request.descriptor))
    }

    /// Ends a pending fence: well, or with an errno (`5` for `EIO`). `ENOENT` if none of that number is pending.
    package func signal(fence: UInt32, error: Int32 = 0) throws(KernelError) {
        var request = vmb_test_signal(id: fence, error: -error)
        try check(vmb_ioctl(card.device.number, VMB_TEST_SIGNAL, &request), "VMBTEST_SIGNAL")
    }

    // MARK: Time lines

    /// Makes a time line (a syncobj, DRM_IOCTL_SYNCOBJ_CREATE) and returns the device's name for it.
    package func makeTimeline() throws(KernelError) -> UInt32 {
        var request = vmb_drm_syncobj(handle: 0, flags: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_CREATE, &request), "DRM_SYNCOBJ_CREATE")
        return request.handle
    }

    /// Gives up the device's name for a time line; descriptors of it live on.
    package func close(timeline: UInt32) throws(KernelError) {
        var request = vmb_drm_syncobj(handle: timeline, flags: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_DESTROY, &request), "DRM_SYNCOBJ_DESTROY")
    }

    /// A descriptor of a time line, close-on-exec (DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD).
    package func export(timeline: UInt32) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_drm_syncobj_handle(handle: timeline, flags: 0, descriptor: -1, pad: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_HANDLE_TO_FD, &request),
            "DRM_SYNCOBJ_HANDLE_TO_FD")
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// Makes a point and signals it at once (DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL).
    package func signal(timeline: UInt32, point: UInt64) throws(KernelError) {
        var (handle, point) = (timeline, point)
        // UNSAFE: the kernel reads one handle and one point during the call only.
        let answer = withUnsafePointer(to: &handle) { handle in
            withUnsafePointer(to: &point) { point in
                var request = vmb_drm_syncobj_points(
                    handles: UInt64(UInt(bitPattern: handle)),
                    points: UInt64(UInt(bitPattern: point)),
                    count: 1, flags: 0)
                return vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_TIMELINE_SIGNAL, &request)
            }
        }
        try check(answer, "DRM_SYNCOBJ_TIMELINE_SIGNAL")
    }

    /// Makes a point that signals with a sync_file's fence, by way of a syncobj of its own
    /// (DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, DRM_IOCTL_SYNCOBJ_TRANSFER). The sync_file is lent.
    package func put(
        syncFile: Int32, timeline: UInt32, point: UInt64
    ) throws(KernelError) {
        let carrier = try makeTimeline()
        defer { try? close(timeline: carrier) }
        var take = vmb_drm_syncobj_handle(
            handle: carrier, flags: VMB_DRM_SYNCOBJ_SYNC_FILE, descriptor: syncFile, pad: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_FD_TO_HANDLE, &take),
            "DRM_SYNCOBJ_FD_TO_HANDLE")
        var request = vmb_drm_syncobj_transfer(
            source: carrier, destination: timeline, source_point: 0, destination_point: point,
            flags: 0,
            pad: 0)
        try check(
            vmb_ioctl(card.device.number, VMB_DRM_SYNCOBJ_TRANSFER, &request),
            "DRM_SYNCOBJ_TRANSFER")
    }
}
