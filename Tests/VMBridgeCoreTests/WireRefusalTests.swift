import Testing
import VMBridgeCore

/// Each rule of the wire format has an input that breaks it, and the reason that it is refused with.
@Suite("[pure] wire: refusals")
struct WireRefusalTests {
    private func why(_ bytes: [UInt8], descriptors: Int = 0) -> RefusalReason? {
        reason { () throws(Refusal) in try decodeProducer(bytes, descriptors: descriptors) }
    }

    private func patched(_ sample: Sample, _ changes: [Int: UInt8]) -> RefusalReason? {
        var bytes = sample.bytes
        for (index, byte) in changes { bytes[index] = byte }
        return why(bytes, descriptors: sample.descriptors)
    }

    private let frameBody = words(7, 0, 1, 0, 0, 0)

    private func frame(_ fields: [[UInt8]]) -> [UInt8] {
        rawRecord(0x30, object: 1, body: frameBody, fields: fields)
    }

    @Test func framing() {
        #expect(why([]) == .malformed)
        #expect(why([UInt8](repeating: 0, count: 15)) == .malformed)
        for length: UInt8 in [0, 8, 15, 17, 20, 23, 24, 255] {
            #expect(patched(Samples.bufferDestroy, [4: length]) == .malformed, "\(length)")
        }
        #expect(patched(Samples.bufferDestroy, [7: 0x80]) == .malformed)
        // A second header that is cut off spoils the datagram, not the first record.
        let bytes = Samples.bufferDestroy.bytes + [0x11, 0, 0, 0, 0x10, 0, 0, 0]
        var walker = RecordWalker()
        let span = bytes.span
        let first = try? walker.next(in: span, descriptorCount: 0)
        #expect(first?.object == 7)
        #expect(throws: Refusal.self) { try walker.next(in: bytes.span, descriptorCount: 0) }
    }

    @Test func descriptorCounts() {
        // Fewer or more than the records claim.
        #expect(why(Samples.bufferMemfd.bytes, descriptors: 0) == .descriptorCount)
        #expect(why(Samples.bufferMemfd.bytes, descriptors: 2) == .descriptorCount)
        #expect(why(Samples.bufferMemfd.bytes, descriptors: 1) == nil)
        #expect(why(Samples.batch.bytes, descriptors: 3) == .descriptorCount)
        #expect(why(Samples.batch.bytes, descriptors: 5) == .descriptorCount)
        #expect(patched(Samples.bufferMemfd, [2: 0xff, 3: 0xff]) == .descriptorCount)
        // A record that claims the wrong number for what it is.
        for sample in [
            Samples.hello, Samples.bufferDestroy, Samples.surfaceCreate, Samples.surfaceUpdate,
            Samples.surfaceDestroy, Samples.framePlain, Samples.fenceSignal,
        ] {
            var bytes = sample.bytes
            bytes[2] = 1
            #expect(why(bytes, descriptors: 1) == .unusedDescriptor, "\(sample.name)")
        }
        var bytes = Samples.frameFull.bytes
        bytes[2] = 0
        #expect(why(bytes, descriptors: 0) == .badDescriptor)
        bytes[2] = 2
        #expect(why(bytes, descriptors: 2) == .unusedDescriptor)
        bytes = Samples.bufferMemfd.bytes
        bytes[2] = 0
        #expect(why(bytes, descriptors: 0) == .badDescriptor)
        bytes[2] = 2
        #expect(why(bytes, descriptors: 2) == .unusedDescriptor)
        bytes[2] = 5
        #expect(why(bytes, descriptors: 5) == .badDescriptor)
    }

    @Test func greetings() {
        for (lowest, highest, expected): (UInt32, UInt32, RefusalReason?) in [
            (1, 1, nil), (0, 1, nil), (1, 9, nil), (2, 9, .version), (0, 0, .version),
            (0xffff, 0xffff, .version), (2, 1, .version),
        ] {
            let bytes = rawRecord(
                1, object: 0, body: words(0x3142_4d56, lowest | highest << 16))
            #expect(why(bytes) == expected, "\(lowest) to \(highest)")
        }
        #expect(why(rawRecord(1, object: 0, body: words(0x3142_4d57, 0x10001))) == .malformed)
        #expect(why(rawRecord(1, object: 0)) == .malformed)
    }

