import Testing
import VMBridgeCore

/// Bytes written by hand decode to the stated values, and those values encode to the same bytes.
@Suite("[pure] wire: hand-written bytes, both ways")
struct WireGoldenTests {
    private func one(_ sample: Sample) throws -> ProducerRecord {
        let records = try decodeProducer(sample.bytes, descriptors: sample.descriptors)
        try #require(records.count == 1)
        #expect(
            encode(records[0], descriptors: sample.descriptors) == sample.bytes, "\(sample.name)")
        return records[0]
    }

    private func oneBack(_ sample: Sample, is expected: BridgeRecord) throws {
        #expect(encode(expected) == sample.bytes, "\(sample.name)")
        #expect(
            try decodeBridge(sample.bytes, descriptors: sample.descriptors) == [expected],
            "\(sample.name)")
    }

    @Test func hello() throws {
        guard case .hello(let producer, _, _) = try one(Samples.hello) else {
            Issue.record("not a greeting")
            return
        }
        #expect(producer == "demo")
        #expect(
            encode(.hello(producer: nil))
                == hex("01 00 00 00 18 00 00 00 00 00 00 00 00 00 00 00 56 4d 42 31 01 00 01 00"))
    }

    @Test func consumers() throws {
        guard case .greetConsumer(let greeting) = try one(Samples.helloConsumer) else {
            Issue.record("not a consumer's greeting")
            return
        }
        #expect(greeting == ConsumerGreeting(name: "rec", takesFences: true))
        let plain = encode(.greetConsumer(ConsumerGreeting()))
        guard
            case .greetConsumer(ConsumerGreeting(name: nil, takesFences: false))? =
                try decodeProducer(plain).first
        else {
            Issue.record("not a plain greeting")
            return
        }
        guard case .targetsQuery = try one(Samples.targetsQuery) else {
            Issue.record("not a query")
            return
        }
        guard
            case .surfaceCreate(SurfaceKey(3), .toplevel, false, let metadata) = try one(
                Samples.handedSurface)
        else {
            Issue.record("not a surface")
            return
        }
        #expect(metadata.originVM == "a" && metadata.title == "[a] T")
        try oneBack(Samples.targets, is: .targets([.consumer("a"), .vm("b")]))
        try oneBack(
            Sample(
                name: "TARGETS, none",
                bytes: hex(
                    "40 80 00 00 18 00 00 00 00 00 00 00 00 00 00 00 0b 01 00 00 00 00 00 00")),
            is: .targets([]))
    }

    /// Only names, whatever stands in the list.
    @Test func listsOfTargets() throws {
        func read(_ text: String) throws -> [HandTarget]? {
            let bytes = rawRecord(0x8040, object: 0, fields: [rawField(0x010b, Array(text.utf8))])
            guard case .targets(let targets)? = try decodeBridge(bytes)[0] else { return nil }
            return targets
        }
        #expect(try read("") == [])
        #expect(try read("vm:a.b-c_D9") == [.vm("a.b-c_D9")])
        #expect(try read("  vm:a   consumer:b ") == [.vm("a"), .consumer("b")])
        #expect(try read("vm: consumer vm:a:b vm:é other:x vm:\u{0}") == [])
        let many = (0..<100).map { "vm:n\($0)" }.joined(separator: " ")
        #expect(try read(many)?.count == 64)
        #expect(
            reason { () throws(Refusal) in
                try decodeBridge(
                    rawRecord(
                        0x8040, object: 0,
                        fields: [rawField(0x010b, [UInt8](repeating: 0x20, count: 4097))]))
            } == .badField)
        // What cannot be a name never gets onto the wire.
        let odd = encode(.targets([.vm("a b"), .consumer("x\ny"), .vm(""), .vm("ok")]))
        #expect(try decodeBridge(odd) == [.targets([.vm("ok")])])
        let long = (0..<100).map { HandTarget.vm("n\($0)") }
        #expect(try decodeBridge(encode(.targets(long))) == [.targets(Array(long.prefix(64)))])
    }

    @Test func buffers() throws {
        guard case .bufferCreate(let key, let layout) = try one(Samples.bufferMemfd) else {
            Issue.record("not a buffer")
            return
        }
        #expect(key == BufferKey(7))
        #expect(
            layout
                == BufferLayout(
                    size: Size(width: 640, height: 480), format: .xrgb8888, modifier: .linear,
                    memory: .memfd, planes: [PlaneLayout(descriptor: 0, offset: 4096, stride: 2560)]
                ))
        guard case .bufferCreate(let other, let planes) = try one(Samples.bufferPlanes) else {
            Issue.record("not a buffer")
            return
        }
        #expect(other == BufferKey(0x0102_0304_0506_0708))
        #expect(
            planes
                == BufferLayout(
                    size: Size(width: 321, height: 201), format: .nv12,
                    modifier: Modifier(0x0100_0000_0000_0002), memory: .dmaBuf, isBottomUp: true,
                    planes: [
                        PlaneLayout(descriptor: 0, offset: 0, stride: 384),
                        PlaneLayout(descriptor: 1, offset: 64, stride: 384),
                    ]))
        guard case .bufferDestroy(BufferKey(7)) = try one(Samples.bufferDestroy) else {
            Issue.record("not a destroy of buffer 7")
            return
        }
    }

    @Test func allocation() throws {
        guard case .bufferAllocate(let key, let wish) = try one(Samples.bufferAllocate) else {
            Issue.record("not a wish for memory")
            return
        }
        #expect(key == BufferKey(9))
        #expect(
            wish
                == BufferWish(
                    size: Size(width: 640, height: 480), format: .xrgb8888, isContiguous: true,
                    modifiers: [Modifier(0x0100_0000_0000_0002), .linear]))
        try oneBack(
            Samples.allocated,
            is: .allocated(
                BufferKey(9),
                BufferLayout(
                    size: Size(width: 320, height: 200), format: .nv12, modifier: .linear,
                    memory: .dmaBuf,
                    planes: [
                        PlaneLayout(descriptor: 0, offset: 0, stride: 384),
                        PlaneLayout(descriptor: 1, offset: 64, stride: 384),
                    ]), allocator: 3))
        // Without the field LINEAR is all that the producer can write.
        let plain = BufferWish(size: Size(width: 1, height: 1), format: .nv12)
        let bytes = encode(.bufferAllocate(BufferKey(1), plain))
        #expect(bytes.count == 40)
        guard case .bufferAllocate(_, plain)? = try decodeProducer(bytes).first else {
            Issue.record("not the plain wish")
            return
        }
    }

    @Test func surfaces() throws {
        guard
            case .surfaceCreate(let key, let role, let isGraphics, let metadata) = try one(
                Samples.surfaceCreate)
        else {
            Issue.record("not a surface")
            return
        }
        var expected = SurfaceMetadata()
        expected.title = "Term"
        expected.appID = "org.term"
        #expect(key == SurfaceKey(1) && role == .toplevel && isGraphics && metadata == expected)

        guard case .surfaceUpdate(let updated, let update) = try one(Samples.surfaceUpdate) else {
            Issue.record("not an update")
            return
        }
        var news = SurfaceMetadata()
        news.consumerTag = "ivi"
        news.parent = SurfaceKey(2)
        news.minimumSize = Size(width: 64, height: 48)
        news.maximumSize = Size(width: 16384, height: 0)
        news.opaqueRegion = Rectangle(x: 1, y: 2, width: 3, height: 4)
        #expect(updated == SurfaceKey(1) && update == news)
        // An update replaces what it names and keeps the rest.
        expected.apply(update)
        news.title = "Term"
        news.appID = "org.term"
        #expect(expected == news)

        guard case .surfaceDestroy(SurfaceKey(1)) = try one(Samples.surfaceDestroy) else {
            Issue.record("not a destroy of surface 1")
            return
        }
    }

    @Test func contentKindAndRoles() throws {
        for role in [SurfaceRole.toplevel, .popup, .subsurface, .cursor] {
            let bytes = encode(.surfaceCreate(SurfaceKey(9), role, isGraphics: false, .init()))
            guard
                case .surfaceCreate(let key, let back, let isGraphics, let metadata) =
                    try decodeProducer(bytes)[0]
            else {
                Issue.record("not a surface")
                return
            }
            #expect(key == SurfaceKey(9) && back == role && !isGraphics && metadata == .init())
        }
    }

    @Test func frames() throws {
        guard case .frame(let plain) = try one(Samples.framePlain) else {
            Issue.record("not a frame")
            return
        }
        #expect(plain.surface == SurfaceKey(1) && plain.buffer == BufferKey(7))
        #expect(plain.sequence == FrameSequence(42) && plain.acquire == .message)
        #expect(plain.damage.isWhole && plain.crop == nil && plain.destination == nil)
        #expect(plain.transform == .normal && plain.targetTime == 0)

        guard case .frame(let full) = try one(Samples.frameFull) else {
            Issue.record("not a frame")
            return
        }
        #expect(full.sequence == FrameSequence(43) && full.acquire == .syncFile)
        #expect(
            rectangles(full.damage) == [
                Rectangle(x: 0, y: 0, width: 16, height: 8),
                Rectangle(x: 256, y: 200, width: 1, height: 1),
            ])
        #expect(full.crop == Rectangle(x: 8, y: 4, width: 320, height: 240))
        #expect(full.destination == Size(width: 640, height: 480))
        #expect(full.transform == .flippedVertically && full.targetTime == 1_000_000)

        guard
            case .fenceSignal(SurfaceKey(1), FrameSequence(42), true) = try one(Samples.fenceSignal)
        else {
            Issue.record("not a signal")
            return
        }
    }

    @Test func noDamageIsNotWholeDamage() throws {
        var frame = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        frame.damage = .none
        guard case .frame(let back) = try decodeProducer(encode(.frame(frame)))[0] else {
            Issue.record("not a frame")
            return
        }
        #expect(back.damage.isEmpty && !back.damage.isWhole)
    }

    @Test func fromBridge() throws {
        try oneBack(
            Samples.welcome,
            is: .welcome(
                Welcome(
                    generation: 3, limits: VMLimits(), vmName: "work",
                    formats: [
                        ImportableFormat(
                            format: .xrgb8888, modifier: .linear, memory: 3, device: 0xe280)
                    ])))
        try oneBack(
            Samples.formatsChanged,
            is: .formatsChanged([
                ImportableFormat(format: .argb8888, modifier: .linear, memory: 2),
                ImportableFormat(format: .nv12, modifier: .invalid, memory: 1, device: 0xe280),
            ]))
        try oneBack(
            Samples.surfaceFormats,
            is: .surfaceFormats(
                SurfaceKey(1),
                [
                    ImportableFormat(
                        format: .xrgb8888, modifier: Modifier(0x0100_0000_0000_0007),
                        memory: ImportableFormat.bit(.dmaBuf) | ImportableFormat.scanout,
                        device: 0xe280)
                ]))
        try oneBack(
            Samples.released,
            is: .released(BufferKey(7), SurfaceKey(1), FrameSequence(42), .superseded))
        var configure = ConfigureRecord(
            size: Size(width: 800, height: 600), states: 0b10010, wantsFrame: true)
        configure.scale = 180
        try oneBack(Samples.configure, is: .configure(SurfaceKey(1), configure))
        try oneBack(Samples.close, is: .close(SurfaceKey(1)))
        try oneBack(
            Samples.presented,
            is: .presented(
                SurfaceKey(1),
                PresentedRecord(
                    sequence: FrameSequence(42), time: 1_000_000_000, latency: 1_000_000,
                    refresh: 16_657_434, flags: 7)))
        try oneBack(Samples.discarded, is: .discarded(SurfaceKey(1), FrameSequence(42)))
        try oneBack(
            Samples.refused,
            is: .refused(
                RefusedRecord(
                    type: 0x30, object: 1, sequence: FrameSequence(42),
                    refusal: Refusal(.fenceTimeout, "Late."))))
    }

    @Test func everyReasonAndOutcomeCrosses() throws {
        for reason in RefusalReason.allCases {
            let record = BridgeRecord.refused(
                RefusedRecord(type: 0x10, object: 5, refusal: Refusal(reason, "Because.")))
            #expect(try decodeBridge(encode(record)) == [record])
            #expect(reason.endsConnection == (reason.rawValue < 16))
        }
        #expect(Set(RefusalReason.allCases.map(\.word)).count == RefusalReason.allCases.count)
        for outcome in UseOutcome.allCases {
            let record = BridgeRecord.released(
                BufferKey(.max), SurfaceKey(.max), FrameSequence(.max), outcome)
            #expect(try decodeBridge(encode(record)) == [record])
            let fenced = BridgeRecord.releasedWithFence(
                BufferKey(.max), SurfaceKey(.max), FrameSequence(.max), outcome)
            var writer = RecordWriter()
            writer.append(fenced)
            #expect(writer.descriptors == 1 && fenced.descriptors == 1)
            #expect(writer.bytes[2] == 1 && writer.bytes[36] == 1)
        }
    }

    /// A datagram takes whole records, up to both of its limits.
    @Test func datagramsEndBetweenRecords() {
        var writer = RecordWriter()
        let plain = BridgeRecord.released(
            BufferKey(1), SurfaceKey(1), FrameSequence(1), .shown)
        let fenced = BridgeRecord.releasedWithFence(
            BufferKey(1), SurfaceKey(1), FrameSequence(1), .shown)
        for _ in 0..<20 {
            writer.append(fenced)
            writer.append(plain)
        }
        #expect(writer.descriptors == 20)
        #expect(writer.wholeRecords(upTo: 65536) == (32 * 40, 16))
        #expect(writer.wholeRecords(upTo: 100) == (80, 1))
        #expect(writer.wholeRecords(upTo: 119) == (80, 1))
        #expect(writer.wholeRecords(upTo: 120) == (120, 2))
        writer.removeFirst(32 * 40, descriptors: 16)
        #expect(writer.descriptors == 4)
        #expect(writer.wholeRecords(upTo: 65536) == (8 * 40, 4))
        writer.removeAll()
        #expect(writer.descriptors == 0 && writer.wholeRecords(upTo: 65536) == (0, 0))
    }

    @Test func batchBothWays() throws {
        let records = try decodeProducer(Samples.batch.bytes, descriptors: 4)
        #expect(records.count == 7)
        var writer = RecordWriter()
        for (record, count) in zip(records, [0, 1, 2, 0, 0, 1, 0]) {
            writer.append(record, descriptors: count)
        }
        #expect(writer.bytes == Samples.batch.bytes)
        // Descriptors belong to the records in order.
        var walker = RecordWalker()
        var first: [Int] = []
        let bytes = Samples.batch.bytes
        let span = bytes.span
        while let frame = try walker.next(in: span, descriptorCount: 4) {
            first.append(frame.firstDescriptor)
        }
        #expect(first == [0, 0, 1, 3, 3, 3, 4])

        let back = Samples.fromBridge.flatMap(\.bytes)
        let claimed = Samples.bridgeDescriptors
        #expect(claimed == 3)
        #expect(try decodeBridge(back, descriptors: claimed).count == Samples.fromBridge.count)
        writer.removeAll()
        #expect(writer.isEmpty)
        for record in try decodeBridge(back, descriptors: claimed) {
            writer.append(try #require(record))
        }
        #expect(writer.bytes == back)
        writer.removeFirst(Samples.welcome.bytes.count)
        #expect(writer.bytes == Array(back.dropFirst(Samples.welcome.bytes.count)))
    }

    @Test func longSentencesAndListsAreCutByTheWriter() throws {
        let long = String(repeating: "é", count: 5000)
        let bytes = encode(
            .refused(RefusedRecord(type: 0, object: 0, refusal: Refusal(.busy, long))))
        guard case .refused(let refused)? = try decodeBridge(bytes)[0] else {
            Issue.record("not a refusal")
            return
        }
        #expect(refused.refusal.sentence == String(repeating: "é", count: 128))
        let formats = (0..<2000).map {
            ImportableFormat(format: .xrgb8888, modifier: Modifier(UInt64($0)), memory: 1)
        }
        let list = encode(.formatsChanged(formats))
        #expect(list.count <= SourceProtocol.maximumDatagram)
        #expect(try decodeBridge(list) == [.formatsChanged(Array(formats.prefix(1024)))])
    }
}
