import Testing
import VMBridgeCore

/// What must hold after each of very many random events, with a model of everything around.
@Suite("[pure] surface machine and ledger: random events")
struct SurfacePropertyTests {
    /// One random event.
    private func step(_ world: inout SurfaceWorld) {
        switch world.random.below(46) {
        case 0..<12: world.sendFrame()
        case 12..<18: unblock(&world)
        case 18..<24:
            // The compositor sends a callback only for a commit of its own.
            guard world.isCallbackPending else { return }
            world.isCallbackPending = false
            world.perform(world.machine.frameCallback())
        case 24..<28: world.releaseOne()
        case 28, 29: world.configure()
        case 30: world.map()
        case 31: if world.random.oneIn(2) { world.perform(world.machine.silence()) }
        case 32: world.perform(world.machine.hiddenTick(), mayDiscard: true)
        case 33:
            guard let use = anyUse(&world) else { return }
            // Only what waits or is complete can fail; a committed or stale one is none of these.
            let isWaiting = world.machine.uses.contains(use) && !world.allHeld.contains(use)
            // Of what is committed only the fence can fail: that is another event.
            guard isWaiting || world.live[use]?.isPassed != true else { return }
            let actions = world.machine.fail(use)
            world.perform(actions)
            if isWaiting != (actions.count > 0) { world.fail("fail of a waiting frame") }
        case 34 where world.random.oneIn(3): world.failCommit()
        case 34: if world.random.oneIn(3) { world.refuseFrame() }
        case 35: world.destroyBuffer()
        case 36: if world.random.oneIn(4) { world.lose() }
        case 37:
            guard world.random.oneIn(4) else { return }
            world.holdTooLong()
        case 38:
            // Only the windows that are being taken away end, but for a surface that is gone.
            let isGone = world.machine.phase == .gone
            if !world.leaving.isEmpty || isGone, world.random.oneIn(2) { world.windowGone() }
        case 39, 40: world.endPassedFence()
        case 41: if world.random.oneIn(2) { world.conceal() }
        case 42: world.reveal()
        case 43: if world.random.oneIn(3) { world.freeze() }
        case 44: world.thaw()
        default:
            if world.random.oneIn(world.destroyOdds) {
                world.perform(world.machine.destroy())
            } else if world.random.oneIn(2) {
                world.perform(world.machine.closeRequested())
            }
        }
    }

    private func anyUse(_ world: inout SurfaceWorld) -> UseID? {
        // Now and then a name that is stale or was never given.
        if world.random.oneIn(10) {
            return UseID(
                SlotIndex(
                    index: UInt32(world.random.below(8)),
                    generation: UInt32(world.random.below(30))))
        }
        let all = world.machine.uses
        return all.isEmpty ? nil : all[world.random.below(all.count)]
    }

    private func unblock(_ world: inout SurfaceWorld) {
        guard let use = anyUse(&world) else { return }
        let bits: [FrameWaits] = [.importing, .fence, .time]
        let wait = bits[world.random.below(3)]
        // Imports are answered by a compositor only.
        if wait == .importing, !world.hasWindow { return }
        world.live[use]?.waits.subtract(wait)
        if wait == .fence { world.live[use]?.isPassed = false }
        world.perform(world.machine.unblock(use, wait), mayDiscard: false)
    }

    private func check(_ world: inout SurfaceWorld) {
        let machine = world.machine
        let mine = machine.uses
        if Set(mine).count != mine.count { world.fail("a use stands twice in the machine") }
        for use in mine where world.live[use] == nil {
            world.fail("the machine keeps an ended use")
        }
        for use in world.allHeld where world.live[use] == nil {
            world.fail("the compositor holds an ended use")
        }
        // Nothing is lost from sight: who lives is in the machine or with the compositor.
        for use in world.live.keys where !mine.contains(use) && !world.allHeld.contains(use) {
            world.fail("a use without an owner")
        }
        if world.live.count != world.ledger.useCount { world.fail("the ledger counts otherwise") }
        if world.begun != world.ended + world.live.count { world.fail("a use went without an end") }
        if machine.isCurrentHeld, let current = machine.current,
            !world.allHeld.contains(current.use)
        {
            world.fail("the machine believes that its frame is held")
        }
        let isOpen = machine.phase == .ready || machine.phase == .presenting
        let keeps = world.isFrozen && machine.current != nil
        if isOpen, machine.hasReadyFrame, !machine.isCallbackPending, !keeps {
            world.fail("a complete frame waits for nothing")
        }
        if world.hasWindow, machine.isCallbackPending != world.isCallbackPending {
            world.fail("the callback is out of step")
        }
        let hasWindow = [.awaitingConfigure, .ready, .presenting, .hidden].contains(machine.phase)
        if hasWindow != world.hasWindow { world.fail("the window is out of step") }
        if machine.isFrozen != world.isFrozen { world.fail("frozen is out of step") }
        let isOver = machine.phase == .closing || machine.phase == .gone
        if !isOver, (machine.phase == .concealed) != world.isConcealed {
            world.fail("concealed is out of step")
        }
        if machine.phase == .closing, world.leaving.isEmpty { world.fail("closing for ever") }
        if machine.phase == .gone, !world.leaving.isEmpty { world.fail("gone too early") }
    }

