import CLinux
import Glibc

/// The directory of our sockets that have no other place: `$XDG_RUNTIME_DIR/vm-bridge`.
public enum RuntimeDirectory {
    /// Its path; nil where `XDG_RUNTIME_DIR` is not set or is no absolute path, which the XDG base
    /// directory specification tells to ignore.
    public static var path: String? {
        guard let base = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }),
            base.hasPrefix("/")
        else { return nil }
        return "\(base)/vm-bridge"
    }

    /// Makes it, with mode 0700, unless it is there. One that is there is taken as it is, since its parent
    /// belongs to the user alone.
    public static func make() throws(KernelError) {
        guard let path else { return }
        guard mkdir(path, 0o700) != 0, errno != EEXIST else { return }
        throw KernelError("mkdir", errno, subject: path)
    }

    /// Makes it if a socket is to lie directly in it.
    static func makeIfHolding(_ socketPath: String) throws(KernelError) {
        guard let path, socketPath.hasPrefix(path + "/") else { return }
        try make()
    }
}
