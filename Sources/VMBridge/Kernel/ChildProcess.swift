import CLinux
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
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The loop's blocked signals would be inherited, and the child could not be ended by them.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        if isSilent {
            posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        }
        // UNSAFE: C strings that live until posix_spawn has copied them.
        var vector: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        vector.append(nil)
        defer { for text in vector { free(text) } }
        var started: pid_t = 0
        let code = posix_spawn(&started, path, &files, &attributes, vector, environ)
        guard code == 0 else { throw KernelError("posix_spawn", code, subject: path) }
        process = started
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
