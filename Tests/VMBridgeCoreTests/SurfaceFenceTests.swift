import Testing
import VMBridgeCore

/// Frames that go to the compositor with a pending fence: what becomes of them when it does not signal,
/// fails, or the compositor goes.
@Suite("[pure] surface machine: fences that were passed on")
struct SurfaceFenceTests {
    private typealias It = SurfaceFixture

    private func shown(_ it: SurfaceFixture) -> UInt64? { it.machine.current?.sequence.value }

    // MARK: Where the frame is

    @Test func stuckWhileOlder() {
        var it = It.configured()
        #expect(it.pass(1, .time) == "")
        #expect(it.accept(2, .fence) == "")
        #expect(it.accept(3, .fence) == "cancel 2, end 2 superseded")
        #expect(it.stuck(1) == "cancel 1, end 1 refused")
        #expect(it.machine.uses == [It.use(3)])
        #expect(it.unblock(3, .fence) == "commit")
    }

    @Test func stuckWhileNewer() {
        var it = It.configured()
        #expect(it.accept(1, .fence) == "")
        #expect(it.pass(2, .time) == "")
        #expect(it.stuck(2) == "cancel 2, end 2 refused")
        #expect(it.machine.uses == [It.use(1)])
    }

    @Test func stuckWhileReady() {
        var it = It.configured()
        #expect(it.accept(1) == "commit")
        #expect(it.pass(2) == "")
        #expect(it.stuck(2) == "cancel 2, end 2 refused")
        #expect(!it.machine.hasReadyFrame && shown(it) == 1)
        #expect(it.machine.phase == .presenting)
    }

