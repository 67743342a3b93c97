import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// Accepts everything and is done with it at once.
private final class InstantPresenter: Presenter {
    private var events: [PresenterEvent] = []
    private let loop: EventLoop
    private(set) var buffers: [BufferID: BufferMemory] = [:]
    private(set) var windows: Set<SurfaceID> = []
    private var serial: UInt32 = 0

    init(loop: EventLoop) { self.loop = loop }

    let formats = [
        ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 3),
        ImportableFormat(format: .argb8888, modifier: .linear, memory: 3),
    ]
    let isReady = true
    let name = "an instant presenter"
    let trouble: String? = nil

    func addBuffer(_ id: BufferID, _ memory: BufferMemory) { buffers[id] = memory }
    func forgetBuffer(_ id: BufferID) { buffers[id] = nil }
    func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer { .ready }
    func cancelImage(_ use: UseID) {}
    func importPath(of buffer: BufferID) -> String { "none" }
    func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        windows.insert(id)
        serial += 1
        events.append(.configured(id, ConfigureRecord(size: .zero), serial: serial))
    }
    func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {}
    func acknowledge(_ id: SurfaceID, serial: UInt32) {}
    func commit(_ id: SurfaceID, _ frame: Frame) {
        events.append(.released(frame.use))
        events.append(
            .presented(id, frame.sequence, time: loop.now(), refresh: 1_000_000, flags: 0))
        events.append(.frameCallback(id))
    }
    func commitState(_ id: SurfaceID) {}
    func destroyWindow(_ id: SurfaceID) {
        windows.remove(id)
        events.append(.windowGone(id))
    }
    func takeEvents(_ body: (PresenterEvent) -> Void) {
        var index = 0
        while index < events.count {
            body(events[index])
            index += 1
        }
        events.removeAll()
    }
    func flush() {}
    func shutDown() { events.removeAll() }
}

/// A VM of the bridge: everything but the presenter is the real thing.
private final class VM {
    let session: VMSession<InstantPresenter>
    let source: SocketSource<InstantPresenter>

    init(
        _ name: String, directory: String, loop: EventLoop, probe: DescriptorProbe,
        reaper: DescriptorReaper
    ) throws {
        var limits = VMLimits()
        limits.fenceLimit = 300_000_000
        var logger = Logger(label: name) { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        session = VMSession(
            name: name, limits: limits, presenter: InstantPresenter(loop: loop), loop: loop,
            probe: probe, logger: logger)
        source = try SocketSource(path: "\(directory)/\(name)", session: session, reaper: reaper)
    }
}

private final class Settler: LoopHook {
    var vms: [VM] = []
    func loopDidDeliver() {
        for vm in vms { vm.source.settle() }
    }
}

private func options(_ path: String) -> ProducerOptions {
    var options = ProducerOptions(socketPath: path)
    options.size = Size(width: 128, height: 64)
    options.rate = 100
    return options
}

/// A misbehaving guest and a good one on one bridge, until the verdict.
private func misbehave(_ kind: Misbehaviour) throws {
    try withDirectory { directory in
        let loop = try EventLoop()
        let probe = try DescriptorProbe()
        let reaper = try DescriptorReaper()
        let settler = Settler()
        let bad = try VM("bad", directory: directory, loop: loop, probe: probe, reaper: reaper)
        let good = try VM("good", directory: directory, loop: loop, probe: probe, reaper: reaper)
        settler.vms = [bad, good]
        let hook = loop.addHook(settler)

        let bystander = Producer(options: options(directory + "/good"), loop: loop)
        bystander.start()
        try run(loop) { bystander.summary.presented > 2 }
        let producer = Producer(options: options(directory + "/bad"), loop: loop)
        let misbehaver = Misbehaver(kind, producer: producer)
        misbehaver.start()
        let limit = loop.now() + 60_000_000_000
        while misbehaver.verdict == nil, loop.now() < limit { try loop.runOnce(milliseconds: 50) }
        switch misbehaver.verdict {
        case .asExpected(let answer): #expect(!answer.isEmpty)
        case let verdict: Issue.record("\(kind.rawValue): \(String(describing: verdict))")
        }

        // Everything that the bad guest had is let go of.
        try run(loop) { !bad.source.isConnected }
        let holdings = bad.session.holdings
        #expect(holdings.buffers == 0 && holdings.bytes == 0)
        #expect(holdings.uses == 0 && holdings.waits == 0)
        #expect(bad.session.presenter.buffers.isEmpty && bad.session.presenter.windows.isEmpty)

        // The good one goes on and has lost nothing.
        let before = bystander.summary.presented
        try run(loop) { bystander.summary.presented > before + 2 }
        bystander.stop()
        try run(loop) { bystander.end != nil }
        let summary = bystander.summary
        #expect(bystander.end == .done)
        #expect(summary.shown == summary.sent, "\(summary.line)")
        #expect(summary.refused + summary.lost + summary.superseded + summary.discarded == 0)
        try run(loop) { !good.source.isConnected }
        #expect(good.session.refusals.isEmpty)

        loop.remove(hook)
        for vm in settler.vms { vm.source.shutDown() }
    }
}

@Suite("[kernel] misbehaving producers against the real source and session", .serialized)
struct MisbehaviourTests {
    /// In a process of its own: descriptors are counted.
    @Test(arguments: Misbehaviour.allCases.map(\.rawValue))
    func isAnsweredAsExpected(_ name: String) async {
        await #expect(processExitsWith: .success) { [name] in
            let kind = try #require(Misbehaviour(rawValue: name))
            try withoutLeaks { try misbehave(kind) }
        }
    }

    /// The judge can tell: a bridge with other limits than it says is found out.
    @Test func anUnexpectedAnswerIsTold() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let bridge = try TinyBridge(path: directory + "/s", loop: loop)
            defer { bridge.shutDown() }
            bridge.onRecord = { record in
                switch record {
                case .frame(let frame): bridge.release(frame)
                case .bufferCreate(let key, _) where key.value >= Misbehaver.first:
                    bridge.send(
                        .refused(
                            RefusedRecord(
                                type: RecordType.bufferCreate, object: key.value,
                                refusal: Refusal(.badValue, "Wrong."))))
                default: break
                }
            }
            let misbehaver = Misbehaver(
                .shortStride, producer: Producer(options: options(directory + "/s"), loop: loop))
            misbehaver.start()
            try run(loop) { misbehaver.verdict != nil }
            #expect(
                misbehaver.verdict
                    == .otherwise("BUFFER_CREATE 1001 was refused, bad_value: Wrong."))
        }
    }

    @Test func aBridgeThatIsNotThereIsNoAnswer() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let misbehaver = Misbehaver(
                .flood, producer: Producer(options: options(directory + "/s"), loop: loop))
            misbehaver.start()
            guard case .notTried(.notConnected) = misbehaver.verdict else {
                Issue.record("\(String(describing: misbehaver.verdict))")
                return
            }
        }
    }
}
