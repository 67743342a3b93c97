import CLinux
import Descriptors
import Glibc

/// Where the control socket is.
package enum ControlPath {
    /// `vm-bridge/control` in the runtime directory; nil without one.
    package static var usual: String? { RuntimeDirectory.path.map { $0 + "/control" } }
}

/// Why the control socket cannot be had.
package enum ControlEndpointError: Error, CustomStringConvertible {
    /// Another bridge has it: its path, and the process if that is known.
    case taken(path: String, process: Int32?)
    /// The directory that it lies in belongs to somebody else.
    case foreignDirectory(String)
    /// A system call failed.
    case kernel(KernelError)

    /// One sentence.
    package var description: String {
        switch self {
        case .taken(let path, let process):
            "the control socket \(path) belongs to another vm-bridge"
                + (process.map { ", process \($0)" } ?? "")
        case .foreignDirectory(let path):
            "the control socket's directory \(path) does not belong to this user"
        case .kernel(let error): "no control socket: \(error)"
        }
    }
}

/// The listening control socket and the lock that says whose it is.
package struct ControlEndpoint: ~Copyable {
    private var listener: SocketListener
    // Outlives the listener, so that nobody takes the path while the socket is still there.
    private var lock: LockFile?

    /// Locks `PATH.lock` and listens on `path`. A directory is made for it with mode 0700.
    package init(path: String) throws(ControlEndpointError) {
        let lock = try Self.lock(path)
        listener = try Self.listen(path)
        self.lock = consume lock
    }

    /// Takes over a socket that a service manager listens on.
    package init(adopting descriptor: consuming OwnedDescriptor) throws(ControlEndpointError) {
        listener = try Self.adopt(descriptor)
        lock = nil
    }

    private static func lock(_ path: String) throws(ControlEndpointError) -> LockFile {
        do {
            try prepareDirectory(of: path)
            return try LockFile(path: path + ".lock")
        } catch let held as LockFile.Held {
            throw .taken(path: path, process: held.process)
        } catch let error as KernelError {
            throw .kernel(error)
        } catch let error as ControlEndpointError {
            throw error
        } catch {
            throw .kernel(KernelError("lock", EINVAL, subject: path))
        }
    }

    private static func listen(_ path: String) throws(ControlEndpointError) -> SocketListener {
        do throws(KernelError) {
            return try SocketListener(.stream, path: path, backlog: 16)
        } catch {
            throw .kernel(error)
        }
    }

    private static func adopt(
        _ descriptor: consuming OwnedDescriptor
    ) throws(ControlEndpointError) -> SocketListener {
        do throws(KernelError) {
            return try SocketListener(.stream, adopting: descriptor)
        } catch {
            throw .kernel(error)
        }
    }

    var number: Int32 { listener.number }

    mutating func accept() -> AcceptedDescriptor { listener.accept() }

    /// The last directory of the path is made if need be. One of ours is closed to others.
    private static func prepareDirectory(of path: String) throws {
        guard let end = path.lastIndex(of: "/"), end != path.startIndex else { return }
        let directory = String(path[..<end])
        if mkdir(directory, 0o700) == 0 { return }
        guard errno == EEXIST else {
            throw KernelError(
                "mkdir", errno, subject: directory,
                advice: errno == ENOENT ? "the directory above it does not exist" : "")
        }
        // Any other directory is somebody's choice by --control: the socket's own mode keeps others out.
        guard path == ControlPath.usual else { return }
        var facts = stat()
        guard lstat(directory, &facts) == 0 else {
            throw KernelError("stat", errno, subject: directory)
        }
        guard facts.st_uid == geteuid(), facts.st_mode & S_IFMT == S_IFDIR else {
            throw ControlEndpointError.foreignDirectory(directory)
        }
        if facts.st_mode & 0o077 != 0, chmod(directory, 0o700) != 0 {
            throw KernelError("chmod", errno, subject: directory)
        }
    }
}
