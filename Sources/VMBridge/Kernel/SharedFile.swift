import Descriptors
import Glibc

/// A small file that a peer shares by descriptor: a compositor's table of formats, a keymap.
package enum SharedFile {
    /// A copy of the file's first bytes; nil when it has fewer or cannot be mapped.
    ///
    /// Mapped privately: its owner may have sealed it against any other way, and shares one file with
    /// many.
    /// - Parameters:
    ///   - descriptor: closed when this returns.
    ///   - count: bytes wanted.
    package static func contents(
        of descriptor: consuming OwnedDescriptor, count: Int
    ) -> [UInt8]? {
        guard count > 0 else { return [] }
        var facts = stat()
        // Reading a mapping beyond the file's end would be fatal.
        guard fstat(descriptor.number, &facts) == 0, Int(facts.st_size) >= count else { return nil }
        // UNSAFE: mapped and unmapped here, copied out within its bounds.
        let mapped = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor.number, 0)
        guard let mapped, mapped != MAP_FAILED else { return nil }
        defer { munmap(mapped, count) }
        return [UInt8](UnsafeRawBufferPointer(start: mapped, count: count))
    }
}
