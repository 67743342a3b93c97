import Testing
import VMBridgeCore

/// Streams of commands with bytes changed, and feedback in any order: every request is answered exactly once or waits in bounds, no key
/// comes twice, nothing that is gone is shown, budgets hold.
@Suite("[pure] virtio-gpu: mutated commands")
struct VirtioGPUMutationTests {
    private static let samples: [(bytes: [UInt8], cursor: Bool)] = {
        var samples: [(bytes: [UInt8], cursor: Bool)] = []
        for id: UInt32 in 1...4 {
            let address = 0x1000 + 0x4000 * UInt64(id)
            samples += [
                Command.create(id), Command.attach(id, [(address, 4096), (address + 4096, 4096)]),
                Command.attach(id, [(address, 8192)]), Command.scanout(id % 3, id),
                Command.flush(id), Command.flush(id, fence: UInt64(id)),
                Command.flush(id, 4, 4, 8, 8, fence: 77), Command.transfer(id),
                Command.transfer(id, 2, 3, 9, 9, offset: (3 * 64 + 2) * 4), Command.detach(id),
                Command.unref(id), Command.scanout(id % 3, id, 8, 8, 16, 16),
            ].map { ($0, false) }
            samples += [Command.cursor(id % 3, id), Command.cursor(id % 3, 0)].map { ($0, true) }
        }
        samples += [
            Command.header(0x100), Command.edid(1), Command.scanout(0, 0), Command.scanout(1, 0),
            Command.blob(5), Command.scanoutBlob(2, 5), Command.flush(5, fence: 5),
            Command.blob(6, size: 4096, [(0x9000, 4096)]),
            Command.scanoutBlob(1, 5, width: 32, height: 16, stride: 128, offset: 64),
        ].map { ($0, false) }
        return samples
    }()

    private func mutated(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
        guard random.oneIn(3) else { return bytes }
        var bytes = bytes
        for _ in 0...random.below(2) where !bytes.isEmpty {
            // Whole words more often than bits: numbers are what commands are made of.
            let word = random.below((bytes.count + 3) / 4) * 4
            let odd: [UInt32] = [0, 1, 2, 16, 0xffff, 0x7fff_ffff, 0x8000_0000, .max]
            switch random.below(5) {
            case 0: bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
            case 1, 2:
                let value = odd[random.below(odd.count)]
                for index in 0..<4 where word + index < bytes.count {
                    bytes[word + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index)))
                }
            case 3: bytes = Array(bytes.prefix(random.below(bytes.count + 1)))
            default: bytes += bytes.suffix(random.below(20))
            }
        }
        return bytes
    }

    @Test func commandsAndFeedback() throws {
        var random = Random(seed: 21)
        var refused = 0
        var shown = 0
        for _ in 0..<600 {
            var limits = VirtioGPUDevice.Limits()
            limits.resources = 6
            limits.bytes = 64 << 10
            limits.ranges = 12
            limits.deferred = 5
            let world = try GPUWorld(limits: limits)
            for _ in 0..<500 {
                switch random.below(8) {
                case 0: feedback(world, &random)
                case 1 where random.oneIn(40): world.reset()
                case 1: world.now += UInt64(random.below(30_000_000))
                case 2: world.act { world.device.tick(now: world.now, &$0) }
                default:
                    let sample = Self.samples[random.below(Self.samples.count)]
                    world.send(
                        mutated(sample.bytes, &random),
                        cursor: random.oneIn(50) ? !sample.cursor : sample.cursor)
                }
                let held = world.device.holdings
                #expect(held.resources <= 6 && held.bytes <= 64 << 10 && held.ranges <= 12)
                #expect(held.deferred <= 5)
                #expect(world.waiting.count == held.deferred)
                #expect((world.device.nextDeadline == nil) == (held.deferred == 0))
                guard world.problems.isEmpty else {
                    Issue.record("\(world.problems)")
                    return
                }
            }
            world.now += 1 << 40
            world.act { world.device.tick(now: world.now, &$0) }
            #expect(world.waiting.isEmpty)
            world.reset()
            #expect(world.problems.isEmpty)
            #expect(world.device.holdings == (0, 0, 0, 0))
            refused += world.refusals.count
            shown += world.shown.count
        }
        #expect(refused > 10_000)
        #expect(shown > 1000)
    }

    private func feedback(_ world: GPUWorld, _ random: inout Random) {
        guard let one = world.shown.suffix(6).randomElement(using: &random)?.frame else { return }
        switch random.below(4) {
        case 0: world.act { world.device.frameCallback(one.surface, one.sequence, &$0) }
        case 1: world.act { world.device.discarded(one.surface, one.sequence, &$0) }
        case 2:
            world.device.configured(
                one.surface,
                Size(width: UInt32(random.below(9000)), height: UInt32(random.below(9000))))
        default:
            let outcome = UseOutcome.allCases[random.below(4)]
            world.act { world.device.released(one.surface, one.sequence, outcome, &$0) }
        }
    }
}
