/// A record's place in a datagram: its header, taken over and checked against the datagram's end.
public struct RecordFrame: Sendable, Equatable {
    /// Record type (source-v1 §5).
    public var type: UInt16
    /// How many of the datagram's descriptors belong to it.
    public var descriptorCount: Int
    /// Position of its first descriptor among the datagram's.
    public var firstDescriptor: Int
    /// Position of its header in the datagram.
    public var start: Int
    /// Position after its last byte.
    public var end: Int
    /// The surface or buffer that it is about.
    public var object: UInt64
    /// The place of a record that came by no datagram, for a source that makes records itself.
    ///
    /// - Parameter descriptors: how many belong to it, from the bundle's first.
    public init(_ record: ProducerRecord, descriptors: Int) {
        let name = record.name
        self.init(
            type: name.type, descriptorCount: descriptors, firstDescriptor: 0, start: 0, end: 0,
            object: name.object)
    }

    init(
        type: UInt16, descriptorCount: Int, firstDescriptor: Int, start: Int, end: Int,
        object: UInt64
    ) {
        self.type = type
        self.descriptorCount = descriptorCount
        self.firstDescriptor = firstDescriptor
        self.start = start
        self.end = end
        self.object = object
    }

    /// Position of its body.
    var body: Int { start + SourceProtocol.headerBytes }
    /// Bytes of its body, fields included.
    var bodyBytes: Int { end - body }
}

/// Walks the records of one datagram (source-v1 §3). The bytes are passed to each call and never kept.
public struct RecordWalker: Sendable {
    private var position = 0
    private var descriptors = 0

    /// Starts before the first record.
    public init() {}

    /// The next record, nil after the last one.
    ///
    /// - Parameter descriptorCount: how many descriptors the datagram carried.
    /// - Throws: `malformed` or `descriptorCount`; the rest of the datagram means nothing then.
    public mutating func next(
        in bytes: borrowing Span<UInt8>, descriptorCount: Int
    ) throws(Refusal) -> RecordFrame? {
        let left = bytes.count - position
        if left == 0 {
            guard position > 0 else { throw Refusal(.malformed, "The datagram is empty.") }
            guard descriptors == descriptorCount else {
                throw Refusal(
                    .descriptorCount,
                    "The datagram carried \(descriptorCount) descriptors, its records claim \(descriptors)."
                )
            }
            return nil
        }
        guard left >= SourceProtocol.headerBytes else {
            throw Refusal(
                .malformed,
                "\(left) bytes are left at offset \(position): a record's header has 16.")
        }
        let length = Int(bytes.u32(position + 4))
        guard length >= SourceProtocol.headerBytes, length % 8 == 0, length <= left else {
            throw Refusal(
                .malformed,
                "The record at offset \(position) claims \(length) bytes: lengths are multiples of 8, at least 16, and \(left) are left."
            )
        }
        let claimed = Int(bytes.u16(position + 2))
        guard descriptors + claimed <= descriptorCount else {
            throw Refusal(
                .descriptorCount,
                "The record at offset \(position) claims \(claimed) descriptors, the datagram has \(descriptorCount - descriptors) left."
            )
        }
        let frame = RecordFrame(
            type: bytes.u16(position), descriptorCount: claimed, firstDescriptor: descriptors,
            start: position, end: position + length, object: bytes.u64(position + 8))
        position += length
        descriptors += claimed
        return frame
    }
}

/// One field of a record: its tag and where its payload stands.
struct Field {
    var tag: UInt16
    var isRequired: Bool
    var start: Int
    var length: Int
}

/// Walks the fields behind a record's fixed body (source-v1 §3.2).
struct FieldWalker {
    private var position: Int
    private let end: Int
    /// Tags seen so far: field groups are few, so a record holds at most this many fields.
    private var seen: InlineArray<16, UInt16> = InlineArray(repeating: 0)
    private var count = 0

    init(start: Int, end: Int) {
        position = start
        self.end = end
    }

    mutating func next(in bytes: borrowing Span<UInt8>) throws(Refusal) -> Field? {
        let left = end - position
        if left == 0 { return nil }
        guard left >= SourceProtocol.fieldHeaderBytes else {
            throw Refusal(
                .badField, "\(left) bytes are left in the record: a field's header has 8.")
        }
        let tag = bytes.u16(position)
        let flags = bytes.u16(position + 2)
        let length = Int(bytes.u32(position + 4))
        let padded = SourceProtocol.fieldHeaderBytes + (length + 7) / 8 * 8
        guard padded <= left else {
            throw Refusal(
                .badField,
                "Field 0x\(String(tag, radix: 16)) claims \(length) bytes, its record has \(left - 8) left."
            )
        }
        guard flags <= FieldTag.requiredFlag else {
            throw Refusal(.badField, "Field 0x\(String(tag, radix: 16)) has unknown flags.")
        }
        for index in 0..<count where seen[index] == tag {
            throw Refusal(.badField, "Field 0x\(String(tag, radix: 16)) stands twice in a record.")
        }
        guard count < 16 else { throw Refusal(.badField, "The record has more than 16 fields.") }
        seen[count] = tag
        count += 1
        let field = Field(
            tag: tag, isRequired: flags == FieldTag.requiredFlag,
            start: position + SourceProtocol.fieldHeaderBytes, length: length)
        position += padded
        return field
    }
}
