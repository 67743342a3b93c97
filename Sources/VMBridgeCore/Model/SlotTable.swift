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
///
/// Inlinable as a whole: its elements are other modules' types, and code for any element costs many
/// times what code for the one at hand does.
public struct SlotTable<Element> {
    @usableFromInline
    struct Place {
        @usableFromInline var element: Element?
        @usableFromInline var generation: UInt32 = 0

        @inlinable
        init() {}
    }

    @usableFromInline var entries: [Place] = []
    @usableFromInline var free: [UInt32] = []
    /// Entries in use.
    @inlinable public var count: Int { entries.count - free.count }

    /// An empty table.
    @inlinable
    public init() {}

    /// Puts an entry into a free place and names it.
    @inlinable
    @discardableResult
    public mutating func insert(_ element: Element) -> SlotIndex { insert { _ in element }.slot }

    /// Puts an entry that knows its own name into a free place.
    @inlinable
    @discardableResult
    public mutating func insert(
        _ make: (SlotIndex) -> Element
    ) -> (slot: SlotIndex, element: Element) {
        let index: UInt32
        if let known = free.popLast() {
            index = known
        } else {
            index = UInt32(entries.count)
            entries.append(Place())
        }
        let slot = SlotIndex(index: index, generation: entries[Int(index)].generation)
        let element = make(slot)
        entries[Int(index)].element = element
        return (slot, element)
    }

    /// Whether the name still stands for an entry.
    @inlinable
    public func contains(_ slot: SlotIndex) -> Bool { self[slot] != nil }

    /// The entry of that name; nil once it was removed. Setting changes a living entry only, and
    /// setting nil removes it.
    @inlinable
    public subscript(_ slot: SlotIndex) -> Element? {
        get { isCurrent(slot) ? entries[Int(slot.index)].element : nil }
        set {
            guard contains(slot) else { return }
            entries[Int(slot.index)].element = newValue
            if newValue == nil { retire(slot.index) }
        }
    }

    /// Changes an entry where it is; unlike a change through the subscript this allocates nothing.
    ///
    /// - Returns: what the change returns; nil when the name is stale.
    @inlinable
    @discardableResult
    public mutating func update<Result>(
        _ slot: SlotIndex, _ change: (inout Element) -> Result
    ) -> Result? {
        guard isCurrent(slot), var element = entries[Int(slot.index)].element.take() else {
            return nil
        }
        let result = change(&element)
        entries[Int(slot.index)].element = element
        return result
    }

    /// Takes an entry out; nil when the name is stale.
    @inlinable
    @discardableResult
    public mutating func remove(_ slot: SlotIndex) -> Element? {
        guard isCurrent(slot), let element = entries[Int(slot.index)].element.take() else {
            return nil
        }
        retire(slot.index)
        return element
    }

    /// The names in use, oldest place first.
    @inlinable public var slots: [SlotIndex] { places.compactMap(slot(at:)) }

    /// Numbers of the places that were ever in use: to look at all entries without gathering names.
    @inlinable public var places: Range<Int> { entries.indices }

    /// The name of the entry in a place; nil for a free one.
    @inlinable
    public func slot(at place: Int) -> SlotIndex? {
        guard entries[place].element != nil else { return nil }
        return SlotIndex(index: UInt32(place), generation: entries[place].generation)
    }

    /// The entry in a place; nil for a free one.
    @inlinable
    public func element(at place: Int) -> Element? { entries[place].element }

    /// Whether the name is the last one that its place was given. The place may be free: its next
    /// name is not handed out yet.
    @inlinable
    func isCurrent(_ slot: SlotIndex) -> Bool {
        Int(slot.index) < entries.count && entries[Int(slot.index)].generation == slot.generation
    }

    @inlinable
    mutating func retire(_ index: UInt32) {
        entries[Int(index)].generation &+= 1
        free.append(index)
    }
}

extension SlotTable: Sendable where Element: Sendable {}
extension SlotTable.Place: Sendable where Element: Sendable {}
