import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] what gathers during a batch")
struct GatheredTests {
    @Test("all is handed over in order, with what comes meanwhile, and once")
    func order() {
        let gathered = Gathered<Int>(capacity: 2)
        #expect(gathered.isEmpty)
        gathered.append(1)
        gathered.append(2)
        #expect(!gathered.isEmpty)
        var taken: [Int] = []
        gathered.take {
            taken.append($0)
            if $0 < 10 { gathered.append($0 + 10) }
        }
        #expect(taken == [1, 2, 11, 12])
        #expect(gathered.isEmpty)
        gathered.take { taken.append($0) }
        #expect(taken.count == 4)
        gathered.append(3)
        gathered.removeAll()
        gathered.take { taken.append($0) }
        #expect(taken.count == 4)
    }
}

@Suite("[kernel] the frame path by the session's own word")
struct FramePathTests {
    /// A greeted producer with a surface and a buffer.
    private func start(_ harness: SessionHarness) throws -> TestProducer {
        let memory = try Make.memfd()
        let producer = try TestProducer(harness.path)
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer.send(Make.surface(1, title: "A"))
        #expect(try harness.turn { harness.session.mappedSurfaces == 1 })
        return producer
    }

    @Test("who sends many datagrams is read many at a turn, and all of them")
    func burst() throws {
        let harness = try SessionHarness()
        let producer = try start(harness)
        // A turn without input, after which one datagram is what is looked for.
        try harness.turn()
        for number in 2...9 {
            producer.send(Make.surface(UInt64(number), title: "B"))
        }
        try harness.turn()
        #expect(harness.session.mappedSurfaces == 2)
        try harness.turn()
        #expect(harness.session.mappedSurfaces == 9)
    }

    @Test("bytes are counted as copied when a capture reads them, and only then")
    func copied() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-copied-")
        defer { TemporaryDirectory.remove(directory) }
        for (capture, expected) in [
            (nil, UInt64(0)), (try HeadlessCapture(directory: directory), 64 * 32 * 4),
        ] {
            let harness = try SessionHarness(capture: capture)
            let producer = try start(harness)
            producer.send(
                .frame(
                    FrameRecord(
                        surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))))
            #expect(try harness.turn { harness.session.status.first?.counters.presented == 1 })
            #expect(harness.session.status.first?.counters.bytesCopied == 0)
            producer.send(.surfaceDestroy(SurfaceKey(1)))
            #expect(try harness.turn { harness.session.status.first?.isGone == true })
            try harness.turn()
            #expect(harness.session.status.first?.counters.bytesCopied == expected)
        }
    }
}
