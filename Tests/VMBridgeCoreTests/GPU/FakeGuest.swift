import VMBridgeCore

/// A guest's RAM in arrays, and the driver's side of one virtqueue in it.
final class FakeMemory: GuestMemory {
    let map: MemoryMap
    private var bytes: [[UInt8]]
    /// Barriers so far.
    var fences = 0

    /// One region from guest-physical 0x10000 on, 1 MiB, unless others are given.
    init(_ map: MemoryMap? = nil) throws {
        self.map = try map ?? MemoryMap([Self.region])
        bytes = self.map.regions.map { [UInt8](repeating: 0, count: Int($0.size)) }
    }

    static let base: UInt64 = 0x10000
    static let region = MemoryRegion(guest: base, size: 1 << 20, user: 0x7f00_0000_0000, offset: 0)

    private func parts(
        _ address: UInt64, _ count: Int, _ body: (_ region: Int, _ start: Int, _ count: Int) -> Void
    ) -> Bool {
        var pieces: [MemoryPiece] = []
        var (place, left) = (address, UInt64(count))
        while left > 0 {
            guard let piece = map.piece(at: place, length: left) else { return false }
            pieces.append(piece)
            left -= piece.length
            place = place &+ piece.length
        }
        for piece in pieces {
            body(
                piece.file, Int(piece.offset - map.regions[piece.file].offset), Int(piece.length))
        }
        return true
    }

    func read(_ address: UInt64, count: Int, into result: inout [UInt8]) -> Bool {
        var got: [UInt8] = []
        let isThere = parts(address, count) { got += bytes[$0][$1..<$1 + $2] }
        if isThere { result += got }
        return isThere
    }

    func write(_ source: ArraySlice<UInt8>, at address: UInt64) -> Bool {
        var at = source.startIndex
        return parts(address, source.count) {
            bytes[$0].replaceSubrange($1..<$1 + $2, with: source[at..<at + $2])
            at += $2
        }
    }

    func load16(_ address: UInt64) -> UInt16? {
        var two: [UInt8] = []
        guard address % 2 == 0, read(address, count: 2, into: &two) else { return nil }
        return UInt16(two[0]) | UInt16(two[1]) << 8
    }

    func store16(_ value: UInt16, at address: UInt64) -> Bool {
        address % 2 == 0
            && write([UInt8(truncatingIfNeeded: value), UInt8(value >> 8)][...], at: address)
    }

    func fence() { fences += 1 }

    func bytes(_ address: UInt64, _ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        return read(address, count: count, into: &result) ? result : []
    }

    func put(_ value: UInt64, bytes count: Int, at address: UInt64) {
        _ = write(little(value, count)[...], at: address)
    }
}

/// A number's lowest bytes, lowest first.
func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}

/// The driver's side of a split virtqueue.
final class FakeDriver {
    struct Descriptor {
        var address: UInt64
        var length: UInt32
        var flags: UInt16 = 0
        var next: UInt16 = 0
    }
    static let next: UInt16 = 1
    static let write: UInt16 = 2
    static let indirect: UInt16 = 4

    let memory: FakeMemory
    let layout: VirtqueueLayout
    private(set) var available: UInt16

    init(_ memory: FakeMemory, size: UInt32 = 8, from first: UInt16 = 0) throws {
        self.memory = memory
        let base = FakeMemory.base
        guard
            let layout = VirtqueueLayout(
                size: size, descriptors: base, available: base + 0x8000, used: base + 0xc000)
        else { throw Refusal(.badValue, "no layout") }
        self.layout = layout
        available = first
        _ = memory.store16(first, at: layout.available + 2)
        _ = memory.store16(first, at: layout.used + 2)
    }

    func queue(_ features: VirtioFeatures = [.indirectDescriptors, .eventIndex]) -> DeviceQueue? {
        Virtqueue(layout, base: available, features: features, memory: memory).map(
            DeviceQueue.init)
    }

    func set(_ index: UInt16, _ descriptor: Descriptor) {
        put(descriptor, at: layout.descriptors + 16 * UInt64(index))
    }

    func put(_ descriptor: Descriptor, at address: UInt64) {
        memory.put(descriptor.address, bytes: 8, at: address)
        memory.put(UInt64(descriptor.length), bytes: 4, at: address + 8)
        memory.put(UInt64(descriptor.flags), bytes: 2, at: address + 12)
        memory.put(UInt64(descriptor.next), bytes: 2, at: address + 14)
    }

    func offer(_ head: UInt16) {
        let slot = UInt64(available % layout.size)
        _ = memory.store16(head, at: layout.available + 4 + 2 * slot)
        available &+= 1
        _ = memory.store16(available, at: layout.available + 2)
    }

    /// What the device gave back so far.
    func used(_ slot: UInt16) -> (head: UInt32, written: UInt32) {
        let bytes = memory.bytes(layout.used + 4 + 8 * UInt64(slot % layout.size), 8)
        func number(_ at: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) }
        }
        return (number(0), number(4))
    }
    var usedIndex: UInt16 { memory.load16(layout.used + 2) ?? 0 }
}

/// The device's side, as an object: expectations take no values that change.
final class DeviceQueue {
    private var queue: Virtqueue
    init(_ queue: Virtqueue) { self.queue = queue }
    var nextAvailable: UInt16 { queue.nextAvailable }
    func next(in memory: FakeMemory) -> Virtqueue.Next { queue.next(in: memory) }
    func complete(_ head: UInt16, written: UInt32, in memory: FakeMemory) -> Bool {
        queue.complete(head, written: written, in: memory)
    }
    func wantsNotification(in memory: FakeMemory) -> Bool { queue.wantsNotification(in: memory) }
    func askForNext(in memory: FakeMemory) -> Bool { queue.askForNext(in: memory) }
}
