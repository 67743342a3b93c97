import CLinux
import Descriptors
import Glibc

/// A file that is written from its start; what was there is gone.
package struct FileWriter: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// Opens or makes the file with mode 0644.
    package init(path: String) throws(KernelError) {
        let number = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard number >= 0 else { throw KernelError("open", errno, subject: path) }
        descriptor = OwnedDescriptor(owning: number)
    }

    /// Writes all bytes; false when the disk is full or the file is gone.
    @discardableResult
    package borrowing func write(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            // UNSAFE: the array is lent for the call; the offset is below its count.
            let written = bytes.withUnsafeBytes { buffer in
                Glibc.write(
                    descriptor.number, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return false }
            done += written
        }
        return true
    }

    /// Writes a text to a file in one go.
    package static func write(_ text: String, to path: String) throws(KernelError) {
        let writer = try FileWriter(path: path)
        guard writer.write(Array(text.utf8)) else {
            throw KernelError("write", errno, subject: path)
        }
    }

    /// Makes a directory, and those above it, unless it is there.
    package static func makeDirectory(_ path: String) throws(KernelError) {
        var prefix = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            prefix += part
            if mkdir(prefix, 0o755) != 0, errno != EEXIST {
                throw KernelError("mkdir", errno, subject: prefix)
            }
            prefix += "/"
        }
    }
}
