/// Appends records to a buffer of bytes. A record is begun, filled and ended; ending writes its
/// length. The buffer keeps its capacity, so a steady flow of records allocates nothing.
public struct RecordWriter: Sendable {
    /// Whole records, one after the other.
    public private(set) var bytes: [UInt8] = []
    private var start = 0

    /// An empty writer.
    public init(capacity: Int = 4096) { bytes.reserveCapacity(capacity) }

    /// Whether nothing was written.
    public var isEmpty: Bool { bytes.isEmpty }

    /// Descriptors that its records claim.
    public private(set) var descriptors = 0

    /// As many whole records from the start as fit into one datagram.
    ///
    /// - Parameters:
    ///   - limit: most bytes of them.
    ///   - descriptors: most descriptors of them.
    /// - Returns: their bytes and their descriptors.
    public func wholeRecords(
        upTo limit: Int, descriptors most: Int = SourceProtocol.maximumDescriptors
    ) -> (bytes: Int, descriptors: Int) {
        guard bytes.count > limit || descriptors > most else { return (bytes.count, descriptors) }
        let span = bytes.span
        var end = 0
        var claimed = 0
        while end + SourceProtocol.headerBytes <= span.count {
            let next = end + Int(span.u32(end + 4))
            let claims = Int(span.u16(end + 2))
            guard next <= limit, claimed + claims <= most else { break }
            end = next
            claimed += claims
        }
        return (end, claimed)
    }

    /// Forgets the first bytes and descriptors, which must be those of whole records.
    public mutating func removeFirst(_ count: Int, descriptors claimed: Int = 0) {
        bytes.removeFirst(count)
        descriptors -= claimed
    }

    /// Forgets everything and keeps the room.
    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        descriptors = 0
    }

    /// Appends a record of fixed length as a whole: room is made once.
    @inline(__always)
    private mutating func fixed(
        _ type: UInt16, object: UInt64, body length: Int, _ fill: (inout OutputSpan<UInt8>) -> Void
    ) {
        let length = SourceProtocol.headerBytes + length
        bytes.append(addingCapacity: length) { (room: inout OutputSpan<UInt8>) in
            room.put32(UInt32(type))
            room.put32(UInt32(truncatingIfNeeded: length))
            room.put64(object)
            fill(&room)
        }
    }

    mutating func begin(_ type: UInt16, object: UInt64, descriptors: Int = 0) {
        start = bytes.count
        self.descriptors += descriptors
        bytes.append(addingCapacity: SourceProtocol.headerBytes) {
            (room: inout OutputSpan<UInt8>) in
            room.put16(type)
            room.put16(UInt16(truncatingIfNeeded: descriptors))
            room.put32(0)
            room.put64(object)
        }
    }

    mutating func end() {
        let length = UInt32(truncatingIfNeeded: bytes.count - start)
        let place = start + 4
        var span = bytes.mutableSpan
        for byte in 0..<4 {
            span[place + byte] = UInt8(truncatingIfNeeded: length >> UInt32(byte * 8))
        }
    }

    mutating func put16(_ value: UInt16) { bytes.put16(value) }
    mutating func put32(_ value: UInt32) { bytes.put32(value) }
    mutating func put64(_ value: UInt64) { bytes.put64(value) }

    mutating func field(_ tag: UInt16, length: Int, flags: UInt16 = 0) {
        bytes.put16(tag)
        bytes.put16(flags)
        bytes.put32(UInt32(truncatingIfNeeded: length))
    }

    mutating func text(_ tag: UInt16, _ text: String) {
        field(tag, length: text.utf8.count)
        bytes.append(contentsOf: text.utf8)
        pad()
    }

    mutating func pad() {
        while (bytes.count - start) % 8 != 0 { bytes.append(0) }
    }
}

