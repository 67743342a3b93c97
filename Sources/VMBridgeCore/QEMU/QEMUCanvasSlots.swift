/// Up to three buffers of ours that take turns in showing a picture which comes as bytes, and what of each is out of
/// date.
struct QEMUCanvasSlots: Sendable {
    /// Buffers at a time: one is shown, one is on its way there, one is written.
    static let limit = 3

    private struct Slot: Sendable {
        var key: BufferKey
        var stale: Damage
        var isBusy: Bool
    }

    private var slots: [Slot] = []

    /// All keys.
    var keys: [BufferKey] { slots.map(\.key) }

    /// Whether one is free or can be made.
    var hasRoom: Bool { slots.count < Self.limit || slots.contains { !$0.isBusy } }

    /// Takes a free buffer to show what changed.
    ///
    /// - Parameters:
    ///   - damage: what changed since the last buffer was taken.
    ///   - size: of the picture.
    ///   - makeKey: names a new buffer, when none is free.
    /// - Returns: the buffer, whether it is new, and what is to be written into it; nil when all are in use.
    mutating func take(
        _ damage: Damage, _ makeKey: () -> BufferKey
    ) -> (key: BufferKey, isNew: Bool, stale: Damage)? {
        for index in slots.indices { slots[index].stale.merge(damage) }
        if let index = slots.firstIndex(where: { !$0.isBusy }) {
            defer {
                slots[index].stale = .none
                slots[index].isBusy = true
            }
            return (slots[index].key, false, slots[index].stale)
        }
        guard slots.count < Self.limit else { return nil }
        let key = makeKey()
        slots.append(Slot(key: key, stale: .none, isBusy: true))
        return (key, true, .whole)
    }

    /// A use of a buffer ended.
    mutating func free(_ key: BufferKey) {
        if let index = slots.firstIndex(where: { $0.key == key }) { slots[index].isBusy = false }
    }

    /// Forgets one that could not be made.
    mutating func remove(_ key: BufferKey) { slots.removeAll { $0.key == key } }

    /// Forgets all.
    mutating func removeAll() { slots.removeAll() }
}
