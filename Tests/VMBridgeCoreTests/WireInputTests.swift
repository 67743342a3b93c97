import Testing

@testable import VMBridgeCore

@Suite("[pure] wire: input, keymaps and cursors")
struct WireInputTests {
    private func raw(_ kind: UInt32, _ places: [UInt32], time: UInt64 = 0x0102_0304_0506) -> [UInt8]
    {
        rawRecord(
            0x8060, object: 5,
            body: words(
                kind, places[0], UInt32(truncatingIfNeeded: time), UInt32(time >> 32), places[1],
                places[2], places[3], places[4]))
    }

    private func why(_ bytes: [UInt8], _ descriptors: Int = 0) -> RefusalReason? {
        reason { () throws(Refusal) in try decodeBridge(bytes, descriptors: descriptors) }
    }

    @Test("every kind of input, bytes by hand, both ways")
    func kinds() throws {
        #expect(InputSamples.all.count == 15)
        for (index, sample) in InputSamples.all.enumerated() {
            let bytes = raw(UInt32(index + 1), sample.places)
            let record = BridgeRecord.input(
                SurfaceKey(5), InputRecord(sample.event, time: 0x0102_0304_0506))
            #expect(encode(record) == bytes, "\(sample.event)")
            #expect(try decodeBridge(bytes) == [record], "\(sample.event)")
            #expect(record.descriptors == 0)
        }
    }

    @Test("the document's table of kinds is the program's")
    func table() throws {
        let rows = try ProtocolDocument().tables("Kind", "Word", "Means", "detail")
            .flatMap(\.records)
        #expect(rows.map { $0["Kind"] } == (1...15).map { "\($0)" })
        #expect(rows.map { $0["Word"] } == InputSamples.all.map { InputSamples.word(of: $0.event) })
        for (row, sample) in zip(rows, InputSamples.all) {
            // A place that the document leaves empty is 0, and the samples leave no other at 0 alone.
            for (name, value) in zip(["detail", "a", "b", "c", "d"], sample.places)
            where row[name]?.isEmpty == true {
                #expect(value == 0, "\(sample.event), \(name)")
            }
        }
        #expect(rows[3]["a"] == "depressed" && rows[3]["d"] == "group")
    }

