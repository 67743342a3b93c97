import CLinux
import Descriptors

/// A second opening of a memfd, for reading only.
enum ReadOnlyMemory {
    /// A descriptor of the same memory that cannot be written through or mapped for writing.
    ///
    /// Not valid when the kernel refused, as it does without /proc. It is no wall: memfds have mode 0777, so who can open
    /// files of /proc can open it anew for writing.
    /// - Parameter memfd: lent; a descriptor that `DescriptorProbe` has shown to be one.
    static func reopened(_ memfd: Int32) -> OwnedDescriptor {
        OwnedDescriptor(owning: vmb_open("/proc/self/fd/\(memfd)", VMB_OPEN_READ))
    }
}
