import CLinux
import Descriptors

/// The nodes of display devices in /dev/dri.
package enum DRMNode {
    /// Opens a node, read-write, and leaves the screen alone: the kernel makes whoever opens a card first its
    /// master, and a compositor that comes later could not take it. The caller's own.
    package static func open(_ path: String) throws(KernelError) -> OwnedDescriptor {
        let node = OwnedDescriptor(
            owning: try check(vmb_open(path, VMB_OPEN_READ_WRITE), "open", subject: path))
        // Refused on render nodes, and by who is no master: as it should be.
        _ = vmb_ioctl(node.number, VMB_DRM_DROP_MASTER, nil)
        return node
    }
}
