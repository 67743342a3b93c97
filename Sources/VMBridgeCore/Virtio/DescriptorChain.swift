/// One request of a split virtqueue: what the device reads, then what it may write (virtio 1.2 §2.7.5).
package struct DescriptorChain: Hashable, Sendable {
    /// The number by which it is given back.
    package var head: UInt16
    /// What the device reads, in order.
    package var readable: [GuestRange]
    /// What the device may write, in order.
    package var writable: [GuestRange]
    /// Bytes of `readable`; at most `maximumReadable`.
    package var readableBytes: UInt64
    /// Bytes of `writable`; below 2³².
    package var writableBytes: UInt64

    /// The most a request may give to read: a page list of 32 768 entries and its command.
    package static let maximumReadable: UInt64 = 32_768 * 16 + 4096
    /// Entries of an indirect table.
    package static let maximumIndirect: UInt64 = 1024

    private static let next: UInt16 = 1
    private static let write: UInt16 = 2
    private static let indirect: UInt16 = 4

    /// Follows a chain from its head. Total, whatever the memory holds: it takes at most as many steps as the tables have entries.
    ///
    /// - Throws: `badValue` for chains that break the rules, `badLayout` where a table is not in RAM, `unsupported` for an indirect
    ///   table that was not negotiated, `tooManyBytes` for lengths past the bounds.
    static func walk(
        _ head: UInt16, _ layout: VirtqueueLayout, hasIndirect: Bool, memory: some GuestMemory
    ) throws(Refusal) -> DescriptorChain {
        var chain = DescriptorChain(
            head: head, readable: [], writable: [], readableBytes: 0, writableBytes: 0)
        var entry: [UInt8] = []
        var index = head
        for _ in 0..<layout.size {
            guard index < layout.size else {
                throw Refusal(
                    .badValue, "A chain goes on at descriptor \(index) of \(layout.size).")
            }
            entry.removeAll(keepingCapacity: true)
            guard memory.read(layout.descriptors + 16 * UInt64(index), count: 16, into: &entry)
            else { throw Refusal(.badLayout, "A descriptor is not in the guest's memory.") }
            let descriptor = Entry(entry.span, 0)
            if descriptor.flags & indirect != 0 {
                guard hasIndirect else {
                    throw Refusal(.unsupported, "Indirect descriptors were not negotiated.")
                }
                guard descriptor.flags & next == 0 else {
                    throw Refusal(.badValue, "An indirect descriptor does not end its chain.")
                }
                try chain.walkIndirect(descriptor, memory)
                return chain
            }
            try chain.add(descriptor)
            guard descriptor.flags & next != 0 else { return chain }
            index = descriptor.next
        }
        throw Refusal(.badValue, "A chain of descriptors is a loop.")
    }

    private mutating func walkIndirect(
        _ table: Entry, _ memory: some GuestMemory
    ) throws(Refusal) {
        let count = UInt64(table.length) / 16
        guard table.length % 16 == 0, count > 0, count <= Self.maximumIndirect else {
            throw Refusal(
                .badValue,
                "An indirect table has \(table.length) bytes: 1 to \(Self.maximumIndirect) entries of 16 are taken."
            )
        }
        // Copied as a whole: the guest may go on writing to it.
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(table.length))
        guard memory.read(table.address, count: Int(table.length), into: &bytes) else {
            throw Refusal(.badLayout, "An indirect table is not in the guest's memory.")
        }
        var index: UInt16 = 0
        for _ in 0..<count {
            guard index < count else {
                throw Refusal(
                    .badValue, "A chain goes on at entry \(index) of \(count) in its table.")
            }
            let descriptor = Entry(bytes.span, 16 * Int(index))
            guard descriptor.flags & Self.indirect == 0 else {
                throw Refusal(.badValue, "An indirect table names another one.")
            }
            try add(descriptor)
            guard descriptor.flags & Self.next != 0 else { return }
            index = descriptor.next
        }
        throw Refusal(.badValue, "A chain in an indirect table is a loop.")
    }

    private mutating func add(_ descriptor: Entry) throws(Refusal) {
        let length = UInt64(descriptor.length)
        guard length > 0 else { throw Refusal(.badValue, "A descriptor has no length.") }
        guard !descriptor.address.addingReportingOverflow(length).overflow else {
            throw Refusal(.badValue, "A descriptor reaches past the last address.")
        }
        let range = GuestRange(address: descriptor.address, length: length)
        if descriptor.flags & Self.write != 0 {
            writableBytes += length
            guard writableBytes <= UInt64(UInt32.max) else {
                throw Refusal(.tooManyBytes, "A chain has 4 GiB or more to write to.")
            }
            writable.append(range)
        } else {
            guard writable.isEmpty else {
                throw Refusal(.badValue, "A chain has something to read behind what is written.")
            }
            readableBytes += length
            guard readableBytes <= Self.maximumReadable else {
                throw Refusal(
                    .tooManyBytes,
                    "A request has more than \(Self.maximumReadable) bytes to read.")
            }
            readable.append(range)
        }
    }

    /// Copies all that there is to read, or at most its first `limit` bytes; nil where that is not RAM.
    package func gather(
        from memory: some GuestMemory, limit: UInt64 = DescriptorChain.maximumReadable
    ) -> [UInt8]? {
        var bytes: [UInt8] = []
        var left = min(readableBytes, limit)
        bytes.reserveCapacity(Int(left))
        for range in readable where left > 0 {
            let count = min(range.length, left)
            guard memory.read(range.address, count: Int(count), into: &bytes) else { return nil }
            left -= count
        }
        return bytes
    }

    /// Writes an answer, as far as there is room; the number of bytes written, nil where that is not RAM.
    package func scatter(_ bytes: [UInt8], to memory: some GuestMemory) -> UInt32? {
        var done = 0
        for range in writable where done < bytes.count {
            let count = Int(min(range.length, UInt64(bytes.count - done)))
            guard memory.write(bytes[done..<done + count], at: range.address) else { return nil }
            done += count
        }
        return UInt32(done)
    }

    /// One entry of a descriptor table (`struct virtq_desc`).
    private struct Entry {
        let address: UInt64
        let length: UInt32
        let flags: UInt16
        let next: UInt16

        init(_ bytes: Span<UInt8>, _ offset: Int) {
            address = bytes.u64(offset)
            length = bytes.u32(offset + 8)
            flags = bytes.u16(offset + 12)
            next = bytes.u16(offset + 14)
        }
    }
}
