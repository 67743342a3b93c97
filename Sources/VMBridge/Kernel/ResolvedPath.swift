import Glibc

/// Paths without links, dots and repeated slashes.
enum ResolvedPath {
    /// What a path leads to, absolute; nil when nothing is there.
    static func of(_ path: String) -> String? {
        // UNSAFE: realpath(3) allocates the string, which is copied and freed here.
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
