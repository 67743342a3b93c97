import Glibc

/// A process that this one started and answers for: it is ended with the value that stands for it.
package final class ChildProcess {
    private var process: pid_t
    /// How it ended; nil while it runs.
    package private(set) var status: Int32?

    /// Starts a program with this process's environment and standard streams.
    ///
    /// - Parameters:
    ///   - path: of the program's file.
    ///   - arguments: without the program's name.
    ///   - isSilent: its standard output goes nowhere; its standard error stays ours.
    package init(path: String, arguments: [String], isSilent: Bool = false) throws(KernelError) {
        process = try ProgramStart.spawn(path, arguments) { files in
            guard isSilent else { return }
            posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        }
    }

    /// Whether it still runs; never waits.
    package var isRunning: Bool {
        guard status == nil else { return false }
        var raw: Int32 = 0
        guard waitpid(process, &raw, WNOHANG) == process else { return true }
        status = Self.exitCode(raw)
        return false
    }

    /// Asks it to end, and makes it end after a second.
    package func end() {
        guard isRunning else { return }
        kill(process, SIGTERM)
        for _ in 0..<100 {
            if !isRunning { return }
            usleep(10_000)
        }
        kill(process, SIGKILL)
        var raw: Int32 = 0
        if waitpid(process, &raw, 0) == process { status = Self.exitCode(raw) }
    }

    deinit { end() }

    /// The exit status, or 128 and the signal that ended it, as shells count.
    private static func exitCode(_ raw: Int32) -> Int32 {
        let signal = raw & 0x7f
        return signal == 0 ? (raw >> 8) & 0xff : 128 + signal
    }
}
