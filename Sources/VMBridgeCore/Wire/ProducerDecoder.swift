/// Turns one record's bytes into a value or a refusal (source-v1 §5). Total: every input ends in one
/// of the two. Reads each byte once, keeps none, and allocates only what it has bounded.
public enum ProducerDecoder {
    /// Decodes the record that the walker found.
    ///
    /// - Throws: a refusal that concerns this record alone, except for a greeting's `version` and
    ///   `malformed`, which end the connection.
    public static func decode(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        switch record.type {
        case RecordType.frame: return .frame(try frame(record, in: bytes))
        case RecordType.hello: return try hello(record, in: bytes)
        case RecordType.bufferCreate: return try bufferCreate(record, in: bytes)
        case RecordType.bufferAllocate: return try bufferAllocate(record, in: bytes)
        case RecordType.surfaceCreate: return try surfaceCreate(record, in: bytes)
        case RecordType.surfaceUpdate:
            try requireDescriptors(0, record)
            let metadata = try metadata(record, fieldsAt: record.body, in: bytes)
            return .surfaceUpdate(try surfaceKey(record.object), metadata)
        case RecordType.bufferDestroy:
            try requireBare(record, in: bytes)
            return .bufferDestroy(try bufferKey(record.object))
        case RecordType.surfaceDestroy:
            try requireBare(record, in: bytes)
            return .surfaceDestroy(try surfaceKey(record.object))
        case RecordType.fenceSignal: return try fenceSignal(record, in: bytes)
        case RecordType.targetsQuery:
            try requireBare(record, in: bytes)
            guard record.object == 0 else {
                throw Refusal(.badValue, "TARGETS_QUERY is about no object.")
            }
            return .targetsQuery
        default:
            throw Refusal(
                .unsupported, "\(RecordType.name(record.type)) is not part of version 1 yet.")
        }
    }

    /// The buffer and sequence that a FRAME record names, also when the rest of it is refused: such a
    /// frame still gets its one RELEASED. Nil for other records and for too short a body.
    public static func frameIdentity(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) -> (buffer: BufferKey, sequence: FrameSequence)? {
        guard record.type == RecordType.frame, record.bodyBytes >= 24 else { return nil }
        return (BufferKey(bytes.u64(record.body)), FrameSequence(bytes.u64(record.body + 8)))
    }

    // MARK: Greeting

    private static func hello(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        guard record.bodyBytes >= 8, bytes.u32(record.body) == SourceProtocol.magic else {
            throw Refusal(.malformed, "The greeting does not begin with VMB1.")
        }
        let lowest = bytes.u16(record.body + 4)
        let highest = bytes.u16(record.body + 6)
        guard lowest <= SourceProtocol.version, highest >= SourceProtocol.version else {
            throw Refusal(
                .version,
                "The producer speaks versions \(lowest) to \(highest), this bridge speaks 1.")
        }
        try requireDescriptors(0, record)
        var name: String?
        var takesFences = false
        var role = ConnectionRole.producer
        var takesAcquireFences = false
        var wantsInput = false
        var fields = FieldWalker(start: record.body + 8, end: record.end)
        while let field = try fields.next(in: bytes) {
            switch field.tag {
            case FieldTag.producerName: name = try text(field, in: bytes)
            case FieldTag.releaseWanted:
                try require(field, bytes: 4)
                let wanted = bytes.u32(field.start)
                guard wanted == 1 || wanted == 2 else {
                    throw Refusal(.badValue, "Releases are wanted as records (1) or fences (2).")
                }
                takesFences = wanted == 2
            case FieldTag.inputWanted:
                try require(field, bytes: 4)
                let wanted = bytes.u32(field.start)
                guard wanted <= 1 else {
                    throw Refusal(.badValue, "Input is wanted (1) or not (0).")
                }
                wantsInput = wanted == 1
            case FieldTag.acquireWanted:
                try require(field, bytes: 4)
                let wanted = bytes.u32(field.start)
                guard wanted == 1 || wanted == 2 else {
                    throw Refusal(.badValue, "Frames are wanted complete (1) or with fences (2).")
                }
                takesAcquireFences = wanted == 2
            case FieldTag.connectionRole:
                try require(field, bytes: 4)
                guard let known = ConnectionRole(rawValue: bytes.u32(field.start)) else {
                    throw Refusal(.badValue, "Who greets is a producer (1) or a consumer (2).")
                }
                role = known
            default: try skip(field)
            }
        }
        guard role == .producer else {
            return .greetConsumer(ConsumerGreeting(name: name, takesFences: takesAcquireFences))
        }
        return .hello(producer: name, takesFences: takesFences, wantsInput: wantsInput)
    }

