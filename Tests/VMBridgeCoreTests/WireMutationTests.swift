import Testing
import VMBridgeCore

/// Whatever the bytes, decoding ends in values within the limits or in a refusal; a trap would end
/// the test run.
@Suite("[pure] wire: truncated, flipped and mutated bytes")
struct WireMutationTests {
    /// What is wrong with the outcome of decoding; nil when it is a refusal or a value in range.
    private func problem(_ bytes: [UInt8], descriptors: Int, refused: inout Int) -> String? {
        do {
            let records = try decodeProducer(bytes, descriptors: descriptors)
            for record in records {
                if let problem = WireLimits.problem(record) { return problem }
            }
        } catch {
            refused += 1
            if error.sentence.isEmpty { return "a refusal without a sentence" }
        }
        return nil
    }

    private func bridgeProblem(
        _ bytes: [UInt8], descriptors: Int = 0, refused: inout Int
    ) -> String? {
        do {
            for record in try decodeBridge(bytes, descriptors: descriptors) {
                if let record, let problem = WireLimits.problem(record) { return problem }
            }
        } catch {
            refused += 1
        }
        return nil
    }

    @Test func everyTruncation() throws {
        for sample in Samples.fromProducer + [Samples.batch] {
            for length in 0..<sample.bytes.count {
                let cut = Array(sample.bytes.prefix(length))
                // Cutting a datagram takes a record or a part of one away: with the descriptors of
                // the whole it is never valid, unless what is gone claimed none.
                let why = reason { () throws(Refusal) in
                    try decodeProducer(cut, descriptors: sample.descriptors)
                }
                if sample.name != Samples.batch.name {
                    #expect(why == .malformed, "\(sample.name) cut to \(length)")
                }
                var refused = 0
                #expect(problem(cut, descriptors: sample.descriptors, refused: &refused) == nil)
            }
        }
        // In the batch every cut inside a record is malformed, and every cut between two is seen by
        // the count of descriptors, but for the last record, which claims none.
        var boundaries: Set<Int> = []
        var position = 0
        for sample in [
            Samples.hello, Samples.bufferMemfd, Samples.bufferPlanes, Samples.surfaceCreate,
            Samples.framePlain, Samples.frameFull,
        ] {
            position += sample.bytes.count
            boundaries.insert(position)
        }
        for length in 1..<Samples.batch.bytes.count {
            let cut = Array(Samples.batch.bytes.prefix(length))
            let why = reason { () throws(Refusal) in try decodeProducer(cut, descriptors: 4) }
            if length == position {
                #expect(why == nil)
            } else {
                #expect(why == (boundaries.contains(length) ? .descriptorCount : .malformed))
            }
        }
        for sample in Samples.fromBridge {
            for length in 0..<sample.bytes.count {
                let cut = Array(sample.bytes.prefix(length))
                let why = reason { () throws(Refusal) in try decodeBridge(cut) }
                #expect(why == .malformed, "\(sample.name) cut to \(length)")
            }
        }
    }

