import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] a session behind its socket, headless")
struct SessionTests {
    @Test("a frame goes through and its buffer is released when the next one replaces it")
    func dialogue() throws {
        let harness = try SessionHarness()
        let producer = try TestProducer(harness.path)
        let memory = [try Make.memfd().release(), try Make.memfd().release()]
        defer { memory.forEach { close($0) } }
        producer.send(.hello(producer: "test"))
        for (index, number) in memory.enumerated() {
            producer.send(
                .bufferCreate(BufferKey(UInt64(index + 1)), Make.layout()), descriptors: [number])
        }
        producer.send(Make.surface(7), Make.frame(7, 1, 1))
        #expect(try harness.turn { harness.session.status.first?.counters.presented == 1 })
        producer.send(Make.frame(7, 2, 2))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 1
            })
        #expect(producer.refusals.isEmpty)
        guard case .welcome(let welcome) = producer.heard.first else {
            Issue.record("no welcome came first")
            return
        }
        #expect(welcome.vmName == "vm")
        #expect(welcome.generation == 1)
        #expect(welcome.limits == VMLimits())
        #expect(welcome.formats.contains { $0.format == .xrgb8888 && $0.memory & 2 != 0 })
        #expect(producer.released.first?.0 == BufferKey(1))
        #expect(producer.released.first?.1 == FrameSequence(1))
        #expect(producer.released.first?.2 == .shown)
        #expect(
            producer.heard.contains {
                if case .configure(SurfaceKey(7), _) = $0 { true } else { false }
            })
        #expect(
            producer.heard.contains {
                if case .presented(SurfaceKey(7), let presented) = $0 {
                    presented.sequence == FrameSequence(1) && presented.latency > 0
                } else {
                    false
                }
            })
    }

    @Test("a producer that vanishes leaves nothing behind, and the next one is generation 2")
    func vanish() throws {
        let harness = try SessionHarness()
        var producer: TestProducer? = try TestProducer(harness.path)
        let memory = try Make.memfd()
        producer?.send(.hello(producer: nil))
        producer?.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer?.send(
            Make.surface(1), Make.frame(1, 1, 1), Make.frame(1, 1, 2, .message),
            .bufferDestroy(BufferKey(1)))
        #expect(try harness.turn { harness.session.holdings.waits == 1 })
        producer = nil
        #expect(try harness.turn { !harness.source.isConnected })
        try harness.turn(5)
        #expect(harness.session.holdings == (0, 0, 0, 0))
        let next = try TestProducer(harness.path)
        next.send(.hello(producer: nil))
        #expect(
            try harness.turn {
                try next.listen()
                return !next.heard.isEmpty
            })
        guard case .welcome(let welcome) = next.heard.first else {
            Issue.record("no welcome")
            return
        }
        #expect(welcome.generation == 2)
    }

    @Test("a second producer on the socket is told busy and closed, the first one goes on")
    func busy() throws {
        let harness = try SessionHarness()
        let first = try TestProducer(harness.path)
        first.send(.hello(producer: nil))
        try harness.turn(3)
        let second = try TestProducer(harness.path)
        #expect(
            try harness.turn {
                try second.listen()
                return second.isClosed
            })
        #expect(second.refusals == [.busy])
        first.send(Make.surface(3))
        #expect(try harness.turn { harness.session.mappedSurfaces == 1 })
    }

    @Test("a message fence holds the frame, its limit refuses it, and the surface goes on")
    func messageFence() throws {
        var limits = VMLimits()
        limits.fenceLimit = 50_000_000
        let harness = try SessionHarness(limits: limits)
        let producer = try TestProducer(harness.path)
        let memory = try Make.memfd()
        let other = try Make.memfd()
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer.send(.bufferCreate(BufferKey(2), Make.layout()), descriptors: [other.number])
        producer.send(Make.surface(1), Make.frame(1, 1, 1, .message))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 1
            })
        #expect(producer.refusals == [.fenceTimeout])
        #expect(producer.released.first?.2 == .refused)
        #expect(harness.session.status.first?.counters.shown == 0)
        producer.send(Make.frame(1, 2, 2, .message))
        try harness.turn(5)
        #expect(harness.session.status.first?.counters.shown == 0)
        producer.send(.fenceSignal(SurfaceKey(1), FrameSequence(2), isError: false))
        #expect(try harness.turn { harness.session.status.first?.counters.shown == 1 })
    }

    @Test("a frame with a target time is not committed before it")
    func targetTime() throws {
        let harness = try SessionHarness()
        let producer = try TestProducer(harness.path)
        let memory = try Make.memfd()
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        var frame = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        frame.targetTime = 80_000_000
        producer.send(Make.surface(1), .frame(frame))
        #expect(try harness.turn { harness.session.status.first?.counters.shown == 1 })
        #expect((harness.session.status.first?.counters.latency.maximum ?? 0) >= 80_000_000)
    }

    @Test("above its message rate a producer is not read, and nobody else waits for it")
    func rate() throws {
        var limits = VMLimits()
        limits.baseRate = 50
        limits.ratePerSurface = 0
        let harness = try SessionHarness(limits: limits)
        let flood = try TestProducer(harness.path)
        flood.send(.hello(producer: nil))
        var sent = 0
        while flood.send(.surfaceDestroy(SurfaceKey(9))) == .sent, sent < 2000 { sent += 1 }
        let start = harness.loop.now()
        while harness.loop.now() - start < 300_000_000 {
            try harness.loop.runOnce(milliseconds: 20)
            harness.source.settle()
        }
        let refused = harness.session.refusals[.unknownObject] ?? 0
        // A burst of one second, 50, and what 0.3 s refill; read in turns, never all.
        #expect(refused >= 50)
        #expect(refused <= 90)
        #expect(sent > 90)
    }

    @Test("damage, crop and transform reach the picture that is captured")
    func capture() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-capture-")
        defer { TemporaryDirectory.remove(directory) }
        let capture = try HeadlessCapture(directory: directory)
        let pattern = try TestPattern(
            width: 64, height: 32, format: .xrgb8888, seed: 3, label: "capture")
        let memory = try Make.memfd()
        var mapped = try MappedMemory(memory.number, count: 64 * 32 * 4, access: .readWrite)
        try mapped.withUnsafeMutableBytes { bytes in
            let planes = try WritablePixelPlane.linear(bytes, .xrgb8888, width: 64, height: 32)
            try pattern.draw(frame: 5, into: planes)
        }
        do {
            let harness = try SessionHarness(capture: capture)
            let producer = try TestProducer(harness.path)
            producer.send(.hello(producer: nil))
            producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
            var frame = FrameRecord(
                surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
            frame.crop = Rectangle(x: 8, y: 4, width: 32, height: 16)
            frame.transform = try #require(Transform(rawValue: 1))
            producer.send(Make.surface(1, title: "A\u{202e}B"), .frame(frame))
            #expect(try harness.turn { harness.session.status.first?.counters.presented == 1 })
            producer.send(.surfaceDestroy(SurfaceKey(1)))
            #expect(try harness.turn { !capture.windows.isEmpty })
        }
        let window = try #require(capture.windows.values.first)
        #expect(window.title == "[vm] AB")
        let whole = try pattern.picture(frame: 5)
        let turned = try #require(PictureTransform(rawValue: 1)).inverse
        let expected = whole.cropped(to: PixelRect(x: 8, y: 4, width: 32, height: 16))
            .transformed(turned)
        #expect(window.picture == expected)
        let file = try PNGFile.read(directory + "/" + (try #require(capture.windows.keys.first)))
        #expect(file == expected)
    }
}
