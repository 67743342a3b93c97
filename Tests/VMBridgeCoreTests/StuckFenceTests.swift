import Testing
import VMBridgeCore

/// A fence that was passed on with its frame and does not signal.
@Suite("[pure] surface machine: a passed fence that sticks")
struct StuckFenceTests {
    private static func passed(_ number: UInt64) -> Frame {
        var frame = SurfaceFixture.frame(number)
        frame.isFencePassed = true
        return frame
    }

    @Test func aPassedFenceThatSticks() {
        var it = SurfaceFixture.configured()
        #expect(SurfaceFixture.words(it.machine.accept(Self.passed(1))) == "commit")
        let actions = it.machine.fenceStuck(SurfaceFixture.use(1), FrameSequence(1))
        #expect(SurfaceFixture.words(actions) == "destroy window, create window")
        #expect(it.machine.phase == .awaitingConfigure)
        // The old window goes; the new one asks for a frame and shows the next one whole.
        #expect(it.gone() == "")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.accept(2, damage: .none) == "commit")
        #expect(it.machine.current?.damage.isWhole == true)
        #expect(it.destroy() == "destroy window")
        #expect(it.gone() == "end 2 shown")
        #expect(it.machine.phase == .gone)
    }

    @Test func theOldWindowGoesAfterTheSurface() {
        var it = SurfaceFixture.configured()
        _ = it.machine.accept(Self.passed(1))
        _ = it.machine.fenceStuck(SurfaceFixture.use(1), FrameSequence(1))
        #expect(it.destroy() == "destroy window")
        #expect(it.gone() == "" && it.machine.phase == .closing)
        #expect(it.gone() == "" && it.machine.phase == .gone)
    }

    @Test func oneThatWasNotCommittedIsRefused() {
        var it = SurfaceFixture.configured()
        #expect(it.accept(1) == "commit")
        #expect(SurfaceFixture.words(it.machine.accept(Self.passed(2))) == "")
        let actions = it.machine.fenceStuck(SurfaceFixture.use(2), FrameSequence(2))
        #expect(SurfaceFixture.words(actions) == "cancel 2, end 2 refused")
        #expect(it.machine.phase == .presenting)
    }
}
