/// Which of a resource's copies to fill next, and what of it is stale: used where a guest's pages cannot be shown themselves.
package struct CopyRing: Sendable {
    /// Copies of one resource.
    package static let capacity = 3

    private struct Slot: Sendable {
        var uses = 0
        /// What the guest has changed since this copy was filled.
        var stale = Damage.whole
    }

    private var slots: InlineArray<3, Slot> = InlineArray(repeating: Slot())

    /// Nothing was copied yet.
    package init() {}

    /// The guest has changed a part; every copy lacks it now.
    package mutating func changed(_ damage: Damage) {
        for index in 0..<Self.capacity { slots[index].stale.merge(damage) }
    }

    /// Takes a copy that nobody looks at for some frames; nil when there is none.
    ///
    /// - Parameter frames: how many show it, each to be told of by `released`.
    /// - Returns: its number, and what is to be copied.
    package mutating func take(frames: Int) -> (slot: Int, stale: Damage)? {
        for index in 0..<Self.capacity where slots[index].uses == 0 {
            let stale = slots[index].stale
            slots[index].stale = .none
            slots[index].uses = frames
            return (index, stale)
        }
        return nil
    }

    /// A frame that showed a copy has ended.
    package mutating func released(_ slot: Int) {
        guard (0..<Self.capacity).contains(slot), slots[slot].uses > 0 else { return }
        slots[slot].uses -= 1
    }
}
