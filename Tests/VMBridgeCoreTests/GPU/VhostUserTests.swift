import Testing
import VMBridgeCore

/// Messages of a front end, as they stand on the wire.
enum Front {
    typealias Message = (header: VhostUserHeader, payload: [UInt8], descriptors: Int)

    static func header(
        _ request: UInt32, _ size: Int, needsReply: Bool = false
    ) throws(Refusal) -> VhostUserHeader {
        let flags: UInt64 = needsReply ? 9 : 1
        let bytes = little(UInt64(request), 4) + little(flags, 4) + little(UInt64(size), 4)
        return try VhostUserHeader(bytes.span)
    }

    static func message(
        _ request: VhostUserRequest, _ payload: [UInt8] = [], descriptors: Int = 0,
        needsReply: Bool = false
    ) throws -> Message {
        (
            try header(request.rawValue, payload.count, needsReply: needsReply), payload,
            descriptors
        )
    }

    static func number(_ request: VhostUserRequest, _ value: UInt64) throws -> Message {
        try message(request, little(value, 8))
    }

    static func state(
        _ request: VhostUserRequest, _ ring: UInt32, _ value: UInt32
    ) throws -> Message {
        try message(request, little(UInt64(ring), 4) + little(UInt64(value), 4))
    }

    static func memory(_ regions: [MemoryRegion]) throws -> Message {
        var payload = little(UInt64(regions.count), 8)
        for region in regions {
            for value in [region.guest, region.size, region.user, region.offset] {
                payload += little(value, 8)
            }
        }
        return try message(.setMemoryTable, payload, descriptors: regions.count)
    }

    static func addresses(
        _ ring: UInt32, _ descriptors: UInt64, _ used: UInt64, _ available: UInt64,
        flags: UInt64 = 0
    ) throws -> Message {
        try message(
            .setRingAddress,
            little(UInt64(ring), 4) + little(flags, 4) + little(descriptors, 8) + little(used, 8)
                + little(available, 8) + little(0, 8))
    }

    static func file(_ request: VhostUserRequest, _ ring: UInt64, isThere: Bool = true) throws
        -> Message
    {
        try message(
            request, little(isThere ? ring : ring | 0x100, 8), descriptors: isThere ? 1 : 0)
    }

    static let region = MemoryRegion(
        guest: 0, size: 1 << 20, user: 0x7f00_0000_0000, offset: 0)

    /// What QEMU 10 sends, in its order, until ring 0 is served; the features it acknowledges beyond our offer included.
    static func start() throws -> [Message] {
        let user = region.user
        return [
            try message(.getFeatures), try message(.getProtocolFeatures),
            try number(.setProtocolFeatures, 0x209), try message(.getQueueNumber),
            try message(.setOwner), try message(.getFeatures),
            try file(.setRingCall, 0), try file(.setRingError, 0), try file(.setRingCall, 1),
            try file(.setRingError, 1),
            try message(.getConfig, little(0, 4) + little(16, 4) + little(0, 4) + little(0, 16)),
            try message(.setGPUSocket, descriptors: 1),
            try number(.setFeatures, 1 << 1 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32 | 1 << 40),
            try memory([region]),
            try state(.setRingSize, 0, 64), try state(.setRingBase, 0, 0),
            try addresses(0, user + 0x1000, user + 0x3000, user + 0x2000),
            try file(.setRingKick, 0), try file(.setRingCall, 0),
            try state(.setRingEnable, 0, 1),
        ]
    }
}

@Suite("[pure] vhost-user: negotiation, memory and rings")
struct VhostUserTests {
    private func machine() -> VhostUserMachine {
        VhostUserMachine(
            deviceFeatures: VirtioGPU.edidFeature, rings: 2,
            configuration: VirtioGPU.configuration(scanouts: 1))
    }

    private func send(
        _ message: Front.Message, to machine: inout VhostUserMachine
    ) throws(Refusal) -> [VhostUserMachine.Action] {
        var actions: [VhostUserMachine.Action] = []
        try machine.receive(
            message.header, message.payload, descriptors: message.descriptors, &actions)
        return actions
    }

    private func started() throws -> VhostUserMachine {
        var machine = machine()
        for message in try Front.start() { _ = try send(message, to: &machine) }
        return machine
    }

