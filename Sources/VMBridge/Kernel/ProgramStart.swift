import Glibc

/// How this program starts others: with its environment and no signal blocked, whatever the loop blocks.
enum ProgramStart {
    /// Starts a program.
    ///
    /// - Parameters:
    ///   - path: of its file.
    ///   - arguments: without its name.
    ///   - arrange: its descriptors; those of ours that are close-on-exec are gone in any case.
    /// - Returns: the process.
    static func spawn(
        _ path: String, _ arguments: [String],
        _ arrange: (inout posix_spawn_file_actions_t) -> Void
    ) throws(KernelError) -> pid_t {
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
        arrange(&files)
        // UNSAFE: C strings that live until posix_spawn has copied them.
        var vector: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        vector.append(nil)
        defer { for text in vector { free(text) } }
        var started: pid_t = 0
        let code = posix_spawn(&started, path, &files, &attributes, vector, environ)
        guard code == 0 else { throw KernelError("posix_spawn", code, subject: path) }
        return started
    }
}
