import Testing

@testable import VMBridgeCore

/// The document says what the program does: every number, every offset, every byte of its example.
@Suite("[pure] source-v1.md against the program")
struct ProtocolDocumentTests {
    let document: ProtocolDocument

    init() throws { document = try ProtocolDocument() }

    // MARK: Numbers

    @Test("record types: names, numbers, and what is reserved")
    func recordTypes() throws {
        let tables = document.tables("Type", "Name", "Object", "Body bytes")
        #expect(tables.count == 2)
        var written: [String: UInt16] = [:]
        for row in tables.flatMap(\.records) {
            let name = try #require(row["Name"])
            let type = try #require(row["Type"].flatMap(NamedNumbers.number))
            #expect(written.updateValue(type, forKey: name.lowercased()) == nil)
            #expect(RecordType.name(type) == name)
            let isReserved = try #require(row["State"]) == "reserved"
            #expect(isReserved || row["State"] == "working")
            var writer = RecordWriter()
            writer.begin(type, object: 1)
            writer.end()
            let answer = decode(writer.bytes)
            if type & 0x8000 == 0 {
                #expect((answer == .unsupported) == isReserved, "\(name)")
            } else {
                #expect(isKnownFromBridge(writer.bytes) == !isReserved, "\(name)")
                #expect(answer == .unsupported)
            }
        }
        #expect(try written == NamedNumbers.read("RecordType"))
        #expect(written.count >= 25)
    }

    @Test("field tags: names, numbers, and the records that know them")
    func fieldTags() throws {
        let rows = document.tables("Tag", "Name", "In", "Payload").flatMap(\.records)
        var working: [String: UInt16] = [:]
        var all: Set<UInt16> = []
        for row in rows {
            let name = try #require(row["Name"])
            let tag = try #require(row["Tag"].flatMap(NamedNumbers.number))
            #expect(all.insert(tag).inserted, "\(name) has a number twice")
            #expect(row["State"] == "working" || row["State"] == "reserved")
            if row["State"] == "working" { working[name] = tag }
            let records = Set((row["In"] ?? "").split(separator: " ").map(String.init))
            #expect(records.contains("–") == (row["State"] == "reserved"), "\(name)")
            for (record, type, body) in Self.fieldBearers {
                let known = answer(toField: tag, in: type, body: body) != .unsupported
                #expect(known == records.contains(record), "\(name) in \(record)")
            }
        }
        var inCode = try NamedNumbers.read("FieldTag")
        #expect(inCode.removeValue(forKey: "required_flag") == 1)
        #expect(working == inCode)
        #expect(all.count > 40)
        // Every group of the metadata record has numbers.
        #expect(Set(all.map { $0 >> 8 }) == Set(1...11))
    }

