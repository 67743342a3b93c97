import CLinux
import Descriptors
import Glibc
import Logging
import Testing

@testable import VMBridge
@testable import VMBridgeCore

/// Commits at once, and releases when the test says so, with any descriptor for a fence.
private final class FencePresenter: Presenter {
    var isReady = true
    var events: [PresenterEvent] = []
    var done: [String] = []
    var memories: [BufferID: BufferMemory] = [:]
    /// Committed and not released, in order.
    var held: [(use: UseID, window: Int)] = []
    /// Uses that were given back before or after their commit.
    var cancelled: [UseID] = []
    private let fences = DescriptorQueue()
    private var windows = 0
    var wantsReleaseFences = false
    let formats: [ImportableFormat] = []
    let trouble: String? = nil
    let name = "a script"

    func addBuffer(_ id: BufferID, _ memory: BufferMemory) { memories[id] = memory }
    func forgetBuffer(_ id: BufferID) { memories[id] = nil }
    func memory(of buffer: BufferID) -> BufferMemory? { memories[buffer] }
    func importPath(of buffer: BufferID) -> String { "script" }
    func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer { .ready }
    func cancelImage(_ use: UseID) { cancelled.append(use) }
    func takeReleaseFence() -> OwnedDescriptor { fences.takeFirst() ?? .none }
    func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        windows += 1
        done.append("create")
        events.append(.configured(id, ConfigureRecord(size: .zero), serial: UInt32(windows)))
    }
    func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {}
    func acknowledge(_ id: SurfaceID, serial: UInt32) {
        #expect(serial == UInt32(windows), "an answer to a configure of another window")
    }
    func commit(_ id: SurfaceID, _ frame: Frame) {
        done.append("commit \(frame.sequence)")
        held.append((frame.use, windows))
        events.append(.frameCallback(id))
    }
    func commitState(_ id: SurfaceID) {}
    func destroyWindow(_ id: SurfaceID) {
        done.append("destroy")
        for (use, _) in held { events.append(.released(use)) }
        held = []
        events.append(.windowGone(id))
    }
    func takeEvents(_ body: (PresenterEvent) -> Void) {
        while !events.isEmpty { body(events.removeFirst()) }
    }
    func flush() {}
    func shutDown() {}

    /// Releases the use that was committed first.
    func release(_ fence: consuming OwnedDescriptor) {
        let (use, _) = held.removeFirst()
        fences.append(fence)
        events.append(.releasedWithFence(use))
    }
}

/// A producer that keeps what its datagrams carried.
private final class FenceProducer: TestPeer {
    private let probe: DescriptorProbe
    private(set) var heard: [BridgeRecord] = []
    /// Of the releases with fences, in order.
    private(set) var fences: [FileIdentity] = []
    /// Descriptors of each datagram that had some.
    private(set) var carried: [Int] = []

    init(_ path: String, takesFences: Bool) throws {
        probe = try DescriptorProbe()
        try super.init(path)
        send(.hello(producer: "fences", takesFences: takesFences))
    }

    /// Whether the socket took it.
    @discardableResult
    func send(_ record: ProducerRecord, _ descriptors: [Int32] = []) -> Bool {
        var writer = RecordWriter()
        writer.append(record, descriptors: descriptors.count)
        let result = send(writer.bytes, descriptors: descriptors)
        #expect(result == .sent || result == .wouldBlock)
        return result == .sent
    }

    override func begin() {
        if bundle.count > 0 { carried.append(bundle.count) }
    }

    override func take(_ header: RecordFrame, _ datagram: [UInt8]) throws {
        let record = try #require(try BridgeDecoder.decode(header, in: datagram.span))
        heard.append(record)
        guard case .releasedWithFence = record else {
            #expect(header.descriptorCount == 0)
            return
        }
        guard let number = bundle.number(at: header.firstDescriptor) else {
            Issue.record("a release without its fence")
            return
        }
        fences.append(try probe.facts(of: number).identity)
    }

