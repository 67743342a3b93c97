import CLinux
import Descriptors

/// Signals eventfds that a peer shares with us, without ever waiting.
///
/// A `write` waits while the counter is at its end, and the peer may set it there and make the descriptor wait. The kernel's own way to
/// tell an eventfd of the end of a request adds up to the end and goes on, and takes nothing but an eventfd.
package final class EventSignal {
    private let context: UInt64
    private let file: OwnedDescriptor

    /// One of the kernel's contexts for asynchronous requests (`/proc/sys/fs/aio-max-nr` bounds them all).
    package init() throws(KernelError) {
        file = try MemoryFile.create(name: "vm-bridge signal", size: 0, seals: [])
        var context: UInt64 = 0
        try check(
            vmb_aio_setup(4, &context), "io_setup",
            advice: "fs.aio-max-nr bounds the contexts of all processes")
        self.context = context
    }

    deinit { _ = vmb_aio_destroy(context) }

    /// Signals an eventfd, which stays the caller's.
    ///
    /// - Throws: `EINVAL` for any other kind of descriptor, which is not touched.
    package func signal(_ eventfd: Int32) throws(KernelError) {
        try check(vmb_aio_signal(context, file.number, eventfd), "io_submit")
    }
}