    /// Bodies cut inside a datagram that stays well framed: the decoder itself must notice.
    @Test func everyShorterBody() throws {
        for sample in Samples.fromProducer + Samples.fromBridge {
            for length in stride(from: 16, to: sample.bytes.count, by: 8) {
                var cut = Array(sample.bytes.prefix(length))
                cut[4] = UInt8(length & 0xff)
                cut[5] = UInt8(length >> 8)
                var refused = 0
                #expect(problem(cut, descriptors: sample.descriptors, refused: &refused) == nil)
                #expect(
                    bridgeProblem(cut, descriptors: sample.descriptors, refused: &refused) == nil)
            }
        }
        let fixed: [(Sample, Int)] = [
            (Samples.hello, 8), (Samples.bufferMemfd, 96), (Samples.surfaceCreate, 8),
            (Samples.framePlain, 24), (Samples.fenceSignal, 16), (Samples.bufferAllocate, 24),
        ]
        for (sample, body) in fixed {
            for length in stride(from: 16, to: 16 + body, by: 8) {
                var cut = Array(sample.bytes.prefix(length))
                cut[4] = UInt8(length)
                let why = reason { () throws(Refusal) in
                    try decodeProducer(cut, descriptors: sample.descriptors)
                }
                #expect(why == (sample.name == "HELLO" ? .malformed : .badField), "\(sample.name)")
            }
        }
        let bridgeFixed: [(Sample, Int)] = [
            (Samples.welcome, 64), (Samples.released, 24), (Samples.configure, 24),
            (Samples.presented, 32), (Samples.discarded, 8), (Samples.refused, 16),
            (Samples.allocated, 96), (Samples.inputKey, 32), (Samples.keymap, 16),
        ]
        for (sample, body) in bridgeFixed {
            for length in stride(from: 16, to: 16 + body, by: 8) {
                var cut = Array(sample.bytes.prefix(length))
                cut[4] = UInt8(length)
                #expect(
                    reason { () throws(Refusal) in
                        try decodeBridge(cut, descriptors: sample.descriptors)
                    }
                        == .badField,
                    "\(sample.name)")
            }
        }
    }

    /// What a consumer says is decoded as strictly as what a producer says.
    @Test(arguments: [0x5eed_0003 as UInt64])
    func consumersWords(seed: UInt64) {
        print("seed \(seed)")
        var random = Random(seed: seed)
        var refused = 0
        func problem(_ bytes: [UInt8], _ descriptors: Int) -> String? {
            var walker = RecordWalker()
            do throws(Refusal) {
                while let frame = try walker.next(in: bytes.span, descriptorCount: descriptors) {
                    let record = try ConsumerDecoder.decode(frame, in: bytes.span)
                    if let problem = WireLimits.problem(record) { return problem }
                    switch record {
                    case .configure(_, let configure):
                        let side = max(configure.size.width, configure.size.height)
                        if side > 16384 || configure.states & ~0x3fe != 0 { return "\(configure)" }
                    case .released, .close, .presented, .discarded, .refused: break
                    case .releasedWithFence:
                        if frame.descriptorCount != 1 { return "a fence that is none" }
                    default: return "\(record) from a consumer"
                    }
                }
            } catch {
                refused += 1
                if error.sentence.isEmpty { return "a refusal without a sentence" }
            }
            return nil
        }
        let samples = Samples.fromBridge
        for round in 0..<30_000 {
            let sample = samples[random.below(samples.count)]
            let bytes = mutate(sample.bytes, random: &random)
            let descriptors = random.oneIn(4) ? random.below(17) : sample.descriptors
            if let problem = problem(bytes, descriptors) {
                Issue.record("seed \(seed), round \(round): \(problem): \(bytes)")
                return
            }
        }
        #expect(refused > 5_000 && refused < 29_500, "\(refused)")
    }

    @Test func everySingleBitFlip() {
        var refused = 0
        var tried = 0
        for sample in Samples.fromProducer + [Samples.batch] {
            for bit in 0..<sample.bytes.count * 8 {
                var bytes = sample.bytes
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                tried += 1
                if let problem = problem(bytes, descriptors: sample.descriptors, refused: &refused)
                {
                    Issue.record("\(sample.name), bit \(bit): \(problem)")
                }
            }
        }
        for sample in Samples.fromBridge {
            for bit in 0..<sample.bytes.count * 8 {
                var bytes = sample.bytes
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                tried += 1
                if let problem = bridgeProblem(
                    bytes, descriptors: sample.descriptors, refused: &refused)
                {
                    Issue.record("\(sample.name), bit \(bit): \(problem)")
                }
            }
        }
        // Both outcomes are common, or the test looks at nothing.
        #expect(refused > tried / 10 && refused < tried * 9 / 10, "\(refused) of \(tried)")
    }

    @Test(arguments: [0x5eed_0001 as UInt64, 0x5eed_0002])
    func seededMutations(seed: UInt64) {
        print("seed \(seed)")
        var random = Random(seed: seed)
        var refused = 0
        for round in 0..<50_000 {
            let isBridge = random.oneIn(4)
            let samples = isBridge ? Samples.fromBridge : Samples.fromProducer
            let sample = samples[random.below(samples.count)]
            let bytes = mutate(sample.bytes, random: &random)
            let descriptors = random.oneIn(8) ? random.below(17) : sample.descriptors
            let problem =
                isBridge
                ? bridgeProblem(bytes, descriptors: descriptors, refused: &refused)
                : problem(bytes, descriptors: descriptors, refused: &refused)
            if let problem {
                Issue.record("seed \(seed), round \(round): \(problem): \(bytes)")
                return
            }
        }
        #expect(refused > 5_000 && refused < 49_000, "\(refused)")
    }

    private func mutate(_ sample: [UInt8], random: inout Random) -> [UInt8] {
        var bytes = sample
        for _ in 0...random.below(3) {
            switch random.below(7) {
            case 0: bytes[random.below(bytes.count)] = UInt8(random.below(256))
            case 1: bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
            case 2:
                // An interesting number in place of a word.
                let at = random.below(bytes.count / 4) * 4
                let words: [UInt32] = [
                    0, 1, 7, 8, 15, 16, 255, 4096, 16384, 16385, 65535, 0x7fff_ffff, 0x8000_0000,
                    0xffff_fff8, 0xffff_ffff,
                ]
                let word = words[random.below(words.count)]
                for byte in 0..<4 { bytes[at + byte] = UInt8(word >> UInt32(byte * 8) & 0xff) }
            case 3:
                // A field said twice, or a part of one.
                let at = random.below(bytes.count / 8) * 8
                let count = min(8 * (1 + random.below(3)), bytes.count - at)
                bytes += bytes[at..<at + count]
                fixLength(&bytes)
            case 4:
                if bytes.count > 24 { bytes.removeLast(8 * (1 + random.below(2))) }
                if random.oneIn(2) { fixLength(&bytes) }
            case 5:
                bytes += (0..<8).map { _ in UInt8(random.below(256)) }
                fixLength(&bytes)
            default:
                bytes[0] = UInt8(random.below(0x60))
            }
        }
        return bytes
    }

    private func fixLength(_ bytes: inout [UInt8]) {
        for byte in 0..<4 { bytes[4 + byte] = UInt8(bytes.count >> (byte * 8) & 0xff) }
    }
}
