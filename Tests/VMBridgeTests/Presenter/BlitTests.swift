import CLinux
import Descriptors
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// Stands in for the kernel: the pipes of these tests are no dma-bufs, and are busy when told so.
private final class PipeAccess: BufferAccess {
    var isBusy = false
    let signal = OwnedDescriptor(owning: vmb_eventfd(0))

    func isBusy(_ dmaBuf: Int32) -> Bool { isBusy }
    func watchable(_ dmaBuf: Int32) -> OwnedDescriptor { signal.duplicate() }
    func begin(_ dmaBuf: Int32) throws(KernelError) {
        throw KernelError("DMA_BUF_IOCTL_SYNC", 25)
    }
    func end(_ dmaBuf: Int32) {}

    func finishWriting() {
        isBusy = false
        var one: UInt64 = 1
        _ = write(signal.number, &one, 8)
    }
}

/// A session whose compositor refuses dma-bufs, and a graphics worker inside the test that answers as it is told.
private final class BlitFixture {
    enum Conduct {
        case honest
        case dies
        case silent
        case refuses
        case sharesNothing
    }

    static let size = Size(width: 8, height: 4)
    let access = PipeAccess()
    let fake: FakeSession
    let worker: FakeGraphicsWorker
    /// What happens to requests for an output, and to blits.
    var opens = Conduct.honest
    var blits = Conduct.honest
    private var pairs: UInt32 = 0
    private let output: OwnedDescriptor

    init(
        _ globals: [(interface: String, version: UInt32)] = FakeSession.usual,
        withWorker: Bool = true
    ) throws {
        output = try MemoryFile.create(size: 4096, seals: .shrink)
        let loop = try EventLoop()
        worker = FakeGraphicsWorker(loop: loop)
        var options = GraphicsWorkerOptions()
        options.startLimit = 300_000_000
        options.openLimit = 100_000_000
        options.blitLimit = 50_000_000
        fake = try FakeSession(
            globals, access: access, graphics: withWorker ? options : nil, launcher: worker,
            loop: loop)
        worker.script = { [unowned self] in answer($0, $1) }
    }

    deinit { worker.end() }

