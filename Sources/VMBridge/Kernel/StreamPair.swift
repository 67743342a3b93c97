import CLinux
import Descriptors
import Glibc

/// Two connected `AF_UNIX` `SOCK_STREAM` sockets, non-blocking and close-on-exec.
struct StreamPair: ~Copyable {
    private var ours: OwnedDescriptor
    private var theirs: OwnedDescriptor

    /// `socketpair`.
    init() throws(KernelError) {
        var numbers: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &numbers) == 0 else {
            throw KernelError("socketpair", errno)
        }
        ours = OwnedDescriptor(owning: numbers[0])
        theirs = OwnedDescriptor(owning: numbers[1])
    }

    /// Hands over the end that stays here; not valid the second time.
    mutating func takeOurs() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &ours)
        return taken
    }

    /// Hands over the end for the peer; not valid the second time.
    mutating func takeTheirs() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &theirs)
        return taken
    }
}
