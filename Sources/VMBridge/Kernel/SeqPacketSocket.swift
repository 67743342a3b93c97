import CLinux
import Descriptors
import Glibc

/// What one attempt to receive gave.
public enum ReceiveResult: Equatable, Sendable {
    /// A whole datagram of this many bytes; its descriptors are in the bundle.
    case datagram(Int)
    /// Nothing there now.
    case wouldBlock
    /// The peer is gone, or sent an empty datagram: the kernel reports both as 0 bytes, so no protocol here has empty datagrams.
    case closed
    /// The datagram was longer than the buffer. It is lost; its descriptors are closed.
    case truncatedData
    /// More than ``DescriptorBundle/capacity`` descriptors came: the peer's fault. All are closed.
    case tooManyDescriptors
    /// The kernel could not give us all descriptors: our table or the system's is full (`EMFILE`, `ENFILE`) or a security
    /// module forbids one. Not the peer's fault alone; all that arrived are closed and the datagram is lost.
    case truncatedDescriptors
    /// The call failed with this errno.
    case failed(Int32)
}

/// What one attempt to send gave.
public enum SendResult: Equatable, Sendable {
    /// The whole datagram is with the kernel.
    case sent
    /// The peer's queue is full: wait for ``Interest/write`` and send it again.
    case wouldBlock
    /// The peer is gone.
    case closed
    /// The call failed with this errno (`EMSGSIZE`: longer than the socket's buffer; `ETOOMANYREFS`: too many descriptors in flight).
    case failed(Int32)
}

/// Who is at the other end, as the kernel saw it when the connection was made (`SO_PEERCRED`).
public struct PeerCredentials: Equatable, Sendable {
    /// The process; 0 when it is outside our process namespace.
    public let process: Int32
    /// Its user.
    public let user: UInt32
    /// Its group.
    public let group: UInt32
}

/// One connected `AF_UNIX` `SOCK_SEQPACKET` socket, non-blocking and close-on-exec. It owns its descriptor.
public struct SeqPacketSocket: ~Copyable {
    private let descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Takes over an inherited or received descriptor. Refused (and closed) unless it is an `AF_UNIX` `SOCK_SEQPACKET`
    /// socket that does not listen. Makes it non-blocking and close-on-exec.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(KernelError) {
        try adopt(descriptor.number, listening: false)
        self.descriptor = descriptor
    }

    /// Connects to a listener. `EAGAIN` means that its queue of waiting connections is full: try again later.
    public init(connectingTo path: String) throws(KernelError) {
        try checkSocketPath(path)
        let descriptor = OwnedDescriptor(owning: try check(vmb_seqpacket_socket(), "socket"))
        try check(vmb_socket_connect(descriptor.number, path), "connect", subject: path)
        self.descriptor = descriptor
    }

    /// The number, lent to the event loop.
    public var number: Int32 { descriptor.number }

    /// Gives the descriptor away, to a child process for instance.
    public consuming func release() -> OwnedDescriptor { descriptor }

    /// Who connected.
    public func peer() throws(KernelError) -> PeerCredentials {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        try check(vmb_socket_peer(number, &process, &user, &group), "SO_PEERCRED")
        return PeerCredentials(process: process, user: user, group: group)
    }

    /// Receives one datagram. The bundle is reset first, and left empty by every result but ``ReceiveResult/datagram(_:)``.
    ///
    /// When the peer closed with unread data of ours, the kernel says `ECONNRESET` once *before* what it had sent; that is
    /// read past, so its last words arrive.
    public func receive(
        into buffer: UnsafeMutableRawBufferPointer, descriptors: inout DescriptorBundle
    ) -> ReceiveResult {
        descriptors.reset()
        var resets = 0
        while true {
            // UNSAFE: the buffer is the caller's for the whole call, and the shim writes within its length.
            let (answer, flags) = descriptors.fill {
                vmb_socket_receive(number, buffer.baseAddress, buffer.count, $0)
            }
            switch Int32(-min(answer, 0)) {
            case 0: break
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case ECONNRESET where resets == 0:
                resets = 1
                continue
            case ECONNRESET, ENOTCONN: return .closed
            case let code: return .failed(code)
            }
            let result = Self.judge(Int(answer), flags: flags, descriptors: descriptors.count)
            if case .datagram = result { return result }
            descriptors.reset()
            return result
        }
    }

    private static func judge(_ length: Int, flags: Int32, descriptors: Int) -> ReceiveResult {
        if descriptors > DescriptorBundle.capacity { return .tooManyDescriptors }
        if flags & VMB_MSG_CTRUNC != 0 { return .truncatedDescriptors }
        if flags & VMB_MSG_TRUNC != 0 { return .truncatedData }
        return length == 0 ? .closed : .datagram(length)
    }

    /// Sends one datagram of at least one byte with up to ``DescriptorBundle/capacity`` descriptors. The descriptors are lent: the kernel takes
    /// its own references before this returns. Never raises `SIGPIPE`.
    public func send(
        _ bytes: UnsafeRawBufferPointer,
        descriptors: UnsafeBufferPointer<Int32> = UnsafeBufferPointer(start: nil, count: 0)
    ) -> SendResult {
        // An empty datagram reads as the end of the connection at the other side.
        guard !bytes.isEmpty else { return .failed(EINVAL) }
        while true {
            // UNSAFE: both buffers are the caller's for the whole call and only read.
            let answer = vmb_socket_send(
                number, bytes.baseAddress, bytes.count, descriptors.baseAddress,
                UInt32(clamping: descriptors.count))
            switch Int32(-min(answer, 0)) {
            case 0: return .sent
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED: return .closed
            case let code: return .failed(code)
            }
        }
    }

    /// Sends one datagram with one lent descriptor, or none.
    public func send(_ bytes: UnsafeRawBufferPointer, descriptor: Int32?) -> SendResult {
        guard let descriptor else { return send(bytes) }
        return withUnsafePointer(to: descriptor) {
            send(bytes, descriptors: UnsafeBufferPointer(start: $0, count: 1))
        }
    }
}