    private func answer(
        _ request: WorkerRequest, _ number: UInt64
    ) -> [FakeGraphicsWorker.Reply]? {
        let conduct: Conduct
        switch request {
        case .open: conduct = opens
        case .blit: conduct = blits
        case .drop, .allocate: conduct = .honest
        }
        switch conduct {
        case .dies: return nil
        case .silent: return []
        case .refuses: return [.init(.refused(.sourceRefused, "EGL says no."), number)]
        case .honest, .sharesNothing: break
        }
        guard case .open(let source) = request else {
            return [.init(.done(nanoseconds: 5), number)]
        }
        #expect(!source.isBottomUp)
        pairs += 1
        let layout = BufferLayout(
            size: source.size, format: source.format, modifier: .linear, memory: .dmaBuf,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: source.size.width * 4)])
        // What is said to be a dma-buf and is none makes no sense to the bridge.
        let parts: OutputParts = conduct == .sharesNothing ? .dmaBuf : .memfd
        return [.init(.opened(layout, pair: pairs, parts), number, [output.number])]
    }

    /// A fifo in the place of a dma-buf that the CPU cannot map.
    func addBuffer(
        _ index: UInt32, modifier: Modifier = .linear, isBottomUp: Bool = false
    ) throws -> BufferID {
        let layout = BufferLayout(
            size: Self.size, format: .xrgb8888, modifier: modifier, memory: .dmaBuf,
            isBottomUp: isBottomUp,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: Self.size.width * 4)])
        let pipe = try Pipe()
        var bundle = DescriptorBundle()
        _ = bundle.append(pipe.reading.duplicate())
        let id = BufferID(SlotIndex(index: index, generation: 0))
        fake.live.presenter.addBuffer(
            id, BufferMemory(layout: layout, bytes: 128, from: &bundle, 0..<1))
        return id
    }

    /// A window that takes buffers.
    func open() throws {
        fake.live.presenter.createWindow(surface(0), plainWindow)
        _ = try fake.talk()
        fake.live.presenter.acknowledge(surface(0), serial: 1)
    }

    /// Lets all talk until an event comes that is looked for; everything that came.
    func until(
        seconds: Double = 5, _ condition: (PresenterEvent) -> Bool
    ) throws -> [PresenterEvent] {
        let end = MonotonicClock.now() + UInt64(seconds * 1e9)
        var events: [PresenterEvent] = []
        while MonotonicClock.now() < end {
            let new = try fake.talk()
            events += new
            if new.contains(where: condition) { return events }
        }
        Issue.record("it did not come: \(events)")
        return events
    }

    /// Refuses every import that linux-dmabuf was asked for.
    func refuseImports() throws {
        _ = try fake.talk()
        while !fake.imports.isEmpty { fake.answerImport(false) }
    }

    /// Reserves an image, waiting for it if it is on its way.
    func reserve(_ number: UInt32, _ buffer: BufferID) throws {
        switch fake.live.presenter.reserveImage(use(number), of: buffer) {
        case .ready: return
        case .pending:
            _ = try until {
                guard case .imported(use(number)) = $0 else { return false }
                return true
            }
        case .refused(let why): Issue.record("refused: \(why.sentence)")
        }
    }

    func commit(_ number: UInt32, _ buffer: BufferID) {
        fake.live.presenter.commit(
            surface(0), makeFrame(use(number), buffer, UInt64(number) + 1, size: Self.size))
    }

    /// Shows a frame; its wl_buffer.
    func show(_ number: UInt32, _ buffer: BufferID) throws -> UInt32? {
        try reserve(number, buffer)
        let before = fake.committed.count
        commit(number, buffer)
        let events = try until {
            guard case .copied = $0 else { return false }
            return true
        }
        #expect(
            events.contains {
                guard case .copied(surface(0), 128) = $0 else { return false }
                return true
            })
        _ = try fake.talk()
        #expect(fake.committed.count == before + 1)
        return fake.committed.last
    }

    /// The sentence with which a frame's commit failed.
    func failure(_ number: UInt32) throws -> Refusal? {
        let events = try until {
            guard case .commitFailed(use(number), _) = $0 else { return false }
            return true
        }
        fake.live.presenter.cancelImage(use(number))
        guard case .commitFailed(_, let why)? = events.last else { return nil }
        return why
    }

    var presenter: WaylandPresenter { fake.live.presenter }
    var blitRequests: Int {
        worker.requests.count { if case .blit = $0 { true } else { false } }
    }
    var openRequests: Int {
        worker.requests.count { if case .open = $0 { true } else { false } }
    }

    func release(_ buffer: UInt32?, _ number: UInt32) throws {
        fake.release(try #require(buffer))
        fake.fireCallbacks()
        let events = try fake.talk()
        #expect(
            events.contains {
                guard case .released(use(number)) = $0 else { return false }
                return true
            })
    }
}

@Suite(
    "[kernel] blits of what can be neither imported nor copied (a worker inside the test)",
    .serialized)
