import Glibc

/// A private directory for sockets and captures, mode 0700.
package enum TemporaryDirectory {
    /// Makes one below XDG_RUNTIME_DIR, TMPDIR or /tmp.
    package static func make(prefix: String) throws(KernelError) -> String {
        var base = "/tmp"
        for name in ["TMPDIR", "XDG_RUNTIME_DIR"] {
            guard let value = getenv(name) else { continue }
            let path = String(cString: value)
            if path.hasPrefix("/"), access(path, W_OK) == 0 { base = path }
        }
        // UNSAFE: mkdtemp writes the name into the string that it was given, which is ours to free.
        let template = strdup("\(base)/\(prefix)XXXXXX")
        defer { free(template) }
        guard let template, mkdtemp(template) != nil else {
            throw KernelError("mkdtemp", errno, subject: base)
        }
        return String(cString: template)
    }

    /// Removes it with all that it holds; what cannot be removed stays.
    package static func remove(_ path: String) {
        guard let directory = opendir(path) else {
            unlink(path)
            return
        }
        while let entry = readdir(directory) {
            // UNSAFE: a C array is imported as a tuple; the name in it ends with NUL.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            if entry.pointee.d_type == UInt8(DT_DIR) {
                remove(path + "/" + name)
            } else {
                unlink(path + "/" + name)
            }
        }
        closedir(directory)
        rmdir(path)
    }
}
