/// One region of a guest's RAM as a front end describes it (vhost-user, "Memory region description").
package struct MemoryRegion: Hashable, Sendable {
    /// Guest-physical address.
    package var guest: UInt64
    /// Bytes.
    package var size: UInt64
    /// The front end's own address of the region; ring addresses are told in these.
    package var user: UInt64
    /// Where it begins in its file.
    package var offset: UInt64

    /// A region; see `MemoryMap` for what is checked.
    package init(guest: UInt64, size: UInt64, user: UInt64, offset: UInt64) {
        self.guest = guest
        self.size = size
        self.user = user
        self.offset = offset
    }
}

/// A run of bytes in one of the files that hold a guest's RAM.
package struct MemoryPiece: Hashable, Sendable {
    /// Which of the memory table's files.
    package var file: Int
    /// Bytes from the file's start.
    package var offset: UInt64
    /// Bytes.
    package var length: UInt64

    /// A run of bytes.
    package init(file: Int, offset: UInt64, length: UInt64) {
        self.file = file
        self.offset = offset
        self.length = length
    }
}

/// A guest's RAM: regions that were checked, and the ways between the three kinds of address. File `n` is the one that
/// came for region `n` of the table.
package struct MemoryMap: Hashable, Sendable {
    /// Regions of one table: what a front end sends without CONFIGURE_MEM_SLOTS.
    package static let maximumRegions = 8
    /// Addresses, sizes and offsets are multiples of this.
    package static let pageSize: UInt64 = 4096
    /// No guest has more than this in one region; keeps every sum far from 2⁶⁴.
    package static let maximumSize: UInt64 = 1 << 46

    /// In the order of the table.
    package let regions: [MemoryRegion]
    // Numbers of regions, by guest address: a look-up takes a few comparisons.
    private let order: [Int]

    /// Checks a table.
    ///
    /// - Throws: `badValue` for empty, unaligned, overlapping or wrapping regions; `tooManyBuffers` for more than eight.
    package init(_ regions: [MemoryRegion]) throws(Refusal) {
        guard !regions.isEmpty else {
            throw Refusal(.badValue, "The memory table has no region.")
        }
        guard regions.count <= Self.maximumRegions else {
            throw Refusal(
                .tooManyBuffers,
                "The memory table has \(regions.count) regions, \(Self.maximumRegions) are the most."
            )
        }
        for (index, region) in regions.enumerated() { try Self.check(region, index) }
        let order = regions.indices.sorted { regions[$0].guest < regions[$1].guest }
        let byUser = regions.indices.sorted { regions[$0].user < regions[$1].user }
        for position in order.indices.dropFirst() {
            let (below, above) = (regions[order[position - 1]], regions[order[position]])
            guard below.guest + below.size <= above.guest else {
                throw Refusal(.badValue, "Two memory regions overlap in the guest.")
            }
            let (lower, upper) = (regions[byUser[position - 1]], regions[byUser[position]])
            guard lower.user + lower.size <= upper.user else {
                throw Refusal(.badValue, "Two memory regions overlap in the front end.")
            }
        }
        self.regions = regions
        self.order = order
    }

    private static func check(_ region: MemoryRegion, _ index: Int) throws(Refusal) {
        guard region.size > 0, region.size <= maximumSize else {
            throw Refusal(.badValue, "Memory region \(index) has \(region.size) bytes.")
        }
        for value in [region.guest, region.size, region.user, region.offset]
        where value % pageSize != 0 {
            throw Refusal(.badValue, "Memory region \(index) is not made of whole pages.")
        }
        for start in [region.guest, region.user]
        where start.addingReportingOverflow(region.size).overflow {
            throw Refusal(.badValue, "Memory region \(index) reaches past the last address.")
        }
        guard region.offset <= maximumSize else {
            throw Refusal(.badValue, "Memory region \(index) begins too far in its file.")
        }
    }

    /// The longest piece of RAM that begins at a guest-physical address, at most `length` bytes; nil where there is no RAM.
    package func piece(at guest: UInt64, length: UInt64) -> MemoryPiece? {
        guard length > 0 else { return nil }
        var (low, high) = (0, order.count)
        while low < high {
            let middle = (low + high) / 2
            if regions[order[middle]].guest <= guest { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let index = order[low - 1]
        let region = regions[index]
        let inside = guest - region.guest
        guard inside < region.size else { return nil }
        return MemoryPiece(
            file: index, offset: region.offset + inside, length: min(length, region.size - inside))
    }

    /// The guest-physical address of `count` bytes at one of the front end's addresses; nil unless all of them lie in one region.
    package func guestAddress(ofUser address: UInt64, count: UInt64) -> UInt64? {
        for region in regions where address >= region.user && address - region.user < region.size {
            let inside = address - region.user
            return count <= region.size - inside ? region.guest + inside : nil
        }
        return nil
    }

    /// Where runs of guest memory lie in the files, neighbours merged.
    ///
    /// - Throws: `badLayout` when a byte of them is not RAM.
    package func pieces(of ranges: [GuestRange]) throws(Refusal) -> [MemoryPiece] {
        var pieces: [MemoryPiece] = []
        for range in ranges {
            var (address, left) = (range.address, range.length)
            while left > 0 {
                guard let piece = piece(at: address, length: left) else {
                    throw Refusal(
                        .badLayout,
                        "Address 0x\(String(address, radix: 16)) is not the guest's memory.")
                }
                if let last = pieces.last, last.file == piece.file,
                    last.offset + last.length == piece.offset
                {
                    pieces[pieces.count - 1].length += piece.length
                } else {
                    pieces.append(piece)
                }
                left -= piece.length
                // Only the last byte of all may be followed by none.
                (address, _) = address.addingReportingOverflow(piece.length)
            }
        }
        return pieces
    }
}
