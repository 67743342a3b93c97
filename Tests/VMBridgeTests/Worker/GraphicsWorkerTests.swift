import CLinux
import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// A graphics worker that answers as it should and as it should not. Outputs are memfds: dma-bufs are for
/// the test machine (`Tests/vm/tests/worker`).
@Suite("[kernel] GraphicsWorker", .serialized)
struct GraphicsWorkerTests {
    /// Answers every request well.
    private func honest(_ memory: Int32) -> (WorkerRequest, UInt64) -> [FakeGraphicsWorker.Reply]? {
        var pairs: UInt32 = 0
        return { request, number in
            switch request {
            case .open(let layout):
                pairs += 1
                return [.init(.opened(layout, pair: pairs, .memfd), number, [memory])]
            case .blit, .drop: return [.init(.done(nanoseconds: 5), number)]
            case .allocate: return [.init(.refused(.noMemory, "none here"), number)]
            }
        }
    }

    @Test(
        "A source is opened, blitted and dropped, and the worker starts with the first demand only")
    func order() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture()
        fixture.fake.script = honest(memory.number)
        try fixture.turn(10)
        #expect(fixture.fake.launches == 0)
        #expect(!fixture.worker.status.isRunning)
        let source = try WorkerFixture.source()
        guard
            case .opened(_, let pair, let output)? = try fixture.event(fixture.worker.open(source))
        else {
            Issue.record("the source was not opened")
            return
        }
        #expect(output.dmaBuf == nil && !output.isReadBack)
        #expect(output.memfd?.layout.memory == .memfd && output.memfd?.bytes == 8192)
        guard case .blitted(_, 5)? = try fixture.event(fixture.worker.blit(pair)) else {
            Issue.record("the source was not blitted")
            return
        }
        fixture.worker.drop(pair)
        fixture.worker.drop(pair)
        try fixture.turn(20)
        #expect(fixture.fake.requests == [.open(source.layout), .blit(1), .drop(1)])
        #expect(fixture.fake.received == [1, 0, 0])
        #expect(fixture.worker.status.fulfilled == 2 && fixture.worker.status.refused == 0)
        #expect(fixture.fake.launches == 1)
    }

    @Test("Requests go one at a time, in order, and each is answered")
    func queue() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture { $0.queueLength = 4 }
        fixture.fake.script = honest(memory.number)
        let source = try WorkerFixture.source()
        let requests = (0..<8).map { index in
            index % 2 == 0
                ? fixture.worker.allocate(WorkerFixture.wanted) : fixture.worker.open(source)
        }
        // One is with the worker, four wait.
        for request in requests[5...] { #expect(try fixture.reason(request) == .queueFull) }
        for (index, request) in requests[..<5].enumerated() {
            if index % 2 == 0 {
                #expect(try fixture.reason(request) == .noMemory)
            } else {
                guard case .opened? = try fixture.event(request) else {
                    Issue.record("request \(index) was not answered")
                    continue
                }
            }
        }
        #expect(fixture.fake.requests.count == 5)
    }

    @Test("A worker that ends is a refusal; the next demand starts another")
    func crash() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture()
        let source = try WorkerFixture.source()
        fixture.fake.script = { _, _ in nil }
        #expect(try fixture.reason(fixture.worker.open(source)) == .crashed)
        #expect(!fixture.worker.status.isRunning)
        fixture.fake.script = honest(memory.number)
        guard case .opened(_, let pair, _)? = try fixture.event(fixture.worker.open(source)) else {
            Issue.record("the source was not opened")
            return
        }
        #expect(fixture.fake.launches == 2)
        // A pair ends with the worker that knew it, whether the bridge noticed by itself or not.
        fixture.fake.end()
        #expect(try fixture.reason(fixture.worker.blit(pair)) == .crashed)
        #expect(try fixture.reason(fixture.worker.blit(pair)) == .pairGone)
        #expect(fixture.fake.launches == 2)
        #expect(fixture.worker.status.crashes == 2)
    }

    @Test("Silence is a refusal after the request's own time; what waits goes to the next worker")
    func silence() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture()
        let answers = honest(memory.number)
        var isFirst = true
        fixture.fake.script = { request, number in
            if case .allocate = request, isFirst {
                isFirst = false
                return []
            }
            return answers(request, number)
        }
        let start = fixture.loop.now()
        let silent = fixture.worker.allocate(WorkerFixture.wanted)
        let waiting = fixture.worker.open(try WorkerFixture.source())
        #expect(try fixture.reason(silent) == .timedOut)
        let waited = fixture.loop.now() - start
        #expect(waited >= 100_000_000)
        guard case .opened? = try fixture.event(waiting) else {
            Issue.record("what waited was not opened")
            return
        }
        #expect(fixture.fake.launches == 2)
        #expect(fixture.worker.status.timeouts == 1)
    }

    @Test("A worker that never says it is there has the start's time on top")
    func neverReady() throws {
        let fixture = try WorkerFixture()
        fixture.fake.isReady = false
        let start = fixture.loop.now()
        #expect(try fixture.reason(fixture.worker.allocate(WorkerFixture.wanted)) == .timedOut)
        #expect(fixture.loop.now() - start >= 400_000_000)
    }

    @Test("No more than so many starts a minute")
    func starts() throws {
        let fixture = try WorkerFixture { $0.startsPerMinute = 3 }
        fixture.fake.script = { _, _ in nil }
        for _ in 0..<3 {
            #expect(try fixture.reason(fixture.worker.allocate(WorkerFixture.wanted)) == .crashed)
        }
        #expect(try fixture.reason(fixture.worker.allocate(WorkerFixture.wanted)) == .tooManyStarts)
        #expect(fixture.fake.launches == 3)
    }

    @Test("Whatever does not answer the question is malformed, and ends the worker")
    func malformed() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let loose = try MemoryFile.create(size: 8192, seals: [])
        let short = try MemoryFile.create(size: 8188, seals: .shrink)
        let event = OwnedDescriptor(owning: vmb_eventfd(0))
        let source = try WorkerFixture.source()
        let layout = source.layout
        func opened(
            _ descriptors: [Int32], parts: OutputParts = .memfd,
            _ change: (inout BufferLayout) -> Void = { _ in }
        ) -> (UInt64) -> FakeGraphicsWorker.Reply {
            var changed = layout
            change(&changed)
            return { .init(.opened(changed, pair: 1, parts), $0, descriptors) }
        }
        let cases: [(String, (UInt64) -> FakeGraphicsWorker.Reply)] = [
            ("text", { _ in .init(bytes: Array("hello, bridge".utf8)) }),
            ("one byte", { _ in .init(bytes: [0]) }),
            ("zeros", { _ in .init(bytes: [UInt8](repeating: 0, count: 200)) }),
            ("too long", { _ in .init(bytes: [UInt8](repeating: 7, count: 5000)) }),
            ("another number", { .init(.refused(.noMemory, ""), $0 + 1) }),
            ("number 0", { _ in .init(.refused(.noMemory, ""), 0) }),
            ("a second greeting", { _ in .init(.ready(version: 1), 0) }),
            ("a blit's answer", { .init(.done(nanoseconds: 1), $0) }),
            (
                "an allocation's answer",
                { .init(.allocated(layout, .udmabuf), $0, [memory.number]) }
            ),
            (
                "a descriptor missing",
                {
                    .init(
                        bytes: FakeGraphicsWorker.Reply(
                            .opened(layout, pair: 1, .memfd), $0, [memory.number]
                        ).bytes)
                }
            ),
            ("a memfd for a dma-buf", opened([memory.number], parts: .dmaBuf)),
            ("a memfd that may shrink", opened([loose.number])),
            ("a memfd that is too short", opened([short.number])),
            ("an eventfd", opened([event.number])),
            ("another size", opened([memory.number]) { $0.size = Size(width: 32, height: 32) }),
            ("another format", opened([memory.number]) { $0.format = .xbgr8888 }),
            ("a modifier", opened([memory.number]) { $0.modifier = Modifier(1) }),
            ("a short stride", opened([memory.number]) { $0.planes[0].stride = 4 }),
            ("an offset behind the end", opened([memory.number]) { $0.planes[0].offset = 4096 }),
            ("bottom-up", opened([memory.number]) { $0.isBottomUp = true }),
        ]
        for (name, reply) in cases {
            let fixture = try WorkerFixture()
            fixture.fake.script = { _, number in [reply(number)] }
            let reason = try fixture.reason(fixture.worker.open(source))
            #expect(reason == .malformed, "\(name): \(String(describing: reason))")
            #expect(!fixture.worker.status.isRunning, "\(name)")
        }
    }

    @Test("Memory that was not asked for is malformed")
    func wrongMemory() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        var layout = try WorkerFixture.source().layout
        func reason(_ wanted: AllocationRequest, _ allocator: MemoryAllocator) throws
            -> GraphicsReason?
        {
            let fixture = try WorkerFixture()
            fixture.fake.script = { _, number in
                [.init(.allocated(layout, allocator), number, [memory.number])]
            }
            return try fixture.reason(fixture.worker.allocate(wanted))
        }
        var wanted = WorkerFixture.wanted
        #expect(try reason(wanted, .systemHeap) == .malformed, "a memfd is no dma-buf")
        wanted.isContiguous = true
        #expect(try reason(wanted, .systemHeap) == .malformed, "not of a contiguous heap")
        wanted.isContiguous = false
        layout.modifier = Modifier(1)
        #expect(try reason(wanted, .gbm) == .malformed, "a modifier that was not allowed")
        wanted.modifiers = [.invalid]
        layout.modifier = .invalid
        #expect(try reason(wanted, .gbm) == .malformed, "INVALID")
    }

    @Test("An answer that nobody asked for ends the worker, and nothing else")
    func unasked() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture()
        fixture.fake.script = honest(memory.number)
        let source = try WorkerFixture.source()
        guard case .opened? = try fixture.event(fixture.worker.open(source)) else {
            Issue.record("the source was not opened")
            return
        }
        fixture.fake.reply(.init(.done(nanoseconds: 1), 1))
        try fixture.turn(20)
        #expect(!fixture.worker.status.isRunning)
        #expect(fixture.worker.status.malformed == 1)
        #expect(!fixture.worker.hasEvents)
    }

    @Test("Shutting down refuses what is under way and what comes later")
    func shutDown() throws {
        let fixture = try WorkerFixture()
        let first = fixture.worker.allocate(WorkerFixture.wanted)
        let second = fixture.worker.allocate(WorkerFixture.wanted)
        fixture.worker.shutDown()
        let third = fixture.worker.allocate(WorkerFixture.wanted)
        for request in [first, second, third] { #expect(try fixture.reason(request) == .shutDown) }
        #expect(fixture.fake.launches == 1)
    }

    @Test("Another device is another worker, and pairs of the old one are gone")
    func device() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture()
        fixture.fake.script = honest(memory.number)
        guard
            case .opened(_, let pair, _)? = try fixture.event(
                fixture.worker.open(WorkerFixture.source()))
        else {
            Issue.record("the source was not opened")
            return
        }
        fixture.worker.setDevice(0)
        #expect(fixture.worker.status.isRunning)
        fixture.worker.setDevice(57_984)
        #expect(!fixture.worker.status.isRunning)
        #expect(try fixture.reason(fixture.worker.blit(pair)) == .pairGone)
    }

    @Test("With nothing to do and no pair it ends")
    func idle() throws {
        let memory = try MemoryFile.create(size: 8192, seals: .shrink)
        let fixture = try WorkerFixture { $0.idleLimit = 30_000_000 }
        fixture.fake.script = honest(memory.number)
        guard
            case .opened(_, let pair, _)? = try fixture.event(
                fixture.worker.open(WorkerFixture.source()))
        else {
            Issue.record("the source was not opened")
            return
        }
        try fixture.turn(100)
        #expect(fixture.worker.status.isRunning, "a pair keeps it")
        fixture.worker.drop(pair)
        try fixture.turn(100)
        #expect(!fixture.worker.status.isRunning)
        #expect(fixture.worker.status.crashes == 0 && fixture.worker.status.timeouts == 0)
    }
}
