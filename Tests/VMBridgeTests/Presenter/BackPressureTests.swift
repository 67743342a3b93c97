import AllocationCounter
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] load on the Wayland presenter", .serialized)
struct BackPressureTests {
    @Test(
        "64 windows and 256 imports wait for a compositor that does not read, and nothing is lost")
    func blocked() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        for index in 0..<64 as Range<UInt32> { presenter.createWindow(surface(index), plainWindow) }
        _ = try fake.talk()
        // The compositor stops reading: titles fill the socket until requests wait.
        var changes = 0
        while presenter.waitingRequests == 0, changes < 100_000 {
            var properties = plainWindow
            properties.identity.title = String(repeating: "x", count: 240) + "\(changes)"
            presenter.updateWindow(surface(UInt32(changes % 64)), properties)
            presenter.flush()
            changes += 1
        }
        #expect(presenter.waitingRequests == 1)
        var uses: [BufferID] = []
        for index in 0..<256 as Range<UInt32> {
            uses.append(try fake.addDmabuf(index))
            guard case .pending = presenter.reserveImage(use(index), of: uses[Int(index)]) else {
                Issue.record("import \(index) is not pending")
                return
            }
        }
        for round in 0..<50 {
            for index in 0..<64 as Range<UInt32> {
                var properties = plainWindow
                properties.identity.title = "round \(round)"
                presenter.updateWindow(surface(index), properties)
                presenter.commitState(surface(index))
            }
            presenter.flush()
            try fake.live.loop.runOnce(milliseconds: 0)
        }
        // One group for each window and import, however often something was asked for.
        #expect(presenter.waitingRequests <= 64 + 256)
        #expect(presenter.waitingRequests >= 256)
        #expect(presenter.isReady)
        #expect(fake.takeEvents().isEmpty)
        // It reads again.
        fake.compositor.forgetRequests()
        for _ in 0..<200 where presenter.waitingRequests > 0 || fake.imports.count < 256 {
            _ = fake.compositor.receive()
            try fake.live.loop.runOnce(milliseconds: 0)
        }
        #expect(presenter.waitingRequests == 0)
        #expect(fake.imports.count == 256)
        #expect(fake.compositor.requests("zwp_linux_buffer_params_v1.add").count == 256)
        let last = fake.compositor.requests("xdg_toplevel.set_title").suffix(64)
        #expect(last.allSatisfy { $0.arguments == [.string("round 49")] })
        for _ in 0..<256 { fake.answerImport() }
        var imported = Set<UseID>()
        for event in try fake.talk() {
            if case .imported(let use) = event { imported.insert(use) }
        }
        #expect(imported.count == 256)
        #expect(fake.compositor.complaints.isEmpty)
        #expect(presenter.isReady)
        presenter.shutDown()
    }

    @Test("windows may come and go while the compositor does not read")
    func windowsWhileBlocked() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        presenter.createWindow(surface(0), plainWindow)
        _ = try fake.talk()
        var properties = plainWindow
        var changes = 0
        while presenter.waitingRequests == 0, changes < 100_000 {
            properties.identity.title = String(repeating: "y", count: 240) + "\(changes)"
            presenter.updateWindow(surface(0), properties)
            presenter.flush()
            changes += 1
        }
        presenter.destroyWindow(surface(0))
        presenter.createWindow(surface(1), plainWindow)
        presenter.destroyWindow(surface(1))
        presenter.createWindow(surface(2), plainWindow)
        fake.compositor.forgetRequests()
        let events = try (0..<30).flatMap { _ in try fake.talk() }
        var gone: [SurfaceID] = []
        for event in events {
            if case .windowGone(let id) = event { gone.append(id) }
        }
        // The second one never came to be, and is gone at once.
        #expect(Set(gone) == [surface(0), surface(1)])
        #expect(gone.count == 2)
        #expect(fake.compositor.requests("wl_compositor.create_surface").count == 1)
        #expect(fake.compositor.objects(of: "xdg_toplevel").count == 1)
        #expect(fake.compositor.complaints.isEmpty)
        presenter.shutDown()
    }

    @Test("a compositor that stops reading and then goes is lost like any other")
    func lostWhileBlocked() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        presenter.createWindow(surface(0), plainWindow)
        _ = try fake.addDmabuf(0)
        _ = try fake.talk()
        var properties = plainWindow
        var changes = 0
        while presenter.waitingRequests == 0, changes < 100_000 {
            properties.identity.title = String(repeating: "z", count: 240) + "\(changes)"
            presenter.updateWindow(surface(0), properties)
            presenter.flush()
            changes += 1
        }
        fake.answerImport()
        for index in 1..<20 as Range<UInt32> {
            _ = presenter.reserveImage(use(index), of: try fake.addDmabuf(index))
            presenter.createWindow(surface(index), plainWindow)
        }
        presenter.destroyWindow(surface(0))
        #expect(presenter.waitingRequests > 20)
        fake.isThere = false
        fake.compositor.hangUp()
        var events: [PresenterEvent] = []
        for _ in 0..<4 {
            try fake.live.loop.runOnce(milliseconds: 0)
            presenter.flush()
            events += fake.takeEvents()
        }
        guard case .lost(let why) = events.last else {
            Issue.record("not lost: \(events)")
            return
        }
        #expect(why == "the compositor closed the connection")
        #expect(presenter.waitingRequests == 0)
        #expect(presenter.phase == .backOff)
        presenter.shutDown()
    }

    @Test("without a free descriptor an import is refused, and the connection lives")
    func noDescriptors() async {
        await #expect(processExitsWith: .success) {
            let fake = try FakeSession()
            let presenter = fake.live.presenter
            _ = try settledCensus()
            let memory = try MemoryFile.create(size: 4096)
            var former = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &former)
            // The lowest free number is the limit from here on.
            let next = dup(memory.number)
            close(next)
            var tight = former
            tight.rlim_cur = rlim_t(next)
            let layout = BufferLayout(
                size: Size(width: 4, height: 4), format: .xrgb8888, modifier: .linear,
                memory: .dmaBuf, planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 16)])
            var bundle = DescriptorBundle()
            _ = bundle.append(memory)
            let id = BufferID(SlotIndex(index: 0, generation: 0))
            let buffer = BufferMemory(layout: layout, bytes: 64, from: &bundle, 0..<1)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &tight)
            presenter.addBuffer(id, buffer)
            let refused = presenter.reserveImage(use(0), of: id)
            presenter.flush()
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &former)
            guard case .refused(let why) = refused else {
                Issue.record("not refused: \(refused)")
                return
            }
            #expect(why.sentence.contains("no descriptor left"))
            #expect(presenter.isReady)
            guard case .pending = presenter.reserveImage(use(1), of: id) else {
                Issue.record("still refused")
                return
            }
            _ = try fake.talk()
            #expect(fake.imports.count == 1)
            presenter.shutDown()
        }
    }

    @Test(
        "a steady frame allocates nothing of ours", .enabled(if: allocation_counter_available()))
    func allocations() throws {
        let rounds = 1000
        let bare = try bareAllocations(rounds)
        let ours = try presenterAllocations(rounds)
        #expect(bare > rounds)
        #if DEBUG
            // Without optimisation, changing an array's element in place takes memory for the
            // accessor's frame, eight times a frame here.
            let limit = bare + 8 * rounds
        #else
            let limit = bare
        #endif
        #expect(ours <= limit, "\(rounds) frames: \(ours) allocations, libwayland alone \(bare)")
    }

    /// Allocations of the presenter's thread, the loop's turn included, over so many frames.
    private func presenterAllocations(_ rounds: Int) throws -> Int {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        presenter.createWindow(surface(0), plainWindow)
        _ = try fake.talk()
        presenter.acknowledge(surface(0), serial: 1)
        _ = try fake.live.makeBuffer(noise(4, 4))
        _ = try fake.live.makeBuffer(noise(4, 4))
        var total = 0
        for round in 0..<rounds + 20 {
            let id = use(UInt32(round % 2))
            let buffer = BufferID(SlotIndex(index: UInt32(round % 2), generation: 0))
            let frame = makeFrame(id, buffer, UInt64(round) + 1)
            allocation_counter_start()
            _ = presenter.reserveImage(id, of: buffer)
            presenter.commit(surface(0), frame)
            presenter.flush()
            var count = allocation_counter_stop()
            _ = fake.compositor.receive()
            fake.fireCallbacks()
            fake.present()
            if let last = fake.committed.last { fake.release(last) }
            var events = 0
            allocation_counter_start()
            try fake.live.loop.runOnce(milliseconds: 0)
            presenter.takeEvents { _ in events += 1 }
            presenter.flush()
            count += allocation_counter_stop()
            if round >= 20 {
                #expect(events == 3)
                total += Int(count)
            }
            if round % 100 == 0 { fake.compositor.forgetRequests() }
        }
        presenter.shutDown()
        return total
    }

    private final class Sink: HotEventTarget {
        var events = 0
        override func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) { events += 1 }
        override func wlBufferRelease(_ sender: WlBuffer) { events += 1 }
        override func wpPresentationFeedbackPresented(
            _ sender: WpPresentationFeedback, tvSecHi: UInt32, tvSecLo: UInt32, tvNsec: UInt32,
            refresh: UInt32, seqHi: UInt32, seqLo: UInt32, flags: WpPresentationFeedback.Kind
        ) { events += 1 }
    }

    /// The same requests and events with nothing of ours around them.
    private func bareAllocations(_ rounds: Int) throws -> Int {
        let compositor = FakeCompositor(globals: FakeSession.usual)
        let connection = try WaylandConnection.connect(to: compositor.takeClientEnd())
        let registry = WaylandRegistry(connection)
        compositor.settle(connection)
        let maker = try #require(registry.bind(WlCompositor.self))
        let shm = try #require(registry.bind(WlShm.self))
        let presentation = try #require(registry.bind(WpPresentation.self))
        let sink = Sink()
        let surface = maker.createSurface()
        let memory = try MemoryFile.create(size: 4096)
        let pool = shm.createPool(fd: memory, size: 4096)
        let buffers = (0..<2).map { _ in
            pool.createBuffer(offset: 0, width: 4, height: 4, stride: 16, format: .xrgb8888)
        }
        for buffer in buffers { buffer.setTarget(sink) }
        compositor.settle(connection)
        var total = 0
        for round in 0..<rounds + 20 {
            allocation_counter_start()
            surface.attach(buffer: buffers[round % 2], x: 0, y: 0)
            surface.damageBuffer(x: 0, y: 0, width: Int32.max, height: Int32.max)
            let callback = surface.frame()
            callback.setTarget(sink)
            let feedback = presentation.feedback(surface: surface)
            feedback.setTarget(sink)
            surface.commit()
            _ = connection.flush()
            var count = allocation_counter_stop()
            _ = compositor.receive()
            compositor.send(callback.id, "done", .uint(1))
            compositor.retire(callback.id)
            compositor.send(
                feedback.id, "presented", .uint(0), .uint(3), .uint(5), .uint(16), .uint(0),
                .uint(0), .uint(3))
            compositor.retire(feedback.id)
            compositor.send(buffers[round % 2].id, "release")
            allocation_counter_start()
            if connection.prepareRead() {
                _ = connection.readEvents()
                connection.dispatchPending()
            }
            _ = connection.flush()
            count += allocation_counter_stop()
            if round >= 20 { total += Int(count) }
            if round % 100 == 0 { compositor.forgetRequests() }
        }
        #expect(sink.events == 3 * (rounds + 20))
        for buffer in buffers { buffer.destroy() }
        pool.destroy()
        surface.destroy()
        presentation.destroy()
        shm.destroyProxy()
        maker.destroyProxy()
        return total
    }
}
