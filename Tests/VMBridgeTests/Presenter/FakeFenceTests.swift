import Descriptors
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// The second rung of the ladder on a compositor that ends the connection over each rule. What stands
/// for fences here are memfds, which nobody can wait for; true ones are in the test machine.
@Suite("[kernel] fences on a fake compositor: explicit synchronization", .serialized)
struct FakeFenceTests {
    private static let globals =
        FakeSession.usual + [("zwp_linux_explicit_synchronization_v1", 2)]
    private static let sync = "zwp_linux_surface_synchronization_v1"

    /// A window that is configured and dma-bufs whose first image is there.
    private func started(
        _ policy: FencePolicy = .pass, buffers: UInt32 = 2,
        _ globals: [(interface: String, version: UInt32)] = FakeFenceTests.globals
    ) throws -> FakeSession {
        let fake = try FakeSession(globals, policy: policy)
        for index in 0..<buffers {
            _ = try fake.addDmabuf(index)
            _ = try fake.talk()
            fake.answerImport()
        }
        try makeWindow(fake)
        return fake
    }

    private func makeWindow(_ fake: FakeSession) throws {
        fake.live.presenter.createWindow(surface(0), plainWindow)
        let serials = try fake.talk().compactMap { event -> UInt32? in
            if case .configured(_, _, let serial) = event { serial } else { nil }
        }
        fake.live.presenter.acknowledge(surface(0), serial: try #require(serials.last))
    }

    private func buffer(_ index: UInt32) -> BufferID {
        BufferID(SlotIndex(index: index, generation: 0))
    }

    /// Commits a frame of a dma-buf, with something for a fence or without; what was told of it.
    @discardableResult
    private func show(
        _ fake: FakeSession, _ number: UInt32, on index: UInt32, fence: Bool = false
    ) throws -> [PresenterEvent] {
        let presenter = fake.live.presenter
        if case .pending = presenter.reserveImage(use(number), of: buffer(index)) {
            _ = try fake.talk()
            if !fake.imports.isEmpty { fake.answerImport() }
            _ = try fake.talk()
        }
        if fence {
            #expect(presenter.passesFence(of: use(number)))
            presenter.pass(try MemoryFile.create(size: 4096), with: use(number))
        }
        presenter.commit(surface(0), makeFrame(use(number), buffer(index), UInt64(number) + 1))
        var events = try fake.talk()
        fake.fireCallbacks()
        events += try fake.talk()
        return events
    }

    private func ends(_ events: [PresenterEvent]) -> [String] {
        events.compactMap {
            switch $0 {
            case .released(let use): "\(use.slot.index)"
            case .releasedWithFence(let use): "\(use.slot.index) with fence"
            case .lost(let why): "lost: \(why)"
            default: nil
            }
        }
    }

    // MARK: Commits

    @Test func eachCommitAsksForItsReleaseAndCarriesAFenceOnlyWhenOneIsPassed() throws {
        let fake = try started()
        try show(fake, 0, on: 0)
        try show(fake, 1, on: 1, fence: true)
        try show(fake, 2, on: 0)
        let compositor = fake.compositor
        #expect(compositor.complaints == [])
        // One object, made with the first commit that needs it.
        #expect(
            compositor.requests("zwp_linux_explicit_synchronization_v1.get_synchronization").count
                == 1)
        #expect(compositor.requests("\(Self.sync).get_release").count == 3)
        #expect(compositor.requests("\(Self.sync).set_acquire_fence").count == 1)
        #expect(compositor.fenceRules.commitsWithRelease == 3)
        #expect(compositor.fenceRules.commitsWithFence == 1)
        // With the commit it is about: after the first one's, before the third one's.
        let order = compositor.requests.filter {
            $0.name == "set_acquire_fence" || $0.name == "attach"
        }.map(\.name)
        #expect(order == ["attach", "set_acquire_fence", "attach", "attach"])
        fake.live.presenter.shutDown()
    }

