import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// A loop with one VM behind a real socket, shown on a virtual output.
final class SessionHarness {
    let loop: EventLoop
    let session: VMSession<HeadlessPresenter>
    let source: SocketSource<HeadlessPresenter>
    let directory: String
    var path: String { directory + "/vm.sock" }

    init(
        limits: VMLimits = VMLimits(), refresh: Double = 1000, vm: String = "vm",
        loop: EventLoop? = nil, capture: HeadlessCapture? = nil, logger kept: Logger? = nil
    ) throws {
        let loop = try loop ?? EventLoop()
        self.loop = loop
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
        var logger = kept ?? Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        if kept == nil { logger.logLevel = .critical }
        var options = HeadlessOptions()
        options.refreshRate = refresh
        session = VMSession(
            name: vm, limits: limits,
            presenter: HeadlessPresenter(
                vmName: vm, options: options, capture: capture, loop: loop, logger: logger),
            loop: loop, probe: try DescriptorProbe(), logger: logger)
        source = try SocketSource(
            path: directory + "/vm.sock", session: session, reaper: try DescriptorReaper())
    }

    deinit {
        source.shutDown()
        TemporaryDirectory.remove(directory)
    }

    /// Turns of the loop, without waiting for anything to happen.
    func turn(_ count: Int = 1) throws {
        for _ in 0..<count {
            try loop.runOnce(milliseconds: 0)
            source.settle()
        }
    }

    /// Turns of the loop until a condition holds; false after a number of seconds.
    func turn(until condition: () throws -> Bool, seconds: Double = 5) throws -> Bool {
        let end = loop.now() + UInt64(seconds * 1e9)
        while try !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
            source.settle()
        }
        return true
    }
}

/// The producer's end in a test: sends what it is told to, keeps what it hears.
final class TestProducer: TestPeer {
    private(set) var heard: [BridgeRecord] = []
    /// What came with the last keymap.
    private(set) var keymapDescriptor = OwnedDescriptor.none

    @discardableResult
    func send(_ records: ProducerRecord..., descriptors: [Int32] = []) -> SendResult {
        var writer = RecordWriter()
        for record in records {
            let count: Int
            switch record {
            case .bufferCreate: count = descriptors.count
            case .frame(let frame): count = frame.acquire == .syncFile ? 1 : 0
            default: count = 0
            }
            writer.append(record, descriptors: count)
        }
        return send(writer.bytes, descriptors: descriptors)
    }

    override func take(_ header: RecordFrame, _ datagram: [UInt8]) throws {
        let record = try BridgeDecoder.decode(header, in: datagram.span)
        heard.append(try #require(record))
        if case .keymap? = record {
            keymapDescriptor = bundle.take(header.firstDescriptor) ?? .none
        }
    }

    func forget() { heard.removeAll() }

    var released: [(BufferKey, FrameSequence, UseOutcome)] {
        heard.compactMap {
            if case .released(let buffer, _, let sequence, let outcome) = $0 {
                (buffer, sequence, outcome)
            } else {
                nil
            }
        }
    }

    var refusals: [RefusalReason] {
        heard.compactMap {
            if case .refused(let refused) = $0 { refused.refusal.reason } else { nil }
        }
    }
}

/// Small records that tests send again and again.
enum Make {
    static let size = Size(width: 64, height: 32)

    static func layout(
        _ size: Size = size, stride: UInt32? = nil, offset: UInt32 = 0,
        format: FourCC = .xrgb8888, modifier: Modifier = .linear, memory: MemoryKind = .memfd
    ) -> BufferLayout {
        BufferLayout(
            size: size, format: format, modifier: modifier, memory: memory,
            planes: [
                PlaneLayout(descriptor: 0, offset: offset, stride: stride ?? size.width * 4)
            ])
    }

    static func memfd(_ size: Size = size) throws -> OwnedDescriptor {
        try MemoryFile.create(size: UInt64(size.width) * UInt64(size.height) * 4)
    }

    static func surface(_ key: UInt64, title: String = "window") -> ProducerRecord {
        var metadata = SurfaceMetadata()
        metadata.title = title
        return .surfaceCreate(SurfaceKey(key), .toplevel, isGraphics: true, metadata)
    }

    static func frame(
        _ surface: UInt64, _ buffer: UInt64, _ sequence: UInt64, _ acquire: AcquireKind = .none
    ) -> ProducerRecord {
        .frame(
            FrameRecord(
                surface: SurfaceKey(surface), buffer: BufferKey(buffer),
                sequence: FrameSequence(sequence), acquire: acquire))
    }
}
