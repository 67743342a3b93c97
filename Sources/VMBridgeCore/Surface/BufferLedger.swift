/// A use of a buffer that has just ended: what to tell the producer, and whether memory became free.
public struct EndedUse: Sendable, Equatable {
    /// Buffer that was used.
    public var buffer: BufferKey
    /// Surface whose frame used it.
    public var surface: SurfaceKey
    /// That frame.
    public var sequence: FrameSequence
    /// How it ended.
    public var outcome: UseOutcome
    /// The buffer, when the producer had destroyed it and this was its last use: let go of it now.
    public var freed: BufferID?
}

/// One VM's buffers and their uses. The only place that says "released": a use begins in `begin`, ends
/// in `end`, and a second `end` answers nil.
public struct BufferLedger: Sendable {
    /// What the ledger knows of a buffer.
    public struct Buffer: Sendable {
        /// The guest's name.
        public var key: BufferKey
        /// Width and height in pixels.
        public var size: Size
        /// What it counts against the VM's budget.
        public var bytes: UInt64
        /// Uses that have not ended.
        public fileprivate(set) var uses = 0
        /// The producer destroyed it; it goes with its last use.
        public fileprivate(set) var isDestroyed = false
    }

    /// A use that has begun and not ended.
    public struct Use: Sendable {
        /// Buffer.
        public var buffer: BufferID
        /// Surface, by our name.
        public var surface: SurfaceID
        /// Surface, by the guest's name.
        public var surfaceKey: SurfaceKey
        /// Frame.
        public var sequence: FrameSequence
    }

    private var buffers = SlotTable<Buffer>()
    private var identifiers: [BufferKey: BufferID] = [:]
    private var uses = SlotTable<Use>()
    /// Bytes imported at the moment.
    public private(set) var bytes: UInt64 = 0

    /// An empty ledger.
    public init() {}

    /// Buffers at the moment, destroyed ones that are still held included.
    public var bufferCount: Int { buffers.count }
    /// Uses that have not ended.
    public var useCount: Int { uses.count }

    /// The buffer of that name; nil once it is free.
    public subscript(_ id: BufferID) -> Buffer? { buffers[id.slot] }
    /// The use of that name; nil once it has ended.
    public subscript(_ id: UseID) -> Use? { uses[id.slot] }

    /// The buffer that the guest may name in a frame: not one that it destroyed.
    public func find(_ key: BufferKey) -> BufferID? {
        guard let id = identifiers[key], let buffer = buffers[id.slot], !buffer.isDestroyed else {
            return nil
        }
        return id
    }

    /// Whether another buffer fits; asked before any work is spent on it.
    public func mayCreate(_ key: BufferKey, bytes: UInt64, limits: VMLimits) throws(Refusal) {
        guard identifiers[key] == nil else {
            throw Refusal(
                .identifierInUse, "Buffer \(key) exists, or is destroyed and still held.")
        }
        guard buffers.count < limits.buffers else {
            throw Refusal(
                .tooManyBuffers, "\(limits.buffers) buffers are in use, the most allowed.")
        }
        guard bytes <= limits.bytes, self.bytes <= limits.bytes - bytes else {
            throw Refusal(
                .tooManyBytes,
                "\(bytes) bytes more than the \(self.bytes) in use exceed the limit of \(limits.bytes)."
            )
        }
    }

    /// Adds a buffer.
    public mutating func create(
        _ key: BufferKey, size: Size, bytes: UInt64, limits: VMLimits
    ) throws(Refusal) -> BufferID {
        try mayCreate(key, bytes: bytes, limits: limits)
        let id = BufferID(buffers.insert(Buffer(key: key, size: size, bytes: bytes)))
        identifiers[key] = id
        self.bytes += bytes
        return id
    }

    /// Takes the producer's destroy.
    ///
    /// - Returns: the buffer to let go of now; nil while a use of it lasts.
    public mutating func destroy(_ key: BufferKey) throws(Refusal) -> BufferID? {
        guard let id = find(key) else {
            throw Refusal(.unknownObject, "There is no buffer \(key).")
        }
        buffers.update(id.slot) { $0.isDestroyed = true }
        return freeIfDone(id)
    }

    /// Begins a use of a buffer that `find` has found.
    public mutating func begin(
        _ id: BufferID, surface: SurfaceID, key: SurfaceKey, sequence: FrameSequence,
        limits: VMLimits
    ) throws(Refusal) -> UseID {
        guard let buffer = buffers[id.slot] else {
            throw Refusal(.unknownObject, "The buffer is gone.")
        }
        guard buffer.uses < limits.usesPerBuffer else {
            throw Refusal(
                .tooManyBuffers,
                "Buffer \(buffer.key) is held by \(buffer.uses) frames, the most allowed.")
        }
        buffers.update(id.slot) { $0.uses += 1 }
        return UseID(
            uses.insert(Use(buffer: id, surface: surface, surfaceKey: key, sequence: sequence)))
    }

    /// Ends a use; nil when it had ended before, so that nobody is told twice.
    public mutating func end(_ id: UseID, _ outcome: UseOutcome) -> EndedUse? {
        guard let use = uses.remove(id.slot), let buffer = buffers[use.buffer.slot] else {
            return nil
        }
        buffers.update(use.buffer.slot) { $0.uses -= 1 }
        return EndedUse(
            buffer: buffer.key, surface: use.surfaceKey, sequence: use.sequence, outcome: outcome,
            freed: freeIfDone(use.buffer))
    }

    /// Uses by one surface that have not ended; for the rare cases in which a surface goes as a whole.
    public func uses(of surface: SurfaceID) -> [UseID] {
        uses.slots.filter { uses[$0]?.surface == surface }.map(UseID.init)
    }

    /// All uses that have not ended; for the end of a connection.
    public var allUses: [UseID] { uses.slots.map(UseID.init) }

    /// All buffers, destroyed and held ones included.
    public var allBuffers: [BufferID] { buffers.slots.map(BufferID.init) }

    private mutating func freeIfDone(_ id: BufferID) -> BufferID? {
        guard let buffer = buffers[id.slot], buffer.isDestroyed, buffer.uses == 0 else {
            return nil
        }
        buffers.remove(id.slot)
        identifiers[buffer.key] = nil
        bytes -= buffer.bytes
        return id
    }
}
