import Descriptors
import Glibc

/// A file that one process at a time holds locked, with its number written in it. The kernel lets go of the
/// lock when the process ends, however it ends; the file stays, since removing it would let two hold one name.
struct LockFile: ~Copyable {
    /// Somebody else holds it.
    struct Held: Error {
        /// The number that it wrote; nil when there is none.
        var process: Int32?
    }

    private let descriptor: OwnedDescriptor

    /// Makes the file if need be, with mode 0600, and locks it.
    ///
    /// - Throws: `Held`, or `KernelError` when the file cannot be opened or its file system knows no locks.
    init(path: String) throws {
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw KernelError("open", errno, subject: path) }
        let descriptor = OwnedDescriptor(owning: number)
        while flock(descriptor.number, LOCK_EX | LOCK_NB) != 0 {
            let code = errno
            if code == EINTR { continue }
            guard code == EWOULDBLOCK else { throw KernelError("flock", code, subject: path) }
            throw Held(process: Self.process(in: descriptor.number))
        }
        let text = Array("\(getpid())\n".utf8)
        guard ftruncate(descriptor.number, 0) == 0,
            // UNSAFE: the array is lent for the call and only read.
            text.withUnsafeBytes({ pwrite(descriptor.number, $0.baseAddress, $0.count, 0) })
                == text.count
        else { throw KernelError("write", errno, subject: path) }
        self.descriptor = descriptor
    }

    private static func process(in number: Int32) -> Int32? {
        var text = [UInt8](repeating: 0, count: 16)
        // UNSAFE: the array is lent for the call, and the kernel writes within its length.
        let count = text.withUnsafeMutableBytes { pread(number, $0.baseAddress, $0.count, 0) }
        guard count > 0 else { return nil }
        let digits = text.prefix(count).prefix { $0 != UInt8(ascii: "\n") }
        return Int32(String(decoding: digits, as: UTF8.self))
    }
}
