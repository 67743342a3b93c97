import Testing
import VMBridgeCore

/// Each use of a buffer ends once; memory and names come free exactly when the last use has ended.
@Suite("[pure] buffer ledger")
struct BufferLedgerTests {
    private let surface = SurfaceID(SlotIndex(index: 3, generation: 1))
    private let size = Size(width: 4, height: 4)

    private func limits(_ change: (inout VMLimits) -> Void = { _ in }) -> VMLimits {
        var limits = VMLimits()
        change(&limits)
        return limits
    }

    private func begin(
        _ ledger: inout BufferLedger, _ id: BufferID, _ sequence: UInt64,
        limits: VMLimits = VMLimits()
    ) throws(Refusal) -> UseID {
        try ledger.begin(
            id, surface: surface, key: SurfaceKey(9), sequence: FrameSequence(sequence),
            limits: limits)
    }

    @Test func aUseEndsOnce() throws {
        var ledger = BufferLedger()
        let id = try ledger.create(BufferKey(7), size: size, bytes: 64, limits: limits())
        let use = try begin(&ledger, id, 1)
        let again = try begin(&ledger, id, 2)
        #expect(use != again && ledger.useCount == 2 && ledger[id]?.uses == 2)
        #expect(ledger[use]?.surface == surface && ledger[use]?.surfaceKey == SurfaceKey(9))
        for outcome in UseOutcome.allCases {
            let ended = ledger.end(use, outcome)
            if outcome == UseOutcome.allCases[0] {
                #expect(ended?.buffer == BufferKey(7) && ended?.surface == SurfaceKey(9))
                #expect(ended?.sequence == FrameSequence(1) && ended?.outcome == outcome)
                #expect(ended?.freed == nil)
            } else {
                #expect(ended == nil)
            }
        }
        #expect(ledger[use] == nil && ledger[id]?.uses == 1)
        #expect(ledger.end(again, .lost)?.sequence == FrameSequence(2))
        #expect(ledger.useCount == 0 && ledger.bufferCount == 1 && ledger[id]?.uses == 0)
    }

    @Test func aStaleUseNeverReachesItsSuccessor() throws {
        var ledger = BufferLedger()
        let id = try ledger.create(BufferKey(7), size: size, bytes: 64, limits: limits())
        let old = try begin(&ledger, id, 1)
        _ = ledger.end(old, .shown)
        let new = try begin(&ledger, id, 2)
        #expect(old.slot.index == new.slot.index && old != new)
        #expect(ledger.end(old, .shown) == nil)
        #expect(ledger[new]?.sequence == FrameSequence(2))
        #expect(ledger.end(new, .shown) != nil)
    }

    @Test func destroyWhileHeldTakesEffectAtTheLastRelease() throws {
        var ledger = BufferLedger()
        let id = try ledger.create(BufferKey(7), size: size, bytes: 64, limits: limits())
        let first = try begin(&ledger, id, 1)
        let second = try begin(&ledger, id, 2)
        #expect(try ledger.destroy(BufferKey(7)) == nil)
        #expect(ledger.find(BufferKey(7)) == nil && ledger[id]?.isDestroyed == true)
        #expect(ledger.bufferCount == 1 && ledger.bytes == 64)
        // The name stays taken, and there is nothing to destroy twice.
        #expect(
            reason { () throws(Refusal) in
                try ledger.mayCreate(BufferKey(7), bytes: 1, limits: limits())
            } == .identifierInUse)
        #expect(
            reason { () throws(Refusal) in try ledger.destroy(BufferKey(7)) } == .unknownObject)
        #expect(ledger.end(first, .superseded)?.freed == nil)
        let last = ledger.end(second, .shown)
        #expect(last?.freed == id && last?.buffer == BufferKey(7))
        #expect(ledger.bufferCount == 0 && ledger.bytes == 0 && ledger[id] == nil)
        #expect(ledger.end(second, .shown) == nil)
    }

    @Test func namesAreReused() throws {
        var ledger = BufferLedger()
        let old = try ledger.create(BufferKey(7), size: size, bytes: 64, limits: limits())
        #expect(
            reason { () throws(Refusal) in
                try ledger.create(BufferKey(7), size: size, bytes: 64, limits: limits())
            } == .identifierInUse)
        #expect(try ledger.destroy(BufferKey(7)) == old)
        let new = try ledger.create(BufferKey(7), size: size, bytes: 32, limits: limits())
        #expect(new != old && ledger[old] == nil && ledger.find(BufferKey(7)) == new)
        #expect(reason { () throws(Refusal) in try begin(&ledger, old, 1) } == .unknownObject)
        #expect(ledger.bytes == 32 && ledger.allBuffers == [new])
        #expect(
            reason { () throws(Refusal) in try ledger.destroy(BufferKey(8)) } == .unknownObject)
    }

    @Test func budgets() throws {
        var ledger = BufferLedger()
        let few = limits {
            $0.buffers = 2
            $0.bytes = 100
            $0.usesPerBuffer = 2
        }
        let id = try ledger.create(BufferKey(1), size: size, bytes: 60, limits: few)
        for (bytes, expected): (UInt64, RefusalReason?) in [
            (40, nil), (41, .tooManyBytes), (101, .tooManyBytes), (.max, .tooManyBytes),
            (.max - 59, .tooManyBytes),
        ] {
            #expect(
                reason { () throws(Refusal) in
                    try ledger.mayCreate(BufferKey(2), bytes: bytes, limits: few)
                } == expected, "\(bytes)")
        }
        // A limit that was lowered below what is in use.
        let less = limits { $0.bytes = 10 }
        #expect(
            reason { () throws(Refusal) in
                try ledger.mayCreate(BufferKey(2), bytes: 1, limits: less)
            } == .tooManyBytes)
        _ = try ledger.create(BufferKey(2), size: size, bytes: 40, limits: few)
        #expect(
            reason { () throws(Refusal) in
                try ledger.create(BufferKey(3), size: size, bytes: 0, limits: few)
            } == .tooManyBuffers)
        let first = try begin(&ledger, id, 1, limits: few)
        _ = try begin(&ledger, id, 2, limits: few)
        #expect(
            reason { () throws(Refusal) in try begin(&ledger, id, 3, limits: few) }
                == .tooManyBuffers)
        #expect(ledger.useCount == 2)
        _ = ledger.end(first, .shown)
        _ = try begin(&ledger, id, 3, limits: few)
        // A destroyed buffer that is held still counts.
        #expect(try ledger.destroy(BufferKey(1)) == nil)
        #expect(
            reason { () throws(Refusal) in
                try ledger.create(BufferKey(3), size: size, bytes: 0, limits: few)
            } == .tooManyBuffers)
        #expect(ledger.bytes == 100)
    }

    @Test func usesOfASurface() throws {
        var ledger = BufferLedger()
        let id = try ledger.create(BufferKey(1), size: size, bytes: 60, limits: limits())
        let mine = try begin(&ledger, id, 1)
        let other = try ledger.begin(
            id, surface: SurfaceID(SlotIndex(index: 3, generation: 2)), key: SurfaceKey(9),
            sequence: FrameSequence(1), limits: limits())
        #expect(ledger.uses(of: surface) == [mine])
        _ = ledger.end(mine, .lost)
        #expect(ledger.uses(of: surface).isEmpty && ledger[other] != nil)
    }
}
