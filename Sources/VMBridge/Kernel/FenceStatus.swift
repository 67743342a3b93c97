import CLinux
import Glibc

/// The state of a sync_file.
public enum FenceStatus: Equatable, Sendable {
    /// Not yet: watch the descriptor for ``Interest/read``.
    case pending
    /// The work is done.
    case signalled
    /// The work ended with this errno; nobody needs to wait any more.
    case error(Int32)

    /// From `sync_file_info.status`: 1 signalled, 0 active, negative errno.
    init(status: Int32) {
        self = status > 0 ? .signalled : status == 0 ? .pending : .error(-status)
    }

    /// Looks at a descriptor that ``DescriptorProbe`` has shown to be a sync_file, without waiting.
    public static func of(_ syncFile: Int32) throws(KernelError) -> FenceStatus {
        FenceStatus(status: try SyncFileInfo.read(syncFile).status)
    }
}

/// What the kernel says of a sync_file (`SYNC_IOC_FILE_INFO`).
public struct SyncFileInfo: Equatable, Sendable {
    /// 1 signalled, 0 active, else a negative errno.
    public let status: Int32
    /// How many fences it stands for.
    public let fences: UInt32

    /// Asks without room for the single fences, so the answer's size does not depend on the peer.
    static func read(_ syncFile: Int32) throws(KernelError) -> SyncFileInfo {
        var info = vmb_sync_file_info()
        try check(vmb_ioctl(syncFile, VMB_SYNC_FILE_INFO, &info), "SYNC_IOC_FILE_INFO")
        return SyncFileInfo(status: info.status, fences: info.fence_count)
    }
}
