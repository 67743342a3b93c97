/// What a descriptor really is, from the kernel alone.
public struct DescriptorFacts: Equatable, Sendable {
    /// The kinds that the bridge can use, and the rest.
    public enum Kind: Equatable, Sendable {
        /// A buffer of some driver.
        case dmaBuf
        /// Anonymous shared memory; `pageSize` is larger than the system's when it is made of huge pages.
        case memfd(pageSize: UInt64)
        /// A fence.
        case syncFile
        /// Anything else: refuse it.
        case other(OtherFile)
    }

    /// Whether it was opened for reading, writing or both.
    public enum AccessMode: Int32, Sendable {
        /// O_RDONLY
        case readOnly = 0
        /// O_WRONLY
        case writeOnly = 1
        /// O_RDWR
        case readWrite = 2
        /// 3: ioctl alone, an old convention of device nodes.
        case neither = 3
    }

    /// What it is.
    public let kind: Kind
    /// Bytes; of a dma-buf and a memfd only, else 0. A dma-buf's cannot change, a memfd's can unless its ``seals`` say otherwise.
    public let size: UInt64
    /// Of a memfd, else empty.
    public let seals: Seals
    /// How it was opened.
    public let accessMode: AccessMode
    /// The same for every descriptor of the same buffer, and for no other while it lives.
    public let identity: FileIdentity
}

/// The kinds of descriptor that no offer may carry.
public enum OtherFile: String, Equatable, Sendable, CustomStringConvertible {
    /// A pipe or named pipe.
    case fifo = "a pipe"
    /// Any socket.
    case socket = "a socket"
    /// A character device node.
    case characterDevice = "a character device"
    /// A block device node.
    case blockDevice = "a block device"
    /// A file of some file system, also of tmpfs.
    case regularFile = "a regular file"
    /// A directory.
    case directory = "a directory"
    /// A symbolic link (O_PATH with O_NOFOLLOW).
    case symbolicLink = "a symbolic link"
    /// Opened with O_PATH: a place, not an open file.
    case path = "a path descriptor"
    /// An eventfd, timerfd, epoll, io_uring, pidfd and the like.
    case anonymous = "another kernel object"

    /// Words for people, "a pipe".
    public var description: String { rawValue }
}
