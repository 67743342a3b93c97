import CLinux
import Descriptors
import Glibc

/// A listening stream socket and its only caller.
struct PrivateStreamEnds: ~Copyable {
    /// Listens; the caller waits in its queue.
    let listener: OwnedDescriptor
    /// Is connected to it. Both are non-blocking and close-on-exec.
    let client: OwnedDescriptor
}

/// Stream sockets that nobody else can call.
enum PrivateStream {
    /// Makes a listening socket with one caller in its queue and no name left in the file system.
    ///
    /// The name is in a new directory of mode 0700 for that moment; an abstract one could be called by any
    /// user of the host.
    static func listenAndConnect() throws(KernelError) -> PrivateStreamEnds {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-")
        defer { TemporaryDirectory.remove(directory) }
        let path = directory + "/s"
        try checkSocketPath(path)
        let listener = try stream()
        try check(vmb_socket_bind(listener.number, path), "bind", subject: path)
        try check(vmb_socket_listen(listener.number, 1), "listen", subject: path)
        let client = try stream()
        try check(vmb_socket_connect(client.number, path), "connect", subject: path)
        return PrivateStreamEnds(listener: listener, client: client)
    }

    private static func stream() throws(KernelError) -> OwnedDescriptor {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let made = OwnedDescriptor(owning: socket(AF_UNIX, type, 0))
        guard made.isValid else { throw KernelError("socket", errno) }
        return made
    }
}

/// A pipe, for its hang-up alone.
struct PipeEnds: ~Copyable {
    /// Hangs up when the other end is closed.
    let heard: OwnedDescriptor
    /// To be kept.
    let keeper: OwnedDescriptor

    /// Makes one; close-on-exec.
    init() throws(KernelError) {
        var ends: [Int32] = [-1, -1]
        try check(vmb_pipe(&ends), "pipe")
        heard = OwnedDescriptor(owning: ends[0])
        keeper = OwnedDescriptor(owning: ends[1])
    }
}
