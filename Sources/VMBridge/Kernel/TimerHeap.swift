/// The timers of a loop: a binary heap of slot numbers in which every slot knows its place, so that moving and disarming are
/// logarithmic and nothing is allocated once the arrays have grown.
struct TimerHeap {
    private struct Slot {
        var handler: (any TimerHandler)?
        var generation: UInt32 = 0
        var deadline: UInt64 = 0
        // Equal deadlines fire in the order in which they were armed.
        var order: UInt64 = 0
        // Place in the heap, -1 when not armed.
        var place: Int = -1
    }

    private var slots: ContiguousArray<Slot> = []
    private var free: ContiguousArray<UInt32> = []
    private var heap: ContiguousArray<UInt32> = []
    private var armed: UInt64 = 0

    /// The deadline of the timer that fires next.
    var earliest: UInt64? { heap.isEmpty ? nil : slots[Int(heap[0])].deadline }

    /// How many timers are armed.
    var count: Int { heap.count }

    mutating func add(_ handler: any TimerHandler) -> TimerID {
        if let slot = free.popLast() {
            slots[Int(slot)].handler = handler
            return TimerID(slot: slot, generation: slots[Int(slot)].generation)
        }
        slots.append(Slot(handler: handler))
        return TimerID(slot: UInt32(slots.count - 1), generation: 0)
    }

    /// Gives the handler back so that the caller can let go of it when the heap is not being changed.
    mutating func remove(_ timer: TimerID) -> (any TimerHandler)? {
        guard let index = index(timer) else { return nil }
        disarm(timer)
        let handler = slots[index].handler.take()
        slots[index].generation &+= 1
        free.append(timer.slot)
        return handler
    }

    mutating func arm(_ timer: TimerID, at deadline: UInt64) {
        guard let index = index(timer) else { return }
        armed += 1
        slots[index].deadline = deadline
        slots[index].order = armed
        if slots[index].place < 0 {
            slots[index].place = heap.count
            heap.append(timer.slot)
        }
        restore(at: slots[index].place)
    }

    mutating func disarm(_ timer: TimerID) {
        guard let index = index(timer), slots[index].place >= 0 else { return }
        removeFromHeap(at: slots[index].place)
    }

    func deadline(_ timer: TimerID) -> UInt64? {
        guard let index = index(timer), slots[index].place >= 0 else { return nil }
        return slots[index].deadline
    }

    /// Disarms and returns the earliest timer if its deadline is not after `now`.
    mutating func popDue(_ now: UInt64) -> (timer: TimerID, handler: any TimerHandler)? {
        // Not `first`: unspecialised (debug builds), its accessor allocates.
        guard !heap.isEmpty, slots[Int(heap[0])].deadline <= now,
            let handler = slots[Int(heap[0])].handler
        else { return nil }
        let slot = heap[0]
        removeFromHeap(at: 0)
        return (TimerID(slot: slot, generation: slots[Int(slot)].generation), handler)
    }

    private func index(_ timer: TimerID) -> Int? {
        let index = Int(timer.slot)
        guard index < slots.count, slots[index].generation == timer.generation,
            slots[index].handler != nil
        else { return nil }
        return index
    }

    private mutating func removeFromHeap(at place: Int) {
        slots[Int(heap[place])].place = -1
        let last = heap.removeLast()
        guard place < heap.count else { return }
        heap[place] = last
        slots[Int(last)].place = place
        restore(at: place)
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        let left = Int(heap[left])
        let right = Int(heap[right])
        return slots[left].deadline == slots[right].deadline
            ? slots[left].order < slots[right].order
            : slots[left].deadline < slots[right].deadline
    }

    private mutating func exchange(_ left: Int, _ right: Int) {
        heap.swapAt(left, right)
        slots[Int(heap[left])].place = left
        slots[Int(heap[right])].place = right
    }

    /// Moves the entry at `place` up or down to where it belongs.
    private mutating func restore(at start: Int) {
        var place = start
        while place > 0, isBefore(place, (place - 1) / 2) {
            exchange(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
        while true {
            let left = 2 * place + 1
            guard left < heap.count else { return }
            let smaller = left + 1 < heap.count && isBefore(left + 1, left) ? left + 1 : left
            guard isBefore(smaller, place) else { return }
            exchange(place, smaller)
            place = smaller
        }
    }
}
