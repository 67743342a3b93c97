import CLinux
import Descriptors
import Glibc

/// What one attempt to accept gave.
public enum AcceptResult: ~Copyable {
    /// A connection, non-blocking and close-on-exec.
    case accepted(SeqPacketSocket)
    /// Nobody waits.
    case wouldBlock
    /// We are out of descriptors; the one that waited was accepted on the reserve and closed at once, so that it sees an end
    /// and the listener does not stay readable. More may be waiting.
    case turnedAway
    /// We are out of descriptors (or kernel memory) and have no reserve left, with this errno: the listener stays readable, so take its
    /// interest away for a while or the loop spins.
    case exhausted(Int32)
    /// The call failed with this errno.
    case failed(Int32)
}

/// A listening `AF_UNIX` `SOCK_SEQPACKET` socket. It owns its descriptor and the path it bound.
public struct SeqPacketListener: ~Copyable {
    private var listener: SocketListener

    /// Binds and listens on `path`, which gets mode 0600.
    ///
    /// A socket file that nobody listens on any more is replaced; one with a living listener is `EADDRINUSE`, anything else
    /// at that path is left alone and `EEXIST`. The parent directory must exist.
    public init(path: String, backlog: Int32 = 16) throws(KernelError) {
        listener = try SocketListener(.seqpacket, path: path, backlog: backlog)
    }

    /// Takes over a listening socket that a service manager made; its path is not ours to remove.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(KernelError) {
        listener = try SocketListener(.seqpacket, adopting: descriptor)
    }

    /// The number, lent to the event loop.
    public var number: Int32 { listener.number }

    /// Accepts one waiting connection.
    public mutating func accept() -> AcceptResult {
        switch listener.accept() {
        case .accepted(let descriptor): .accepted(SeqPacketSocket(descriptor))
        case .wouldBlock: .wouldBlock
        case .turnedAway: .turnedAway
        case .exhausted(let code): .exhausted(code)
        case .failed(let code): .failed(code)
        }
    }
}
