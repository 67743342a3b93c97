/// Which of a resource's copies to fill next, and what of it is stale: used where a guest's pages cannot be shown themselves.
package struct CopyRing: Sendable {
    /// Copies of one resource.
    package static let capacity = 3

    private struct Slot: Sendable {
        var uses = 0
        /// What the guest has changed since this copy was filled.
        var stale = StaleArea.whole
    }

    private var slots: InlineArray<3, Slot> = InlineArray(repeating: Slot())

    /// Nothing was copied yet.
    package init() {}

    /// The guest has changed a part; every copy lacks it now.
    package mutating func changed(_ damage: Damage) {
        for index in 0..<Self.capacity { slots[index].stale.add(damage) }
    }

    /// Takes a copy that nobody looks at for some frames; nil when there is none.
    ///
    /// - Parameter frames: how many show it, each to be told of by `released`.
    /// - Returns: its number, and what is to be copied.
    package mutating func take(frames: Int) -> (slot: Int, stale: StaleArea)? {
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

    /// A copy could not be filled: all of it is stale, and no frame shows it.
    package mutating func failed(_ slot: Int) {
        guard (0..<Self.capacity).contains(slot) else { return }
        slots[slot] = Slot()
    }
}

/// Parts of a picture that are to be copied, none of them twice where one lies within another.
package struct StaleArea: Hashable, Sendable {
    /// Everything.
    package private(set) var isWhole: Bool
    /// The parts; they say nothing when it is everything.
    package private(set) var parts: [Rectangle] = []
    private static let capacity = 8

    /// Everything.
    package static let whole = StaleArea(isWhole: true)
    /// Nothing.
    package static let none = StaleArea(isWhole: false)

    private init(isWhole: Bool) { self.isWhole = isWhole }

    /// Adds what changed.
    package mutating func add(_ damage: Damage) {
        if damage.isWhole { self = .whole }
        guard !isWhole else { return }
        for index in 0..<damage.count { add(damage[index]) }
    }

    private mutating func add(_ part: Rectangle) {
        guard part.width > 0, part.height > 0, !parts.contains(where: { $0.union(part) == $0 })
        else { return }
        parts.removeAll { $0.union(part) == part }
        if parts.count == Self.capacity {
            // One that covers all is more to copy, but never less than what changed.
            parts = [parts.reduce(part) { $0.union($1) }]
        } else {
            parts.append(part)
        }
    }
}
