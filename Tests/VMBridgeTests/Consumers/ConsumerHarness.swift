import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// VMs whose surfaces all go to one consumer, which connects to a socket of the bridge.
final class ConsumerHarness {
    let loop: EventLoop
    let directory: String
    let endpoint: ConsumerEndpoint
    let listener: ConsumerListener
    let sources: [SocketSource<ConsumerPresenter>]
    var path: String { directory + "/consumer.sock" }

    init(
        vms: [String] = ["a"], limits: VMLimits = VMLimits(), vmLimits: VMLimits = VMLimits()
    ) throws {
        let loop = try EventLoop()
        self.loop = loop
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-consumer-")
        self.directory = directory
        let logger = Self.silentLogger()
        let probe = try DescriptorProbe()
        let reaper = try DescriptorReaper()
        let endpoint = ConsumerEndpoint(
            target: .consumer("test"), limits: limits, loop: loop, logger: logger, probe: probe,
            reaper: reaper)
        self.endpoint = endpoint
        listener = try ConsumerListener(
            path: directory + "/consumer.sock", endpoint: endpoint, loop: loop, reaper: reaper,
            logger: logger)
        sources = try vms.map { name in
            let session = VMSession(
                name: name, limits: vmLimits,
                presenter: ConsumerPresenter(vmName: name, endpoint: endpoint), loop: loop,
                probe: probe, logger: logger)
            return try SocketSource(
                path: "\(directory)/\(name).sock", session: session, reaper: reaper)
        }
    }

    static func silentLogger() -> Logger {
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        return logger
    }

    deinit {
        for source in sources { source.shutDown() }
        listener.shutDown()
        endpoint.shutDown()
        TemporaryDirectory.remove(directory)
    }

    func settle() {
        for source in sources { source.settle() }
        endpoint.flush()
    }

    func turn(_ count: Int = 1) throws {
        for _ in 0..<count {
            try loop.runOnce(milliseconds: 0)
            settle()
        }
    }

    /// Turns of the loop until a condition holds; false after a number of seconds.
    func turn(until condition: () throws -> Bool, seconds: Double = 5) throws -> Bool {
        let end = loop.now() + UInt64(seconds * 1e9)
        while try !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
            settle()
        }
        return true
    }

    /// A producer of a VM that has greeted and has a surface with some buffers.
    func producer(
        _ vm: String = "a", surfaces: [UInt64] = [1], buffers: [UInt64] = [1, 2, 3]
    ) throws -> TestProducer {
        let producer = try TestProducer("\(directory)/\(vm).sock")
        producer.send(.hello(producer: vm))
        for key in buffers {
            let memory = try Make.memfd()
            producer.send(
                .bufferCreate(BufferKey(key), Make.layout()), descriptors: [memory.number])
        }
        for key in surfaces { producer.send(Make.surface(key, title: "S\(key)")) }
        return producer
    }

    func counters(_ vm: Int = 0, _ surface: Int = 0) -> SurfaceCounters {
        let all = sources[vm].session.status
        return all.indices.contains(surface) ? all[surface].counters : SurfaceCounters()
    }
}

/// The consumer's end in a test: keeps what it is given, says what it is told to.
final class TestConsumer: TestPeer {
    private(set) var heard: [ProducerRecord] = []
    private(set) var welcome: Welcome?
    private(set) var refusals: [RefusedRecord] = []
    /// Descriptors of the buffers and of the frames' fences, in order.
    let memory = DescriptorQueue()
    let fences = DescriptorQueue()

    init(_ path: String, greeting: ConsumerGreeting? = ConsumerGreeting(name: "test")) throws {
        try super.init(path)
        guard let greeting else { return }
        var writer = RecordWriter()
        writer.append(.greetConsumer(greeting))
        send(writer.bytes)
    }

    @discardableResult
    func send(_ records: BridgeRecord..., descriptors: [Int32] = []) -> SendResult {
        var writer = RecordWriter()
        for record in records { writer.append(record) }
        return send(writer.bytes, descriptors: descriptors)
    }

    func release(_ frame: FrameRecord) {
        send(.released(frame.buffer, frame.surface, frame.sequence, .shown))
    }

    override func take(_ header: RecordFrame, _ datagram: [UInt8]) throws {
        guard header.type & 0x8000 == 0 else {
            switch try BridgeDecoder.decode(header, in: datagram.span) {
            case .welcome(let welcome): self.welcome = welcome
            case .refused(let refused): refusals.append(refused)
            default: Issue.record("record type \(header.type) from the bridge")
            }
            return
        }
        let record = try ProducerDecoder.decode(header, in: datagram.span)
        heard.append(record)
        for index in 0..<header.descriptorCount {
            guard let descriptor = bundle.take(header.firstDescriptor + index) else { continue }
            if case .frame = record {
                fences.append(descriptor)
            } else {
                memory.append(descriptor)
            }
        }
    }

    var frames: [FrameRecord] {
        heard.compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
    }
    var buffers: [BufferKey] {
        heard.compactMap { if case .bufferCreate(let key, _) = $0 { key } else { nil } }
    }
    var surfaces: [(key: SurfaceKey, isGraphics: Bool, metadata: SurfaceMetadata)] {
        heard.compactMap {
            if case .surfaceCreate(let key, _, let isGraphics, let metadata) = $0 {
                (key, isGraphics, metadata)
            } else {
                nil
            }
        }
    }
    var titles: [String] {
        heard.compactMap {
            if case .surfaceUpdate(_, let metadata) = $0 { metadata.title } else { nil }
        }
    }
    var gone: [SurfaceKey] {
        heard.compactMap { if case .surfaceDestroy(let key) = $0 { key } else { nil } }
    }
    var forgotten: [BufferKey] {
        heard.compactMap { if case .bufferDestroy(let key) = $0 { key } else { nil } }
    }
}
