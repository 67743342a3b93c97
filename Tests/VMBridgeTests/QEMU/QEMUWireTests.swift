import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// What a QEMU may send on a listener's connection when it uses no library: every call's bytes, damaged.
@Suite("[kernel] QEMU's display, byte by byte", .serialized) struct QEMUWireTests {
    private static let calls: [WireCall] = [
        WireCall(
            interface: ListenerMessages.listener, member: "Scanout", signature: "uuuuay",
            values: [
                .word(16), .word(8), .word(64), .word(FakeQEMU.xrgb),
                .bytes([UInt8](repeating: 0x55, count: 512)),
            ]),
        WireCall(
            interface: ListenerMessages.listener, member: "Update", signature: "iiiiuuay",
            values: [
                .word(1), .word(2), .word(3), .word(4), .word(12), .word(FakeQEMU.xrgb),
                .bytes([UInt8](repeating: 0xaa, count: 48)),
            ]),
        WireCall(
            interface: ListenerMessages.listener, member: "CursorDefine", signature: "iiiiay",
            values: [
                .word(4), .word(4), .word(1), .word(1),
                .bytes([UInt8](repeating: 0xff, count: 64)),
            ]),
        WireCall(
            interface: ListenerMessages.listener, member: "MouseSet", signature: "iii",
            values: [.word(1), .word(1), .word(1)]),
        WireCall(
            interface: ListenerMessages.map, member: "ScanoutMap", signature: "huuuuu",
            values: [
                .word(0), .word(0), .word(16), .word(8), .word(64), .word(FakeQEMU.xrgb),
            ], descriptors: 1),
        WireCall(
            interface: ListenerMessages.map, member: "UpdateMap", signature: "iiii",
            values: [.word(0), .word(0), .word(16), .word(8)]),
        WireCall(
            interface: ListenerMessages.listener, member: "ScanoutDMABUF", signature: "huuuutb",
            values: [
                .word(0), .word(16), .word(8), .word(64), .word(FourCC.xrgb8888.rawValue),
                .long(0), .word(0),
            ], descriptors: 1),
        WireCall(
            interface: ListenerMessages.dmaBuf2, member: "ScanoutDMABUF2",
            signature: "ahuuuuauauuuuutb",
            values: [
                .words([0]), .word(0), .word(0), .word(16), .word(8), .words([0]), .words([64]),
                .word(1), .word(FourCC.xrgb8888.rawValue), .word(16), .word(8), .long(0), .word(0),
            ], descriptors: 1),
        WireCall(
            interface: ListenerMessages.listener, member: "UpdateDMABUF", signature: "iiii",
            values: [.word(0), .word(0), .word(16), .word(8)]),
        WireCall(
            interface: ListenerMessages.listener, member: "Disable", signature: "", values: []),
        WireCall(
            interface: ListenerMessages.properties, member: "GetAll", signature: "s",
            values: [.bytes(Array("org.qemu.Display1.Listener\0".utf8))]),
    ]

    /// A console whose QEMU is bytes, and a VM beside it on the same loop.
    private final class Bench {
        let loop: EventLoop
        let session: VMSession<HeadlessPresenter>
        let other: QEMUHarness
        let reaper: DescriptorReaper
        private(set) var console: QEMUConsole<HeadlessPresenter>?
        private(set) var wire: WireListener?

        init() throws {
            loop = try EventLoop()
            other = try QEMUHarness(loop: loop)
            reaper = try DescriptorReaper()
            session = try .onVirtualOutput("hostile", loop: loop)
            session.tellsFrameCallbacks = true
            session.acceptsUnsealedMemory = true
        }

        deinit {
            hangUp()
            session.shutDown()
        }

        func connect() throws {
            var pair = try StreamPair()
            wire = WireListener(pair.takeTheirs())
            console = try QEMUConsole(
                id: 0, socket: pair.takeOurs(), title: "hostile", session: session, reaper: reaper)
        }

        func hangUp() {
            console?.close()
            console = nil
            wire = nil
            session.producerLeft()
            settle()
        }

        func step() throws {
            wire?.poll()
            settle()
            try loop.runOnce(milliseconds: 0)
        }

        /// Until the bridge has read what was sent, answered it, and answers a sound call after it.
        ///
        /// - Returns: false when it hung up, or waits for the rest of a message.
        func speaks(serial: UInt32) throws -> Bool {
            guard let wire else { return false }
            for _ in 0..<40 where !wire.isSent && !wire.isClosed { try step() }
            let sound = QEMUWireTests.calls[3].bytes(serial: serial).bytes
            wire.send(sound)
            for _ in 0..<40 where !wire.isClosed && !wire.answered.contains(serial) { try step() }
            return wire.answered.contains(serial)
        }

        private func settle() {
            session.settle()
            session.takeFrameCallbacks { _, sequence in console?.frameCallback(sequence) }
            session.takeFeedback { record in
                switch record {
                case .released(let buffer, _, let sequence, let outcome),
                    .releasedWithFence(let buffer, _, let sequence, let outcome):
                    console?.released(buffer, sequence, outcome)
                case .discarded(_, let sequence): console?.discarded(sequence)
                case .refused(let refused) where refused.type == RecordType.bufferCreate:
                    console?.bufferRefused(BufferKey(refused.object))
                default: break
                }
                for _ in 0..<record.descriptors { _ = session.feedbackDescriptors.takeFirst() }
            }
            console?.settle()
            session.settle()
        }
    }