    @Test("another policy holds from the next frame on, and the former one again")
    func aPolicyThatChangesLive() throws {
        let fake = try started()
        let (compositor, presenter) = (fake.compositor, fake.live.presenter)
        try show(fake, 0, on: 0, fence: true)
        presenter.setFences(.hold, limit: 1_000_000_000)
        _ = presenter.reserveImage(use(1), of: buffer(1))
        #expect(!presenter.passesFence(of: use(1)))
        try show(fake, 1, on: 1)
        #expect(compositor.requests("\(Self.sync).destroy").count == 1)
        #expect(compositor.requests("\(Self.sync).get_release").count == 1)
        presenter.setFences(.pass, limit: 1_000_000_000)
        try show(fake, 2, on: 0, fence: true)
        #expect(compositor.requests("\(Self.sync).get_release").count == 2)
        #expect(compositor.fenceRules.commitsWithFence == 2)
        #expect(compositor.complaints == [])
        presenter.shutDown()
    }

    @Test func theVeryFenceIsPassedOnce() async {
        await #expect(processExitsWith: .success) {
            let fake = try FakeFenceTests().started()
            let memory = try MemoryFile.create(size: 4096)
            let identity = try DescriptorProbe().facts(of: memory.number).identity
            let presenter = fake.live.presenter
            _ = presenter.reserveImage(use(0), of: BufferID(SlotIndex(index: 0, generation: 0)))
            presenter.pass(memory, with: use(0))
            presenter.commit(
                surface(0), makeFrame(use(0), BufferID(SlotIndex(index: 0, generation: 0)), 1))
            _ = try fake.talk()
            let request = try #require(
                fake.compositor.requests("\(FakeFenceTests.sync).set_acquire_fence").first)
            #expect(try DescriptorProbe().facts(of: request.descriptor).identity == identity)
            presenter.shutDown()
        }
    }

    @Test func noFenceIsTakenForWhatIsNotImported() throws {
        let fake = try started(.auto)
        // Nobody has shown that this compositor goes on for others.
        _ = fake.live.presenter.reserveImage(use(0), of: buffer(0))
        #expect(!fake.live.presenter.passesFence(of: use(0)))
        #expect(!fake.live.presenter.passesFence(of: use(9)))
        let other = try started(.pass)
        other.live.presenter.addBuffer(
            buffer(7), try Self.memfd(.memfd))
        _ = other.live.presenter.reserveImage(use(0), of: buffer(7))
        _ = try other.talk()
        #expect(!other.live.presenter.passesFence(of: use(0)))
        // One whose import is not answered yet.
        _ = try other.addDmabuf(8)
        _ = other.live.presenter.reserveImage(use(1), of: buffer(8))
        #expect(!other.live.presenter.passesFence(of: use(1)))
        fake.live.presenter.shutDown()
        other.live.presenter.shutDown()
    }

    @Test func sharedMemoryEndsTheSurfacesFencesAndADmabufBringsThemBack() throws {
        let fake = try started()
        fake.live.presenter.addBuffer(buffer(7), try Self.memfd(.memfd))
        try show(fake, 0, on: 0, fence: true)
        var events = try show(fake, 1, on: 7)
        #expect(fake.compositor.requests("\(Self.sync).destroy").count == 1)
        #expect(fake.compositor.requests("\(Self.sync).get_release").count == 1)
        events += try show(fake, 2, on: 7)
        events += try show(fake, 3, on: 1, fence: true)
        #expect(fake.compositor.complaints == [])
        #expect(
            fake.compositor.requests("zwp_linux_explicit_synchronization_v1.get_synchronization")
                .count == 2)
        // Releases that were asked for before are not affected.
        fake.answerRelease()
        fake.release(fake.committed[1])
        fake.answerRelease()
        events += try fake.talk()
        #expect(ends(events) == ["0", "1", "3"])
        fake.live.presenter.shutDown()
    }

    @Test func aDmabufThatIsCopiedCarriesNoFence() throws {
        let fake = try started()
        try show(fake, 0, on: 0)
        // The compositor refuses this one; its pixels are a memfd's here, and can be copied.
        _ = try fake.addDmabuf(5)
        _ = try fake.talk()
        fake.answerImport(false)
        _ = try fake.talk()
        let presenter = fake.live.presenter
        guard case .ready = presenter.reserveImage(use(1), of: buffer(5)) else {
            Issue.record("it is not copied")
            return
        }
        #expect(!presenter.passesFence(of: use(1)))
        presenter.commit(surface(0), makeFrame(use(1), buffer(5), 2))
        _ = try fake.talk()
        #expect(fake.compositor.requests("\(Self.sync).destroy").count == 1)
        #expect(fake.committed.count == 2)
        #expect(fake.compositor.complaints == [])
        presenter.shutDown()
    }

    @Test func aCommitWithoutABufferSaysNothingOfFences() throws {
        let fake = try started()
        try show(fake, 0, on: 0, fence: true)
        fake.live.presenter.commitState(surface(0))
        _ = try fake.talk()
        #expect(fake.compositor.complaints == [])
        #expect(fake.compositor.requests("wl_surface.commit").count == 3)
        #expect(fake.compositor.fenceRules.commitsWithRelease == 1)
        fake.live.presenter.shutDown()
    }

    @Test func aFenceThatWasTakenAndNotCommittedIsClosed() async {
        await #expect(processExitsWith: .success) {
            let fake = try FakeFenceTests().started()
            let presenter = fake.live.presenter
            let first = BufferID(SlotIndex(index: 0, generation: 0))
            try withoutLeaks {
                for number in 0..<20 as Range<UInt32> {
                    _ = presenter.reserveImage(use(number), of: first)
                    presenter.pass(try MemoryFile.create(size: 4096), with: use(number))
                    presenter.cancelImage(use(number))
                }
                // Of a use that nobody knows.
                presenter.pass(try MemoryFile.create(size: 4096), with: use(99))
            }
            // The next use of the image has nothing of it.
            _ = presenter.reserveImage(use(30), of: first)
            presenter.commit(surface(0), makeFrame(use(30), first, 1))
            _ = try fake.talk()
            #expect(
                fake.compositor.requests("\(FakeFenceTests.sync).set_acquire_fence").isEmpty)
            presenter.shutDown()
        }
    }

    // MARK: Releases

    @Test func onlyTheObjectEndsTheUse() throws {
        let fake = try started()
        var events = try show(fake, 0, on: 0)
        events += try show(fake, 1, on: 1)
        for buffer in fake.committed { fake.release(buffer) }
        events += try fake.talk()
        #expect(ends(events) == [])
        // Out of order, one with a fence (which cannot be waited for) and one without.
        let memory = try MemoryFile.create(size: 4096)
        fake.answerRelease(1, fence: memory.number)
        events += try fake.talk()
        #expect(ends(events) == ["1"])
        fake.answerRelease()
        events += try fake.talk()
        #expect(ends(events) == ["1", "0"])
        // Said again by the other way: the images are free, and nobody is told.
        for buffer in fake.committed { fake.release(buffer) }
        #expect(ends(try fake.talk()) == [])
        fake.live.presenter.shutDown()
    }

    @Test func aLateMessageDoesNotEndTheNextUseOfTheImage() throws {
        let fake = try started(buffers: 1)
        try show(fake, 0, on: 0)
        fake.answerRelease()
        #expect(ends(try fake.talk()) == ["0"])
        var events = try show(fake, 1, on: 0)
        #expect(fake.committed[0] == fake.committed[1])
        fake.release(fake.committed[0])
        events += try fake.talk()
        #expect(ends(events) == [])
        fake.answerRelease()
        #expect(ends(try fake.talk()) == ["1"])
        fake.live.presenter.shutDown()
    }

    @Test func releasesOfManyFramesLeaveNothingOpen() async {
        await #expect(processExitsWith: .success) {
            let it = FakeFenceTests()
            let fake = try it.started()
            let memory = try MemoryFile.create(size: 4096)
            func frame(_ number: UInt32) throws {
                var events = try it.show(fake, number, on: number % 2, fence: true)
                fake.answerRelease(fence: number.isMultiple(of: 2) ? memory.number : nil)
                events += try fake.talk()
                #expect(it.ends(events) == ["\(number)"])
                fake.compositor.forgetRequests()
            }
            for number in 0..<10 as Range<UInt32> { try frame(number) }
            let objects = fake.compositor.objects(of: "zwp_linux_buffer_release_v1").count
            try withoutLeaks {
                for number in 10..<500 as Range<UInt32> { try frame(number) }
            }
            #expect(fake.compositor.objects(of: "zwp_linux_buffer_release_v1").count == objects)
            #expect(objects == 0)
            #expect(fake.compositor.complaints == [])
            fake.live.presenter.shutDown()
        }
    }

    // MARK: Ends

    @Test func theObjectsEndBeforeTheirSurface() throws {
        let fake = try started()
        try show(fake, 0, on: 0, fence: true)
        try show(fake, 1, on: 1)
        fake.compositor.forgetRequests()
        fake.live.presenter.destroyWindow(surface(0))
        var events = try fake.talk()
        let order = fake.compositor.requests.map { "\($0.interface).\($0.name)" }
        let fences = try #require(order.firstIndex(of: "\(Self.sync).destroy"))
        let window = try #require(order.firstIndex(of: "wl_surface.destroy"))
        #expect(fences < window)
        // The window's end is that of its uses, and what comes later is nobody's.
        #expect(Set(ends(events)) == ["0", "1"])
        while !fake.releases.isEmpty { fake.answerRelease() }
        events = try fake.talk()
        #expect(ends(events) == [])
        #expect(fake.compositor.complaints == [])
        #expect(fake.compositor.objects(of: Self.sync) == [])
        fake.live.presenter.shutDown()
    }

    @Test func aLossInBetweenStartsAnew() throws {
        let fake = try started()
        try show(fake, 0, on: 0, fence: true)
        // One that is passed and not committed yet.
        let presenter = fake.live.presenter
        _ = presenter.reserveImage(use(1), of: buffer(1))
        presenter.pass(try MemoryFile.create(size: 4096), with: use(1))
        fake.compositor.hangUp()
        let lost = try fake.talk()
        #expect(ends(lost).count == 1 && ends(lost)[0].hasPrefix("lost"))
        let end = MonotonicClock.now() + 5_000_000_000
        while !presenter.isReady, MonotonicClock.now() < end {
            try fake.live.loop.runOnce(milliseconds: 10)
            _ = try fake.talk()
        }
        #expect(presenter.isReady)
        try makeWindow(fake)
        let events = try show(fake, 2, on: 0)
        #expect(ends(events) == [])
        // What was passed to the former compositor is not said to this one.
        #expect(fake.compositor.requests("\(Self.sync).set_acquire_fence").isEmpty)
        #expect(fake.compositor.requests("\(Self.sync).get_release").count == 1)
        fake.answerRelease()
        #expect(ends(try fake.talk()) == ["2"])
        #expect(fake.compositor.complaints == [])
        presenter.shutDown()
    }

    // MARK: Other ways

    @Test func holdAndImplicitSayNothing() throws {
        let held = try started(.hold)
        try show(held, 0, on: 0)
        #expect(
            held.compositor.requests(
                "zwp_linux_explicit_synchronization_v1.get_synchronization"
            ).isEmpty)
        held.release(held.committed[0])
        #expect(ends(try held.talk()) == ["0"])
        held.live.presenter.shutDown()
        // A compositor that knows points, and no device here that does: nothing is said of them.
        let pointless = try started(
            .auto, FakeSession.usual + [("wp_linux_drm_syncobj_manager_v1", 1)])
        try show(pointless, 0, on: 0)
        #expect(
            pointless.compositor.requests("wp_linux_drm_syncobj_manager_v1.get_surface").isEmpty)
        #expect(
            pointless.live.presenter.releasePath(of: buffer(0))
                == "wl_buffer.release and the dma-buf's own fences")
        pointless.release(pointless.committed[0])
        #expect(ends(try pointless.talk()) == ["0"])
        pointless.live.presenter.shutDown()
    }

    @Test func aWindowThatIsReplacedTellsNothingMore() throws {
        let fake = try started()
        try show(fake, 0, on: 0)
        let old = fake.compositor.objects(of: "wl_surface")[0]
        // On its way while the window is given up.
        fake.configure(surface: old, width: 33, height: 44)
        fake.live.presenter.destroyWindow(surface(0))
        fake.live.presenter.createWindow(surface(0), plainWindow)
        let told = try fake.talk().compactMap { event -> Size? in
            if case .configured(_, let configure, _) = event { configure.size } else { nil }
        }
        #expect(told == [.zero])
        #expect(fake.compositor.complaints == [])
        fake.live.presenter.shutDown()
    }

    private static func memfd(_ kind: MemoryKind) throws -> BufferMemory {
        let layout = BufferLayout(
            size: Size(width: 4, height: 4), format: .xrgb8888, modifier: .linear, memory: kind,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 16)])
        var bundle = DescriptorBundle()
        _ = bundle.append(try MemoryFile.create(size: 4096))
        return BufferMemory(layout: layout, bytes: 64, from: &bundle, 0..<1)
    }
}
