import Descriptors
import Glibc

/// Reads a linux-dmabuf feedback's format table: rows of 16 bytes, u32 format at 0, u64 modifier at 8.
enum FormatTable {
    private static let rowBytes = 16
    /// Tranches name rows by 16 bits.
    private static let mostRows = 65_536

    /// The rows; nil when the descriptor does not have what it should.
    ///
    /// - Parameters:
    ///   - descriptor: the compositor's; closed when this returns.
    ///   - size: bytes of the table, by the compositor's word.
    static func read(_ descriptor: consuming OwnedDescriptor, size: UInt32) -> [FormatCatalog.Pair]?
    {
        let count = Int(size) / rowBytes
        guard count <= mostRows else { return nil }
        guard count > 0 else { return [] }
        let bytes = count * rowBytes
        var facts = stat()
        // Reading a mapping beyond the file's end would be fatal.
        guard fstat(descriptor.number, &facts) == 0, Int(facts.st_size) >= bytes else { return nil }
        // UNSAFE: mapped and unmapped here, read within its bounds. A private mapping is what the
        // protocol asks for; the compositor may have sealed the file against any other.
        let mapped = mmap(nil, bytes, PROT_READ, MAP_PRIVATE, descriptor.number, 0)
        guard let mapped, mapped != MAP_FAILED else { return nil }
        defer { munmap(mapped, bytes) }
        return (0..<count).map { row in
            FormatCatalog.Pair(
                format: mapped.load(fromByteOffset: row * rowBytes, as: UInt32.self),
                modifier: mapped.load(fromByteOffset: row * rowBytes + 8, as: UInt64.self))
        }
    }
}
