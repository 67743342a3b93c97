import Testing
import VMBridgeCore

@testable import VMBridge

/// A generator whose course repeats.
private struct Steady: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

@Suite("[pure] damaged and forged recordings")
struct RecordingMutationTests {
    /// A recording with some of its bytes changed, a part cut out or doubled, or its end cut off.
    private static func damage(_ bytes: [UInt8], _ random: inout Steady) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard bytes.count > 8 else { break }
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2:
                // Numbers at the edge of what there is.
                let edges: [UInt64] = [
                    0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 62, 1 << 63, .max, .max - 7,
                ]
                let value = edges.randomElement(using: &random) ?? 0
                let place = at / 8 * 8
                for index in 0..<8 where place + index < bytes.count {
                    bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8))
                }
            case 3: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
            case 4:
                let end = min(bytes.count, at + Int.random(in: 1...64, using: &random))
                bytes.removeSubrange(at..<end)
            case 5:
                let end = min(bytes.count, at + Int.random(in: 1...64, using: &random))
                bytes.insert(contentsOf: bytes[at..<end], at: at)
            case 6:
                let place = at / 8 * 8
                let other = Int.random(in: 0..<bytes.count, using: &random) / 8 * 8
                for index in 0..<8 where max(place, other) + index < bytes.count {
                    bytes.swapAt(place + index, other + index)
                }
            default:
                // A small number where a length or a count may stand.
                bytes[at / 8 * 8] = UInt8.random(in: 0..<40, using: &random)
            }
        }
        return bytes
    }

    @Test("100,000 of them are read to their end without a trap, in bounded memory")
    func reading() throws {
        let sample = try RecordingSample.bytes()
        var random = Steady(state: 0x9e37_79b9_7f4a_7c15)
        var readable = 0
        for round in 0..<100_000 {
            let bytes = Self.damage(sample, &random)
            let source = RecordingInMemory(bytes)
            guard let reader = try? RecordingReader(source) else { continue }
            readable += 1
            var offset = reader.first
            var chunks = 0
            while let chunk = reader.chunk(at: offset) {
                #expect(chunk.next > offset && chunk.next <= source.size)
                offset = chunk.next
                chunks += 1
                switch chunk.body {
                case .received(let bytes, let descriptors, _):
                    let datagram = ReplayDatagram(bytes, descriptors: descriptors.count)
                    for frame in datagram.frames {
                        var changed = datagram
                        changed.setAcquire(frame, .message)
                        changed.hideDamage(frame)
                        #expect(changed.bytes.count == bytes.count)
                    }
                case .frame(let frame):
                    for region in frame.regions {
                        #expect(region.position + region.length <= source.size)
                    }
                default: break
                }
            }
            #expect(chunks <= bytes.count / RecordingFormat.chunkHeaderBytes)
            let index = reader.index()
            #expect(index.entries.count <= bytes.count / RecordingFormat.chunkHeaderBytes + 64)
            #expect(index.end <= source.size)
            guard round % 50 == 0 else { continue }
            var lines = 0
            RecordingListing.list(
                reader, range: 0...(.max), isJSON: round % 100 == 0, isComplete: true
            ) { _ in lines += 1 }
            #expect(lines >= 2)
            _ = reader.frame(SurfaceKey(7), FrameSequence(2), index)
        }
        // Else nothing behind the header would have been tried.
        #expect(readable > 40_000)
    }

    @Test("damaged ones are played into a bridge, which stays what it is")
    func playing() throws {
        let sample = try RecordingSample.bytes()
        var random = Steady(state: 0x1234_5678_9abc_def1)
        let harness = try SessionHarness()
        var frames = 0
        for _ in 0..<300 {
            let bytes = Self.damage(sample, &random)
            guard let reader = try? RecordingReader(RecordingInMemory(bytes)) else { continue }
            var options = ReplayOptions(socketPath: harness.path)
            options.speed = nil
            options.patience = 3_000_000
            let replayer = Replayer(reader, options: options, loop: harness.loop)
            replayer.start()
            let isOver = try harness.turn { replayer.summary.end != nil }
            #expect(isOver)
            replayer.stop()
            frames += replayer.summary.frames
            #expect(try harness.turn { !harness.source.isConnected })
            let holdings = harness.session.holdings
            #expect(holdings.buffers == 0 && holdings.uses == 0)
        }
        #expect(frames > 100)
    }
}
