/// The producer's side of the wire: what the reference producer and tests send.
extension RecordWriter {
    /// Appends a record from a producer; its descriptors go with the datagram, in order.
    ///
    /// - Parameter descriptors: how many descriptors belong to the record.
    public mutating func append(_ record: ProducerRecord, descriptors: Int = 0) {
        switch record {
        case .hello(let producer, let takesFences, let wantsInput):
            begin(RecordType.hello, object: 0, descriptors: descriptors)
            put32(SourceProtocol.magic)
            put16(SourceProtocol.version)
            put16(SourceProtocol.version)
            if let producer { text(FieldTag.producerName, producer) }
            if takesFences { word(FieldTag.releaseWanted, 2) }
            if wantsInput { word(FieldTag.inputWanted, 1) }
        case .greetConsumer(let greeting):
            begin(RecordType.hello, object: 0, descriptors: descriptors)
            put32(SourceProtocol.magic)
            put16(SourceProtocol.version)
            put16(SourceProtocol.version)
            if let name = greeting.name { text(FieldTag.producerName, name) }
            word(FieldTag.connectionRole, ConnectionRole.consumer.rawValue, isRequired: true)
            if greeting.takesFences { word(FieldTag.acquireWanted, 2) }
        case .targetsQuery: begin(RecordType.targetsQuery, object: 0, descriptors: descriptors)
        case .bufferCreate(let key, let layout):
            begin(RecordType.bufferCreate, object: key.value, descriptors: descriptors)
            put(layout)
        case .bufferAllocate(let key, let wish):
            begin(RecordType.bufferAllocate, object: key.value, descriptors: descriptors)
            put32(wish.size.width)
            put32(wish.size.height)
            put32(wish.format.rawValue)
            put32(wish.isContiguous ? 1 : 0)
            put64(0)
            if wish.modifiers != [.linear] {
                field(FieldTag.allocation, length: wish.modifiers.count * 8)
                for modifier in wish.modifiers { put64(modifier.rawValue) }
            }
        case .bufferDestroy(let key):
            begin(RecordType.bufferDestroy, object: key.value, descriptors: descriptors)
        case .surfaceCreate(let key, let role, let isGraphics, let metadata):
            begin(RecordType.surfaceCreate, object: key.value, descriptors: descriptors)
            put32(role.rawValue)
            put32(isGraphics ? 0 : 1)
            append(metadata)
        case .surfaceUpdate(let key, let metadata):
            begin(RecordType.surfaceUpdate, object: key.value, descriptors: descriptors)
            append(metadata)
        case .surfaceDestroy(let key):
            begin(RecordType.surfaceDestroy, object: key.value, descriptors: descriptors)
        case .frame(let frame):
            append(frame, descriptors: descriptors)
        case .fenceSignal(let surface, let sequence, let isError):
            begin(RecordType.fenceSignal, object: surface.value, descriptors: descriptors)
            put64(sequence.value)
            put32(isError ? 1 : 0)
            put32(0)
        }
        end()
    }

    private mutating func append(_ frame: FrameRecord, descriptors: Int) {
        begin(RecordType.frame, object: frame.surface.value, descriptors: descriptors)
        put64(frame.buffer.value)
        put64(frame.sequence.value)
        put32(frame.acquire.rawValue)
        put32(0)
        if !frame.damage.isWhole {
            field(FieldTag.damage, length: frame.damage.count * 16)
            for index in 0..<frame.damage.count { rectangle(frame.damage[index]) }
        }
        if let crop = frame.crop {
            field(FieldTag.crop, length: 16)
            rectangle(crop)
        }
        if let destination = frame.destination {
            field(FieldTag.destination, length: 8)
            put32(destination.width)
            put32(destination.height)
        }
        if frame.transform != .normal { word(FieldTag.transform, frame.transform.rawValue) }
        if frame.targetTime != 0 {
            field(FieldTag.targetTime, length: 8)
            put64(frame.targetTime)
        }
        if frame.acquire == .timelinePoint {
            field(FieldTag.acquirePoint, length: 8)
            put64(frame.acquirePoint)
        }
    }

    private mutating func append(_ metadata: SurfaceMetadata) {
        if let title = metadata.title { text(FieldTag.title, title) }
        if let appID = metadata.appID { text(FieldTag.appID, appID) }
        if let tag = metadata.consumerTag { text(FieldTag.consumerTag, tag) }
        if let origin = metadata.originVM { text(FieldTag.originVM, origin) }
        if let parent = metadata.parent {
            field(FieldTag.parent, length: 8)
            put64(parent.value)
        }
        if let spot = metadata.hotSpot {
            field(FieldTag.cursorHotSpot, length: 8)
            put32(spot.x)
            put32(spot.y)
        }
        if metadata.minimumSize != nil || metadata.maximumSize != nil {
            field(FieldTag.sizeLimits, length: 16)
            for size in [metadata.minimumSize ?? .zero, metadata.maximumSize ?? .zero] {
                put32(size.width)
                put32(size.height)
            }
        }
        if let region = metadata.opaqueRegion {
            field(FieldTag.opaqueRegion, length: 16)
            rectangle(region)
        }
    }

    /// A field of one number.
    private mutating func word(_ tag: UInt16, _ value: UInt32, isRequired: Bool = false) {
        field(tag, length: 4, flags: isRequired ? FieldTag.requiredFlag : 0)
        put32(value)
        pad()
    }

    private mutating func rectangle(_ rectangle: Rectangle) {
        put32(rectangle.x)
        put32(rectangle.y)
        put32(rectangle.width)
        put32(rectangle.height)
    }
}