    @Test("refusals, outcomes, acquire kinds")
    func words() throws {
        let reasons = document.tables("Reason", "Word").flatMap(\.records)
        #expect(reasons.count == RefusalReason.allCases.count)
        for (row, reason) in zip(reasons, RefusalReason.allCases) {
            #expect(row["Reason"] == "\(reason.rawValue)")
            #expect(row["Word"] == reason.word)
            #expect((row["Answers"] == "connection") == reason.endsConnection, "\(reason)")
        }
        let outcomes = document.tables("Outcome", "Word").flatMap(\.rows)
        #expect(outcomes.map { $0[0] } == UseOutcome.allCases.map { "\($0.rawValue)" })
        #expect(outcomes.map { $0[1] } == UseOutcome.allCases.map { "\($0)" })
        let kinds = document.tables("Acquire", "Means").flatMap(\.records)
        #expect(kinds.count == 5)
        for row in kinds {
            let parts = (row["Acquire"] ?? "").split(separator: " ")
            let number = try #require(parts.first.flatMap { UInt32($0) })
            let kind = try #require(AcquireKind(rawValue: number))
            #expect(parts.last.map(String.init) == NamedNumbers.snake("\(kind)"))
            var writer = RecordWriter()
            var frame = FrameRecord(
                surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1),
                acquire: kind)
            frame.acquirePoint = kind == .timelinePoint ? 7 : 0
            let descriptors = row["Descriptors"] == "1" ? 1 : 0
            #expect(descriptors == kind.descriptors)
            writer.append(.frame(frame), descriptors: descriptors)
            #expect(decode(writer.bytes, descriptors) == nil)
            writer.removeAll()
            writer.append(.frame(frame), descriptors: 1 - descriptors)
            #expect(decode(writer.bytes, 1 - descriptors) != nil)
        }
    }

    @Test("the budgets that §8 names are the default ones")
    func budgets() throws {
        let limits = VMLimits()
        let rows = document.tables("What", "Default", "Above it").flatMap(\.rows)
        let expected = [
            "\(limits.surfaces)", "\(limits.buffers)", "\(limits.bytes >> 30) GiB",
            "\(limits.usesPerBuffer)", "\(VMLimits.maximumDimension) pixels",
            "\(limits.fenceLimit / 1_000_000_000) s",
            "\(limits.baseRate), and \(limits.ratePerSurface) more for each surface",
        ]
        #expect(rows.map { $0[1] } == expected)
    }

    // MARK: Offsets

    @Test("every number stands at the offset that its table says")
    func layouts() throws {
        let layouts = try document.layouts()
        let bodies = Dictionary(
            uniqueKeysWithValues: document.tables("Type", "Name", "Object", "Body bytes")
                .flatMap(\.rows).map { ($0[1], $0[3]) })
        for sample in RecordSample.all {
            let layout = try #require(layouts[sample.name], "\(sample.name) has no table")
            let bytes = sample.bytes
            #expect(Set(layout.map(\.name)) == Set(sample.members.keys), "\(sample.name)")
            var end = 16
            for member in layout {
                #expect(member.offset == end, "\(sample.name).\(member.name) leaves a gap")
                end = member.offset + member.width
                if member.type == "plane[4]" { continue }
                #expect(
                    read(bytes, member.offset, member.width) == sample.members[member.name],
                    "\(sample.name).\(member.name)")
            }
            #expect(end == sample.fieldsAt, "\(sample.name) has fields elsewhere")
            #expect(bodies[sample.name] == "\(end - 16)", "\(sample.name) has another body")
        }
        // Whatever has a layout is a record of the samples or a part checked here.
        let parts = [
            "HEADER", "FIELD", "FORMAT", "PLANE", "RECTANGLE", "SIZE", "SIZE_LIMITS", "HOT_SPOT",
        ]
        #expect(Set(layouts.keys) == Set(RecordSample.all.map(\.name) + parts))
        for (name, at, members) in RecordSample.parts {
            let layout = try #require(layouts[name])
            #expect(layout.map(\.name) == members.map(\.0))
            for (member, expected) in zip(layout, members) {
                let bytes = at.bytes
                #expect(
                    read(bytes, at.offset + member.offset, member.width) == expected.1,
                    "\(name).\(member.name)")
            }
        }
    }

    // MARK: The worked example

    @Test("the worked example is what the encoders write, and decodes")
    func example() throws {
        #expect(
            Set(document.blocks.keys)
                == Set(WorkedExample.fromProducer.keys).union(WorkedExample.fromBridge.keys))
        for (name, (record, descriptors)) in WorkedExample.fromProducer {
            let block = try #require(document.blocks[name])
            var writer = RecordWriter()
            writer.append(record, descriptors: descriptors)
            #expect(block == writer.bytes, "\(name)")
            #expect(decode(block, descriptors) == nil, "\(name) is refused")
        }
        for (name, record) in WorkedExample.fromBridge {
            let block = try #require(document.blocks[name])
            var writer = RecordWriter()
            writer.append(record)
            #expect(block == writer.bytes, "\(name)")
            #expect(try decodeFromBridge(block, record.descriptors) == record, "\(name)")
        }
    }

    @Test("a document with a wrong byte, offset or cell does not pass")
    func wrongDocuments() throws {
        #expect(throws: ProtocolDocument.Broken.self) {
            try ProtocolDocument(text: "```hex a\n0001: 00 ; x\n```\n")
        }
        #expect(throws: ProtocolDocument.Broken.self) {
            try ProtocolDocument(text: "```hex a\n0000: 0g ; x\n```\n")
        }
        #expect(throws: ProtocolDocument.Broken.self) {
            try ProtocolDocument(text: "| A | B |\n|---|---|\n| 1 |\n\n")
        }
        let small = try ProtocolDocument(text: "```hex a\n0000: 01 02 ; x\n0002: 03 ; y\n```\n")
        #expect(small.blocks["a"] == [1, 2, 3])
    }

    // MARK: Parts

    /// Records from the producer that may bear fields, and the bytes of a body that is valid without.
    static let fieldBearers: [(String, UInt16, [UInt8])] = {
        func body(_ record: ProducerRecord, _ descriptors: Int = 0) -> [UInt8] {
            var writer = RecordWriter()
            writer.append(record, descriptors: descriptors)
            return Array(writer.bytes.dropFirst(16))
        }
        let key = SurfaceKey(1)
        return [
            ("HELLO", RecordType.hello, body(.hello(producer: nil))),
            (
                "BUFFER_ALLOCATE", RecordType.bufferAllocate,
                body(
                    .bufferAllocate(
                        BufferKey(1),
                        BufferWish(size: Size(width: 1, height: 1), format: .nv12)))
            ),
            ("BUFFER_DESTROY", RecordType.bufferDestroy, []),
            ("TARGETS_QUERY", RecordType.targetsQuery, []),
            ("SURFACE_UPDATE", RecordType.surfaceUpdate, []),
            ("SURFACE_DESTROY", RecordType.surfaceDestroy, []),
            (
                "SURFACE_CREATE", RecordType.surfaceCreate,
                body(.surfaceCreate(key, .toplevel, isGraphics: true, SurfaceMetadata()))
            ),
            (
                "FRAME", RecordType.frame,
                body(
                    .frame(
                        FrameRecord(
                            surface: key, buffer: BufferKey(1), sequence: FrameSequence(1))))
            ),
            (
                "FENCE_SIGNAL", RecordType.fenceSignal,
                body(.fenceSignal(key, FrameSequence(1), isError: false))
            ),
        ]
    }()

    /// The answer to a record with one empty field that is marked required.
    private func answer(
        toField tag: UInt16, in type: UInt16, body: [UInt8]
    ) -> RefusalReason? {
        var writer = RecordWriter()
        writer.begin(type, object: 1)
        for byte in stride(from: 0, to: body.count, by: 4) {
            writer.put32(UInt32(read(body, byte, 4)))
        }
        writer.put16(tag)
        writer.put16(1)
        writer.put32(0)
        writer.end()
        return decode(writer.bytes)
    }
}

