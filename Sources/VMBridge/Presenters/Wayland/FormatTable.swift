import Descriptors

/// Reads a linux-dmabuf feedback's format table: rows of 16 bytes, u32 format at 0, u64 modifier at 8.
enum FormatTable {
    private static let rowBytes = 16
    /// Tranches name rows by 16 bits.
    static let mostRows = 65_536

    /// The rows; nil when the descriptor does not have what it should.
    ///
    /// - Parameters:
    ///   - descriptor: the compositor's; closed when this returns.
    ///   - size: bytes of the table, by the compositor's word; what is left over of whole rows is
    ///     no row.
    static func read(
        _ descriptor: consuming OwnedDescriptor, size: UInt32
    ) -> [FormatCatalog.Pair]? {
        let count = Int(size) / rowBytes
        guard count <= mostRows,
            let bytes = SharedFile.contents(of: descriptor, count: count * rowBytes)
        else { return nil }
        return (0..<count).map { row in
            FormatCatalog.Pair(
                format: UInt32(truncatingIfNeeded: number(bytes, row * rowBytes, 4)),
                modifier: number(bytes, row * rowBytes + 8, 8))
        }
    }

    /// A number of the table, in the byte order of the machines that this program runs on.
    private static func number(_ bytes: [UInt8], _ offset: Int, _ width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(bytes[offset + index]) << UInt64(index * 8) }
        return value
    }
}