    @Test func soundBytesAreUnderstood() throws {
        let memory = try MemoryFile.create(size: 16 * 8 * 4, seals: [.seal])
        let bench = try Bench()
        try bench.connect()
        let wire = try #require(bench.wire)
        for (index, call) in Self.calls.enumerated() {
            let serial = UInt32(index + 1)
            wire.send(
                call.bytes(serial: serial).bytes,
                descriptor: call.descriptors > 0 ? memory.number : nil)
            try wait(bench.loop) {
                try bench.step()
                return wire.answered.contains(serial) || wire.isClosed
            }
        }
        // What is no dma-buf, twice; a frame of a dma-buf that is none; and a text that was written as bytes.
        #expect(wire.answers == Self.calls.count && !wire.isClosed)
        #expect(bench.session.refusals[.badDescriptor] == 2, "\(bench.session.refusals)")
        #expect(wire.errors == 3, "\(bench.session.refusals)")
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func damagedBytesCostTheirConnectionAtMost(seed: UInt64) async throws {
        await #expect(processExitsWith: .success) { [seed] in
            try withoutLeaks { try Self.damage(seed: seed, count: 5000) }
        }
    }

    private static func damage(seed: UInt64, count: Int) throws {
        let memory = try MemoryFile.create(size: 16 * 8 * 4, seals: [.seal])
        let event = try EventFile.make()
        var random = SplitMix(state: seed)
        let bench = try Bench()
        try bench.other.attach()
        var connections = 0
        var answers = 0
        var errors = 0
        var outlived = 0
        var serial: UInt32 = 1
        for round in 0..<count {
            if bench.wire == nil {
                try bench.connect()
                connections += 1
            }
            guard let wire = bench.wire else { continue }
            for _ in 0...Int.random(in: 0..<4, using: &random) {
                serial += 1
                let call = calls[Int.random(in: 0..<calls.count, using: &random)]
                let descriptor = Bool.random(using: &random) ? memory.number : event.number
                wire.send(
                    damaged(call.bytes(serial: serial), &random),
                    descriptor: call.descriptors > 0 ? descriptor : nil)
                try bench.step()
            }
            serial += 1
            if try bench.speaks(serial: serial) {
                outlived += 1
            } else {
                (answers, errors) = (answers + wire.answers, errors + wire.errors)
                bench.hangUp()
                #expect(bench.session.holdings.buffers == 0)
            }
            #expect(bench.session.holdings.buffers <= 24)
            guard round % 500 == 0 else { continue }
            let shown = bench.other.surface?.counters.presented ?? 0
            bench.other.qemu.scanout(64, 32)
            try bench.other.wait { (bench.other.surface?.counters.presented ?? 0) > shown }
        }
        // Each kind of end came about, and a sound picture is shown after all of it.
        #expect(connections > count / 50 && outlived > count / 50, "\(connections), \(outlived)")
        #expect(answers > count && errors > count / 50, "\(answers), \(errors)")
        #expect(bench.session.refusals.values.reduce(0, +) >= UInt64(errors / 2))
        #expect(bench.other.session.refusals.isEmpty)
        bench.hangUp()
        try bench.connect()
        let wire = try #require(bench.wire)
        wire.send(calls[0].bytes(serial: 1).bytes)
        try wait(bench.loop) {
            try bench.step()
            return bench.session.status.contains { !$0.isGone && $0.counters.presented > 0 }
        }
        bench.hangUp()
    }

    /// Numbers that lie at an edge of something.
    private static let edges: [UInt32] = [
        0, 1, 3, 7, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, .max, 1 << 26,
        1 << 27,
    ]

    /// Damages a message in one to three places, half of the time only behind its header.
    private static func damaged(
        _ message: (bytes: [UInt8], body: Int), _ random: inout SplitMix
    ) -> [UInt8] {
        var bytes = message.bytes
        let first = Bool.random(using: &random) && message.body < bytes.count ? message.body : 0
        for _ in 0...Int.random(in: 0..<3, using: &random) {
            guard bytes.count > first else { break }
            let place = Int.random(in: first..<bytes.count, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0...2: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 3...5:
                let edge = edges[Int.random(in: 0..<edges.count, using: &random)]
                for index in 0..<4 where place / 4 * 4 + index < bytes.count {
                    bytes[place / 4 * 4 + index] = UInt8(
                        truncatingIfNeeded: edge >> (8 * UInt32(index)))
                }
            case 6: bytes[place] = UInt8.random(in: 0...255, using: &random)
            default:
                // A shorter or a longer one than it says is seldom: all that follows is lost by it.
                guard Int.random(in: 0..<8, using: &random) == 0 else { break }
                if Bool.random(using: &random) {
                    bytes.removeLast(bytes.count - place)
                } else {
                    bytes.insert(contentsOf: bytes[place...].prefix(8), at: place)
                }
            }
        }
        return bytes
    }
}
