import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// Pictures of what cannot be mapped: pipes stand in for dma-bufs of that kind, and a worker inside the test
/// draws. Real dma-bufs that only EGL reads need a GPU.
@Suite("[kernel] headless pictures of what cannot be mapped")
struct HeadlessBlitTests {
    private static let size = Size(width: 16, height: 8)

    private final class Fixture {
        let live: LiveSession<HeadlessPresenter>
        let capture: HeadlessCapture
        /// Workers, the one at the end last.
        private(set) var workers: [FakeGraphicsWorker] = []
        var isBroken = false
        let picture = noise(16, 8, seed: 5)
        private let output: OwnedDescriptor
        private let pipe: Pipe

        init(_ directory: String, withWorker: Bool = true) throws {
            let memory = try MemoryFile.create(size: 4096, seals: .shrink)
            var mapped = try MappedMemory(memory.number, count: 4096, access: .readWrite)
            let drawn = picture
            try mapped.withUnsafeMutableBytes {
                try drawn.encode(
                    .xrgb8888, into: [WritablePixelPlane($0, offset: 0, stride: 64)])
            }
            output = memory
            pipe = try Pipe()
            // Nothing is written any more, as poll tells it.
            var byte: UInt8 = 1
            #expect(write(pipe.writing.number, &byte, 1) == 1)
            let capture = try HeadlessCapture(directory: directory)
            self.capture = capture
            var options = GraphicsWorkerOptions()
            options.openLimit = 100_000_000
            weak var fixture: Fixture?
            live = try LiveSession { loop, logger in
                HeadlessPresenter(
                    vmName: "alpha", options: HeadlessOptions(), capture: capture, loop: loop,
                    logger: logger, graphics: withWorker ? options : nil,
                    launcher: { fixture?.makeWorker($0) ?? FakeGraphicsWorker(loop: $0) })
            }
            fixture = self
        }

        private func makeWorker(_ loop: EventLoop) -> FakeGraphicsWorker {
            let worker = FakeGraphicsWorker(loop: loop)
            worker.script = { [unowned self] request, number in
                if isBroken { return [.init(.refused(.sourceRefused, "EGL says no."), number)] }
                guard case .open(let source) = request else {
                    return [.init(.done(nanoseconds: 1), number)]
                }
                return [.init(.opened(source, pair: 1, .memfd), number, [output.number])]
            }
            workers.append(worker)
            return worker
        }

        /// A frame of an unreadable buffer, shown.
        func show() throws {
            let presenter = live.presenter
            var bundle = DescriptorBundle()
            _ = bundle.append(pipe.reading.duplicate())
            let layout = BufferLayout(
                size: HeadlessBlitTests.size, format: .xrgb8888, modifier: .linear,
                memory: .dmaBuf,
                planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 64)])
            let buffer = BufferID(SlotIndex(index: 0, generation: 0))
            presenter.addBuffer(
                buffer, BufferMemory(layout: layout, bytes: 512, from: &bundle, 0..<1))
            presenter.createWindow(surface(0), plainWindow)
            presenter.commit(
                surface(0), makeFrame(use(0), buffer, 1, size: HeadlessBlitTests.size))
        }

        func talk(until isDone: ([PresenterEvent]) -> Bool) throws -> [PresenterEvent] {
            var events: [PresenterEvent] = []
            let end = MonotonicClock.now() + 5_000_000_000
            while MonotonicClock.now() < end, !isDone(events) {
                try live.loop.runOnce(milliseconds: 5)
                live.presenter.takeEvents { events.append($0) }
            }
            return events
        }

        deinit { for worker in workers { worker.end() } }
    }

    private func hasEnded(_ events: [PresenterEvent]) -> Bool {
        events.contains { if case .windowGone(surface(0)) = $0 { true } else { false } }
    }

    @Test func aWindowThatEndsWaitsForItsPicture() throws {
        try withDirectory { directory in
            let fixture = try Fixture(directory)
            try fixture.show()
            fixture.live.presenter.destroyWindow(surface(0))
            // The buffer is the worker's to read until then, and may be forgotten meanwhile.
            fixture.live.presenter.forgetBuffer(BufferID(SlotIndex(index: 0, generation: 0)))
            var events: [PresenterEvent] = []
            fixture.live.presenter.takeEvents { events.append($0) }
            #expect(!hasEnded(events))
            events = try fixture.talk(until: hasEnded)
            let words = events.map { "\($0)".prefix { $0 != "(" } }
            #expect(words == ["copied", "released", "windowGone"])
            #expect(fixture.capture.windows.values.map(\.picture) == [fixture.picture])
            #expect(fixture.live.presenter.graphicsStatus?.fulfilled == 1)
            fixture.live.presenter.shutDown()
            #expect(fixture.workers.count == 1)
        }
    }

    @Test func aPictureThatCannotBeHadIsGivenUp() throws {
        try withDirectory { directory in
            let fixture = try Fixture(directory)
            fixture.isBroken = true
            try fixture.show()
            fixture.live.presenter.destroyWindow(surface(0))
            // The session's own end of a use is not told again.
            fixture.live.presenter.cancelImage(use(0))
            let events = try fixture.talk(until: hasEnded)
            #expect(hasEnded(events.suffix(1)))
            #expect(
                !events.contains { if case .released = $0 { true } else { false } }, "\(events)")
            #expect(fixture.capture.windows.isEmpty)
            fixture.live.presenter.shutDown()
        }
    }

    @Test(arguments: [false, true])
    func atTheEndPicturesAreWaitedFor(isLeaving: Bool) throws {
        try withDirectory { directory in
            let fixture = try Fixture(directory)
            try fixture.show()
            // One window is there at the end, or its picture is on its way.
            if isLeaving { fixture.live.presenter.destroyWindow(surface(0)) }
            fixture.live.presenter.shutDown()
            #expect(fixture.capture.windows.values.map(\.picture) == [fixture.picture])
        }
    }

    @Test func withoutAProgramForItThereIsNoPicture() throws {
        try withDirectory { directory in
            let fixture = try Fixture(directory, withWorker: false)
            try fixture.show()
            fixture.live.presenter.destroyWindow(surface(0))
            var events: [PresenterEvent] = []
            fixture.live.presenter.takeEvents { events.append($0) }
            #expect(hasEnded(events))
            fixture.live.presenter.shutDown()
            #expect(fixture.capture.windows.isEmpty && fixture.workers.isEmpty)
        }
    }

    @Test func theReportTellsOfWorkers() {
        var status = VMStatus(
            name: "a", isConnected: true, generation: 1, isPresenting: true, trouble: nil,
            device: nil, buffers: 0, bytes: 0, uses: 0, refusals: [:], surfaces: [])
        #expect(!StatusReport.json([status]).contains("allocator"))
        status.allocator = GraphicsWorkerStatus()
        var blitter = GraphicsWorkerStatus()
        (blitter.isRunning, blitter.starts, blitter.refused, blitter.crashes) = (true, 2, 3, 1)
        status.blitter = blitter
        let json = StatusReport.json([status])
        #expect(json.contains(#""allocator":{"running":false,"starts":0,"#))
        #expect(
            json.contains(
                #""blitter":{"running":true,"starts":2,"fulfilled":0,"refused":3,"crashes":1,"timeouts":0,"malformed":0}"#
            ))
    }
}
