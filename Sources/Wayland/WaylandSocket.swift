import Descriptors
import Glibc

/// Why no connection came about.
public enum WaylandConnectError: Error, Equatable, CustomStringConvertible {
    /// A relative display name needs XDG_RUNTIME_DIR, which is unset or not an absolute path.
    case noRuntimeDirectory(display: String)
    /// The socket's path does not fit an address (107 bytes).
    case pathTooLong(String)
    /// Nobody answers at the path, with connect(2)'s or socket(2)'s errno.
    case unreachable(path: String, errno: Int32)
    /// WAYLAND_SOCKET is no descriptor of this process.
    case badInheritedSocket(String)
    /// The descriptor given is none.
    case badDescriptor
    /// libwayland could not allocate.
    case noMemory

    /// One sentence for people.
    public var description: String {
        switch self {
        case .noRuntimeDirectory(let display):
            "cannot find the Wayland display \(display): XDG_RUNTIME_DIR is not an absolute path"
        case .pathTooLong(let path):
            "the Wayland socket's path is too long: \(path)"
        case .unreachable(let path, let code):
            "no Wayland compositor at \(path): \(String(cString: strerror(code)))"
        case .badInheritedSocket(let value):
            "WAYLAND_SOCKET=\(value) is not an open descriptor"
        case .badDescriptor:
            "no valid descriptor to talk Wayland over"
        case .noMemory:
            "no memory for a Wayland connection"
        }
    }
}

extension WaylandConnection {
    /// Connects to a compositor by the rules that all Wayland clients share.
    ///
    /// A name given here wins. Without one, WAYLAND_SOCKET (a descriptor inherited from the parent,
    /// good for one connection: the variable is removed) wins over WAYLAND_DISPLAY, which wins over
    /// "wayland-0". An absolute name is a path, any other is looked for in XDG_RUNTIME_DIR.
    /// Never waits: a compositor whose queue of callers is full counts as unreachable (`EAGAIN`).
    public static func connect(
        name: String? = nil
    ) throws(WaylandConnectError) -> WaylandConnection {
        if name == nil, let inherited = environment("WAYLAND_SOCKET") {
            unsetenv("WAYLAND_SOCKET")
            return try connect(to: try inheritedSocket(inherited))
        }
        let display = name ?? environment("WAYLAND_DISPLAY") ?? "wayland-0"
        let path = try socketPath(of: display, runtimeDirectory: environment("XDG_RUNTIME_DIR"))
        return try connect(to: try open(path))
    }

    /// Where a display's socket is.
    static func socketPath(
        of display: String, runtimeDirectory: String?
    ) throws(WaylandConnectError) -> String {
        if display.hasPrefix("/") { return display }
        guard let runtimeDirectory, runtimeDirectory.hasPrefix("/") else {
            throw .noRuntimeDirectory(display: display)
        }
        return runtimeDirectory + "/" + display
    }

    static func inheritedSocket(_ value: String) throws(WaylandConnectError) -> OwnedDescriptor {
        guard let number = Int32(value), number >= 0 else { throw .badInheritedSocket(value) }
        let flags = fcntl(number, F_GETFD)
        guard flags >= 0, fcntl(number, F_SETFD, flags | FD_CLOEXEC) >= 0 else {
            throw .badInheritedSocket(value)
        }
        return OwnedDescriptor(owning: number)
    }

    private static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }

    private static func open(_ path: String) throws(WaylandConnectError) -> OwnedDescriptor {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard path.utf8.count < room.count else { return false }
            room.copyBytes(from: path.utf8)
            return true
        }
        guard fits else { throw .pathTooLong(path) }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = OwnedDescriptor(owning: socket(AF_UNIX, type, 0))
        guard descriptor.isValid else { throw .unreachable(path: path, errno: errno) }
        let number = descriptor.number
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw .unreachable(path: path, errno: errno) }
        return descriptor
    }
}
