import CLinux
import Descriptors
import Glibc

/// The tests' own DRM device (Tests/vm/modules): dumb buffers, and fences on command that may also fail
/// or never signal. For producers in tests; no host has it.
///
/// When this value's life ends, its pending fences end with `ECANCELED`; those that never signal stay.
package struct TestDevice: ~Copyable {
    /// The driver's name.
    package static let driver = "vmbtest"
    /// Its dumb buffers and PRIME.
    package let card: DRMCard

    /// The first card of the driver; `ENODEV` if there is none.
    package static func find() throws(KernelError) -> TestDevice {
        TestDevice(card: try DRMCard.find(driver: driver))
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
}