/// Two connected sockets, for a child process or a test.
public struct SeqPacketPair: ~Copyable {
    private var first: SeqPacketSocket?
    private var second: SeqPacketSocket?

    /// `socketpair`, both ends non-blocking and close-on-exec.
    public init() throws(KernelError) {
        var numbers: (Int32, Int32) = (-1, -1)
        // UNSAFE: a pair of Int32 has the layout of int[2].
        let answer = withUnsafeMutablePointer(to: &numbers) {
            $0.withMemoryRebound(to: Int32.self, capacity: 2) { vmb_seqpacket_pair($0) }
        }
        try check(answer, "socketpair")
        first = SeqPacketSocket(OwnedDescriptor(owning: numbers.0))
        second = SeqPacketSocket(OwnedDescriptor(owning: numbers.1))
    }

    /// Hands over the first end; nil the second time.
    public mutating func takeFirst() -> SeqPacketSocket? { first.take() }
    /// Hands over the second end; nil the second time.
    public mutating func takeSecond() -> SeqPacketSocket? { second.take() }
}

/// Refuses a path that no socket address can hold.
func checkSocketPath(_ path: String) throws(KernelError) {
    guard !path.isEmpty else { throw KernelError("socket path", EINVAL, advice: "it is empty") }
    guard !path.utf8.contains(0) else {
        throw KernelError("socket path", EINVAL, advice: "it contains a zero byte")
    }
    guard path.utf8.count <= Int(VMB_SOCKET_PATH_LIMIT) else {
        throw KernelError(
            "socket path", ENAMETOOLONG, subject: path,
            advice: "\(path.utf8.count) bytes, a socket's path may have \(VMB_SOCKET_PATH_LIMIT)")
    }
}

/// Checks a foreign descriptor's family, type and role and sets the flags that the loop relies on.
func adopt(
    _ number: Int32, listening: Bool, kind: SocketKind = .seqpacket
) throws(KernelError) {
    var accepts: Int32 = 0
    guard try check(kind.matches(number, &accepts), "getsockopt") == 1 else {
        throw KernelError(
            "adopt socket", EPROTOTYPE, advice: "it is not a unix socket of type \(kind.name)")
    }
    guard (accepts != 0) == listening else {
        throw KernelError(
            "adopt socket", EINVAL,
            advice: listening ? "it does not listen" : "it listens, it is not a connection")
    }
    let status = try check(vmb_fcntl(number, VMB_F_GETFL, 0), "F_GETFL")
    try check(vmb_fcntl(number, VMB_F_SETFL, Int(status | VMB_O_NONBLOCK)), "F_SETFL")
    let flags = try check(vmb_fcntl(number, VMB_F_GETFD, 0), "F_GETFD")
    try check(vmb_fcntl(number, VMB_F_SETFD, Int(flags | VMB_FD_CLOEXEC)), "F_SETFD")
}