    /// How uses ended, in words.
    var ends: [String] {
        heard.compactMap {
            switch $0 {
            case .released(_, _, let sequence, let outcome): "\(sequence) \(outcome)"
            case .releasedWithFence(_, _, let sequence, let outcome):
                "\(sequence) \(outcome) with fence"
            case .refused(let refused): "\(refused.sequence) \(refused.refusal.reason.word)"
            default: nil
            }
        }
    }
}

/// A scripted consumer behind a real socket, with a surface and buffers.
private final class FenceHarness {
    let loop: EventLoop
    let presenter = FencePresenter()
    let session: VMSession<FencePresenter>
    let source: SocketSource<FencePresenter>
    let directory: String
    private var sequence: UInt64 = 0

    init() throws {
        loop = try EventLoop()
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        var limits = VMLimits()
        limits.baseRate = 1_000_000
        session = VMSession(
            name: "vm", limits: limits, presenter: presenter, loop: loop,
            probe: try DescriptorProbe(), logger: logger)
        source = try SocketSource(
            path: directory + "/vm.sock", session: session, reaper: try DescriptorReaper())
    }

    deinit {
        source.shutDown()
        TemporaryDirectory.remove(directory)
    }

    func turn(_ count: Int = 8) throws {
        for _ in 0..<count {
            try loop.runOnce(milliseconds: 0)
            source.settle()
        }
    }

    func producer(takesFences: Bool) throws -> FenceProducer {
        let producer = try FenceProducer(directory + "/vm.sock", takesFences: takesFences)
        producer.send(Make.surface(1))
        for key in 1...4 as ClosedRange<UInt64> {
            let memory = try Make.memfd()
            producer.send(.bufferCreate(BufferKey(key), Make.layout()), [memory.number])
        }
        try turn()
        return producer
    }

    /// Frames that are all committed, one after the other; false when the bridge reads no more.
    @discardableResult
    func show(_ count: Int, _ producer: FenceProducer) throws -> Bool {
        for _ in 0..<count {
            sequence += 1
            let isSent = producer.send(Make.frame(1, 1 + sequence % 4, sequence))
            try turn(2)
            if !isSent { return false }
        }
        return true
    }

    func use(_ sequence: UInt64) throws -> UseID {
        try #require(
            session.ledger.allUses.first {
                session.ledger[$0]?.sequence == FrameSequence(sequence)
            })
    }
}

@Suite("[kernel] fences between a session and its producer", .serialized)
struct SessionFenceTests {
    private func identity(_ number: Int32) throws -> FileIdentity {
        try DescriptorProbe().facts(of: number).identity
    }

    // MARK: Releases