    // MARK: Buffers

    private static func bufferCreate(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        let layout = try layout(record, in: bytes)
        try skipFields(from: record.body + 96, record, in: bytes)
        return .bufferCreate(BufferKey(record.object), layout)
    }

    private static func bufferAllocate(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        let at = record.body
        guard record.bodyBytes >= 24 else {
            throw Refusal(.badField, "BUFFER_ALLOCATE has a body of 24 bytes.")
        }
        try requireDescriptors(0, record)
        let key = try bufferKey(record.object)
        let flags = bytes.u32(at + 12)
        guard flags <= 1, bytes.u64(at + 16) == 0 else {
            throw Refusal(.badValue, "BUFFER_ALLOCATE has unknown flags or a reserved word.")
        }
        var wish = BufferWish(
            size: size(bytes, at), format: FourCC(bytes.u32(at + 8)), isContiguous: flags == 1)
        var fields = FieldWalker(start: at + 24, end: record.end)
        while let field = try fields.next(in: bytes) {
            switch field.tag {
            case FieldTag.allocation:
                let count = field.length / 8
                guard field.length % 8 == 0, (1...SourceProtocol.maximumModifiers).contains(count)
                else { throw Refusal(.badField, "An allocation names 1 to 64 modifiers.") }
                wish.modifiers.removeAll()
                for index in 0..<count {
                    wish.modifiers.append(Modifier(bytes.u64(field.start + index * 8)))
                }
            default: try skip(field)
            }
        }
        return .bufferAllocate(key, wish)
    }

