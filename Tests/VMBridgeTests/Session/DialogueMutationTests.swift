import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// Whole dialogues with faults in them, against live state: greeting, buffers, surfaces, frames,
/// fences, destroys. Whatever comes, the session refuses or obeys, and when the producer is gone
/// nothing of it is left.
@Suite("[kernel] mutated dialogues")
struct DialogueMutationTests {
    private struct Datagram {
        var bytes: [UInt8]
        var descriptors: Int
    }

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

    private static func dialogue() -> [Datagram] {
        var all: [Datagram] = []
        func add(_ records: [ProducerRecord], descriptors: Int = 0) {
            var writer = RecordWriter()
            for record in records {
                var count = 0
                if case .bufferCreate = record { count = 1 }
                writer.append(record, descriptors: count)
            }
            all.append(Datagram(bytes: writer.bytes, descriptors: descriptors))
        }
        add([.hello(producer: "mutant")])
        add(
            [
                .bufferCreate(BufferKey(1), Make.layout()),
                .bufferCreate(BufferKey(2), Make.layout()),
            ], descriptors: 2)
        add([Make.surface(1), Make.surface(2, title: "second")])
        var frame = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        frame.damage = .none
        frame.damage.add(Rectangle(x: 1, y: 2, width: 3, height: 4))
        frame.crop = Rectangle(x: 0, y: 0, width: 32, height: 16)
        frame.destination = Size(width: 10, height: 10)
        frame.targetTime = 1000
        add([.frame(frame), Make.frame(2, 2, 1, .message)])
        add([Make.frame(1, 2, 2), Make.frame(1, 1, 3, .message)])
        add([
            .fenceSignal(SurfaceKey(2), FrameSequence(1), isError: false),
            .fenceSignal(SurfaceKey(1), FrameSequence(3), isError: true),
        ])
        add([.bufferDestroy(BufferKey(1)), Make.frame(2, 2, 2)])
        add([.surfaceDestroy(SurfaceKey(1)), .bufferDestroy(BufferKey(2))])
        return all
    }

    private static func mutate(_ datagram: inout Datagram, _ random: inout Random) {
        guard !datagram.bytes.isEmpty else { return }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let at = Int.random(in: 0..<datagram.bytes.count, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1: datagram.bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: datagram.bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 3:
                datagram.bytes[at] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
            case 4:
                // A whole word, aligned: lengths, counts and sizes are the interesting ones.
                let word = at / 4 * 4
                let value =
                    [0, 1, 7, 16, 0x4000, 0x4001, 0x7fff_ffff, 0xffff_ffff]
                    .randomElement(using: &random) ?? 0
                for byte in 0..<4 where word + byte < datagram.bytes.count {
                    datagram.bytes[word + byte] = UInt8(
                        truncatingIfNeeded: UInt32(value) >> UInt32(byte * 8))
                }
            case 5: datagram.bytes.removeLast(min(datagram.bytes.count - 1, at))
            case 6: datagram.bytes += datagram.bytes.prefix(min(at, 4096))
            default: datagram.descriptors = Int.random(in: 0...4, using: &random)
            }
        }
    }

    @Test(
        "50,000 faults in whole dialogues: nothing crashes, nothing is left",
        arguments: [UInt64(0x5eed_0001), 0x5eed_0002])
    func mutations(seed: UInt64) throws {
        var random = Random(state: seed)
        var limits = VMLimits()
        limits.baseRate = 1_000_000
        limits.fenceLimit = 2_000_000
        let harness = try SessionHarness(limits: limits)
        let memory = [
            try Make.memfd().release(), try Make.memfd().release(), try Make.memfd().release(),
            try Make.memfd().release(),
        ]
        defer { memory.forEach { close($0) } }
        let original = Self.dialogue()
        var faults = 0
        var refusals: [RefusalReason: Int] = [:]
        var shown: UInt64 = 0
        while faults < 25_000 {
            let producer = try TestProducer(harness.path)
            var dialogue = original
            // The greeting stays whole in most of them, or little would lie behind it.
            let spared = Int.random(in: 0..<8, using: &random) == 0 ? 0 : 1
            for index in spared..<dialogue.count where Bool.random(using: &random) {
                Self.mutate(&dialogue[index], &random)
                faults += 1
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                dialogue.swapAt(
                    Int.random(in: spared..<dialogue.count, using: &random),
                    Int.random(in: spared..<dialogue.count, using: &random))
            }
            for datagram in dialogue where !datagram.bytes.isEmpty {
                producer.send(
                    datagram.bytes, descriptors: Array(memory.prefix(datagram.descriptors)))
                if Bool.random(using: &random) { try harness.turn() }
            }
            try harness.turn(2)
            try producer.listen()
            for reason in producer.refusals { refusals[reason, default: 0] += 1 }
            // A use never ends twice: what was released is named once for each frame sent.
            let ends = producer.released.filter { $0.2 != .refused }.map(\.1.value)
            #expect(ends.count <= 12)
            producer.close()
            #expect(try harness.turn { !harness.source.isConnected })
            try harness.turn()
            #expect(harness.session.holdings == (0, 0, 0, 0))
            shown += harness.session.status.reduce(0) { $0 + $1.counters.shown }
        }
        // The faults reached deep enough to mean something.
        #expect(refusals.count > 12, "reasons seen: \(refusals)")
        #expect(shown > 1000)
    }

    @Test("mutated dialogues leave no descriptor open")
    func descriptors() async throws {
        await #expect(processExitsWith: .success) {
            var random = Random(state: 0x5eed_0003)
            var limits = VMLimits()
            limits.baseRate = 1_000_000
            let harness = try SessionHarness(limits: limits)
            let memory = try Make.memfd().release()
            let original = Self.dialogue()
            var first: DescriptorCensus?
            for round in 0..<300 {
                let producer = try TestProducer(harness.path)
                var dialogue = original
                for index in 1..<dialogue.count where Bool.random(using: &random) {
                    Self.mutate(&dialogue[index], &random)
                }
                for datagram in dialogue where !datagram.bytes.isEmpty {
                    producer.send(
                        datagram.bytes,
                        descriptors: Array(repeating: memory, count: datagram.descriptors))
                    try harness.turn()
                }
                producer.close()
                _ = try harness.turn { !harness.source.isConnected }
                try harness.turn()
                if round == 20 { first = try settledCensus() }
            }
            // The reaper closes on its own thread.
            let last = try first.map(censusComing(to:))
            guard let first, first == last else {
                print(
                    "descriptors before \(String(describing: first)), after \(String(describing: last))"
                )
                exit(1)
            }
        }
    }
}
