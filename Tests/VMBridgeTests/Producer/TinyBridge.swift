import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// Just enough of a bridge to talk to a producer: decodes what comes and sends what the test says.
final class TinyBridge {
    let loop: EventLoop
    /// Every record but the greeting, in order.
    private(set) var records: [ProducerRecord] = []
    private(set) var producerName: String?
    private(set) var producerTakesFences = false
    private(set) var producerWantsInput = false
    /// Layouts and descriptors of the buffers, by key.
    private(set) var layouts: [UInt64: BufferLayout] = [:]
    private(set) var memory: [UInt64: Shared] = [:]
    private(set) var isClosed = false
    /// Called for each record after it is booked.
    var onRecord: ((ProducerRecord) -> Void)?
    /// What is sent to a greeting.
    var welcome: BridgeRecord? = .welcome(
        Welcome(generation: 1, limits: VMLimits(), vmName: "tiny", formats: []))
    private var listener: SeqPacketListener
    private var socket: SeqPacketSocket?
    private var registrations: [Registration] = []
    private var input = [UInt8](repeating: 0, count: 65_536)
    private var bundle = DescriptorBundle()

    /// A descriptor that a dictionary can hold.
    final class Shared {
        let descriptor: OwnedDescriptor
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    init(path: String, loop: EventLoop) throws {
        self.loop = loop
        listener = try SeqPacketListener(path: path)
        registrations.append(
            try loop.register(listener.number, .read) { [unowned self] _ in self.accept() })
    }

    func shutDown() {
        for registration in registrations { loop.remove(registration) }
        registrations.removeAll()
        socket = nil
    }

    func send(_ records: BridgeRecord...) {
        var writer = RecordWriter()
        for record in records { writer.append(record) }
        let result = socket?.send(writer.bytes, count: writer.bytes.count) ?? .closed
        #expect(result == .sent)
    }

    /// Answers a wish for memory with a memfd, rows further apart than they need be.
    func allocate(_ key: BufferKey, _ wish: BufferWish) throws {
        let stride = wish.size.width * 4 + 64
        let memory = try MemoryFile.create(size: UInt64(stride * wish.size.height))
        let layout = BufferLayout(
            size: wish.size, format: wish.format, modifier: .linear, memory: .memfd,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: stride)])
        layouts[key.value] = layout
        var writer = RecordWriter()
        writer.append(.allocated(key, layout, allocator: 4))
        #expect(socket?.send(writer.bytes, descriptors: [memory.number]) == .sent)
        self.memory[key.value] = Shared(memory)
    }

    /// Ends a use of the frame's buffer but for a fence, which is lent.
    func release(_ frame: FrameRecord, fence: Int32) {
        var writer = RecordWriter()
        writer.append(
            .releasedWithFence(frame.buffer, frame.surface, frame.sequence, UseOutcome.shown))
        #expect(socket?.send(writer.bytes, descriptors: [fence]) == .sent)
    }

    /// Ends a use of the frame's buffer.
    func release(_ frame: FrameRecord, _ outcome: UseOutcome = .shown) {
        send(.released(frame.buffer, frame.surface, frame.sequence, outcome))
    }

    func present(_ frame: FrameRecord, latency: UInt64 = 2_000_000) {
        send(
            .presented(
                frame.surface,
                PresentedRecord(
                    sequence: frame.sequence, time: loop.now(), latency: latency, refresh: 0,
                    flags: 0)))
    }

    var frames: [FrameRecord] {
        records.compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
    }

    /// A frame's pixels, read from its memory now.
    func picture(_ frame: FrameRecord) throws -> Picture {
        let layout = try #require(layouts[frame.buffer.value])
        let memory = try #require(self.memory[frame.buffer.value])
        let format = try PixelFormat(fourcc: layout.format.rawValue)
        let width = Int(layout.size.width)
        let height = Int(layout.size.height)
        let bytes = layout.planes.indices.map {
            Int(layout.planes[$0].offset)
                + Int(layout.planes[$0].stride) * layout.rows(ofPlane: $0)
        }.max()
        let mapped = try MappedMemory(memory.descriptor.number, count: bytes ?? 0)
        return try mapped.withUnsafeBytes { bytes in
            try Picture(
                format, width: width, height: height,
                planes: layout.planes.map {
                    PixelPlane(bytes, offset: Int($0.offset), stride: Int($0.stride))
                })
        }
    }

    private func accept() {
        guard case .accepted(let socket) = listener.accept() else { return }
        do {
            registrations.append(
                try loop.register(socket.number, .read) { [unowned self] _ in self.read() })
            self.socket = consume socket
        } catch { Issue.record(error) }
    }

    private func read() {
        while true {
            switch socket?.receive(into: &input, descriptors: &bundle) ?? .wouldBlock {
            case .datagram(let count): take(count)
            case .wouldBlock: return
            default:
                isClosed = true
                loop.remove(registrations.removeLast())
                socket = nil
                return
            }
        }
    }

    private func take(_ count: Int) {
        var walker = RecordWalker()
        let bytes = Array(input[..<count])
        do {
            while let header = try walker.next(
                in: bytes.span, descriptorCount: bundle.count)
            {
                let record = try ProducerDecoder.decode(
                    header, in: bytes.span)
                switch record {
                case .hello(let name, let takesFences, let wantsInput):
                    producerWantsInput = wantsInput
                    producerName = name
                    producerTakesFences = takesFences
                    if let welcome { send(welcome) }
                    continue
                case .bufferCreate(let key, let layout):
                    layouts[key.value] = layout
                    if let descriptor = bundle.take(header.firstDescriptor) {
                        memory[key.value] = Shared(descriptor)
                    }
                default: break
                }
                records.append(record)
                onRecord?(record)
            }
        } catch { Issue.record(error) }
    }
}

/// Runs a loop until something is so; fails after ten seconds.
func run(
    _ loop: EventLoop, until condition: () -> Bool, _ location: SourceLocation = #_sourceLocation
) throws {
    let limit = loop.now() + 10_000_000_000
    while !condition() {
        try #require(loop.now() < limit, "it did not come to it", sourceLocation: location)
        try loop.runOnce(milliseconds: 50)
    }
}

extension TinyBridge {
    /// A bridge and a producer on one loop.
    static func withProducer(
        _ change: (inout ProducerOptions) -> Void,
        _ body: (EventLoop, TinyBridge, Producer) throws -> Void
    ) throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let bridge = try TinyBridge(path: directory + "/s", loop: loop)
            defer { bridge.shutDown() }
            var options = ProducerOptions(socketPath: directory + "/s")
            change(&options)
            try body(loop, bridge, Producer(options: options, loop: loop))
        }
    }
}
