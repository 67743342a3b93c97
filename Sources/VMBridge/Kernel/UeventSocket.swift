import CLinux
import Descriptors
import Glibc

/// The kernel's messages about devices (NETLINK_KOBJECT_UEVENT, group 1). Anybody may listen, and anybody may send to who listens:
/// what does not come from the kernel itself (port 0, user 0 by SCM_CREDENTIALS) is not handed on.
package struct UeventSocket: ~Copyable {
    /// What one attempt to receive gave.
    package enum Result: Equatable {
        /// A message of the kernel, of so many bytes.
        case message(Int)
        /// Something of somebody else, or too long; it is gone.
        case ignored
        /// Messages were lost: look for yourself.
        case overrun
        /// Nothing there now.
        case wouldBlock
        /// The call failed.
        case failed(Int32)
    }

    private let descriptor: OwnedDescriptor

    /// Listens from now on. In a network namespace that a user namespace owns, the kernel sends none.
    package init() throws(KernelError) {
        descriptor = OwnedDescriptor(
            owning: try check(vmb_uevent_socket(), "netlink socket for uevents"))
    }

    /// The number, lent to the event loop.
    package var number: Int32 { descriptor.number }

    /// Takes one message. Never waits.
    package func receive(into bytes: inout [UInt8]) -> Result {
        var port: UInt32 = .max
        var user: UInt32 = .max
        // UNSAFE: the array is lent for the call, and the kernel writes within its length.
        let length = bytes.withUnsafeMutableBytes {
            vmb_uevent_receive(number, $0.baseAddress, $0.count, &port, &user)
        }
        switch Int32(-min(length, 0)) {
        case 0: break
        case EAGAIN, EINTR: return .wouldBlock
        case ENOBUFS: return .overrun
        case EMSGSIZE: return .ignored
        case let code: return .failed(code)
        }
        guard port == 0, user == 0, length > 0 else { return .ignored }
        return .message(Int(length))
    }
}