    @Test("what a later version may add is skipped: kinds, axes, states, formats of keymaps")
    func unknown() throws {
        for kind: UInt32 in [0, 16, 17, 255, .max] {
            #expect(try decodeBridge(raw(kind, [1, 2, 3, 4, 5])) == [nil], "kind \(kind)")
        }
        #expect(try decodeBridge(raw(3, [30, 2, 0, 0, 0])) == [nil])
        #expect(try decodeBridge(raw(8, [0x110, .max, 0, 0, 0])) == [nil])
        #expect(try decodeBridge(raw(9, [2, 1, 1, 0, 0])) == [nil])
        #expect(try decodeBridge(raw(10, [.max, 0, 0, 0, 0])) == [nil])
        for format: UInt32 in [2, .max] {
            let bytes = rawRecord(0x8061, object: 0, body: words(format, 1 << 24, 0, 0))
            #expect(try decodeBridge(bytes) == [nil])
        }
        // Fields that nobody knows are no reason to miss a key.
        let longer = rawRecord(
            0x8060, object: 5, body: words(3, 30, 0, 0, 1, 0, 0, 0), fields: [rawField(0x7777, [1])]
        )
        #expect(
            try decodeBridge(longer) == [
                .input(SurfaceKey(5), InputRecord(.key(30, isPressed: true)))
            ])
        #expect(why(rawRecord(0x8060, object: 5, body: words(3, 30, 0, 0, 1, 0))) == .badField)
    }

    @Test("keymaps: sizes, descriptors, none at all")
    func keymaps() throws {
        let keymap = BridgeRecord.keymap(
            KeymapRecord(size: 4096, repeatRate: 25, repeatDelay: 600))
        #expect(encode(keymap) == Samples.keymap.bytes && keymap.descriptors == 1)
        #expect(try decodeBridge(Samples.keymap.bytes, descriptors: 1) == [keymap])
        let none = BridgeRecord.keymap(KeymapRecord(size: 0, repeatRate: 1, repeatDelay: 2))
        let bytes = rawRecord(0x8061, object: 0, body: words(0, 0, 1, 2))
        #expect(encode(none) == bytes && none.descriptors == 0)
        #expect(try decodeBridge(bytes) == [none])
        // No keymap has no size, whatever stands there.
        #expect(try decodeBridge(rawRecord(0x8061, object: 0, body: words(0, 9, 1, 2))) == [none])
        func sized(_ size: UInt32, _ descriptors: UInt16) -> RefusalReason? {
            why(
                rawRecord(
                    0x8061, object: 0, descriptors: descriptors, body: words(1, size, 0, 0)),
                Int(descriptors))
        }
        #expect(sized(1, 1) == nil && sized(1 << 20, 1) == nil)
        #expect(sized(0, 1) == .badValue && sized(1 << 20 + 1, 1) == .badValue)
        #expect(sized(.max, 1) == .badValue)
        #expect(sized(1, 0) == .badDescriptor && sized(1, 2) == .badDescriptor)
        #expect(why(rawRecord(0x8061, object: 0, body: words(1, 1))) == .badField)
        #expect(RecordType.name(0x8060) == "INPUT" && RecordType.name(0x8061) == "KEYMAP")
    }

    @Test("whether input is wanted")
    func greetings() throws {
        guard case .hello("vmm", false, true)? = try decodeProducer(Samples.helloInput.bytes).first
        else {
            Issue.record("not a greeting that wants input")
            return
        }
        #expect(encode(.hello(producer: "vmm", wantsInput: true)) == Samples.helloInput.bytes)
        func hello(_ wanted: [UInt8]) throws(Refusal) -> Bool? {
            let record = try decodeProducer(
                rawRecord(
                    0x01, object: 0, body: words(0x3142_4d56, 0x10001),
                    fields: [rawField(0x0906, wanted)]))
            if case .hello(_, _, let wantsInput)? = record.first { return wantsInput }
            return nil
        }
        #expect(try hello(words(0)) == false && hello(words(1)) == true)
        #expect(reason { () throws(Refusal) in try hello(words(2)) } == .badValue)
        #expect(reason { () throws(Refusal) in try hello(words(.max)) } == .badValue)
        #expect(reason { () throws(Refusal) in try hello(words(1, 0)) } == .badField)
        #expect(reason { () throws(Refusal) in try hello([]) } == .badField)
        // A consumer's means nothing.
        let consumer = rawRecord(
            0x01, object: 0, body: words(0x3142_4d56, 0x10001),
            fields: [rawField(0x010a, words(2)), rawField(0x0906, words(1))])
        guard case .greetConsumer? = try decodeProducer(consumer).first else {
            Issue.record("not a consumer")
            return
        }
    }

    @Test("a cursor's hot spot, and that an update keeps what it does not name")
    func hotSpots() throws {
        guard
            case .surfaceCreate(SurfaceKey(2), .cursor, true, var metadata)? =
                try decodeProducer(Samples.cursorCreate.bytes).first
        else {
            Issue.record("not a cursor")
            return
        }
        #expect(metadata.parent == SurfaceKey(1) && metadata.hotSpot == HotSpot(x: 7, y: 9))
        #expect(
            encode(.surfaceCreate(SurfaceKey(2), .cursor, isGraphics: true, metadata))
                == Samples.cursorCreate.bytes)
        var title = SurfaceMetadata()
        title.title = "x"
        metadata.apply(title)
        #expect(metadata.hotSpot == HotSpot(x: 7, y: 9))
        var moved = SurfaceMetadata()
        moved.hotSpot = HotSpot(x: 0, y: 1)
        metadata.apply(moved)
        #expect(metadata.hotSpot == HotSpot(x: 0, y: 1) && metadata.parent == SurfaceKey(1))
        // In no other record.
        let spot = rawField(0x0205, flags: 1, words(1, 1))
        #expect(
            decode(
                rawRecord(0x30, object: 1, body: words(7, 0, 1, 0, 0, 0), fields: [spot]))
                == .unsupported)
    }

    @Test("a cursor is shown at 256x256 at most, whatever its buffer has")
    func cursorSizes() {
        func why(
            _ size: Size, role: SurfaceRole = .cursor,
            _ change: (inout FrameRecord) -> Void = { _ in }
        ) -> RefusalReason? {
            var frame = FrameRecord(
                surface: SurfaceKey(2), buffer: BufferKey(1), sequence: FrameSequence(1))
            change(&frame)
            return reason { () throws(Refusal) in
                try FrameValidator.validate(frame, bufferSize: size, last: nil, role: role)
            }
        }
        let large = Size(width: 512, height: 300)
        #expect(why(Size(width: 256, height: 256)) == nil)
        #expect(why(Size(width: 257, height: 1)) == .badValue)
        #expect(why(Size(width: 1, height: 257)) == .badValue)
        #expect(why(large) == .badValue && why(large, role: .toplevel) == nil)
        #expect(why(large) { $0.crop = Rectangle(x: 0, y: 0, width: 256, height: 256) } == nil)
        #expect(
            why(large) { $0.crop = Rectangle(x: 0, y: 0, width: 257, height: 25) } == .badValue)
        #expect(why(large) { $0.destination = Size(width: 64, height: 64) } == nil)
        #expect(
            why(Size(width: 8, height: 8)) { $0.destination = Size(width: 64, height: 300) }
                == .badValue)
        #expect(why(large) { $0.transform = .flippedVertically } == .badValue)
    }
}
