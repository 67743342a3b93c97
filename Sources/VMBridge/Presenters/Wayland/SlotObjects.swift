import VMBridgeCore

/// Objects by the names that someone else hands out: a lookup is an index and a comparison, with no
/// hashing, and a stale name finds nothing.
struct SlotObjects<Object: AnyObject> {
    private var entries: ContiguousArray<(generation: UInt32, object: Object?)> = []

    /// The object of that name.
    subscript(_ slot: SlotIndex) -> Object? {
        let index = Int(slot.index)
        guard index < entries.count, entries[index].generation == slot.generation else {
            return nil
        }
        return entries[index].object
    }

    /// Gives a name to an object; the place's former name is forgotten.
    mutating func set(_ slot: SlotIndex, _ object: Object) {
        while entries.count <= Int(slot.index) { entries.append((0, nil)) }
        entries[Int(slot.index)] = (slot.generation, object)
    }

    /// Forgets a name.
    mutating func remove(_ slot: SlotIndex) {
        if self[slot] != nil { entries[Int(slot.index)].object = nil }
    }

    /// Forgets all names.
    mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

    /// All objects, by place.
    var objects: [Object] { entries.compactMap(\.object) }
}
