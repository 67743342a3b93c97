import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// Answers a graphics worker's requests inside the test's own loop, as the test says.
final class FakeGraphicsWorker: GraphicsWorkerLauncher, EventHandler {
    /// A datagram to send back.
    struct Reply {
        var bytes: [UInt8]
        /// Lent.
        var descriptors: [Int32] = []

        init(_ answer: WorkerAnswer, _ number: UInt64, _ descriptors: [Int32] = []) {
            bytes = WorkerWriter.bytes(answer, number: number, descriptors: descriptors.count)
            self.descriptors = descriptors
        }
        init(bytes: [UInt8]) { self.bytes = bytes }
    }

    private let loop: EventLoop
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    var isReady = true
    private(set) var launches = 0
    private(set) var requests: [WorkerRequest] = []
    private(set) var received: [Int] = []
    /// nil ends the worker.
    var script: (WorkerRequest, UInt64) -> [Reply]? = { _, _ in [] }

    init(loop: EventLoop) { self.loop = loop }

    func launch(
        _ socket: consuming SeqPacketSocket, options: GraphicsWorkerOptions
    ) throws(KernelError) -> HelperProcess? {
        end()
        launches += 1
        registration = try loop.register(socket.number, .read, self)
        self.socket = consume socket
        if isReady { reply(Reply(.ready(version: WorkerProtocol.version), 0)) }
        return nil
    }

    func reply(_ reply: Reply) {
        _ = socket?.send(reply.bytes, descriptors: reply.descriptors)
    }

    func end() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
    }

    func ready(_ registration: Registration, _ readiness: Readiness) {
        var bytes = [UInt8](repeating: 0, count: WorkerProtocol.maximumBytes)
        var bundle = DescriptorBundle()
        guard case .datagram(let count)? = socket?.receive(into: &bytes, descriptors: &bundle),
            let read = WorkerReader.request(bytes[..<count])
        else { return end() }
        requests.append(read.request)
        received.append(bundle.count)
        guard let replies = script(read.request, read.number) else { return end() }
        for reply in replies { self.reply(reply) }
    }
}

/// A worker, its loop, and what came of requests.
final class WorkerFixture {
    let loop: EventLoop
    let fake: FakeGraphicsWorker
    let worker: GraphicsWorker
    private(set) var events: [UInt64: GraphicsEvent] = [:]

    init(
        launcher: (any GraphicsWorkerLauncher)? = nil,
        _ change: (inout GraphicsWorkerOptions) -> Void = { _ in }
    ) throws {
        loop = try EventLoop()
        fake = FakeGraphicsWorker(loop: loop)
        var options = GraphicsWorkerOptions()
        options.startLimit = 300_000_000
        options.allocationLimit = 100_000_000
        options.openLimit = 100_000_000
        options.blitLimit = 50_000_000
        change(&options)
        worker = try GraphicsWorker(loop: loop, options: options, launcher: launcher ?? fake)
    }

    deinit {
        worker.shutDown()
        fake.end()
    }

    func event(_ request: GraphicsRequest, seconds: Double = 5) throws -> GraphicsEvent? {
        let end = loop.now() + UInt64(seconds * 1e9)
        while true {
            worker.takeEvents { event in
                switch event {
                case .allocated(let asked, _, _), .opened(let asked, _, _), .blitted(let asked, _),
                    .refused(let asked, _):
                    #expect(events.updateValue(event, forKey: asked.number) == nil)
                }
            }
            if let event = events[request.number] { return event }
            guard loop.now() < end else { return nil }
            try loop.runOnce(milliseconds: 5)
        }
    }

    func reason(_ request: GraphicsRequest) throws -> GraphicsReason? {
        guard case .refused(_, let refusal)? = try event(request) else { return nil }
        #expect(!refusal.sentence.isEmpty)
        return refusal.reason
    }

    func turn(_ milliseconds: Int) throws {
        let end = loop.now() + UInt64(milliseconds) * 1_000_000
        while loop.now() < end { try loop.runOnce(milliseconds: 5) }
    }

    static let wanted = AllocationRequest(size: Size(width: 64, height: 32), format: .xrgb8888)

    /// A source as the bridge would have it; a memfd stands in for the dma-buf that a plain machine cannot make.
    static func source(_ size: Size = Size(width: 64, height: 32)) throws -> BufferMemory {
        var bundle = DescriptorBundle()
        let bytes = UInt64(size.width) * 4 * UInt64(size.height)
        #expect(bundle.append(try MemoryFile.create(size: bytes)))
        return BufferMemory(
            layout: BufferLayout(
                size: size, format: .xrgb8888, modifier: .linear, memory: .dmaBuf,
                planes: [PlaneLayout(descriptor: 0, offset: 0, stride: size.width * 4)]),
            bytes: bytes, from: &bundle, 0..<1)
    }
}
