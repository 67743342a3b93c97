/// The producer's reading of what the bridge sends: for the reference producer and tests.
public enum BridgeDecoder {
    /// Decodes a record from the bridge; nil for a type that this version does not know.
    ///
    /// - Throws: `badField` or `badValue` when the body is not what source-v1 says.
    public static func decode(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BridgeRecord? {
        let at = record.body
        switch record.type {
        case RecordType.released:
            try require(record, 24)
            guard let outcome = UseOutcome(rawValue: bytes.u32(at + 16)) else {
                throw Refusal(.badValue, "RELEASED has an unknown outcome.")
            }
            let (buffer, surface) = (BufferKey(record.object), SurfaceKey(bytes.u64(at)))
            let sequence = FrameSequence(bytes.u64(at + 8))
            guard bytes.u32(at + 20) & 1 == 1 else {
                return .released(buffer, surface, sequence, outcome)
            }
            guard record.descriptorCount == 1 else {
                throw Refusal(.badDescriptor, "A RELEASED with a fence has one descriptor.")
            }
            return .releasedWithFence(buffer, surface, sequence, outcome)
        case RecordType.allocated:
            let layout = try ProducerDecoder.layout(record, in: bytes)
            let allocator = try fields(record, from: at + 96, in: bytes).allocator
            return .allocated(BufferKey(record.object), layout, allocator: allocator)
        case RecordType.presented:
            try require(record, 32)
            return .presented(
                SurfaceKey(record.object),
                PresentedRecord(
                    sequence: FrameSequence(bytes.u64(at)), time: bytes.u64(at + 8),
                    latency: bytes.u64(at + 16), refresh: bytes.u32(at + 24),
                    flags: bytes.u32(at + 28)))
        case RecordType.discarded:
            try require(record, 8)
            return .discarded(SurfaceKey(record.object), FrameSequence(bytes.u64(at)))
        case RecordType.configure:
            try require(record, 24)
            var configure = ConfigureRecord(
                size: Size(width: bytes.u32(at), height: bytes.u32(at + 4)),
                states: bytes.u32(at + 12), wantsFrame: bytes.u32(at + 16) & 1 == 1)
            configure.scale = bytes.u32(at + 8)
            return .configure(SurfaceKey(record.object), configure)
        case RecordType.close: return .close(SurfaceKey(record.object))
        case RecordType.refused: return try refused(record, in: bytes)
        case RecordType.formatsChanged:
            let formats = try fields(record, from: at, in: bytes).formats
            guard record.object != 0 else { return .formatsChanged(formats) }
            return .surfaceFormats(SurfaceKey(record.object), formats)
        case RecordType.welcome: return try welcome(record, in: bytes)
        case RecordType.targets:
            return .targets(try fields(record, from: at, in: bytes).targets)
        case RecordType.input:
            try require(record, InputWire.bodyBytes)
            return InputWire.read(bytes, at: at).map { .input(SurfaceKey(record.object), $0) }
        case RecordType.keymap: return try keymap(record, in: bytes)
        default: return nil
        }
    }

    /// Nil for a format of keymaps that this version does not know.
    private static func keymap(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BridgeRecord? {
        try require(record, 16)
        let at = record.body
        var keymap = KeymapRecord(
            size: bytes.u32(at + 4), repeatRate: bytes.u32(at + 8),
            repeatDelay: bytes.u32(at + 12))
        switch bytes.u32(at) {
        case 0: keymap.size = 0
        case 1:
            guard 1...SourceProtocol.maximumKeymap ~= keymap.size else {
                throw Refusal(.badValue, "A keymap has 1 to \(SourceProtocol.maximumKeymap) bytes.")
            }
            guard record.descriptorCount == 1 else {
                throw Refusal(.badDescriptor, "A keymap has one descriptor.")
            }
        default: return nil
        }
        return .keymap(keymap)
    }

    private static func refused(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BridgeRecord {
        try require(record, 16)
        let at = record.body
        guard let reason = RefusalReason(rawValue: bytes.u16(at + 2)) else {
            throw Refusal(.badValue, "REFUSED has an unknown reason.")
        }
        let sentence = try fields(record, from: at + 16, in: bytes).sentence
        return .refused(
            RefusedRecord(
                type: bytes.u16(at), object: record.object,
                sequence: FrameSequence(bytes.u64(at + 8)), refusal: Refusal(reason, sentence)))
    }

    private static func welcome(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BridgeRecord {
        try require(record, 64)
        let at = record.body
        var limits = VMLimits()
        limits.surfaces = Int(bytes.u32(at + 16))
        limits.buffers = Int(bytes.u32(at + 20))
        limits.bytes = bytes.u64(at + 24)
        limits.fenceLimit = UInt64(bytes.u32(at + 44)) * 1_000_000
        limits.baseRate = Int(bytes.u32(at + 48))
        limits.ratePerSurface = Int(bytes.u32(at + 52))
        limits.usesPerBuffer = Int(bytes.u32(at + 56))
        let fields = try fields(record, from: at + 64, in: bytes)
        var welcome = Welcome(
            generation: record.object, limits: limits, vmName: fields.vmName,
            formats: fields.formats)
        welcome.version = bytes.u32(at)
        welcome.memoryKinds = bytes.u32(at + 4)
        welcome.acquireKinds = bytes.u32(at + 8)
        welcome.releaseKinds = bytes.u32(at + 12)
        return .welcome(welcome)
    }

    private struct Fields {
        var sentence = ""
        var vmName = ""
        var formats: [ImportableFormat] = []
        var allocator: UInt32 = 0
        var targets: [HandTarget] = []
    }

    private static func fields(
        _ record: RecordFrame, from start: Int, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> Fields {
        var result = Fields()
        var walker = FieldWalker(start: start, end: record.end)
        while let field = try walker.next(in: bytes) {
            switch field.tag {
            case FieldTag.sentence:
                result.sentence = CleanText.clean(
                    bytes, from: field.start, count: min(field.length, SourceProtocol.maximumText))
            case FieldTag.vmName:
                result.vmName = CleanText.clean(
                    bytes, from: field.start, count: min(field.length, SourceProtocol.maximumText))
            case FieldTag.targets:
                guard field.length <= SourceProtocol.maximumText else {
                    throw Refusal(.badField, "A list of targets has at most 4096 bytes.")
                }
                result.targets = TargetList.read(bytes, from: field.start, count: field.length)
            case FieldTag.allocator:
                guard field.length == 4 else {
                    throw Refusal(.badField, "An allocator is a word of 4 bytes.")
                }
                result.allocator = bytes.u32(field.start)
            case FieldTag.formats:
                guard
                    field.length % 24 == 0, field.length / 24 <= SourceProtocol.maximumFormats
                else { throw Refusal(.badField, "A format list has entries of 24 bytes.") }
                for index in 0..<field.length / 24 {
                    let at = field.start + index * 24
                    result.formats.append(
                        ImportableFormat(
                            format: FourCC(bytes.u32(at)), modifier: Modifier(bytes.u64(at + 8)),
                            memory: bytes.u32(at + 4), device: bytes.u64(at + 16)))
                }
            default: break
            }
        }
        return result
    }

    private static func require(_ record: RecordFrame, _ count: Int) throws(Refusal) {
        guard record.bodyBytes >= count else {
            throw Refusal(
                .badField, "\(RecordType.name(record.type)) has a body of \(count) bytes.")
        }
    }
}
