import CLinux
import Descriptors
import Glibc

/// A child process that the loop never waits for: ending it is a signal that cannot be ignored. It is killed with the
/// value that stands for it.
package final class HelperProcess {
    /// The descriptor number that the child finds its socket at.
    package static let socketNumber: Int32 = 3

    private let process: pid_t
    private let handle: OwnedDescriptor

    /// Starts a program with this process's environment. Its standard input and output go nowhere.
    ///
    /// - Parameters:
    ///   - path: of the program's file.
    ///   - arguments: without the program's name.
    ///   - socket: lent; the child has a copy of it at ``socketNumber``, and no other descriptor of ours.
    ///   - isSilent: its standard error goes nowhere, too.
    package init(
        path: String, arguments: [String], passing socket: Int32, isSilent: Bool = true
    ) throws(KernelError) {
        let started = try ProgramStart.spawn(path, arguments) { files in
            // dup2 takes the mark off the copy that everything of ours has: close-on-exec.
            posix_spawn_file_actions_adddup2(&files, socket, Self.socketNumber)
            posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
            posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
            guard isSilent else { return }
            posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        }
        let opened = vmb_pidfd_open(started)
        if opened < 0 {
            Glibc.kill(started, SIGKILL)
            waitpid(started, nil, WNOHANG)
        }
        process = started
        handle = OwnedDescriptor(owning: try check(opened, "pidfd_open"))
    }

    /// The process's number, for people.
    package var number: Int32 { process }

    /// Ends it, which a driver's call can delay.
    package func kill() { _ = vmb_pidfd_signal(handle.number, SIGKILL) }

    deinit {
        kill()
        if waitpid(process, nil, WNOHANG) == 0 { Self.reapLater(process) }
    }

    /// Takes the end of a killed process when it comes, on a thread that waits for it: one that is never
    /// taken stands in the process table as long as we do.
    private static func reapLater(_ process: pid_t) {
        var thread = pthread_t()
        // UNSAFE: the process's number travels as the pointer's bits; no memory is behind it.
        let number = UnsafeMutableRawPointer(bitPattern: Int(process))
        let code = pthread_create(
            &thread, nil,
            { number in
                let process = pid_t(Int(bitPattern: number))
                while waitpid(process, nil, 0) < 0 && errno == EINTR {}
                return nil
            }, number)
        if code == 0 { pthread_detach(thread) }
    }
}

/// What a helper does first: fewer rights, and an end when its parent ends.
package enum HelperConduct {
    /// - Parameter socket: the connection to the parent; everything above it is closed.
    package static func begin(socket: Int32) {
        _ = vmb_prctl(VMB_PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0)
        _ = vmb_prctl(VMB_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _ = vmb_no_core_files()
        _ = vmb_close_from(UInt32(socket) + 1)
    }

    /// Waits until a descriptor is readable or its other end is gone. For helpers alone.
    ///
    /// - Returns: poll's revents.
    @discardableResult
    package static func waitUntilReadable(_ descriptor: Int32) -> Int16 {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&state, 1, -1) < 0 && errno == EINTR {}
        return state.revents
    }

    /// Waits until a descriptor takes something or its other end is gone. For helpers alone.
    package static func waitUntilWritable(_ descriptor: Int32) {
        var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while poll(&state, 1, -1) < 0 && errno == EINTR {}
    }
}
