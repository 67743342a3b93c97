import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] Wayland presenter on a fake compositor", .serialized)
struct FakeCompositorTests {
    private func names(_ compositor: FakeCompositor) -> [String] {
        compositor.requests.map { "\($0.interface).\($0.name)" }
    }

    @Test func windowIsMappedInTheOrderThatTheProtocolsAskFor() throws {
        let fake = try FakeSession()
        #expect(fake.live.presenter.isReady)
        fake.compositor.forgetRequests()
        fake.live.makeSurface {
            $0.minimumSize = Size(width: 50, height: 20)
            $0.maximumSize = Size(width: 40, height: 30)
        }
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        fake.live.show(buffer, 1) {
            $0.damage = .none
            $0.damage.add(Rectangle(x: 1, y: 2, width: 3, height: 4))
        }
        try fake.settle()
        #expect(fake.compositor.complaints.isEmpty)
        #expect(
            names(fake.compositor) == [
                "wl_compositor.create_surface", "xdg_wm_base.get_xdg_surface",
                "xdg_surface.get_toplevel", "wp_viewporter.get_viewport", "xdg_toplevel.set_title",
                "xdg_toplevel.set_app_id", "xdg_toplevel.set_min_size", "xdg_toplevel.set_max_size",
                "zxdg_decoration_manager_v1.get_toplevel_decoration",
                "zxdg_toplevel_decoration_v1.set_mode", "wl_surface.commit",
                "wl_shm.create_pool", "wl_shm_pool.create_buffer",
                "xdg_surface.ack_configure", "wl_compositor.create_region", "wl_region.add",
                "wl_surface.set_opaque_region", "wl_region.destroy", "wl_surface.attach",
                "wl_surface.damage_buffer", "wl_surface.frame", "wp_presentation.feedback",
                "wl_surface.commit",
            ])
        // A largest size below the smallest would be a protocol error.
        #expect(
            fake.compositor.requests("xdg_toplevel.set_max_size")[0].arguments == [
                .int(50), .int(30),
            ])
        // The first frame is shown whole, whatever its damage says.
        #expect(
            fake.compositor.requests("wl_surface.damage_buffer")[0].arguments == [
                .int(0), .int(0), .int(Int32.max), .int(Int32.max),
            ])
        // A second frame of the same shape tells nothing twice.
        fake.compositor.forgetRequests()
        fake.fireCallbacks()
        fake.live.show(buffer, 2) {
            $0.damage = .none
            $0.damage.add(Rectangle(x: 1, y: 2, width: 3, height: 4))
        }
        try fake.settle()
        // The buffer is still held: the second use gets a wl_buffer of its own from the same pool.
        #expect(
            names(fake.compositor) == [
                "wl_shm_pool.create_buffer", "wl_surface.attach", "wl_surface.damage_buffer",
                "wl_surface.frame", "wp_presentation.feedback", "wl_surface.commit",
            ])
        #expect(
            fake.compositor.requests("wl_surface.damage_buffer")[0].arguments == [
                .int(1), .int(2), .int(3), .int(4),
            ])
        fake.live.session.shutDown()
    }

    @Test func eachReleaseEndsTheUseThatItIsAbout() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        for sequence in 1...4 as ClosedRange<UInt64> {
            fake.live.show(buffer, sequence)
            try fake.settle()
            fake.fireCallbacks()
            try fake.settle()
        }
        #expect(fake.committed.count == 4)
        #expect(Set(fake.committed).count == 4)
        for index in [2, 0, 3] { fake.release(fake.committed[index]) }
        try fake.settle()
        #expect(fake.live.released(.shown) == [3, 1, 4])
        // Free images are used again.
        fake.live.show(buffer, 5)
        try fake.settle()
        #expect(Set(fake.committed).count == 4)
        #expect(fake.committed[4] != fake.committed[1])
        fake.live.session.shutDown()
    }

    @Test func presentationIsToldInNanoseconds() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        fake.live.show(buffer, 1)
        try fake.settle()
        fake.present()
        fake.fireCallbacks()
        fake.live.show(buffer, 2)
        try fake.settle()
        fake.present("discarded")
        fake.fireCallbacks()
        fake.live.show(buffer, 3)
        try fake.settle()
        // Three seconds after the clock began: before the frame was ours.
        fake.present(seconds: 0)
        try fake.settle()
        let told = fake.live.feedback.compactMap { record -> PresentedRecord? in
            guard case .presented(_, let presented) = record else { return nil }
            return presented
        }
        #expect(told.map(\.time) == [4_294_967_299_000_000_005, 0])
        #expect(told.last?.latency == 0)
        #expect(told.first?.refresh == 16)
        #expect(told.first?.flags == 3)
        let discarded = fake.live.feedback.contains {
            guard case .discarded(_, FrameSequence(2)) = $0 else { return false }
            return true
        }
        #expect(discarded)
        fake.live.session.shutDown()
    }

    @Test func aMaximizedWindowHasTheSizeItIsGiven() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        fake.live.show(buffer, 1) { $0.destination = Size(width: 20, height: 10) }
        try fake.settle()
        fake.fireCallbacks()
        try fake.settle()
        let surface = fake.compositor.objects(of: "wl_surface")[0]
        fake.compositor.forgetRequests()
        let serial = fake.configure(surface: surface, width: 640, height: 480, states: [1])
        try fake.settle()
        #expect(
            names(fake.compositor) == [
                "xdg_surface.ack_configure", "wp_viewport.set_destination", "wl_surface.commit",
            ])
        #expect(fake.compositor.requests[0].arguments == [.uint(serial)])
        #expect(fake.compositor.requests[1].arguments == [.int(640), .int(480)])
        #expect(fake.live.configures.last?.size == Size(width: 640, height: 480))
        #expect(fake.live.configures.last?.states == 2)
        // A frame meanwhile does not change it, and the end of state and size does.
        fake.compositor.forgetRequests()
        fake.live.show(buffer, 2) { $0.destination = Size(width: 20, height: 10) }
        try fake.settle()
        #expect(fake.compositor.requests("wp_viewport.set_destination").isEmpty)
        fake.configure(surface: surface, width: 0, height: 0)
        try fake.settle()
        #expect(
            fake.compositor.requests("wp_viewport.set_destination").map(\.arguments) == [
                [.int(20), .int(10)]
            ])
        fake.live.session.shutDown()
    }

    @Test func theOpaqueRegionFollowsTheWindow() throws {
        let fake = try FakeSession()
        fake.live.makeSurface {
            $0.opaqueRegion = Rectangle(x: 2, y: 0, width: 4, height: 6)
        }
        let buffer = try fake.live.makeBuffer(noise(8, 6), format: .argb8888)
        fake.live.show(buffer, 1)
        try fake.settle()
        #expect(regions() == [[.int(2), .int(0), .int(4), .int(6)]])
        let surface = fake.compositor.objects(of: "wl_surface")[0]
        fake.configure(surface: surface, width: 80, height: 60, states: [2])
        try fake.settle()
        #expect(regions() == [[.int(20), .int(0), .int(40), .int(60)]])
        // Changed by the guest without a frame.
        var metadata = SurfaceMetadata()
        metadata.opaqueRegion = Rectangle(x: 0, y: 0, width: 1, height: 1)
        fake.live.send(
            .surfaceUpdate(SurfaceKey(1), metadata), type: RecordType.surfaceUpdate, object: 1)
        try fake.settle()
        #expect(fake.compositor.requests.last?.name == "commit")
        #expect(regions() == [[.int(0), .int(0), .int(10), .int(10)]])
        fake.live.session.shutDown()

        func regions() -> [[FakeArgument]] {
            defer { fake.compositor.forgetRequests() }
            return fake.compositor.requests("wl_region.add").map(\.arguments)
        }
    }

    @Test func silenceHidesAndTheGuestGoesOn() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        fake.live.show(buffer, 1)
        try fake.settle()
        let commits = fake.committed.count
        fake.live.show(buffer, 2)
        #expect(try fake.live.until { fake.live.released(.superseded) == [2] })
        _ = fake.compositor.receive()
        #expect(fake.committed.count == commits)
        fake.fireCallbacks()
        fake.live.show(buffer, 3)
        try fake.settle()
        #expect(fake.committed.count == commits + 1)
        fake.live.session.shutDown()
    }

    @Test func closeAndPing() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        try fake.settle()
        fake.compositor.send(fake.compositor.objects(of: "xdg_toplevel")[0], "close")
        for serial in [7, 8] as [UInt32] {
            fake.compositor.send(
                fake.compositor.objects(of: "xdg_wm_base")[0], "ping", .uint(serial))
        }
        try fake.settle()
        let isClosing = fake.live.feedback.contains {
            guard case .close(SurfaceKey(1)) = $0 else { return false }
            return true
        }
        #expect(isClosing)
        #expect(fake.compositor.requests("xdg_wm_base.pong").last?.arguments == [.uint(8)])
        fake.live.session.shutDown()
    }

    // MARK: Windows that go

    @Test func aDestroyedWindowGivesBackWhatItHeldWhenTheCompositorSaysSo() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        fake.live.show(try fake.live.makeBuffer(noise(8, 6)), 1)
        try fake.settle()
        let held = fake.committed[0]
        fake.compositor.forgetRequests()
        fake.live.send(.surfaceDestroy(SurfaceKey(1)), type: RecordType.surfaceDestroy, object: 1)
        fake.live.settle()
        #expect(fake.live.released(.shown).isEmpty)
        try fake.settle()
        #expect(fake.live.released(.shown) == [1])
        #expect(
            names(fake.compositor) == [
                "zxdg_toplevel_decoration_v1.destroy", "wp_viewport.destroy",
                "xdg_toplevel.destroy", "xdg_surface.destroy", "wl_surface.destroy",
                "wl_display.sync", "wl_buffer.destroy",
            ])
        #expect(fake.compositor.requests.last?.object == held)
        #expect(fake.live.session.holdings.uses == 0)
        fake.live.session.shutDown()
    }

    @Test func everythingIsGivenBackAtTheEnd() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let fake = try FakeSession()
                fake.live.makeSurface()
                fake.live.show(try fake.live.makeBuffer(noise(8, 6)), 1)
                _ = try fake.addDmabuf(77)
                try fake.settle()
                #expect(fake.imports.count == 1)
                fake.live.session.shutDown()
                #expect(fake.live.presenter.phase == .ended)
                _ = fake.compositor.receive()
                #expect(fake.compositor.isAtEnd)
                #expect(fake.compositor.objects(of: "wl_surface").isEmpty)
                #expect(fake.compositor.objects(of: "wl_buffer").isEmpty)
            }
        }
    }

    // MARK: Losing the compositor

    @Test func lossSaysWhyAndBuffersSurviveIt() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        let buffer = try fake.addDmabuf(0)
        _ = try fake.talk()
        fake.answerImport()
        _ = try fake.talk()
        guard case .ready = presenter.reserveImage(use(0), of: buffer) else {
            Issue.record("the image is not there")
            return
        }
        fake.compositor.protocolError(
            fake.compositor.objects(of: "xdg_wm_base")[0], code: 4, "bad")
        fake.isThere = false
        let events = try fake.talk()
        guard case .lost(let why) = events.last else {
            Issue.record("not lost: \(events)")
            return
        }
        #expect(why.contains("protocol error 4 of xdg_wm_base"))
        #expect(!presenter.isReady)
        // It cannot be had now, and once a compositor is there it is imported again.
        guard case .refused = presenter.reserveImage(use(0), of: buffer) else {
            Issue.record("an image without a compositor")
            return
        }
        fake.isThere = true
        let end = MonotonicClock.now() + 5_000_000_000
        while !presenter.isReady, MonotonicClock.now() < end {
            try fake.live.loop.runOnce(milliseconds: 10)
            _ = try fake.talk()
        }
        #expect(presenter.isReady)
        guard case .pending = presenter.reserveImage(use(0), of: buffer) else {
            Issue.record("no import after the return")
            return
        }
        _ = try fake.talk()
        fake.answerImport()
        let imported = try fake.talk().contains {
            guard case .imported(let known) = $0 else { return false }
            return known == use(0)
        }
        #expect(imported)
        presenter.shutDown()
    }

    @Test func whatACompositorLacksIsNamed() throws {
        let fake = try FakeSession([("wl_compositor", 3), ("wl_shm", 1)])
        #expect(fake.live.presenter.phase == .backOff)
        #expect(
            fake.live.presenter.trouble
                == "the compositor does not offer wl_compositor of version 4, xdg_wm_base")
        #expect(fake.compositor.isAtEnd || fake.compositor.receive() == 0)
        fake.live.session.shutDown()
    }

    @Test func aCompositorThatNeverAnswersIsGivenUpAndTriedAgain() throws {
        let fake = try FakeSession(isThere: false, answerLimit: 30_000_000)
        fake.isThere = true
        let presenter = fake.live.presenter
        #expect(try fake.live.until { !fake.compositors.isEmpty })
        #expect(presenter.phase == .binding && presenter.trouble?.contains("nowhere") == true)
        // It reads nothing and says nothing.
        #expect(try fake.live.until { presenter.phase != .binding })
        #expect(presenter.phase == .backOff && !presenter.isReady)
        #expect(
            presenter.trouble
                == "the compositor took the connection and gave no answer for 30 ms")
        #expect(
            try fake.live.until {
                _ = fake.compositor.receive()
                return fake.compositor.isAtEnd
            })
        fake.live.session.shutDown()
    }

    @Test func aCompositorThatAnswersInTimeIsKept() throws {
        let fake = try FakeSession(answerLimit: 50_000_000)
        let presenter = fake.live.presenter
        #expect(presenter.phase == .ready)
        let end = MonotonicClock.now() + 120_000_000
        while MonotonicClock.now() < end { try fake.live.turn(milliseconds: 10) }
        #expect(presenter.phase == .ready && fake.compositors.count == 1)
        fake.live.session.shutDown()
    }

    @Test func aNameThatCanNeverWorkIsAnError() throws {
        let loop = try EventLoop()
        #expect(throws: WaylandConnectError.self) {
            _ = try LiveSession(display: "/" + String(repeating: "x", count: 200), loop: loop)
        }
    }
}