    @Test func buffers() {
        let sample = Samples.bufferMemfd
        #expect(patched(sample, [8: 0]) == .badValue)  // buffer 0
        #expect(patched(sample, [28: 2]) == .badValue)  // flags
        #expect(patched(sample, [40: 0]) == .badValue)  // memory kind
        #expect(patched(sample, [40: 3]) == .badValue)
        #expect(patched(sample, [44: 0]) == .badValue)  // planes
        #expect(patched(sample, [44: 5]) == .badValue)
        #expect(patched(sample, [47: 0x80]) == .badValue)
        #expect(patched(sample, [48: 1]) == .badDescriptor)  // a descriptor that is not there
        #expect(patched(sample, [51: 0xff]) == .badDescriptor)
        #expect(patched(sample, [60: 1]) == .badValue)  // reserved word of a plane
        for place in 64..<112 {
            #expect(patched(sample, [place: 1]) == .badValue, "byte \(place)")
        }
        // Two planes of one descriptor are fine, four planes of two as well.
        #expect(patched(sample, [44: 2, 64: 0, 72: 8]) == nil)
        #expect(
            patched(Samples.bufferPlanes, [44: 4, 80: 1, 96: 0]) == nil)
        // Both planes in the first descriptor leave the second one without a use.
        #expect(patched(Samples.bufferPlanes, [64: 0]) == .unusedDescriptor)
    }

    @Test func surfaces() {
        let sample = Samples.surfaceCreate
        #expect(patched(sample, [8: 0]) == .badValue)
        #expect(patched(sample, [16: 0]) == .badValue)
        #expect(patched(sample, [16: 5]) == .badValue)
        #expect(patched(Samples.surfaceUpdate, [8: 0]) == .badValue)
        #expect(patched(Samples.surfaceDestroy, [8: 0]) == .badValue)
        let update = { (fields: [[UInt8]]) in
            self.why(rawRecord(0x21, object: 1, fields: fields))
        }
        #expect(update([rawField(0x0201, words(1))]) == .badField)  // parent, 4 bytes
        #expect(update([rawField(0x0205, words(1))]) == .badField)  // hot spot, 4 bytes
        #expect(update([rawField(0x0205, words(16384, 16384))]) == nil)
        #expect(update([rawField(0x0205, words(16385, 0))]) == .badValue)
        #expect(update([rawField(0x0205, words(0, 0xffff_ffff))]) == .badValue)
        #expect(update([rawField(0x0507, words(1, 1, 1))]) == .badField)
        #expect(update([rawField(0x0507, words(2, 1, 1, 1))]) == .badValue)
        #expect(update([rawField(0x0507, words(1, 2, 1, 1))]) == .badValue)
        #expect(update([rawField(0x0507, words(2, 2, 0, 0))]) == nil)
        #expect(update([rawField(0x0507, words(16385, 2, 0, 0))]) == .badValue)
        #expect(update([rawField(0x0507, words(0, 0, 0, 16385))]) == .badValue)
        #expect(update([rawField(0x0505, words(0, 0, 16385, 1))]) == .badValue)
        #expect(update([rawField(0x0505, words(1))]) == .badField)
        #expect(update([rawField(0x0301, [UInt8](repeating: 0x61, count: 4096))]) == nil)
        #expect(update([rawField(0x0301, [UInt8](repeating: 0x61, count: 4097))]) == .badField)
        #expect(update([rawField(0x0302, [UInt8](repeating: 0x61, count: 60000))]) == .badField)
    }

    @Test func frames() {
        let sample = Samples.framePlain
        #expect(patched(sample, [8: 0]) == .badValue)
        #expect(patched(sample, [16: 0]) == .badValue)
        for (kind, expected): (UInt8, RefusalReason?) in [
            (0, nil), (1, nil), (2, .badDescriptor), (3, .badDescriptor), (4, nil), (5, .badValue),
        ] {
            #expect(patched(sample, [32: kind]) == expected, "acquire \(kind)")
        }
        #expect(patched(sample, [36: 1]) == .badValue)
        #expect(why(frame([rawField(0x0501, words(1, 2, 3))])) == .badField)
        #expect(why(frame([rawField(0x0501, words(16385, 2, 3, 4))])) == .badValue)
        #expect(why(frame([rawField(0x0501, words(0xffff_ffff, 0, 2, 2))])) == .badValue)
        #expect(why(frame([rawField(0x0502, words(0, 1))])) == .badValue)
        #expect(why(frame([rawField(0x0502, words(1, 16385))])) == .badValue)
        #expect(why(frame([rawField(0x0502, words(1))])) == .badField)
        #expect(why(frame([rawField(0x0504, words(7))])) == nil)
        #expect(why(frame([rawField(0x0504, words(8))])) == .badValue)
        #expect(why(frame([rawField(0x0504, words(1, 1))])) == .badField)
        #expect(why(frame([rawField(0x0701, words(1_000_000_000, 0))])) == nil)
        #expect(why(frame([rawField(0x0701, words(1_000_000_001, 0))])) == .badValue)
        #expect(why(frame([rawField(0x0701, words(0, 1))])) == .badValue)
        #expect(why(frame([rawField(0x0701, words(0))])) == .badField)
    }

    @Test func damageLists() throws {
        let list = { (count: Int) -> [UInt8] in
            (0..<count).flatMap { words(UInt32($0 * 10), 0, 5, 5) }
        }
        for count in [0, 1, 8, 9, 64] {
            let bytes = frame([rawField(0x0601, list(count))])
            guard case .frame(let frame) = try decodeProducer(bytes)[0] else {
                Issue.record("not a frame")
                return
            }
            #expect(!frame.damage.isWhole && frame.damage.count == min(count, 8))
            for index in 0..<count {
                // Every rectangle of the guest lies inside one of those that are kept.
                let x = UInt32(index * 10)
                #expect(
                    rectangles(frame.damage).contains {
                        $0.x <= x && $0.x + $0.width >= x + 5 && $0.y == 0 && $0.height == 5
                    })
            }
        }
        #expect(why(frame([rawField(0x0601, list(65))])) == .badField)
        #expect(why(frame([rawField(0x0601, words(1, 2))])) == .badField)
        #expect(why(frame([rawField(0x0601, words(0, 0, 16385, 1))])) == .badValue)
    }

    @Test func signals() {
        #expect(patched(Samples.fenceSignal, [24: 0]) == nil)
        #expect(patched(Samples.fenceSignal, [24: 2]) == .badValue)
        #expect(patched(Samples.fenceSignal, [28: 1]) == .badValue)
        #expect(patched(Samples.fenceSignal, [8: 0]) == .badValue)
    }

    @Test func fieldRules() {
        let crop = rawField(0x0501, words(0, 0, 1, 1))
        #expect(why(frame([crop, crop])) == .badField)
        let unknown = rawField(0x7777, [1, 2, 3])
        #expect(why(frame([unknown])) == nil)
        #expect(why(frame([unknown, unknown])) == .badField)
        #expect(why(frame([rawField(0x7777, flags: 1, [1])])) == .unsupported)
        #expect(why(frame([rawField(0x0501, flags: 1, words(0, 0, 1, 1))])) == nil)
        #expect(why(frame([rawField(0x7777, flags: 2, [1])])) == .badField)
        #expect(why(frame([rawField(0x7777, flags: 0x8001, [1])])) == .badField)
        // A length that reaches past the record.
        #expect(why(frame([rawField(0x7777, [1], length: 9)])) == .badField)
        #expect(why(frame([rawField(0x7777, [1], length: 0xffff_ffff)])) == .badField)
        #expect(why(frame([rawField(0x7777, [], length: 0)])) == nil)
        // Sixteen fields are read, a seventeenth is too many.
        let many = (0..<17).map { rawField(0x7000 + UInt16($0), []) }
        #expect(why(frame(Array(many.prefix(16)))) == nil)
        #expect(why(frame(many)) == .badField)
        // Records without fields of their own skip optional ones too.
        for (type, object, body): (UInt16, UInt64, [UInt8]) in [
            (0x11, 7, []), (0x22, 1, []), (0x31, 1, words(1, 0, 0, 0)),
            (0x01, 0, words(0x3142_4d56, 0x10001)),
        ] {
            #expect(
                why(rawRecord(type, object: object, body: body, fields: [unknown])) == nil,
                "type \(type)")
            #expect(
                why(
                    rawRecord(
                        type, object: object, body: body, fields: [rawField(0x7777, flags: 1, [])]))
                    == .unsupported, "type \(type)")
        }
    }

    @Test func timelinePoints() {
        func frame(_ acquire: UInt32, descriptors: UInt16, _ fields: [[UInt8]]) -> RefusalReason? {
            why(
                rawRecord(
                    0x30, object: 1, descriptors: descriptors,
                    body: words(1, 0, 1, 0, acquire, 0), fields: fields),
                descriptors: Int(descriptors))
        }
        let point = rawField(0x0801, words(7, 0))
        #expect(frame(3, descriptors: 1, [point]) == nil)
        #expect(frame(3, descriptors: 0, [point]) == .badDescriptor)
        #expect(frame(3, descriptors: 1, []) == .badValue)
        #expect(frame(3, descriptors: 1, [rawField(0x0801, words(0, 0))]) == .badValue)
        #expect(frame(3, descriptors: 1, [rawField(0x0801, words(7))]) == .badField)
        #expect(frame(2, descriptors: 1, [point]) == .badValue)
        #expect(frame(2, descriptors: 1, []) == nil)
        #expect(frame(1, descriptors: 0, []) == nil)
    }

    @Test func wantedReleases() throws {
        func hello(_ wanted: [UInt8]) -> RefusalReason? {
            why(
                rawRecord(
                    0x01, object: 0, body: words(0x3142_4d56, 0x10001),
                    fields: [rawField(0x0802, wanted)]))
        }
        #expect(hello(words(1)) == nil)
        #expect(hello(words(2)) == nil)
        #expect(hello(words(0)) == .badValue)
        #expect(hello(words(3)) == .badValue)
        #expect(hello(words(1, 1)) == .badField)
        var writer = RecordWriter()
        writer.append(.hello(producer: "p", takesFences: true))
        guard case .hello("p", true, false) = try decodeProducer(writer.bytes).first
        else {
            Issue.record("no greeting that takes fences")
            return
        }
    }

    @Test func rolesOfConnections() throws {
        func hello(_ fields: [UInt8]...) -> RefusalReason? {
            why(rawRecord(0x01, object: 0, body: words(0x3142_4d56, 0x10001), fields: fields))
        }
        #expect(hello(rawField(0x010a, words(1))) == nil)
        #expect(hello(rawField(0x010a, flags: 1, words(2))) == nil)
        #expect(hello(rawField(0x010a, words(0))) == .badValue)
        #expect(hello(rawField(0x010a, words(3))) == .badValue)
        #expect(hello(rawField(0x010a, words(2, 0))) == .badField)
        #expect(hello(rawField(0x0806, words(1)), rawField(0x010a, words(2))) == nil)
        #expect(hello(rawField(0x0806, words(0))) == .badValue)
        #expect(hello(rawField(0x0806, words(3))) == .badValue)
        #expect(hello(rawField(0x0806, [1])) == .badField)
        // Who says that it is a producer is one, whatever fences it would take.
        let bytes = rawRecord(
            0x01, object: 0, body: words(0x3142_4d56, 0x10001),
            fields: [rawField(0x010a, words(1)), rawField(0x0806, words(2))])
        guard case .hello(nil, false, false)? = try decodeProducer(bytes).first else {
            Issue.record("not a producer")
            return
        }
        #expect(why(rawRecord(0x40, object: 1)) == .badValue)
        #expect(
            why(rawRecord(0x40, object: 0, descriptors: 1), descriptors: 1) == .unusedDescriptor)
        // Where a surface comes from is told when it is made, and never changes.
        let origin = rawField(0x010c, flags: 1, [0x61])
        #expect(why(rawRecord(0x20, object: 1, body: words(1, 0), fields: [origin])) == nil)
        #expect(why(rawRecord(0x21, object: 1, fields: [origin])) == .unsupported)
    }

    @Test func whatAConsumerMaySay() throws {
        func why(_ bytes: [UInt8], _ descriptors: Int = 0) -> RefusalReason? {
            reason { () throws(Refusal) in
                var walker = RecordWalker()
                while let frame = try walker.next(in: bytes.span, descriptorCount: descriptors) {
                    _ = try ConsumerDecoder.decode(frame, in: bytes.span)
                }
            }
        }
        for sample in [
            Samples.released, Samples.configure, Samples.close, Samples.presented,
            Samples.discarded, Samples.refused,
        ] {
            #expect(why(sample.bytes) == nil, "\(sample.name)")
            var bytes = sample.bytes
            bytes[2] = 1
            #expect(why(bytes, 1) == .unusedDescriptor, "\(sample.name)")
            guard sample.name != "REFUSED" else { continue }
            bytes = sample.bytes
            for place in 8..<16 { bytes[place] = 0 }
            #expect(why(bytes) == .badValue, "\(sample.name)")
        }
        // A producer's records, and those with which only a bridge answers.
        for sample in Samples.fromProducer + [
            Samples.welcome, Samples.targets, Samples.formatsChanged, Samples.surfaceFormats,
            Samples.allocated, Samples.inputKey, Samples.inputAxis, Samples.keymap,
        ] {
            #expect(why(sample.bytes, sample.descriptors) == .unsupported, "\(sample.name)")
        }
        #expect(why(rawRecord(0x8fff, object: 1)) == .unsupported)
        var fenced = Samples.released.bytes
        fenced[36] = 1
        #expect(why(fenced) == .badDescriptor)
        fenced[2] = 1
        #expect(why(fenced, 1) == nil)
        fenced[2] = 2
        #expect(why(fenced, 2) == .badDescriptor || why(fenced, 2) == .unusedDescriptor)
        func configure(_ width: UInt32, _ scale: UInt32, _ states: UInt32) -> RefusalReason? {
            why(rawRecord(0x8020, object: 1, body: words(width, 1, scale, states, 0, 0)))
        }
        #expect(configure(16384, 120, 0x3fe) == nil)
        #expect(configure(16385, 120, 0) == .badValue)
        #expect(configure(1, 0, 0) == .badValue)
        #expect(configure(1, 12_001, 0) == .badValue)
        #expect(configure(1, 120, 1) == .badValue)
        #expect(configure(1, 120, 0x400) == .badValue)
        let unknown = rawField(0x7777, flags: 1, [])
        #expect(why(rawRecord(0x8021, object: 1, fields: [unknown])) == .unsupported)
        #expect(why(rawRecord(0x8021, object: 1, fields: [rawField(0x7777, [1])])) == nil)
        #expect(why(rawRecord(0x8030, object: 1, body: words(1, 0))) == .badField)
    }

    /// Tags that the protocol reserves for later: skipped while optional, refused when required.
    @Test func reservedTags() {
        let reserved: [UInt16] = [0x0103, 0x0104, 0x0202, 0x0303, 0x0304, 0x0401, 0x0503, 0x0506]
        for tag in reserved + [0x0602, 0x0702, 0x0803, 0x0901, 0x0a01, 0x0b02, 0x0c01, 0xffff] {
            #expect(why(frame([rawField(tag, words(1, 2))])) == nil, "tag \(tag)")
            #expect(
                why(frame([rawField(tag, flags: 1, words(1, 2))])) == .unsupported, "tag \(tag)")
            #expect(
                why(rawRecord(0x21, object: 1, fields: [rawField(tag, flags: 1, [])]))
                    == .unsupported, "tag \(tag)")
        }
    }

    @Test func reservedRecords() {
        for type: UInt16 in [0x50, 0x51] {
            #expect(why(rawRecord(type, object: 1)) == .unsupported, "type \(type)")
            #expect(!RecordType.name(type).contains("0x"), "type \(type) has a name")
        }
        // So is everything that nobody defined, and the bridge's own records coming back.
        for type in [0, 2, 0x0f, 0x13, 0x23, 0x32, 0x7fff, 0x8001, 0x8010, 0x80f0, 0xffff]
            as [UInt16]
        {
            #expect(why(rawRecord(type, object: 1)) == .unsupported, "type \(type)")
        }
        #expect(RecordType.name(0x7abc).contains("0x7abc"))
    }

    @Test func unknownRecordsOfABridgeAreSkipped() throws {
        for type: UInt16 in [0x8003, 0x8050, 0x8062, 0x8fff, 0x0030] {
            #expect(try decodeBridge(rawRecord(type, object: 1)) == [nil], "type \(type)")
        }
        let why = { (bytes: [UInt8]) in reason { () throws(Refusal) in try decodeBridge(bytes) } }
        var bytes = Samples.released.bytes
        bytes[32] = 5
        #expect(why(bytes) == .badValue)
        bytes = Samples.refused.bytes
        bytes[18] = 200
        #expect(why(bytes) == .badValue)
        let entries = [UInt8](repeating: 0, count: 24 * 1025)
        #expect(why(rawRecord(0x8002, object: 0, fields: [rawField(0x0b01, entries)])) == .badField)
        #expect(
            why(rawRecord(0x8002, object: 0, fields: [rawField(0x0b01, [1, 2])])) == .badField)
    }

    /// A refused frame still names the buffer that must be released.
    @Test func identityOfARefusedFrame() throws {
        var bytes = Samples.framePlain.bytes
        bytes[32] = 9
        var walker = RecordWalker()
        let span = bytes.span
        let record = try #require(try walker.next(in: span, descriptorCount: 0))
        #expect(reason { () throws(Refusal) in try decodeProducer(bytes) } == .badValue)
        let identity = ProducerDecoder.frameIdentity(record, in: span)
        #expect(identity?.buffer == BufferKey(7) && identity?.sequence == FrameSequence(42))

        let short = rawRecord(0x30, object: 1, body: words(7, 0))
        var other = RecordWalker()
        let shortSpan = short.span
        let cut = try #require(try other.next(in: shortSpan, descriptorCount: 0))
        #expect(ProducerDecoder.frameIdentity(cut, in: shortSpan) == nil)
        let destroy = Samples.fenceSignal.bytes
        var third = RecordWalker()
        let destroySpan = destroy.span
        let signal = try #require(try third.next(in: destroySpan, descriptorCount: 0))
        #expect(ProducerDecoder.frameIdentity(signal, in: destroySpan) == nil)
    }
}