    @Test("a release carries the very fence, at most sixteen a datagram, in order")
    func releasesWithFences() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: true)
        #expect(harness.presenter.wantsReleaseFences)
        var sent: [FileIdentity] = []
        for _ in 0..<3 {
            // In one batch of the loop: more than a datagram takes.
            try harness.show(20, producer)
            #expect(harness.presenter.held.count == 20)
            for _ in 0..<20 {
                let memory = try MemoryFile.create(size: 4096)
                sent.append(try identity(memory.number))
                harness.presenter.release(memory)
            }
            try harness.turn()
            try producer.listen()
        }
        #expect(producer.fences == sent)
        #expect(Set(sent.map(\.inode)).count == 60)
        #expect(producer.carried == [16, 4, 16, 4, 16, 4])
        #expect(producer.ends == (1...60).map { "\($0) shown with fence" })
        #expect(harness.session.holdings == (4, 4 * 64 * 32 * 4, 0, 0))
        #expect(harness.session.status.first?.counters.releaseFences == 60)
        #expect(harness.session.feedbackDescriptors.count == 0)
    }

    @Test("a producer that asked for none gets none")
    func releasesByRecord() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: false)
        #expect(!harness.presenter.wantsReleaseFences)
        try harness.show(3, producer)
        // Not to be watched as a fence: the use is over.
        for _ in 0..<3 { harness.presenter.release(try EventFile.make()) }
        try harness.turn()
        try producer.listen()
        #expect(producer.ends == ["1 shown", "2 shown", "3 shown"])
        #expect(producer.carried == [])
        #expect(harness.session.holdings.uses == 0 && harness.session.holdings.waits == 0)
    }

    @Test("a presenter without the fence that it told of ends the use all the same")
    func noFence() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: true)
        try harness.show(1, producer)
        harness.presenter.release(.none)
        try harness.turn()
        try producer.listen()
        #expect(producer.ends == ["1 shown"])
        #expect(harness.source.isConnected)
    }

    @Test("a release of a use that is over says nothing, and its fence is closed")
    func lateRelease() async {
        await #expect(processExitsWith: .success) {
            let harness = try FenceHarness()
            let producer = try harness.producer(takesFences: true)
            try harness.show(1, producer)
            try withoutLeaks {
                let use = try #require(harness.presenter.held.first)
                harness.presenter.events.append(.released(use.use))
                harness.presenter.release(try MemoryFile.create(size: 4096))
                try harness.turn()
                try producer.listen()
                #expect(producer.ends == ["1 shown"])
                #expect(harness.session.holdings.waits == 0)
            }
        }
    }

    @Test("who does not listen gets its fences later, and nothing is left open")
    func backPressure() async {
        await #expect(processExitsWith: .success) {
            let harness = try FenceHarness()
            let producer = try harness.producer(takesFences: true)
            try harness.show(1, producer)
            harness.presenter.release(try MemoryFile.create(size: 4096))
            try harness.turn()
            try producer.listen()
            try withoutLeaks {
                var sent: [FileIdentity] = []
                var rounds = 0
                var isRead = true
                // Until the bridge, whose words nobody takes, takes none either.
                while isRead, rounds < 1000 {
                    rounds += 1
                    isRead = try harness.show(12, producer)
                    while !harness.presenter.held.isEmpty {
                        let memory = try MemoryFile.create(size: 4096)
                        sent.append(try DescriptorProbe().facts(of: memory.number).identity)
                        harness.presenter.release(memory)
                    }
                    try harness.turn(2)
                    #expect(harness.source.isConnected)
                }
                #expect(!isRead && sent.count > 256)
                let end = harness.loop.now() + 5_000_000_000
                while producer.fences.count < sent.count + 1, harness.loop.now() < end {
                    try producer.listen()
                    try harness.turn()
                    // What waited in the socket is taken up, frames that were sent meanwhile too.
                    while !harness.presenter.held.isEmpty {
                        let memory = try MemoryFile.create(size: 4096)
                        sent.append(try DescriptorProbe().facts(of: memory.number).identity)
                        harness.presenter.release(memory)
                    }
                }
                #expect(Array(producer.fences.dropFirst()) == sent)
                #expect(producer.carried.allSatisfy { $0 <= 16 })
                #expect(producer.carried.contains(16))
                #expect(harness.session.holdings.uses == 0)
            }
        }
    }

    @Test("a connection that ends while fences wait leaves none open")
    func connectionEnds() async {
        await #expect(processExitsWith: .success) {
            let harness = try FenceHarness()
            // What the loop and the socket make once.
            var first: FenceProducer? = try harness.producer(takesFences: true)
            first = nil
            try harness.turn()
            #expect(first == nil && !harness.source.isConnected)
            for isUnsettled in [false, true] {
                try withoutLeaks {
                    let producer = try harness.producer(takesFences: true)
                    try harness.show(30, producer)
                    let count = harness.presenter.held.count
                    for _ in 0..<count {
                        harness.presenter.release(try MemoryFile.create(size: 4096))
                    }
                    // In the socket, or still the presenter's to tell.
                    if !isUnsettled { try harness.turn() }
                    producer.close()
                    try harness.turn()
                    #expect(!harness.source.isConnected)
                    harness.presenter.held = []
                    #expect(harness.session.holdings == (0, 0, 0, 0))
                    #expect(harness.session.feedbackDescriptors.count == 0)
                    #expect(!harness.presenter.wantsReleaseFences)
                }
            }
        }
    }

    // MARK: Bad fences

    @Test("a committed frame whose fence fails is refused once, when it is released")
    func failedFence() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: true)
        try harness.show(2, producer)
        harness.session.fail(
            try harness.use(1), Refusal(.fenceFailed, "It ended with an error."), .fence)
        try harness.turn()
        // The compositor has it: no end yet, and the window stays.
        try producer.listen()
        #expect(producer.ends == ["1 fence_failed"])
        #expect(harness.presenter.done == ["create", "commit 1", "commit 2"])
        harness.presenter.release(try MemoryFile.create(size: 4096))
        harness.presenter.release(try MemoryFile.create(size: 4096))
        try harness.turn()
        try producer.listen()
        #expect(
            producer.ends == ["1 fence_failed", "1 refused with fence", "2 shown with fence"])
        #expect(harness.session.status.first?.counters.refused == 1)
        #expect(harness.session.badFences.isEmpty)
    }

    @Test("a committed frame whose fence does not signal costs the window, and asks for a frame")
    func stuckFence() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: false)
        try harness.show(2, producer)
        let stuck = Refusal(.fenceTimeout, "It did not signal.")
        let (first, second) = (try harness.use(1), try harness.use(2))
        harness.session.fail(first, stuck, .fenceTime)
        harness.session.fail(second, stuck, .fenceTime)
        try harness.turn()
        try producer.listen()
        #expect(
            harness.presenter.done == ["create", "commit 1", "commit 2", "destroy", "create"])
        #expect(
            producer.ends == [
                "1 fence_timeout", "2 fence_timeout", "1 refused", "2 refused",
            ])
        let wishes = producer.heard.compactMap { record -> Bool? in
            guard case .configure(_, let configure) = record else { return nil }
            return configure.wantsFrame
        }
        #expect(wishes.last == true)
        #expect(harness.session.badFences.isEmpty && harness.session.holdings.uses == 0)
        try harness.show(1, producer)
        #expect(harness.presenter.done.last == "commit 3")
    }

    @Test("a bad fence leaves no trace when the use is lost otherwise")
    func badAndLost() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: false)
        try harness.show(2, producer)
        harness.session.fail(try harness.use(1), Refusal(.fenceFailed, "Bad."), .fence)
        harness.presenter.events.append(.lost("the script says so"))
        harness.presenter.held = []
        harness.presenter.isReady = false
        try harness.turn()
        try producer.listen()
        #expect(producer.ends == ["1 fence_failed", "1 lost"])
        #expect(harness.session.badFences.isEmpty)
    }

    // MARK: Acquire kinds

    @Test("WELCOME names the kinds that work without a device for timelines")
    func kinds() throws {
        let harness = try FenceHarness()
        let producer = try harness.producer(takesFences: true)
        try producer.listen()
        guard case .welcome(let welcome) = producer.heard.first else {
            Issue.record("no welcome came first")
            return
        }
        #expect(welcome.acquireKinds == 0b10111)
        #expect(welcome.releaseKinds == 0b11)
    }

    @Test("acquire kinds that cannot be had refuse their frame, and the surface goes on")
    func refusedKinds() async {
        await #expect(processExitsWith: .success) {
            let harness = try FenceHarness()
            let producer = try harness.producer(takesFences: true)
            var frame = FrameRecord(
                surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1),
                acquire: .timelinePoint)
            frame.acquirePoint = 7
            try withoutLeaks {
                producer.send(Make.frame(1, 1, 1, .implicit))
                let event = try EventFile.make()
                frame.sequence = FrameSequence(2)
                producer.send(.frame(frame), [event.number])
                let memory = try MemoryFile.create(size: 4096)
                producer.send(Make.frame(1, 1, 3, .syncFile), [event.number])
                producer.send(Make.frame(1, 1, 4, .syncFile), [memory.number])
                try harness.turn()
                try producer.listen()
                #expect(
                    producer.ends == [
                        "1 unsupported", "1 refused", "2 unsupported", "2 refused",
                        "3 bad_descriptor", "3 refused", "4 bad_descriptor", "4 refused",
                    ])
                #expect(harness.session.holdings.uses == 0 && harness.session.holdings.waits == 0)
                #expect(harness.presenter.cancelled.count == 4)
            }
            producer.send(Make.frame(1, 1, 5))
            try harness.turn()
            #expect(harness.presenter.done == ["create", "commit 5"])
        }
    }
}
