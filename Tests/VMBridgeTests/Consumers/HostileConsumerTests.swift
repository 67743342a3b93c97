import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] consumers that mean harm, and greetings")
struct HostileConsumerTests {
    /// xorshift64*: the run is the same for the same seed.
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return state &* 2_685_821_657_736_338_717
        }
    }

    /// What a consumer may say, with numbers that hit now and then.
    private static func word(_ random: inout Random) -> BridgeRecord {
        func small() -> UInt64 { UInt64.random(in: 0...4, using: &random) }
        let surface = SurfaceKey(small())
        let sequence = FrameSequence(small())
        switch Int.random(in: 0...6, using: &random) {
        case 0, 1: return .released(BufferKey(small()), surface, sequence, .shown)
        case 2:
            return .presented(
                surface,
                PresentedRecord(
                    sequence: sequence, time: .random(in: 0...(.max), using: &random), latency: 1,
                    refresh: 1, flags: .max))
        case 3: return .discarded(surface, sequence)
        case 4:
            return .configure(
                surface,
                ConfigureRecord(
                    size: Size(width: 1 << UInt32(small() * 4), height: 1),
                    states: UInt32(1) << UInt32(small() * 3), wantsFrame: true))
        case 5: return .close(surface)
        default: return .releasedWithFence(BufferKey(small()), surface, sequence, .lost)
        }
    }

    /// Two VMs send frames while consumers say all kinds of things; what is told to the guests is never
    /// more than a use each.
    private static func rounds(_ count: Int, seed: UInt64, _ harness: ConsumerHarness) throws {
        var random = Random(state: seed)
        let memory = try Make.memfd()
        for round in 0..<count {
            let producer = try harness.producer("a", surfaces: [1, 2])
            let consumer = try TestConsumer(
                harness.path,
                greeting: ConsumerGreeting(takesFences: Bool.random(using: &random)))
            var number: UInt64 = 0
            for _ in 0..<12 {
                number += 1
                producer.send(
                    Make.frame(1, 1 + number % 3, number), Make.frame(2, 1 + number % 3, number))
                try harness.turn()
                var writer = RecordWriter()
                // Now and then the truth.
                try consumer.listen()
                if let frame = consumer.frames.last, Bool.random(using: &random) {
                    writer.append(.released(frame.buffer, frame.surface, frame.sequence, .shown))
                }
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    writer.append(word(&random))
                }
                var bytes = writer.bytes
                var descriptors = writer.descriptors
                if Bool.random(using: &random) {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
                }
                if Int.random(in: 0...9, using: &random) == 0 { descriptors += 1 }
                consumer.send(
                    bytes, descriptors: Array(repeating: memory.number, count: descriptors))
                try harness.turn()
            }
            try producer.listen()
            // A use ends once.
            for surface in [1, 2] as [UInt64] {
                var ended: Set<UInt64> = []
                for case .released(_, SurfaceKey(surface), let sequence, _) in producer.heard {
                    #expect(ended.insert(sequence.value).inserted, "round \(round)")
                }
            }
            producer.close()
            consumer.close()
            #expect(
                try harness.turn {
                    !harness.sources[0].isConnected && !harness.endpoint.isConnected
                })
            try harness.turn(2)
            #expect(harness.sources[0].session.holdings == (0, 0, 0, 0))
            #expect(harness.endpoint.status.surfaces == 0)
        }
    }

    @Test("mutated answers end in refusals, and nothing of them stays")
    func mutations() throws {
        print("seed 0x5eed_0004")
        let harness = try ConsumerHarness()
        try Self.rounds(200, seed: 0x5eed_0004, harness)
        let counters = harness.endpoint.status.counters
        #expect(counters.frames > 500 && counters.released > 20, "\(counters)")
        #expect(counters.refusals.count >= 4, "\(counters.refusals)")
    }

    @Test("consumers that come and go leave no descriptor open")
    func descriptors() async throws {
        await #expect(processExitsWith: .success) {
            let harness = try ConsumerHarness()
            try Self.rounds(20, seed: 0x5eed_0005, harness)
            let first = try settledCensus()
            try Self.rounds(60, seed: 0x5eed_0006, harness)
            let last = try censusComing(to: first)
            guard first == last else {
                print("descriptors before \(first), after \(last)")
                exit(1)
            }
        }
    }

    @Test("who floods is not read above its rate; a guest beside it loses no frame")
    func flood() throws {
        var limits = VMLimits()
        limits.baseRate = 50
        limits.ratePerSurface = 10
        let harness = try ConsumerHarness(limits: limits)
        let calm = try ConsumerHarness(vms: ["b"])
        let consumer = try TestConsumer(harness.path)
        let other = try TestConsumer(calm.path)
        let producer = try calm.producer("b")
        #expect(try harness.turn { harness.endpoint.isConnected })
        var sent = 0
        while consumer.send(.close(SurfaceKey(1))) == .sent, sent < 5000 { sent += 1 }
        let start = harness.loop.now()
        var number: UInt64 = 0
        while harness.loop.now() - start < 300_000_000 {
            number += 1
            producer.send(Make.frame(1, 1 + number % 3, number))
            try harness.loop.runOnce(milliseconds: 1)
            harness.settle()
            #expect(
                try calm.turn {
                    try other.listen()
                    guard let frame = other.frames.last, frame.sequence.value == number else {
                        return false
                    }
                    other.release(frame)
                    return true
                })
        }
        #expect(calm.counters().shown == number && calm.counters().superseded == 0)
        let refused = harness.endpoint.status.counters.refusals[.unknownObject] ?? 0
        // Twice fifty at once, and what 0.3 s bring.
        #expect((100...190).contains(refused), "\(refused) of \(sent)")
        #expect(sent > 190)
    }

    @Test("bad framing ends the consumer's connection, and its place is free")
    func framing() throws {
        let harness = try ConsumerHarness()
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer()
        producer.send(Make.frame(1, 1, 1))
        #expect(try harness.turn { harness.counters().shown == 1 })
        consumer.send([1, 2, 3])
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.isClosed
            })
        #expect(consumer.refusals.map(\.refusal.reason) == [.malformed])
        #expect(!harness.endpoint.isConnected)
        let next = try TestConsumer(harness.path)
        #expect(
            try harness.turn {
                try next.listen()
                return next.frames.count == 1
            })
        #expect(producer.refusals.isEmpty)
    }

    @Test("one consumer at a time; producers, the silent and the hasty are turned away")
    func greetings() throws {
        let harness = try ConsumerHarness()
        func answer(_ bytes: [UInt8], seconds: Double = 5) throws -> [RefusalReason] {
            let visitor = try TestConsumer(harness.path, greeting: nil)
            if !bytes.isEmpty { visitor.send(bytes) }
            #expect(
                try harness.turn(
                    until: {
                        try visitor.listen()
                        return visitor.isClosed
                    }, seconds: seconds))
            return visitor.refusals.map(\.refusal.reason)
        }
        func bytes(_ records: ProducerRecord...) -> [UInt8] {
            var writer = RecordWriter()
            for record in records { writer.append(record) }
            return writer.bytes
        }
        #expect(try answer(bytes(.hello(producer: "p"))) == [.notGreeted])
        #expect(try answer(bytes(Make.surface(1))) == [.notGreeted])
        #expect(try answer([]) == [.notGreeted])
        #expect(try answer([7]) == [.malformed])
        let hasty = bytes(.greetConsumer(ConsumerGreeting()), .targetsQuery)
        #expect(try answer(hasty) == [.notGreeted])
        var faulty = bytes(.greetConsumer(ConsumerGreeting()))
        faulty[20] = 2
        faulty[22] = 9
        #expect(try answer(faulty) == [.version])
        #expect(!harness.endpoint.isConnected)
        let consumer = try TestConsumer(harness.path)
        #expect(try harness.turn { harness.endpoint.isConnected })
        #expect(try answer(bytes(.greetConsumer(ConsumerGreeting()))) == [.busy])
        #expect(harness.endpoint.isConnected && consumer.refusals.isEmpty)
    }

    @Test("a VM's own socket takes one consumer beside its producer, in any order")
    func ownSocket() throws {
        let loop = try EventLoop()
        let harness = try SessionHarness(loop: loop)
        let endpoint = ConsumerEndpoint(
            target: .vm("vm"), limits: VMLimits(), loop: loop,
            logger: ConsumerHarness.silentLogger(), probe: try DescriptorProbe(),
            reaper: try DescriptorReaper())
        harness.source.consumers = endpoint
        defer { endpoint.shutDown() }
        func settled(_ condition: () throws -> Bool) throws -> Bool {
            try harness.turn {
                endpoint.flush()
                return try condition()
            }
        }
        // First, where a producer's place is free.
        let first = try TestConsumer(harness.path)
        #expect(
            try settled {
                try first.listen()
                return first.welcome != nil
            })
        #expect(endpoint.isConnected && !harness.source.isConnected)
        let producer = try TestProducer(harness.path)
        producer.send(.hello(producer: "p"))
        #expect(
            try settled {
                try producer.listen()
                return !producer.heard.isEmpty
            })
        guard case .welcome(let welcome) = producer.heard.first else {
            Issue.record("no welcome")
            return
        }
        #expect(welcome.generation == 1 && welcome.vmName == "vm")
        // Then beside the producer, once the first one is gone.
        first.close()
        #expect(try settled { !endpoint.isConnected })
        let second = try TestConsumer(harness.path)
        let third = try TestConsumer(harness.path)
        let further = try TestProducer(harness.path)
        further.send(.hello(producer: "q"))
        #expect(
            try settled {
                try second.listen()
                try third.listen()
                try further.listen()
                return second.welcome != nil && third.isClosed && further.isClosed
            })
        #expect(second.welcome?.vmName == "vm" && second.welcome?.generation == 2)
        #expect(third.refusals.map(\.refusal.reason) == [.busy])
        #expect(further.refusals == [.busy])
        #expect(harness.source.isConnected && endpoint.isConnected)
    }

    @Test("without consumers a socket turns one away")
    func noConsumers() throws {
        let harness = try SessionHarness()
        let consumer = try TestConsumer(harness.path)
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.isClosed
            })
        #expect(consumer.refusals.map(\.refusal.reason) == [.notGreeted])
    }
}
