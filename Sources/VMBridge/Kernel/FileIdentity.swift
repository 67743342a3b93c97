import CLinux

/// Which file a descriptor or path means, while it exists: no two files have the same at one time.
public struct FileIdentity: Hashable, Sendable {
    /// The file system (`st_dev`).
    public let device: UInt64
    /// The file in it (`st_ino`). A dma-buf has its own since Linux 5.3.
    public let inode: UInt64

    /// Takes the two numbers as given.
    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    /// The file at `path`, a symbolic link itself; nil if there is none.
    package init?(path: String) {
        var facts = vmb_file_facts()
        guard vmb_path_facts(path, &facts) == 0 else { return nil }
        self.init(device: facts.device, inode: facts.inode)
    }
}
