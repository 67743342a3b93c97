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
    private let descriptor: OwnedDescriptor
    // Kept open so that a full descriptor table cannot leave a waiting connection unanswered.
    private var reserve: OwnedDescriptor
    private let path: String
    private let bound: FileIdentity?

    /// Binds and listens on `path`, which gets mode 0600.
    ///
    /// A socket file that nobody listens on any more is replaced; one with a living listener is `EADDRINUSE`, anything else
    /// at that path is left alone and `EEXIST`. The parent directory must exist.
    public init(path: String, backlog: Int32 = 16) throws(KernelError) {
        try checkSocketPath(path)
        let descriptor = OwnedDescriptor(owning: try check(vmb_seqpacket_socket(), "socket"))
        // Before bind: Linux gives the new file the socket inode's mode, so it never exists with a wider one.
        try check(vmb_change_mode(descriptor.number, 0o600), "fchmod", subject: path)
        var answer = vmb_socket_bind(descriptor.number, path)
        if answer == -EADDRINUSE {
            try Self.removeStale(path)
            answer = vmb_socket_bind(descriptor.number, path)
        }
        try check(answer, "bind", subject: path, advice: Self.advice(-answer))
        let bound = FileIdentity(path: path)
        let listening = vmb_socket_listen(descriptor.number, backlog)
        guard listening == 0 else {
            _ = vmb_unlink(path)
            throw KernelError("listen", -listening, subject: path)
        }
        self.descriptor = descriptor
        self.reserve = Self.makeReserve()
        self.path = path
        self.bound = bound
    }

    /// Takes over a listening socket that a service manager made; its path is not ours to remove.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(KernelError) {
        try adopt(descriptor.number, listening: true)
        self.descriptor = descriptor
        self.reserve = Self.makeReserve()
        self.path = ""
        self.bound = nil
    }

    deinit {
        // Somebody else may have taken the path over since.
        if let bound, FileIdentity(path: path) == bound { _ = vmb_unlink(path) }
    }

    /// The number, lent to the event loop.
    public var number: Int32 { descriptor.number }

    /// Accepts one waiting connection.
    public mutating func accept() -> AcceptResult {
        while true {
            let answer = vmb_socket_accept(number)
            if answer >= 0 {
                if !reserve.isValid { reserve = Self.makeReserve() }
                return .accepted(SeqPacketSocket(OwnedDescriptor(owning: answer)))
            }
            switch -answer {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return .wouldBlock
            case EMFILE, ENFILE: return turnAway(-answer)
            case ENOMEM, ENOBUFS: return .exhausted(-answer)
            case let code: return .failed(code)
            }
        }
    }

    private mutating func turnAway(_ code: Int32) -> AcceptResult {
        guard reserve.isValid else {
            reserve = Self.makeReserve()
            return .exhausted(code)
        }
        reserve = .none
        let answer = vmb_socket_accept(number)
        if answer >= 0 { _ = OwnedDescriptor(owning: answer) }
        reserve = Self.makeReserve()
        switch answer {
        case 0...: return .turnedAway
        case -EAGAIN: return .wouldBlock
        default: return .exhausted(-answer)
        }
    }

    private static func makeReserve() -> OwnedDescriptor {
        OwnedDescriptor(owning: vmb_open("/dev/null", VMB_OPEN_READ))
    }

    /// Removes the socket file at `path` if a connection attempt proves that nobody listens.
    private static func removeStale(_ path: String) throws(KernelError) {
        var facts = vmb_file_facts()
        let found = vmb_path_facts(path, &facts)
        if found == -ENOENT { return }
        try check(found, "stat", subject: path)
        guard facts.mode & VMB_S_IFMT == VMB_S_IFSOCK else {
            throw KernelError(
                "bind", EEXIST, subject: path, advice: "a file that is not a socket is there")
        }
        let probe = OwnedDescriptor(owning: try check(vmb_seqpacket_socket(), "socket"))
        switch -vmb_socket_connect(probe.number, path) {
        case ECONNREFUSED:
            let removed = vmb_unlink(path)
            if removed != -ENOENT { try check(removed, "unlink", subject: path) }
        case ENOENT: break
        // Connected, its queue is full, or it is of another type: somebody lives there either way.
        case 0, EAGAIN, EPROTOTYPE:
            throw KernelError(
                "bind", EADDRINUSE, subject: path, advice: "another process listens there")
        case let code:
            throw KernelError(
                "connect", code, subject: path, advice: "cannot tell whether somebody listens there"
            )
        }
    }

    private static func advice(_ code: Int32) -> String {
        switch code {
        case ENOENT: "the directory does not exist"
        case ENOTDIR: "a part of the path is not a directory"
        case EACCES: "no right to create files in that directory"
        case EROFS: "that file system is read-only"
        case EADDRINUSE: "another process took it just now"
        default: ""
        }
    }
}