struct BlitTests {
    @Test func whatNothingElseCanShowIsBlitted() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks { try BlitTests().frames() }
        }
    }

    /// Two images in turns; each commit follows its blit.
    private func frames() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0, isBottomUp: true)
        try fixture.refuseImports()
        try fixture.reserve(0, buffer)
        let path = fixture.presenter.importPath(of: buffer)
        #expect(path.hasPrefix("blitted by EGL into wl_shm memory: the dma-buf of"), "\(path)")
        #expect(path.contains("the CPU cannot read it"))
        #expect(fixture.presenter.releasePath(of: buffer) == "wl_buffer.release")
        #expect(fixture.openRequests == 1 && fixture.blitRequests == 0)
        let first = try fixture.show(0, buffer)
        // Committed again while it is held: another image, another output.
        let second = try fixture.show(1, buffer)
        #expect(first != second && fixture.openRequests == 2 && fixture.blitRequests == 2)
        try fixture.release(first, 0)
        try fixture.release(second, 1)
        for number in 2..<10 as Range<UInt32> {
            let shown = try fixture.show(number, buffer)
            #expect(shown == first)
            try fixture.release(shown, number)
        }
        #expect(fixture.openRequests == 2 && fixture.blitRequests == 10)
        let pool = try #require(fixture.fake.compositor.requests("wl_shm.create_pool").last)
        #expect(pool.arguments.last == .int(128))
        let make = try #require(
            fixture.fake.compositor.requests("wl_shm_pool.create_buffer").last)
        #expect(
            Array(make.arguments.dropFirst())
                == [.int(0), .int(8), .int(4), .int(32), .uint(1)])
        #expect(fixture.presenter.graphicsStatus?.starts == 1)
        fixture.presenter.forgetBuffer(buffer)
        _ = try fixture.fake.talk()
        #expect(
            fixture.worker.requests.suffix(2).allSatisfy {
                if case .drop = $0 { true } else { false }
            })
        #expect(fixture.fake.compositor.objects(of: "wl_buffer").isEmpty)
        #expect(fixture.fake.compositor.complaints.isEmpty)
        fixture.presenter.shutDown()
        fixture.fake.compositor.forgetRequests()
    }

    @Test func aModifierThatTheCopyDoesNotTakeIsBlitted() throws {
        let fixture = try BlitFixture(FakeSession.usual.filter { !$0.interface.hasPrefix("zwp") })
        try fixture.open()
        let buffer = try fixture.addBuffer(0, modifier: Modifier(77))
        _ = try fixture.show(0, buffer)
        #expect(fixture.presenter.importPath(of: buffer).contains("only LINEAR buffers can"))
        fixture.presenter.shutDown()
    }

    @Test func withoutAProgramForItTheBufferIsRefusedAsBefore() throws {
        let fixture = try BlitFixture(withWorker: false)
        let buffer = try fixture.addBuffer(0)
        _ = fixture.presenter.reserveImage(use(0), of: buffer)
        try fixture.refuseImports()
        let events = try fixture.until {
            if case .importFailed = $0 { true } else { false }
        }
        guard case .bufferRefused(buffer, let why) = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(why.sentence.contains("the CPU cannot read it") && !why.sentence.contains("EGL"))
        #expect(fixture.worker.launches == 0 && fixture.presenter.graphicsStatus == nil)
        fixture.presenter.shutDown()
    }

    @Test(arguments: [0, 1, 2, 3])
    func anOutputThatCannotBeHadRefusesTheBuffer(way: Int) throws {
        let fixture = try BlitFixture()
        fixture.opens = [.dies, .silent, .refuses, .sharesNothing][way]
        let buffer = try fixture.addBuffer(0)
        _ = fixture.presenter.reserveImage(use(0), of: buffer)
        try fixture.refuseImports()
        let events = try fixture.until {
            if case .importFailed(use(0), _) = $0 { true } else { false }
        }
        guard case .bufferRefused(buffer, let why) = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(why.reason == .importFailed)
        #expect(why.sentence.contains("It cannot be copied either"))
        #expect(why.sentence.contains("EGL does not draw it either"))
        #expect(fixture.presenter.importPath(of: buffer).hasPrefix("none: "))
        fixture.presenter.shutDown()
    }

    @Test(arguments: [false, true])
    func aFrameOfAWorkerThatEndsOrIsSilentFailsAndTheNextOneComes(isSilent: Bool) throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        try fixture.release(try fixture.show(0, buffer), 0)
        fixture.blits = isSilent ? .silent : .dies
        try fixture.reserve(1, buffer)
        let start = MonotonicClock.now()
        fixture.commit(1, buffer)
        let why = try #require(try fixture.failure(1))
        #expect(why.reason == .importFailed && why.sentence.contains("EGL did not draw"))
        #expect(why.sentence.contains(isSilent ? "did not answer in time" : "ended"))
        if isSilent { #expect(MonotonicClock.now() - start >= 50_000_000) }
        #expect(fixture.fake.committed.count == 1)
        // The next one waits for another worker and another output.
        fixture.blits = .honest
        let shown = try fixture.show(2, buffer)
        #expect(fixture.worker.launches == 2 && fixture.openRequests == 2)
        try fixture.release(shown, 2)
        try fixture.release(try fixture.show(3, buffer), 3)
        #expect(fixture.fake.compositor.objects(of: "wl_buffer").count == 1)
        #expect(fixture.fake.compositor.complaints.isEmpty)
        fixture.presenter.shutDown()
    }

    @Test func otherImagesOfAWorkerThatEndedGetNewOutputs() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffers = [try fixture.addBuffer(0), try fixture.addBuffer(1)]
        try fixture.refuseImports()
        try fixture.release(try fixture.show(0, buffers[0]), 0)
        try fixture.release(try fixture.show(1, buffers[1]), 1)
        fixture.blits = .dies
        try fixture.reserve(2, buffers[0])
        fixture.commit(2, buffers[0])
        _ = try fixture.failure(2)
        fixture.blits = .honest
        // Its pair was the former worker's: the frame is drawn all the same.
        try fixture.release(try fixture.show(3, buffers[1]), 3)
        // A new output that cannot be had fails the frame, not the buffer.
        fixture.opens = .refuses
        try fixture.reserve(4, buffers[0])
        fixture.commit(4, buffers[0])
        let why = try #require(try fixture.failure(4))
        #expect(why.sentence.contains("EGL says no"))
        fixture.opens = .honest
        try fixture.release(try fixture.show(5, buffers[0]), 5)
        fixture.presenter.shutDown()
    }

    @Test func aBusyDmabufIsWaitedForBeforeItsBlit() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        try fixture.reserve(0, buffer)
        fixture.access.isBusy = true
        fixture.commit(0, buffer)
        for _ in 0..<5 { #expect(try fixture.fake.talk().isEmpty) }
        #expect(fixture.blitRequests == 0 && fixture.fake.committed.isEmpty)
        fixture.access.finishWriting()
        _ = try fixture.until { if case .copied = $0 { true } else { false } }
        _ = try fixture.fake.talk()
        #expect(fixture.fake.committed.count == 1)
        fixture.presenter.shutDown()
    }

    @Test func waitsEndWithWhatTheyAreFor() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                for way in 0..<6 { try BlitTests().endWaiting(way) }
            }
        }
    }

    private func endWaiting(_ way: Int) throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        try fixture.reserve(0, buffer)
        // Odd ways: while a new output is on its way; even ones: during a blit.
        if way % 2 == 1 {
            fixture.blits = .dies
            fixture.commit(0, buffer)
            _ = try fixture.failure(0)
            fixture.opens = .silent
            try fixture.reserve(0, buffer)
        }
        fixture.blits = .silent
        fixture.commit(0, buffer)
        _ = try fixture.fake.talk()
        switch way / 2 {
        case 0: fixture.presenter.cancelImage(use(0))
        case 1: fixture.presenter.destroyWindow(surface(0))
        default: fixture.fake.compositor.hangUp()
        }
        let end = MonotonicClock.now() + 400_000_000
        var events: [PresenterEvent] = []
        while MonotonicClock.now() < end { events += try fixture.fake.talk() }
        #expect(
            !events.contains {
                switch $0 {
                case .commitFailed, .copied: true
                default: false
                }
            }, "\(events)")
        #expect(fixture.fake.committed.isEmpty)
        fixture.presenter.shutDown()
    }

    @Test func ofTwoFramesOfAWindowTheLatestIsShown() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        try fixture.reserve(0, buffer)
        try fixture.reserve(1, buffer)
        fixture.commit(0, buffer)
        fixture.commit(1, buffer)
        let events = try fixture.until { if case .copied = $0 { true } else { false } }
        guard case .released(use(0)) = events.first else {
            Issue.record("\(events)")
            return
        }
        for _ in 0..<5 { _ = try fixture.fake.talk() }
        #expect(fixture.fake.committed.count == 1)
        try fixture.release(fixture.fake.committed.first, 1)
        fixture.presenter.shutDown()
    }

    @Test func aReturningCompositorGetsNewOutputs() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        _ = try fixture.show(0, buffer)
        fixture.fake.compositor.hangUp()
        let end = MonotonicClock.now() + 5_000_000_000
        while fixture.fake.compositors.count < 2, MonotonicClock.now() < end {
            _ = try fixture.fake.talk()
        }
        while !fixture.presenter.isReady, MonotonicClock.now() < end {
            _ = try fixture.fake.talk()
        }
        try fixture.open()
        guard case .pending = fixture.presenter.reserveImage(use(0), of: buffer) else {
            Issue.record("no image on its way")
            return
        }
        try fixture.refuseImports()
        _ = try fixture.until { if case .imported(use(0)) = $0 { true } else { false } }
        let before = fixture.fake.committed.count
        fixture.commit(0, buffer)
        _ = try fixture.until { if case .copied = $0 { true } else { false } }
        _ = try fixture.fake.talk()
        #expect(fixture.fake.committed.count == before + 1)
        #expect(fixture.openRequests == 2 && fixture.worker.launches == 1)
        fixture.presenter.shutDown()
    }

    @Test func outputsAreBoundedByTheBuffers() throws {
        let fixture = try BlitFixture()
        try fixture.open()
        let buffer = try fixture.addBuffer(0)
        try fixture.refuseImports()
        for number in 0..<4 as Range<UInt32> { _ = try fixture.show(number, buffer) }
        guard case .refused(let why) = fixture.presenter.reserveImage(use(9), of: buffer) else {
            Issue.record("a fifth output")
            return
        }
        #expect(why.sentence.contains("as much memory as they may"))
        try fixture.release(fixture.fake.committed.first, 0)
        try fixture.reserve(9, buffer)
        fixture.presenter.shutDown()
    }
}
