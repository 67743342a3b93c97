import CLinux
import Descriptors
import Glibc

/// The two kinds of unix sockets that are listened on here.
enum SocketKind {
    /// Datagrams in order, for sources.
    case seqpacket
    /// Bytes in order, for the control socket.
    case stream

    /// The constant's name.
    var name: String {
        switch self {
        case .seqpacket: "SOCK_SEQPACKET"
        case .stream: "SOCK_STREAM"
        }
    }

    /// A new socket, non-blocking and close-on-exec; a negated errno on failure.
    func make() -> Int32 {
        switch self {
        case .seqpacket: vmb_seqpacket_socket()
        case .stream: vmb_stream_socket()
        }
    }

    /// 1 if a descriptor is of this kind, 0 if not, or a negated errno.
    func matches(_ number: Int32, _ accepts: inout Int32) -> Int32 {
        switch self {
        case .seqpacket: vmb_socket_is_seqpacket(number, &accepts)
        case .stream: vmb_socket_is_stream(number, &accepts)
        }
    }
}

/// What one attempt to accept gave, whatever the kind; see ``AcceptResult``.
enum AcceptedDescriptor: ~Copyable {
    case accepted(OwnedDescriptor)
    case wouldBlock
    case turnedAway
    case exhausted(Int32)
    case failed(Int32)
}

/// A listening unix socket of either kind. It owns its descriptor and the path it bound.
struct SocketListener: ~Copyable {
    private let descriptor: OwnedDescriptor
    // Kept open so that a full descriptor table cannot leave a waiting connection unanswered.
    private var reserve: OwnedDescriptor
    private let path: String
    private let bound: FileIdentity?

    /// Binds and listens on `path`, which gets mode 0600; see ``SeqPacketListener``.
    init(_ kind: SocketKind, path: String, backlog: Int32) throws(KernelError) {
        try checkSocketPath(path)
        let descriptor = OwnedDescriptor(owning: try check(kind.make(), "socket"))
        // Before bind: Linux gives the new file the socket inode's mode, so it never exists with a wider one.
        try check(vmb_change_mode(descriptor.number, 0o600), "fchmod", subject: path)
        // Two that replace the same dead socket at once would each take the other's fresh one for dead.
        let turn = DirectoryTurn(besides: path)
        var answer = vmb_socket_bind(descriptor.number, path)
        if answer == -EADDRINUSE {
            try Self.removeStale(path, kind)
            answer = vmb_socket_bind(descriptor.number, path)
        }
        try check(answer, "bind", subject: path, advice: Self.advice(-answer))
        let bound = FileIdentity(path: path)
        let listening = vmb_socket_listen(descriptor.number, backlog)
        guard listening == 0 else {
            _ = vmb_unlink(path)
            throw KernelError("listen", -listening, subject: path)
        }
        _ = consume turn
        self.descriptor = descriptor
        self.reserve = Self.makeReserve()
        self.path = path
        self.bound = bound
    }

    /// Takes over a listening socket that a service manager made; its path is not ours to remove.
    init(_ kind: SocketKind, adopting descriptor: consuming OwnedDescriptor) throws(KernelError) {
        try adopt(descriptor.number, listening: true, kind: kind)
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
    var number: Int32 { descriptor.number }

    /// Accepts one waiting connection.
    mutating func accept() -> AcceptedDescriptor {
        while true {
            let answer = vmb_socket_accept(number)
            if answer >= 0 {
                if !reserve.isValid { reserve = Self.makeReserve() }
                return .accepted(OwnedDescriptor(owning: answer))
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

    private mutating func turnAway(_ code: Int32) -> AcceptedDescriptor {
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
    private static func removeStale(_ path: String, _ kind: SocketKind) throws(KernelError) {
        var facts = vmb_file_facts()
        let found = vmb_path_facts(path, &facts)
        if found == -ENOENT { return }
        try check(found, "stat", subject: path)
        guard facts.mode & VMB_S_IFMT == VMB_S_IFSOCK else {
            throw KernelError(
                "bind", EEXIST, subject: path, advice: "a file that is not a socket is there")
        }
        let probe = OwnedDescriptor(owning: try check(kind.make(), "socket"))
        switch -vmb_socket_connect(probe.number, path) {
        case ECONNREFUSED:
            let removed = vmb_unlink(path)
            if removed != -ENOENT { try check(removed, "unlink", subject: path) }
        case ENOENT: break
        // Connected, its queue is full, or it is of another type: somebody lives there either way.
        case 0:
            throw KernelError(
                "bind", EADDRINUSE, subject: path,
                advice: "another process listens there\(Self.number(of: probe))")
        case EAGAIN, EPROTOTYPE:
            throw KernelError(
                "bind", EADDRINUSE, subject: path, advice: "another process listens there")
        case let code:
            throw KernelError(
                "connect", code, subject: path, advice: "cannot tell whether somebody listens there"
            )
        }
    }

    /// ", process N" for who listens at the other end, as the kernel saw it when it began to.
    private static func number(of probe: borrowing OwnedDescriptor) -> String {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        let answer = vmb_socket_peer(probe.number, &process, &user, &group)
        return answer == 0 && process > 0 ? ", process \(process)" : ""
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

/// An advisory lock on the directory that a path lies in, held for the life of this value.
///
/// Only helps those who ask for it. Somebody who may read the directory can keep it from us: then, and
/// where the file system knows no locks, things go on without it after half a second.
struct DirectoryTurn: ~Copyable {
    private let directory: OwnedDescriptor

    /// Waits for the lock, at most half a second.
    init(besides path: String) {
        let end = path.lastIndex(of: "/")
        let name = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        directory = OwnedDescriptor(owning: open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        guard directory.isValid else { return }
        for _ in 0..<50 {
            if flock(directory.number, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK { return }
            usleep(10_000)
        }
    }
}
