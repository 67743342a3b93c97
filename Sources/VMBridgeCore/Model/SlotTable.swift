/// A position in a `SlotTable` and the generation it had when it was handed out.
public struct SlotIndex: Hashable, Sendable {
    /// Position in the table.
    public var index: UInt32
    /// How often the position had been handed out before.
    public var generation: UInt32
    /// Names a position at a generation.
    public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
}

/// A table whose entries keep their place and whose names grow stale: looking up a removed entry
/// answers nil, also after its place was given to another. Steady use allocates nothing.
public struct SlotTable<Element> {
    private var entries: [Element?] = []
    private var generations: [UInt32] = []
    private var free: [UInt32] = []
    /// Entries in use.
    public private(set) var count = 0

    /// An empty table.
    public init() {}

    /// Puts an entry into a free place and names it.
    @discardableResult
    public mutating func insert(_ element: Element) -> SlotIndex { insert { _ in element }.slot }

    /// Puts an entry that knows its own name into a free place.
    @discardableResult
    public mutating func insert(
        _ make: (SlotIndex) -> Element
    ) -> (slot: SlotIndex, element: Element) {
        count += 1
        let slot: SlotIndex
        if let index = free.popLast() {
            slot = SlotIndex(index: index, generation: generations[Int(index)])
        } else {
            slot = SlotIndex(index: UInt32(entries.count), generation: 0)
            entries.append(nil)
            generations.append(0)
        }
        let element = make(slot)
        entries[Int(slot.index)] = element
        return (slot, element)
    }

    /// Whether the name still stands for an entry.
    public func contains(_ slot: SlotIndex) -> Bool {
        Int(slot.index) < entries.count && generations[Int(slot.index)] == slot.generation
            && entries[Int(slot.index)] != nil
    }

    /// The entry of that name; nil once it was removed. Setting changes a living entry only, and
    /// setting nil removes it.
    public subscript(_ slot: SlotIndex) -> Element? {
        get { contains(slot) ? entries[Int(slot.index)] : nil }
        _modify {
            if contains(slot) {
                yield &entries[Int(slot.index)]
                if entries[Int(slot.index)] == nil { retire(slot.index) }
            } else {
                var none: Element?
                yield &none
            }
        }
    }

    /// Takes an entry out; nil when the name is stale.
    @discardableResult
    public mutating func remove(_ slot: SlotIndex) -> Element? {
        guard contains(slot) else { return nil }
        let element = entries[Int(slot.index)]
        entries[Int(slot.index)] = nil
        retire(slot.index)
        return element
    }

    private mutating func retire(_ index: UInt32) {
        generations[Int(index)] &+= 1
        free.append(index)
        count -= 1
    }

    /// The names in use, oldest place first.
    public var slots: [SlotIndex] {
        entries.indices.compactMap { index in
            entries[index] == nil
                ? nil : SlotIndex(index: UInt32(index), generation: generations[index])
        }
    }
}

extension SlotTable: Sendable where Element: Sendable {}
