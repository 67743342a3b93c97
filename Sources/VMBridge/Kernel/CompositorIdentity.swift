import CLinux

/// Which program is at the other end of a unix stream socket: for a compositor, whoever listens on its
/// socket (`SO_PEERCRED`: who called listen, or socketpair).
///
/// Good for choosing among ways that are all correct, and for words; no proof of anything. A launcher
/// that makes the socket for its compositor is what is seen then (KWin's wrapper), a process may name
/// itself as it likes, and the number of one that ended may have been given to another. Two reads from
/// /proc: once for each connection, never for a frame.
package struct CompositorIdentity: Equatable, Sendable, CustomStringConvertible {
    /// The kernel cuts `comm` after so many bytes.
    static let longestCommand = 15

    /// Its number in our process namespace.
    package let process: Int32
    /// Its `comm`: at most 15 bytes.
    package let command: String
    /// The last part of its executable's path; nil when the kernel does not let us look, as with
    /// programs that have capabilities of their own.
    package let executable: String?

    /// Looks a socket's peer up; nil when it is in another process namespace (the kernel says 0 then),
    /// gone, or not to be seen.
    ///
    /// - Parameters:
    ///   - descriptor: a connected unix socket, lent.
    ///   - processes: where /proc is.
    package init?(peerOf descriptor: Int32, processes: String = "/proc") {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        guard vmb_socket_peer(descriptor, &process, &user, &group) == 0 else { return nil }
        self.init(process: process, processes: processes)
    }

    /// Looks a process up; see `init(peerOf:processes:)`.
    package init?(process: Int32, processes: String = "/proc") {
        guard process > 0, let command = SystemFiles.line("\(processes)/\(process)/comm") else {
            return nil
        }
        self.process = process
        self.command = command
        // A program that was replaced on disk while it runs, by an update for instance.
        let mark = " (deleted)"
        executable = SystemFiles.linkName("\(processes)/\(process)/exe").map {
            $0.hasSuffix(mark) ? String($0.dropLast(mark.count)) : $0
        }
    }

    /// The executable's name, or what stands in its place.
    package var name: String { executable ?? command }

    /// Whether it is the program of that name. Without an executable's name `comm` decides, as far as
    /// it goes.
    package func isCalled(_ name: String) -> Bool {
        if let executable { return executable == name }
        return command.utf8.elementsEqual(name.utf8.prefix(Self.longestCommand))
    }

    /// "weston, process 4711".
    package var description: String { "\(name), process \(process)" }
}
