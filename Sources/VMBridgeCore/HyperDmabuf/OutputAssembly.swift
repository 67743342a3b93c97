/// Puts the records of one output of a guest together into frames, to learn which surfaces there are:
/// what a whole frame has nothing of is gone. Showing waits for none of it, since each surface is a window
/// of its own.
///
/// Records are lost without a word, so a frame that stays incomplete is normal, and so is a gap in the
/// counters; neither takes a surface away. One producer never completes a frame: a surface that stays away
/// from many frames in a row is gone, too.
struct OutputAssembly: Sendable {
    /// So many frames in a row without a surface, and it is gone.
    static let patience = 64

    private var counter: UInt32?
    private var present: Set<UInt64> = []
    private var isComplete = false
    /// How many frames in a row had nothing of a surface.
    private var absence: [UInt64: Int] = [:]
    /// Frames that were seen whole, and those that were not before the next began.
    private(set) var complete: UInt64 = 0
    private(set) var incomplete: UInt64 = 0

    /// Takes one surface's share of a frame.
    ///
    /// - Returns: surfaces that are gone by it, in order of their numbers.
    mutating func add(surface: UInt64, share: HyperFrameShare) -> [UInt64] {
        var gone: [UInt64] = []
        if counter != share.counter {
            gone = endFrame()
            counter = share.counter
            present.removeAll(keepingCapacity: true)
            isComplete = false
        }
        absence[surface] = 0
        guard present.insert(surface).inserted, !isComplete else { return gone }
        guard present.count >= share.buffers else { return gone }
        isComplete = true
        complete += 1
        for known in absence.keys where !present.contains(known) { gone.append(known) }
        for surface in gone { absence[surface] = nil }
        return gone.sorted()
    }

    /// The surface is gone for another reason.
    mutating func forget(surface: UInt64) {
        absence[surface] = nil
        present.remove(surface)
    }

    private mutating func endFrame() -> [UInt64] {
        guard counter != nil, !isComplete else { return [] }
        incomplete += 1
        var gone: [UInt64] = []
        for known in absence.keys where !present.contains(known) {
            absence[known, default: 0] += 1
            if absence[known, default: 0] >= Self.patience { gone.append(known) }
        }
        for surface in gone { absence[surface] = nil }
        return gone.sorted()
    }
}
