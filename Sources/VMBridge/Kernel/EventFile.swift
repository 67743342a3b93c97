import CLinux
import Descriptors

/// An eventfd: a descriptor that somebody makes readable.
package enum EventFile {
    /// Not readable yet; the caller's own.
    package static func make() throws(KernelError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try check(vmb_eventfd(0), "eventfd"))
    }
}
