import CLinux
import Descriptors
import Glibc

/// A file of ours that only grows, readable by its owner alone.
package final class AppendingFile {
    private let descriptor: OwnedDescriptor

    /// Makes a new file with mode 0600 (`EEXIST` when there is one), or begins an old one anew.
    package init(path: String, mustBeNew: Bool) throws(KernelError) {
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (mustBeNew ? O_EXCL : O_TRUNC)
        let number = open(path, flags, 0o600)
        guard number >= 0 else { throw KernelError("open", errno, subject: path) }
        descriptor = OwnedDescriptor(owning: number)
    }

    /// Writes all bytes, or says why not; some of them may be in the file then.
    package func write(_ bytes: [UInt8]) throws(KernelError) {
        var done = 0
        while done < bytes.count {
            // UNSAFE: the array is lent for the call; the offset is below its count.
            let written = bytes.withUnsafeBytes { buffer in
                Glibc.write(
                    descriptor.number, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw KernelError("write", written < 0 ? errno : ENOSPC) }
            done += written
        }
    }
}

/// A file that is read at any place. Its length is that at opening.
package final class ReadableFile {
    private let descriptor: OwnedDescriptor
    /// Bytes.
    package let size: UInt64

    /// Opens a regular file; anything else is refused (`EINVAL`), also what would wait, as a pipe does.
    package init(path: String) throws(KernelError) {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard number >= 0 else { throw KernelError("open", errno, subject: path) }
        let descriptor = OwnedDescriptor(owning: number)
        var facts = stat()
        guard fstat(number, &facts) == 0 else { throw KernelError("fstat", errno, subject: path) }
        guard facts.st_mode & S_IFMT == S_IFREG, facts.st_size >= 0 else {
            throw KernelError("open", EINVAL, subject: path, advice: "it is no regular file")
        }
        size = UInt64(facts.st_size)
        self.descriptor = descriptor
    }

    /// The file's number, lent.
    package var number: Int32 { descriptor.number }

    /// Up to `count` bytes from `offset`; fewer at the end of the file, none when it cannot be read.
    package func bytes(at offset: UInt64, count: Int) -> [UInt8] {
        guard offset < size, count > 0 else { return [] }
        let wanted = Int(min(UInt64(count), size - offset))
        // UNSAFE: the kernel fills at most the capacity, and says how much it did.
        return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, filled in
            filled = 0
            while filled < wanted {
                let got = pread(
                    descriptor.number, buffer.baseAddress.map { $0 + filled }, wanted - filled,
                    off_t(offset) + off_t(filled))
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else { return }
                filled += got
            }
        }
    }
}

extension MemoryFile {
    /// The first `count` bytes, without mapping them: somebody may make the file shorter at any time.
    ///
    /// - Parameter descriptor: lent; open for reading.
    /// - Throws: also when there are fewer (`ENODATA`).
    package static func bytes(of descriptor: Int32, count: Int) throws(KernelError) -> [UInt8] {
        var failure: Int32 = ENODATA
        // UNSAFE: the kernel fills at most the capacity, and says how much it did.
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled,
                    off_t(filled))
                if got < 0 && errno == EINTR { continue }
                if got < 0 { failure = errno }
                guard got > 0 else { return }
                filled += got
            }
        }
        guard bytes.count == count else { throw KernelError("pread", failure) }
        return bytes
    }

    /// Writes bytes into a memfd without mapping it; the file does not grow by it when it is sealed.
    ///
    /// - Parameter descriptor: lent; open for writing.
    package static func write(
        _ bytes: [UInt8], to descriptor: Int32, at offset: UInt64
    ) throws(KernelError) {
        guard offset <= UInt64(Int64.max) - UInt64(bytes.count) else {
            throw KernelError("pwrite", EFBIG)
        }
        var done = 0
        while done < bytes.count {
            // UNSAFE: the array is lent for the call; the offset is below its count.
            let written = bytes.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                    off_t(offset) + off_t(done))
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw KernelError("pwrite", written < 0 ? errno : ENOSPC) }
            done += written
        }
    }
}

extension MappedMemory {
    /// Appends a copy of a part, which is cut to what is mapped.
    package borrowing func append(_ range: Range<Int>, to bytes: inout [UInt8]) {
        let part = range.clamped(to: 0..<count)
        // UNSAFE: the part lies inside the mapping, which lives for the call.
        withUnsafeBytes { bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0[part])) }
    }
}

/// Descriptors of other kinds than memory, for those who play what such a descriptor was sent for.
package enum OddDescriptors {
    /// A descriptor of that kind, or of the nearest kind that everybody may make.
    package static func make(_ kind: OtherFile) -> OwnedDescriptor {
        switch kind {
        case .fifo: return end { vmb_pipe($0) }
        case .socket: return end { vmb_seqpacket_pair($0) }
        case .characterDevice, .blockDevice: return file("/dev/null", O_RDWR)
        case .regularFile: return file("/proc/self/exe", O_RDONLY)
        case .directory: return file("/", O_RDONLY | O_DIRECTORY)
        case .path, .symbolicLink: return file("/proc/self/exe", VMB_O_PATH | O_NOFOLLOW)
        case .anonymous: return OwnedDescriptor(owning: vmb_eventfd(0))
        }
    }

    /// Another descriptor of the same memory that is open for reading or writing alone.
    package static func reopened(_ descriptor: Int32, writes: Bool) -> OwnedDescriptor {
        file("/proc/self/fd/\(descriptor)", writes ? O_WRONLY : O_RDONLY)
    }

    private static func file(_ path: String, _ flags: Int32) -> OwnedDescriptor {
        OwnedDescriptor(owning: open(path, flags | O_CLOEXEC))
    }

    /// One end of two; the other is closed.
    private static func end(_ make: (UnsafeMutablePointer<Int32>) -> Int32) -> OwnedDescriptor {
        var ends: (Int32, Int32) = (-1, -1)
        // UNSAFE: a pair of Int32 has the layout of int[2].
        let made = withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: Int32.self, capacity: 2) { make($0) }
        }
        guard made >= 0 else { return .none }
        _ = OwnedDescriptor(owning: ends.1)
        return OwnedDescriptor(owning: ends.0)
    }
}

/// The time of day.
package enum RealtimeClock {
    /// Nanoseconds since 1970.
    package static func now() -> UInt64 {
        var time: UInt64 = 0
        return vmb_clock_nanoseconds(0, &time) == 0 ? time : 0
    }
}