    @Test func theWayQEMUGoes() throws {
        var machine = machine()
        var actions: [VhostUserMachine.Action] = []
        for message in try Front.start() { actions += try send(message, to: &machine) }
        #expect(machine.isStarted(0))
        #expect(!machine.isStarted(1))
        // Offered: EDID, indirect descriptors, the event index, protocol features, VERSION_1.
        #expect(
            actions.first
                == .reply(
                    hex("01 00 00 00 05 00 00 00 08 00 00 00 02 00 00 70 01 00 00 00")))
        #expect(
            actions.contains(
                .reply(hex("0f 00 00 00 05 00 00 00 08 00 00 00 09 22 00 00 00 00 00 00"))))
        #expect(
            actions.contains(
                .reply(hex("11 00 00 00 05 00 00 00 08 00 00 00 02 00 00 00 00 00 00 00"))))
        #expect(
            actions.contains(
                .reply(
                    hex(
                        """
                        18 00 00 00 05 00 00 00 1c 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00
                        00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
                        """))))
        let layout = VirtqueueLayout(
            size: 64, descriptors: 0x1000, available: 0x2000, used: 0x3000)
        #expect(
            actions.last
                == .start(
                    ring: 0, try #require(layout), base: 0,
                    VirtioFeatures(rawValue: 0x101_7000_0002)))
        #expect(actions.contains(.takeDisplaySocket(descriptor: 0)))
        #expect(actions.contains(.setMemory(try MemoryMap([Front.region]))))
    }

    @Test func aPauseAndItsEnd() throws {
        var machine = try started()
        #expect(
            try send(try Front.state(.getRingBase, 0, 0), to: &machine) == [
                .stop(ring: 0), .replyBase(ring: 0),
            ])
        machine.ringStopped(0, base: 77)
        #expect(
            machine.baseReply(ring: 0, base: nil)
                == hex("0b 00 00 00 05 00 00 00 08 00 00 00 00 00 00 00 4d 00 00 00"))
        let layout = try #require(
            VirtqueueLayout(size: 64, descriptors: 0x1000, available: 0x2000, used: 0x3000))
        #expect(try send(try Front.state(.setRingBase, 0, 77), to: &machine).isEmpty)
        #expect(
            try send(try Front.file(.setRingKick, 0), to: &machine).last
                == .start(ring: 0, layout, base: 77, machine.features))
    }

    @Test func disablingAndEnabling() throws {
        var machine = try started()
        #expect(try send(try Front.state(.setRingEnable, 0, 0), to: &machine) == [.stop(ring: 0)])
        machine.ringStopped(0, base: 5)
        #expect(try send(try Front.state(.setRingEnable, 0, 0), to: &machine).isEmpty)
        let again = try send(try Front.state(.setRingEnable, 0, 1), to: &machine)
        guard case .start(ring: 0, _, base: 5, _)? = again.last else {
            Issue.record("\(again)")
            return
        }
        #expect(try send(try Front.message(.resetOwner), to: &machine) == [.stop(ring: 0), .reset])
        #expect(!machine.isStarted(0))
    }

    @Test func memoryThatIsPluggedIn() throws {
        var machine = try started()
        let more = MemoryRegion(guest: 1 << 32, size: 4096, user: 1 << 33, offset: 0)
        let actions = try send(try Front.memory([Front.region, more]), to: &machine)
        #expect(actions.count == 2)
        guard case .start(ring: 0, _, _, _)? = actions.last else {
            Issue.record("\(actions)")
            return
        }
        // A table without the ring's own memory is refused.
        #expect(
            reason { () throws(Refusal) in
                try send(Self.unchecked { try Front.memory([more]) }, to: &machine)
            } == .badLayout)
    }

    @Test func successIsToldWhereItIsAsked() throws {
        var machine = machine()
        let asked = try Front.message(.setOwner, needsReply: true)
        #expect(try send(asked, to: &machine).isEmpty, "not negotiated yet")
        _ = try send(try Front.number(.setProtocolFeatures, 8), to: &machine)
        #expect(try send(asked, to: &machine) == [.acknowledge(.setOwner)])
        let features = try Front.message(.getFeatures, needsReply: true)
        #expect(try send(features, to: &machine).count == 1, "its reply is enough")
    }

    private static func unchecked(_ body: () throws -> Front.Message) -> Front.Message {
        do {
            return try body()
        } catch {
            Issue.record("no message: \(error)")
            fatalError("no message")
        }
    }

    /// Every message that is refused, each sent to a machine whose ring 0 is served.
    @Test func refusals() throws {
        let user = Front.region.user
        let cases: [(String, Front.Message, RefusalReason)] = [
            ("features not offered", try Front.number(.setFeatures, 1), .unsupported),
            ("an IOMMU", try Front.number(.setFeatures, 1 << 33), .unsupported),
            ("packed rings", try Front.number(.setFeatures, 1 << 34), .unsupported),
            ("in order", try Front.number(.setFeatures, 1 << 35), .unsupported),
            ("features cut", try Front.message(.setFeatures, [1, 2]), .malformed),
            (
                "features with a descriptor",
                try Front.message(.setFeatures, little(0, 8), descriptors: 1), .descriptorCount
            ),
            ("protocol features", try Front.number(.setProtocolFeatures, 2), .unsupported),
            ("ring 2", try Front.state(.setRingSize, 2, 64), .badValue),
            ("ring 2^32-1", try Front.state(.getRingBase, .max, 0), .badValue),
            ("size 0", try Front.state(.setRingSize, 1, 0), .badValue),
            ("size 3", try Front.state(.setRingSize, 1, 3), .badValue),
            ("size 2048", try Front.state(.setRingSize, 1, 2048), .badValue),
            ("size while served", try Front.state(.setRingSize, 0, 64), .badValue),
            ("base while served", try Front.state(.setRingBase, 0, 1), .badValue),
            ("base 65536", try Front.state(.setRingBase, 1, 65_536), .badValue),
            ("a log", try Front.addresses(0, user, user, user, flags: 1), .unsupported),
            (
                "addresses outside memory",
                try Front.addresses(0, user - 16, user + 0x3000, user + 0x2000), .badLayout
            ),
            (
                "a ring that ends behind memory",
                try Front.addresses(0, user + 0x1000, user + (1 << 20) - 8, user + 0x2000),
                .badLayout
            ),
            (
                "not aligned",
                try Front.addresses(0, user + 0x1008, user + 0x3000, user + 0x2000), .badLayout
            ),
            ("kick of ring 2", try Front.file(.setRingKick, 2), .badValue),
            ("kick with bits above", try Front.file(.setRingKick, 1 << 9), .badValue),
            ("kick without", try Front.message(.setRingKick, little(0, 8)), .descriptorCount),
            (
                "no kick with one",
                try Front.message(.setRingKick, little(0x100, 8), descriptors: 1),
                .descriptorCount
            ),
            (
                "two calls", try Front.message(.setRingCall, little(0, 8), descriptors: 2),
                .descriptorCount
            ),
            ("no regions", try Front.memory([]), .badValue),
            (
                "fewer descriptors than regions",
                try Front.message(
                    .setMemoryTable, try Front.memory([Front.region]).payload, descriptors: 0),
                .malformed
            ),
            (
                "2^32-1 regions",
                try Front.message(.setMemoryTable, little(0xffff_ffff, 8), descriptors: 1),
                .malformed
            ),
            ("a display socket without", try Front.message(.setGPUSocket), .descriptorCount),
            (
                "config beyond its end",
                try Front.message(.getConfig, little(250, 4) + little(16, 4) + little(0, 20)),
                .malformed
            ),
            (
                "config of 2^32-1",
                try Front.message(
                    .getConfig, little(0xffff_ffff, 4) + little(16, 4) + little(0, 20)),
                .malformed
            ),
        ]
        for (name, message, wanted) in cases {
            var machine = try started()
            #expect(
                reason { () throws(Refusal) in try send(message, to: &machine) } == wanted,
                "\(name)")
        }
        // What belongs to features that are not offered.
        let unoffered: [VhostUserRequest] = [
            .setLogBase, .setLogDescriptor, .sendRARP, .setNetworkMTU, .setBackendChannel,
            .iotlbMessage, .setRingEndian, .createCryptoSession, .closeCryptoSession,
            .postcopyAdvise, .postcopyListen, .postcopyEnd, .getInflight, .setInflight, .ringKick,
            .getMaximumMemorySlots, .addMemoryRegion, .removeMemoryRegion, .setStatus, .getStatus,
            .getSharedObject, .setDeviceState, .checkDeviceState,
        ]
        for request in unoffered {
            var machine = try started()
            let message = try Front.message(request, little(0, 8))
            #expect(
                reason { () throws(Refusal) in try send(message, to: &machine) } == .unsupported,
                "\(request)")
        }
        for number: UInt32 in [0, 44, 1000, .max] {
            var machine = try started()
            let message: Front.Message = (try Front.header(number, 0), [], 0)
            #expect(
                reason { () throws(Refusal) in try send(message, to: &machine) } == .unsupported,
                "\(number)")
        }
    }

    @Test func heads() {
        func why(_ request: UInt64, _ flags: UInt64, _ size: UInt64) -> RefusalReason? {
            reason { () throws(Refusal) in
                try VhostUserHeader((little(request, 4) + little(flags, 4) + little(size, 4)).span)
            }
        }
        #expect(why(1, 1, 0) == nil)
        #expect(why(1, 9, 512) == nil)
        #expect(why(1, 0, 0) == .malformed)
        #expect(why(1, 2, 0) == .malformed)
        #expect(why(1, 5, 0) == .malformed, "a reply")
        #expect(why(1, 1, 513) == .malformed)
        #expect(why(1, 1, 0xffff_ffff) == .malformed)
        #expect(reason { () throws(Refusal) in try VhostUserHeader([1, 2].span) } == .malformed)
        #expect(VhostUserRequest.name(5) == "SET_MEM_TABLE")
        #expect(VhostUserRequest.name(43) == "CHECK_DEVICE_STATE")
        #expect(VhostUserRequest.name(99) == "request 99")
    }

    /// Dialogues with messages changed, left out, doubled and swapped: a ring is started only when it lies in the memory of the last
    /// table, is never started or stopped twice in a row, and every refusal has a sentence.
    @Test func mutatedDialogues() throws {
        var random = Random(seed: 8)
        let samples = try Front.start()
        var starts = 0
        var refused = 0
        for _ in 0..<20_000 {
            var machine = machine()
            var served = [false, false]
            var map: MemoryMap?
            for index in 0..<samples.count + 4 {
                var message = samples[
                    random.oneIn(12) || index >= samples.count
                        ? random.below(samples.count) : index]
                if random.oneIn(20) { message.descriptors = random.below(4) }
                if random.oneIn(10), !message.payload.isEmpty {
                    let at = random.below(message.payload.count)
                    message.payload[at] =
                        random.oneIn(2)
                        ? message.payload[at] ^ 1 << UInt8(random.below(8))
                        : UInt8(random.below(256))
                }
                if random.oneIn(40) { message.header.request = UInt32(random.below(46)) }
                if random.oneIn(60) { message.payload = Array(message.payload.dropLast()) }
                var actions: [VhostUserMachine.Action] = []
                do {
                    try machine.receive(
                        message.header, message.payload, descriptors: message.descriptors, &actions)
                } catch {
                    refused += 1
                    #expect(!error.sentence.isEmpty)
                    #expect(actions.isEmpty)
                    break
                }
                for action in actions {
                    switch action {
                    case .setMemory(let new): map = new
                    case .start(let ring, let layout, _, let features):
                        starts += 1
                        served[ring] = true
                        #expect(features == machine.features)
                        let bytes = VirtqueueLayout.bytes(size: layout.size)
                        for (at, count) in [
                            (layout.descriptors, bytes.descriptors),
                            (layout.available, bytes.available), (layout.used, bytes.used),
                        ] {
                            #expect(map?.piece(at: at, length: count)?.length == count)
                        }
                    case .stop(let ring):
                        #expect(served[ring])
                        served[ring] = false
                    default: break
                    }
                }
                for ring in 0..<2 { #expect(machine.isStarted(ring) == served[ring]) }
            }
        }
        #expect(starts > 1000)
        #expect(refused > 1000)
    }
}