/// A little-endian number.
func read(_ bytes: [UInt8], _ offset: Int, _ width: Int) -> UInt64 {
    (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
}

/// Decodes a datagram of one record from a producer; the reason when it is refused.
func decode(_ bytes: [UInt8], _ descriptors: Int = 0) -> RefusalReason? {
    var walker = RecordWalker()
    do throws(Refusal) {
        guard let frame = try walker.next(in: bytes.span, descriptorCount: descriptors) else {
            return .malformed
        }
        _ = try ProducerDecoder.decode(frame, in: bytes.span)
        _ = try walker.next(in: bytes.span, descriptorCount: descriptors)
        return nil
    } catch {
        return error.reason
    }
}

/// Decodes a datagram of one record from the bridge; nil for a type that is not known.
func decodeFromBridge(
    _ bytes: [UInt8], _ descriptors: Int = 0
) throws(Refusal) -> BridgeRecord? {
    var walker = RecordWalker()
    guard let frame = try walker.next(in: bytes.span, descriptorCount: descriptors) else {
        return nil
    }
    return try BridgeDecoder.decode(frame, in: bytes.span)
}

private func isKnownFromBridge(_ bytes: [UInt8]) -> Bool {
    do { return try decodeFromBridge(bytes) != nil } catch { return true }
}
