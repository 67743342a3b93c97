import CLinux
import Descriptors
import Glibc

/// Finds out what a received descriptor really is. Make one at start and keep it.
///
/// Nothing here waits, whatever the peer sent: the file's attributes are taken as the kernel has them (statx with
/// AT_STATX_DONT_SYNC; a plain fstat asks a user-space file system's daemon, which may be the peer and never answer), seals are asked of the kernel's own
/// memory files only, and an ioctl goes to nothing but anonymous inodes: never to a device node, pipe or file. On success nothing is allocated.
public struct DescriptorProbe: Sendable {
    // The file system of all objects made by anon_inode_getfile (sync_file, eventfd, userfaultfd, KVM ...). dma-bufs have one of their own.
    private let anonymousDevice: UInt64

    /// Learns from an eventfd where the kernel keeps its plain anonymous objects.
    public init() throws(KernelError) {
        let sample = try EventFile.make()
        var facts = vmb_file_facts()
        try check(vmb_file_facts(sample.number, &facts), "statx")
        anonymousDevice = facts.device
    }

    /// What `descriptor` is. It stays the caller's and is not changed, its file position included.
    public func facts(of descriptor: Int32) throws(KernelError) -> DescriptorFacts {
        let flags = try check(vmb_fcntl(descriptor, VMB_F_GETFL, 0), "F_GETFL")
        var file = vmb_file_facts()
        try check(vmb_file_facts(descriptor, &file), "statx")
        var seals: Seals = []
        var size: UInt64 = 0
        let kind: DescriptorFacts.Kind
        if flags & VMB_O_PATH != 0 {
            kind = .other(file.mode & VMB_S_IFMT == VMB_S_IFLNK ? .symbolicLink : .path)
        } else if let memory = memory(descriptor, file) {
            (kind, seals) = memory
            size = file.size
        } else if file.mode & VMB_S_IFMT == 0 {
            (kind, size) = anonymous(descriptor, file)
        } else {
            kind = .other(Self.other(file.mode))
        }
        return DescriptorFacts(
            kind: kind, size: size, seals: seals,
            accessMode: DescriptorFacts.AccessMode(rawValue: flags & VMB_O_ACCMODE) ?? .neither,
            identity: FileIdentity(device: file.device, inode: file.inode))
    }

    /// The state of a sync_file, in two calls; nil when `descriptor`, which stays the caller's, is something else.
    package func fence(_ descriptor: Int32) throws(KernelError) -> FenceStatus? {
        var file = vmb_file_facts()
        try check(vmb_file_facts(descriptor, &file), "statx")
        // The kernel itself answers an ioctl to a descriptor that was opened with O_PATH.
        guard file.mode & VMB_S_IFMT == 0, file.device == anonymousDevice,
            let info = try? SyncFileInfo.read(descriptor)
        else { return nil }
        return FenceStatus(status: info.status)
    }

    /// A memfd: a regular file without a name that knows of seals. A tmpfs file with a name answers the same question (it is sealed against
    /// sealing) and is no memfd; one without a name can never be sealed and so passes for a memfd without useful seals.
    private func memory(
        _ descriptor: Int32, _ file: vmb_file_facts
    ) -> (DescriptorFacts.Kind, Seals)? {
        guard file.mode & VMB_S_IFMT == VMB_S_IFREG, file.links == 0 else { return nil }
        let seals = vmb_fcntl(descriptor, VMB_F_GET_SEALS, 0)
        guard seals >= 0 else { return nil }
        // Only a hugetlb file system's block size differs from the page size; both answer from memory.
        let block = vmb_file_system_block(descriptor)
        let page = block > 0 ? UInt64(block) : UInt64(MemoryFile.pageSize)
        return (.memfd(pageSize: page), Seals(rawValue: UInt32(seals)))
    }

    /// A file without a type. Many answer an unknown ioctl with EINVAL as a dma-buf does SYNC without flags (userfaultfd, KVM), so that alone proves nothing: a
    /// dma-buf also has a size to seek to and is not among the kernel's plain anonymous objects.
    private func anonymous(
        _ descriptor: Int32, _ file: vmb_file_facts
    ) -> (DescriptorFacts.Kind, UInt64) {
        if file.device == anonymousDevice {
            let isFence = (try? SyncFileInfo.read(descriptor)) != nil
            return (isFence ? .syncFile : .other(.anonymous), 0)
        }
        var sync = vmb_dma_buf_sync(flags: 0)
        guard vmb_ioctl(descriptor, VMB_DMA_BUF_SYNC, &sync) == -EINVAL else {
            return (.other(.anonymous), 0)
        }
        let size = vmb_seek_end(descriptor)
        return size > 0 ? (.dmaBuf, UInt64(size)) : (.other(.anonymous), 0)
    }

    private static func other(_ mode: UInt32) -> OtherFile {
        switch mode & VMB_S_IFMT {
        case VMB_S_IFIFO: .fifo
        case VMB_S_IFSOCK: .socket
        case VMB_S_IFCHR: .characterDevice
        case VMB_S_IFBLK: .blockDevice
        case VMB_S_IFREG: .regularFile
        case VMB_S_IFDIR: .directory
        case VMB_S_IFLNK: .symbolicLink
        default: .anonymous
        }
    }

    /// The kernel's name of an open descriptor for logs, `"anon_inode:[eventfd]"`; nil without /proc. A peer may choose it: no decision may rest on it.
    public static func name(of descriptor: Int32) -> String? {
        // UNSAFE: a scratch buffer that the kernel fills to the length it returns.
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            let length = vmb_read_link("/proc/self/fd/\(descriptor)", start, buffer.count)
            guard length > 0 else { return nil }
            return String(
                decoding: UnsafeRawBufferPointer(start: start, count: Int(length)), as: UTF8.self)
        }
    }
}