    @Test func stuckWhileCurrentCostsTheWindow() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.machine.phase == .awaitingConfigure)
        #expect(it.machine.uses == [] && shown(it) == nil && !it.machine.isCallbackPending)
        // The old window's end is not the surface's.
        #expect(it.gone() == "")
        #expect(it.machine.phase == .awaitingConfigure)
        // The new one asks for a frame, once, though nothing of its size is new.
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.configure(serial: 2) == "ack 2, tell 640x480")
        #expect(it.accept(2, damage: .none) == "commit")
        #expect(it.machine.current?.damage.isWhole == true)
    }

    @Test func aFrameBehindTheStuckOneIsShownByTheNewWindow() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.accept(2, damage: .none) == "")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.configure() == "ack 1, tell 640x480, commit")
        #expect(shown(it) == 2 && it.machine.current?.damage.isWhole == true)
        // The frame that came is what was wanted.
        #expect(it.callback() == "")
        #expect(it.gone() == "")
        #expect(it.machine.phase == .presenting && it.machine.isCurrentHeld)
    }

    @Test func framesThatWaitOutliveTheWindow() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.accept(2, .fence) == "")
        #expect(it.pass(3, .time) == "")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.unblock(2, .fence) == "")
        #expect(it.configure() == "ack 1, tell 640x480, commit")
        #expect(it.unblock(3, .time) == "")
        #expect(it.callback() == "commit")
        #expect(shown(it) == 3)
        // The third one's fence is the new window's trouble.
        #expect(it.stuck(3) == "destroy window, create window")
    }

    @Test func oneWindowIsGivenUpOnce() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.callback() == "")
        #expect(it.pass(2) == "commit")
        #expect(it.stuck(1) == "destroy window, create window")
        // It was committed to the window that is on its way out.
        #expect(it.stuck(2) == "")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.pass(3) == "commit")
        #expect(it.stuck(2) == "")
        #expect(it.machine.phase == .presenting && it.machine.isCurrentHeld)
        #expect(it.stuck(3) == "destroy window, create window")
    }

    @Test func aStuckFrameBeforeTheCurrentOneCostsTheWindowToo() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.callback() == "")
        #expect(it.accept(2) == "commit")
        // The compositor keeps the order: the second waits behind the first.
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.machine.uses == [])
    }

    @Test func releasedWithoutHavingWaited() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        it.machine.released(It.use(1))
        #expect(it.stuck(1) == "")
        #expect(it.machine.phase == .presenting && shown(it) == 1)
    }

    // MARK: Phases

    @Test func stuckInEveryPhase() {
        var it = It()
        #expect(it.stuck(1) == "")
        #expect(it.map() == "create window")
        #expect(it.stuck(1) == "")
        #expect(it.configure() == "ack 1, tell 640x480")
        // Ready, and nothing committed: a name from before.
        #expect(it.stuck(1) == "")
        #expect(it.machine.phase == .ready)
        #expect(it.pass(2) == "commit")
        #expect(it.silence() == "")
        #expect(it.machine.phase == .hidden)
        #expect(it.stuck(2) == "destroy window, create window")
        #expect(it.machine.phase == .awaitingConfigure)
        #expect(it.stuck(2) == "")
        #expect(it.gone() == "")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.pass(3) == "commit")
        #expect(it.destroy() == "destroy window")
        #expect(it.stuck(3) == "")
        #expect(it.machine.phase == .closing)
        #expect(it.gone() == "end 3 shown")
        #expect(it.stuck(3) == "")
        #expect(it.machine.phase == .gone)
    }

    @Test func aHiddenWindowIsMadeAnewAndShowsAgain() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(
            it.configure(states: It.suspended, serial: 2)
                == "ack 2, tell 640x480 suspended, commit state")
        #expect(it.accept(2) == "")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.tick() == "")
        #expect(it.configure() == "ack 1, tell 640x480, commit")
    }

    // MARK: Windows that go

    @Test func destroyedWhileTheOldWindowIsLeaving() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.accept(2) == "commit")
        #expect(it.destroy() == "destroy window")
        // The first one's end: the second still holds its buffer.
        #expect(it.gone() == "")
        #expect(it.machine.phase == .closing && it.machine.uses == [It.use(2)])
        #expect(it.gone() == "end 2 shown")
        #expect(it.machine.phase == .gone)
    }

    @Test func destroyedBeforeTheNewWindowIsConfigured() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.destroy() == "destroy window")
        #expect(it.gone() == "")
        #expect(it.gone() == "")
        #expect(it.machine.phase == .gone)
    }

    // MARK: Losing the compositor

    @Test func lossBringsTheWaitBack() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.lost() == "")
        #expect(it.machine.framesLackingImport.map(\.waits) == [[.importing, .fence]])
        #expect(it.machine.framesLackingImport.first?.isFencePassed == false)
        #expect(it.map() == "create window")
        #expect(it.unblock(1, .importing) == "")
        #expect(it.configure() == "ack 1, tell 640x480")
        #expect(it.unblock(1, .fence) == "commit")
    }

    @Test func lossAfterTheFenceWaitsForNothing() {
        for place in ["current", "ready", "newer", "older"] {
            var it = It.configured()
            let number: UInt64 = place == "current" ? 1 : 2
            if place != "current" { #expect(it.accept(1) == "commit") }
            let waits: FrameWaits = place == "newer" || place == "older" ? .time : []
            #expect(it.pass(number, waits) == (place == "current" ? "commit" : ""))
            if place == "older" { #expect(it.accept(3, .fence) == "") }
            #expect(it.unblock(number, .fence) == "")
            _ = it.lost()
            let kept = it.machine.framesLackingImport
            #expect(kept.map(\.use) == [It.use(number)], "\(place)")
            #expect(kept.first?.waits.contains(.fence) == false, "\(place)")
        }
    }

    @Test func lossAfterAFailureWaitsForNothing() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.fail(1) == "")
        #expect(it.lost() == "")
        #expect(it.machine.framesLackingImport.map(\.waits) == [.importing])
    }

    @Test func afterAFailedFenceTheNextFrameIsShownWhole() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.callback() == "")
        #expect(it.pass(2, []) == "commit")
        #expect(it.callback() == "")
        #expect(it.fail(1) == "")
        // Nobody knows what the screen shows outside of the damage.
        #expect(it.accept(3, damage: .none) == "commit")
        #expect(it.machine.current?.damage.isWhole == true)
        #expect(it.callback() == "")
        #expect(it.accept(4, damage: .none) == "commit")
        #expect(it.machine.current?.damage.isWhole == false)
    }

    @Test func lossPrefersACompleteFrame() {
        var it = It.configured()
        #expect(it.accept(1) == "commit")
        #expect(it.pass(2) == "")
        // The passed one is newer, and its fence has not signalled.
        #expect(it.lost() == "cancel 2, end 2 lost")
        #expect(it.machine.uses == [It.use(1)])
    }

    @Test func lossWhileAWindowIsLeaving() {
        var it = It.configured()
        #expect(it.pass(1) == "commit")
        #expect(it.stuck(1) == "destroy window, create window")
        #expect(it.lost() == "")
        #expect(it.machine.phase == .unmapped && it.machine.uses == [])
        #expect(it.map() == "create window")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        // The compositor that knew the first window is gone with it: one end is the surface's.
        #expect(it.accept(2) == "commit")
        #expect(it.destroy() == "destroy window")
        #expect(it.gone() == "end 2 shown")
    }

    @Test func stuckAfterALossIsRefused() {
        var it = It.configured()
        #expect(it.pass(5) == "commit")
        #expect(it.lost() == "")
        #expect(it.stuck(5) == "cancel 5, end 5 refused")
        #expect(it.map() == "create window")
        #expect(it.configure() == "ack 1, tell 640x480")
        // Numbers count from anew for the windows of another compositor.
        #expect(it.pass(6) == "commit")
        #expect(it.stuck(6) == "destroy window, create window")
    }

    @Test func theSameFrameInANewCompositorCanBeStuckAgain() {
        var it = It.configured()
        #expect(it.accept(1) == "commit")
        #expect(it.pass(2) == "")
        #expect(it.callback() == "commit")
        #expect(it.accept(3, .fence) == "")
        #expect(it.stuck(2) == "destroy window, create window")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.lost() == "")
        #expect(it.map() == "create window")
        #expect(it.unblock(3, [.importing, .fence]) == "")
        #expect(it.configure() == "ack 1, tell 640x480, commit")
        #expect(it.machine.current?.sequence == FrameSequence(3))
    }

    @Test func theLongestListOfActions() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.pass(2)
        _ = it.pass(3, .time)
        _ = it.pass(4, .time)
        #expect(
            it.destroy()
                == "cancel 3, end 3 lost, cancel 4, end 4 lost, cancel 2, end 2 lost, destroy window"
        )
    }

    // MARK: Superseded

    @Test func aPassedFrameThatIsSupersededIsNotWatchedAnyLonger() {
        var it = It.configured()
        #expect(it.accept(1) == "commit")
        #expect(it.pass(2) == "")
        #expect(it.accept(3) == "cancel 2, end 2 superseded")
        // Once the fence has ended there is nothing to cancel.
        #expect(it.pass(4) == "end 3 superseded")
        #expect(it.unblock(4, .fence) == "")
        #expect(it.accept(5) == "end 4 superseded")
    }
}
