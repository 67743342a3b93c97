/// Turns what a consumer says into values or refusals (source-v1 §12). Total, as `ProducerDecoder` is:
/// a consumer is trusted as little as a producer.
public enum ConsumerDecoder {
    /// Decodes a record of a consumer that has greeted: RELEASED, CONFIGURE, CLOSE, PRESENTED, DISCARDED
    /// or REFUSED, the same bytes with which a bridge answers a producer.
    ///
    /// - Throws: a refusal of this record alone.
    public static func decode(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BridgeRecord {
        let body: Int
        switch record.type {
        case RecordType.released, RecordType.configure: body = 24
        case RecordType.close: body = 0
        case RecordType.presented: body = 32
        case RecordType.discarded: body = 8
        case RecordType.refused: body = 16
        default:
            throw Refusal(
                .unsupported, "\(RecordType.name(record.type)) is nothing that a consumer sends.")
        }
        guard let decoded = try BridgeDecoder.decode(record, in: bytes) else {
            throw Refusal(.unsupported, "\(RecordType.name(record.type)) is not known here.")
        }
        guard record.descriptorCount == decoded.descriptors else {
            throw Refusal(
                record.descriptorCount > decoded.descriptors ? .unusedDescriptor : .badDescriptor,
                "\(RecordType.name(record.type)) takes \(decoded.descriptors) descriptors here, not \(record.descriptorCount)."
            )
        }
        if case .configure(_, let configure) = decoded { try check(configure) }
        guard record.object != 0 || record.type == RecordType.refused else {
            throw Refusal(.badValue, "0 names no surface and no buffer.")
        }
        var fields = FieldWalker(start: record.body + body, end: record.end)
        while let field = try fields.next(in: bytes) {
            let isKnown = record.type == RecordType.refused && field.tag == FieldTag.sentence
            guard isKnown || !field.isRequired else {
                throw Refusal(
                    .unsupported,
                    "Field 0x\(String(field.tag, radix: 16)) is marked required and is not known here."
                )
            }
        }
        return decoded
    }

    private static func check(_ configure: ConfigureRecord) throws(Refusal) {
        let limit = VMLimits.maximumDimension
        guard configure.size.width <= limit, configure.size.height <= limit else {
            throw Refusal(.badValue, "A window of \(configure.size): sides go to \(limit).")
        }
        guard (1...12_000).contains(configure.scale) else {
            throw Refusal(.badValue, "A scale goes from 1 to 12000: 120 times the factor.")
        }
        // States 1 to 9 of xdg_toplevel are known.
        guard configure.states & ~0x3fe == 0 else {
            throw Refusal(.badValue, "A window's states are bits 1 to 9.")
        }
    }
}