    /// Sends one more frame and lets everything come that it waits for: then it is on the screen.
    private func settle(_ world: inout SurfaceWorld) {
        guard world.machine.phase != .closing, world.machine.phase != .gone else { return }
        world.reveal()
        world.thaw()
        world.map()
        let plain = ConfigureRecord(size: Size(width: 7, height: 7))
        world.isConfigured = true
        world.perform(world.machine.configured(plain, serial: 1))
        // Room for one more frame, whatever is held.
        world.limits = VMLimits()
        world.limits.usesPerBuffer = 1_000
        world.sendFrame(key: 99)
        for _ in 0..<8 {
            for use in world.machine.uses {
                for wait in [FrameWaits.importing, .fence, .time] {
                    world.live[use]?.waits.subtract(wait)
                    if wait == .fence { world.live[use]?.isPassed = false }
                    world.perform(world.machine.unblock(use, wait))
                }
            }
            world.isCallbackPending = false
            world.perform(world.machine.frameCallback())
            check(&world)
        }
        let current = world.machine.current?.sequence.value
        if world.machine.phase != .presenting || current != world.lastAccepted {
            world.fail("frame \(world.lastAccepted) never came to the screen")
        }
    }

    private func finish(_ world: inout SurfaceWorld) {
        world.perform(world.machine.destroy())
        check(&world)
        while !world.leaving.isEmpty {
            world.windowGone()
            check(&world)
        }
        if world.machine.phase != .gone { world.fail("not gone at the end") }
        if !world.live.isEmpty || world.ledger.useCount != 0 || world.begun != world.ended {
            world.fail("\(world.live.count) uses never ended")
        }
        for key in [1, 2, 3, 4, 5, 99] as [UInt64] { _ = try? world.ledger.destroy(BufferKey(key)) }
        if world.ledger.bufferCount != 0 || world.ledger.bytes != 0 { world.fail("memory is left") }
    }

    private func run(seed: UInt64, events: Int, totals: inout Totals) -> Bool {
        var world = SurfaceWorld(seed: seed)
        // A long story should not end at its beginning.
        world.destroyOdds = max(6, events / 20)
        if !world.random.oneIn(4) {
            world.map()
            world.configure()
        }
        for number in 0..<events {
            step(&world)
            check(&world)
            if let problem = world.problem {
                Issue.record("seed \(seed), event \(number): \(problem)")
                return false
            }
        }
        if world.random.oneIn(2) { settle(&world) }
        finish(&world)
        if let problem = world.problem {
            Issue.record("seed \(seed), at the end: \(problem)")
            return false
        }
        totals.events += events
        totals.commits += world.commits
        totals.uses += world.begun
        totals.rebuilt += world.rebuilt
        totals.concealed += world.concealed
        totals.mostActions = max(totals.mostActions, world.mostActions)
        return true
    }

    struct Totals {
        var events = 0
        var commits = 0
        var uses = 0
        /// Windows made anew for a fence.
        var rebuilt = 0
        /// Windows taken away because the host wanted none.
        var concealed = 0
        var mostActions = 0
    }

    /// Sequences by the number, first seed, events in each.
    @Test(arguments: [(2_000, 1_000_000, 100), (98_000, 2_000_000, 20), (30, 3_000_000, 4_000)])
    func sequences(count: Int, seed: Int, events: Int) {
        var totals = Totals()
        for number in 0..<count {
            guard run(seed: UInt64(seed + number), events: events, totals: &totals) else { return }
        }
        print("seeds from \(seed): \(totals)")
        #expect(totals.events == count * events)
        // The world really turns: frames are accepted and shown.
        #expect(totals.uses > totals.events / 20 && totals.commits > totals.events / 100)
        #expect(totals.rebuilt > count / 100 && totals.concealed > count / 100)
        // A conceal: three images given back, two frames cancelled and ended, the window and the word of it.
        #expect(totals.mostActions <= 9)
    }
}