extension RecordWriter {
    /// Appends a record from the bridge.
    public mutating func append(_ record: BridgeRecord) {
        switch record {
        case .released(let buffer, let surface, let sequence, let outcome):
            return fixed(RecordType.released, object: buffer.value, body: 24) { body in
                body.put64(surface.value)
                body.put64(sequence.value)
                body.put64(UInt64(outcome.rawValue))
            }
        case .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            begin(RecordType.released, object: buffer.value, descriptors: 1)
            put64(surface.value)
            put64(sequence.value)
            put32(outcome.rawValue)
            put32(1)
        case .presented(let surface, let presented):
            return fixed(RecordType.presented, object: surface.value, body: 32) { body in
                body.put64(presented.sequence.value)
                body.put64(presented.time)
                body.put64(presented.latency)
                body.put32(presented.refresh)
                body.put32(presented.flags)
            }
        case .discarded(let surface, let sequence):
            return fixed(RecordType.discarded, object: surface.value, body: 8) { body in
                body.put64(sequence.value)
            }
        case .configure(let surface, let configure):
            begin(RecordType.configure, object: surface.value)
            put32(configure.size.width)
            put32(configure.size.height)
            put32(configure.scale)
            put32(configure.states)
            put32(configure.wantsFrame ? 1 : 0)
            put32(0)
        case .input(let surface, let input):
            return fixed(RecordType.input, object: surface.value, body: InputWire.bodyBytes) {
                InputWire.put(input, &$0)
            }
        case .keymap(let keymap):
            begin(RecordType.keymap, object: 0, descriptors: record.descriptors)
            put32(keymap.size > 0 ? 1 : 0)
            put32(keymap.size)
            put32(keymap.repeatRate)
            put32(keymap.repeatDelay)
        case .close(let surface):
            begin(RecordType.close, object: surface.value)
        case .allocated(let buffer, let layout, let allocator):
            begin(RecordType.allocated, object: buffer.value, descriptors: record.descriptors)
            put(layout)
            field(FieldTag.allocator, length: 4)
            put32(allocator)
            pad()
        case .refused(let refused):
            begin(RecordType.refused, object: refused.object)
            put16(refused.type)
            put16(refused.refusal.reason.rawValue)
            put32(0)
            put64(refused.sequence.value)
            text(FieldTag.sentence, CleanText.clean(refused.refusal.sentence))
        case .targets(let targets):
            begin(RecordType.targets, object: 0)
            text(FieldTag.targets, TargetList.text(targets))
        case .formatsChanged(let formats):
            begin(RecordType.formatsChanged, object: 0)
            self.formats(formats)
        case .surfaceFormats(let surface, let formats):
            begin(RecordType.formatsChanged, object: surface.value)
            self.formats(formats)
        case .welcome(let welcome):
            begin(RecordType.welcome, object: welcome.generation)
            put32(welcome.version)
            put32(welcome.memoryKinds)
            put32(welcome.acquireKinds)
            put32(welcome.releaseKinds)
            put32(UInt32(clamping: welcome.limits.surfaces))
            put32(UInt32(clamping: welcome.limits.buffers))
            put64(welcome.limits.bytes)
            put32(VMLimits.maximumDimension)
            put32(UInt32(SourceProtocol.maximumDatagram))
            put32(UInt32(SourceProtocol.maximumDescriptors))
            put32(UInt32(clamping: welcome.limits.fenceLimit / 1_000_000))
            put32(UInt32(clamping: welcome.limits.baseRate))
            put32(UInt32(clamping: welcome.limits.ratePerSurface))
            put32(UInt32(clamping: welcome.limits.usesPerBuffer))
            put32(0)
            text(FieldTag.vmName, welcome.vmName)
            formats(welcome.formats)
        }
        end()
    }

    /// The 96 bytes that describe a buffer, in BUFFER_CREATE and ALLOCATED alike.
    mutating func put(_ layout: BufferLayout) {
        put32(layout.size.width)
        put32(layout.size.height)
        put32(layout.format.rawValue)
        put32(layout.isBottomUp ? 1 : 0)
        put64(layout.modifier.rawValue)
        put32(layout.memory.rawValue)
        put32(UInt32(layout.planes.count))
        for index in 0..<4 {
            let plane =
                index < layout.planes.count
                ? layout.planes[index] : PlaneLayout(descriptor: 0, offset: 0, stride: 0)
            put32(plane.descriptor)
            put32(plane.offset)
            put32(plane.stride)
            put32(0)
        }
    }

    private mutating func formats(_ formats: [ImportableFormat]) {
        let count = min(formats.count, SourceProtocol.maximumFormats)
        field(FieldTag.formats, length: count * 24)
        for entry in formats.prefix(count) {
            put32(entry.format.rawValue)
            put32(entry.memory)
            put64(entry.modifier.rawValue)
            put64(entry.device)
        }
    }
}
