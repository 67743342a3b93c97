import CLinux
import Descriptors
import Glibc

/// A file in memory that another process is given to write to.
package struct ScratchFile: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// An empty one; the name is for /proc only.
    package init(named name: String) throws(KernelError) {
        descriptor = try MemoryFile.create(name: name, size: 0, seals: [])
    }

    /// The number, lent.
    package var number: Int32 { descriptor.number }

    /// A copy of all that is in it; nil when it cannot be read.
    package borrowing func contents() -> [UInt8]? {
        let size = vmb_seek_end(descriptor.number)
        guard size >= 0 else { return nil }
        return SharedFile.contents(of: descriptor.duplicate(), count: Int(size))
    }
}