    /// The 96 bytes that describe a buffer, in BUFFER_CREATE and ALLOCATED alike.
    static func layout(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> BufferLayout {
        let at = record.body
        let name = RecordType.name(record.type)
        guard record.bodyBytes >= 96 else {
            throw Refusal(.badField, "\(name) has a body of 96 bytes.")
        }
        _ = try bufferKey(record.object)
        let flags = bytes.u32(at + 12)
        guard flags <= 1 else { throw Refusal(.badValue, "\(name) has unknown flags.") }
        guard let memory = MemoryKind(rawValue: bytes.u32(at + 24)) else {
            throw Refusal(.badValue, "The memory kind is 1 (dma-buf) or 2 (memfd).")
        }
        let count = Int(bytes.u32(at + 28))
        guard (1...4).contains(count) else {
            throw Refusal(.badValue, "A buffer has 1 to 4 planes, not \(count).")
        }
        guard (1...4).contains(record.descriptorCount) else {
            throw Refusal(.badDescriptor, "A buffer has 1 to 4 descriptors.")
        }
        var planes: [PlaneLayout] = []
        planes.reserveCapacity(4)
        var named: UInt32 = 0
        for index in 0..<4 {
            let plane = at + 32 + index * 16
            let layout = PlaneLayout(
                descriptor: bytes.u32(plane), offset: bytes.u32(plane + 4),
                stride: bytes.u32(plane + 8))
            let reserved = bytes.u32(plane + 12)
            if index < count {
                guard layout.descriptor < UInt32(record.descriptorCount) else {
                    throw Refusal(
                        .badDescriptor,
                        "Plane \(index) names descriptor \(layout.descriptor), the record has \(record.descriptorCount)."
                    )
                }
                guard reserved == 0 else {
                    throw Refusal(.badValue, "Plane \(index) has a reserved word that is not 0.")
                }
                named |= 1 << layout.descriptor
                planes.append(layout)
            } else if layout != PlaneLayout(descriptor: 0, offset: 0, stride: 0) || reserved != 0 {
                throw Refusal(.badValue, "The places of planes that are not there must be 0.")
            }
        }
        guard named == (1 << UInt32(record.descriptorCount)) - 1 else {
            throw Refusal(.unusedDescriptor, "A descriptor of the buffer belongs to no plane.")
        }
        return BufferLayout(
            size: Size(width: bytes.u32(at), height: bytes.u32(at + 4)),
            format: FourCC(bytes.u32(at + 8)), modifier: Modifier(bytes.u64(at + 16)),
            memory: memory, isBottomUp: flags & 1 == 1, planes: planes)
    }

    // MARK: Surfaces

    private static func surfaceCreate(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        guard record.bodyBytes >= 8 else {
            throw Refusal(.badField, "SURFACE_CREATE has a body of 8 bytes.")
        }
        try requireDescriptors(0, record)
        let key = try surfaceKey(record.object)
        guard let role = SurfaceRole(rawValue: bytes.u32(record.body)) else {
            throw Refusal(.badValue, "The role is a number from 1 to 4.")
        }
        let metadata = try metadata(record, fieldsAt: record.body + 8, in: bytes, isNew: true)
        return .surfaceCreate(
            key, role, isGraphics: bytes.u32(record.body + 4) == 0, metadata)
    }

    private static func metadata(
        _ record: RecordFrame, fieldsAt start: Int, in bytes: borrowing Span<UInt8>,
        isNew: Bool = false
    ) throws(Refusal) -> SurfaceMetadata {
        var metadata = SurfaceMetadata()
        var fields = FieldWalker(start: start, end: record.end)
        while let field = try fields.next(in: bytes) {
            switch field.tag {
            case FieldTag.title: metadata.title = try text(field, in: bytes)
            case FieldTag.appID: metadata.appID = try text(field, in: bytes)
            case FieldTag.consumerTag: metadata.consumerTag = try text(field, in: bytes)
            case FieldTag.originVM where isNew: metadata.originVM = try text(field, in: bytes)
            case FieldTag.parent:
                try require(field, bytes: 8)
                metadata.parent = SurfaceKey(bytes.u64(field.start))
            case FieldTag.cursorHotSpot:
                try require(field, bytes: 8)
                let spot = HotSpot(x: bytes.u32(field.start), y: bytes.u32(field.start + 4))
                guard max(spot.x, spot.y) <= VMLimits.maximumDimension else {
                    throw Refusal(.badValue, "A hot spot lies within 16384 pixels.")
                }
                metadata.hotSpot = spot
            case FieldTag.sizeLimits:
                try require(field, bytes: 16)
                let smallest = size(bytes, field.start)
                let largest = size(bytes, field.start + 8)
                try checkLimits(smallest, largest)
                metadata.minimumSize = smallest
                metadata.maximumSize = largest
            case FieldTag.opaqueRegion:
                try require(field, bytes: 16)
                metadata.opaqueRegion = try rectangle(bytes, field.start)
            default: try skip(field)
            }
        }
        return metadata
    }

    private static func checkLimits(_ smallest: Size, _ largest: Size) throws(Refusal) {
        let limit = VMLimits.maximumDimension
        guard
            smallest.width <= limit, smallest.height <= limit, largest.width <= limit,
            largest.height <= limit,
            largest.width == 0 || smallest.width <= largest.width,
            largest.height == 0 || smallest.height <= largest.height
        else {
            throw Refusal(.badValue, "The size limits \(smallest) to \(largest) cannot be met.")
        }
    }

    // MARK: Frames

    private static func frame(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> FrameRecord {
        let at = record.body
        guard record.bodyBytes >= 24 else {
            throw Refusal(.badField, "FRAME has a body of 24 bytes.")
        }
        guard let acquire = AcquireKind(rawValue: bytes.u32(at + 16)) else {
            throw Refusal(.badValue, "The acquire kind is a number from 0 to 4.")
        }
        guard bytes.u32(at + 20) == 0 else {
            throw Refusal(.badValue, "FRAME has unknown flags.")
        }
        try requireDescriptors(acquire.descriptors, record)
        var frame = FrameRecord(
            surface: try surfaceKey(record.object), buffer: try bufferKey(bytes.u64(at)),
            sequence: FrameSequence(bytes.u64(at + 8)), acquire: acquire)
        var fields = FieldWalker(start: at + 24, end: record.end)
        while let field = try fields.next(in: bytes) {
            switch field.tag {
            case FieldTag.damage: frame.damage = try damage(field, in: bytes)
            case FieldTag.crop:
                try require(field, bytes: 16)
                frame.crop = try rectangle(bytes, field.start)
            case FieldTag.destination:
                try require(field, bytes: 8)
                let size = size(bytes, field.start)
                guard
                    (1...VMLimits.maximumDimension).contains(size.width),
                    (1...VMLimits.maximumDimension).contains(size.height)
                else { throw Refusal(.badValue, "The destination \(size) is out of range.") }
                frame.destination = size
            case FieldTag.transform:
                try require(field, bytes: 4)
                guard let transform = Transform(rawValue: bytes.u32(field.start)) else {
                    throw Refusal(.badValue, "A transform is a number from 0 to 7.")
                }
                frame.transform = transform
            case FieldTag.targetTime:
                try require(field, bytes: 8)
                let offset = bytes.u64(field.start)
                guard offset <= SourceProtocol.maximumTargetTime else {
                    throw Refusal(.badValue, "A target time lies at most one second ahead.")
                }
                frame.targetTime = offset
            case FieldTag.acquirePoint:
                try require(field, bytes: 8)
                frame.acquirePoint = bytes.u64(field.start)
            default: try skip(field)
            }
        }
        guard (acquire == .timelinePoint) == (frame.acquirePoint != 0) else {
            throw Refusal(
                .badValue,
                "A frame of acquire kind 3 names a point above 0, and no other frame does.")
        }
        return frame
    }

    private static func damage(
        _ field: Field, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> Damage {
        guard
            field.length % 16 == 0, field.length / 16 <= SourceProtocol.maximumDamage
        else { throw Refusal(.badField, "Damage is a list of 0 to 64 rectangles of 16 bytes.") }
        var damage = Damage.none
        for index in 0..<field.length / 16 {
            damage.add(try rectangle(bytes, field.start + index * 16))
        }
        return damage
    }

    private static func fenceSignal(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> ProducerRecord {
        guard record.bodyBytes >= 16 else {
            throw Refusal(.badField, "FENCE_SIGNAL has a body of 16 bytes.")
        }
        try requireDescriptors(0, record)
        let status = bytes.u32(record.body + 8)
        guard status <= 1, bytes.u32(record.body + 12) == 0 else {
            throw Refusal(.badValue, "A fence ends with status 0 (done) or 1 (error).")
        }
        try skipFields(from: record.body + 16, record, in: bytes)
        return .fenceSignal(
            try surfaceKey(record.object), FrameSequence(bytes.u64(record.body)),
            isError: status == 1)
    }

    // MARK: Parts

    private static func surfaceKey(_ value: UInt64) throws(Refusal) -> SurfaceKey {
        guard value != 0 else { throw Refusal(.badValue, "0 names no surface.") }
        return SurfaceKey(value)
    }

    private static func bufferKey(_ value: UInt64) throws(Refusal) -> BufferKey {
        guard value != 0 else { throw Refusal(.badValue, "0 names no buffer.") }
        return BufferKey(value)
    }

    private static func size(_ bytes: borrowing Span<UInt8>, _ at: Int) -> Size {
        Size(width: bytes.u32(at), height: bytes.u32(at + 4))
    }

    private static func rectangle(
        _ bytes: borrowing Span<UInt8>, _ at: Int
    ) throws(Refusal) -> Rectangle {
        let limit = VMLimits.maximumDimension
        let (x, y) = (bytes.u32(at), bytes.u32(at + 4))
        let (width, height) = (bytes.u32(at + 8), bytes.u32(at + 12))
        guard x <= limit, y <= limit, width <= limit, height <= limit else {
            throw Refusal(.badValue, "A rectangle reaches past \(limit) pixels.")
        }
        return Rectangle(x: x, y: y, width: width, height: height)
    }

    private static func text(
        _ field: Field, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> String {
        guard field.length <= SourceProtocol.maximumText else {
            throw Refusal(
                .badField, "A text of \(field.length) bytes: the longest is 4096.")
        }
        return CleanText.clean(bytes, from: field.start, count: field.length)
    }

    private static func require(_ field: Field, bytes count: Int) throws(Refusal) {
        guard field.length == count else {
            throw Refusal(
                .badField,
                "Field 0x\(String(field.tag, radix: 16)) has \(count) bytes, not \(field.length).")
        }
    }

    private static func skip(_ field: Field) throws(Refusal) {
        guard !field.isRequired else {
            throw Refusal(
                .unsupported,
                "Field 0x\(String(field.tag, radix: 16)) is marked required and is not known here.")
        }
    }

    private static func skipFields(
        from start: Int, _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) {
        var fields = FieldWalker(start: start, end: record.end)
        while let field = try fields.next(in: bytes) { try skip(field) }
    }

    private static func requireDescriptors(_ count: Int, _ record: RecordFrame) throws(Refusal) {
        guard record.descriptorCount == count else {
            throw Refusal(
                record.descriptorCount > count ? .unusedDescriptor : .badDescriptor,
                "\(RecordType.name(record.type)) takes \(count) descriptors here, not \(record.descriptorCount)."
            )
        }
    }

    private static func requireBare(
        _ record: RecordFrame, in bytes: borrowing Span<UInt8>
    ) throws(Refusal) {
        try requireDescriptors(0, record)
        try skipFields(from: record.body, record, in: bytes)
    }
}
