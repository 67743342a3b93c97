/// What a domain's machine wants done, in this order.
public enum HyperAction: Sendable {
    /// A surface is there.
    case createSurface(SurfaceKey, SurfaceMetadata)
    /// It says something else about itself.
    case updateSurface(SurfaceKey, SurfaceMetadata)
    /// It is gone.
    case destroySurface(SurfaceKey)
    /// Ask the exporter for a dma-buf; `opened` or `couldNotOpen` follows.
    case open(HyperBufferID)
    /// The descriptor that was opened is a buffer of this layout.
    case createBuffer(HyperBufferID, BufferKey, BufferLayout)
    /// The guest took it back, or it was not used for longest.
    case destroyBuffer(BufferKey)
    /// Show it.
    case frame(FrameRecord)
}

/// One exporting domain: turns what its records announce into surfaces, buffers and frames. Pure: whoever
/// keeps it opens buffers, and tells of it.
///
/// The same id again is new content of the same buffer. An id's dma-buf is opened once and kept, until its
/// exporter took it back or too many others came.
public struct HyperDomain: Sendable {
    private struct Buffer {
        /// nil while its dma-buf is being opened.
        var key: BufferKey?
        var layout: BufferLayout
        /// The frame that waits for the dma-buf: the latest, as everywhere.
        var waiting: (surface: HyperSurfaceName, frame: FrameRecord)?
        /// The session would not take it with this layout; nobody is asked for it again until that changes.
        var isRefused = false
        /// The announcement that used it last, by the machine's count.
        var lastUse: UInt64
    }

    private struct Surface {
        var key: SurfaceKey
        var metadata: SurfaceMetadata
        /// The number of its last announcement, and of the last that was shown.
        var announced: UInt64 = 0
        var shown: UInt64 = 0
        /// The buffer of its last announcement.
        var buffer: HyperBufferID?
    }

    /// What was counted.
    public struct Counts: Sendable, Equatable {
        /// Frames of outputs that were seen whole.
        public var complete: UInt64 = 0
        /// Frames of outputs of which a part never came.
        public var incomplete: UInt64 = 0
        /// Frames that a later one overtook before their buffer was open.
        public var overtaken: UInt64 = 0
        /// Buffers that were opened.
        public var opened: UInt64 = 0
        /// Those that the exporter or the driver did not hand out.
        public var failed: UInt64 = 0
    }

    private var buffers: [HyperBufferID: Buffer] = [:]
    private var surfaces: [HyperSurfaceName: Surface] = [:]
    private var outputs: [UInt32: OutputAssembly] = [:]
    private var nextKey: UInt64 = 1
    private var clock: UInt64 = 0
    private var counts = Counts()
    /// The most buffers and surfaces that are kept.
    private var bufferLimit: Int
    private var surfaceLimit: Int

    /// A domain of which nothing was heard yet.
    public init(limits: VMLimits) {
        bufferLimit = 1
        surfaceLimit = 1
        apply(limits)
    }

    /// Other limits from the next record on. Buffers are kept well below what the session allows, since
    /// there they count until the compositor has let go of them.
    public mutating func apply(_ limits: VMLimits) {
        bufferLimit = max(limits.buffers / 2, 1)
        surfaceLimit = max(limits.surfaces, 1)
    }

    /// What was counted so far.
    public var counted: Counts {
        var counts = counts
        for output in outputs.values {
            counts.complete += output.complete
            counts.incomplete += output.incomplete
        }
        return counts
    }

    /// Ids whose dma-buf is open, for asking whether they still are their exporter's.
    public var openBuffers: [HyperBufferID] {
        buffers.compactMap { $0.value.key == nil ? nil : $0.key }
    }

    /// How many buffers there are, opened or not.
    public var bufferCount: Int { buffers.count }

    private mutating func makeKey() -> UInt64 {
        defer { nextKey += 1 }
        return nextKey
    }

    // MARK: Records

    /// A record came.
    ///
    /// - Throws: `tooManySurfaces`; nothing is changed then.
    public mutating func announced(
        _ id: HyperBufferID, _ announcement: HyperAnnouncement, _ actions: inout [HyperAction]
    ) throws(Refusal) {
        let name = announcement.surface
        if announcement.isEnd { return remove(name, &actions) }
        if surfaces[name] == nil, surfaces.count >= surfaceLimit {
            throw Refusal(
                .tooManySurfaces, "\(surfaceLimit) surfaces are in use, the most allowed.")
        }
        if let share = announcement.share { assemble(name, share, &actions) }
        var surface = surfaces[name] ?? newSurface(announcement, &actions)
        if surface.metadata != announcement.metadata {
            surface.metadata = announcement.metadata
            actions.append(.updateSurface(surface.key, announcement.metadata))
        }
        surface.announced += 1
        surface.buffer = id
        surfaces[name] = surface
        use(id, announcement, surface, &actions)
    }

    private mutating func newSurface(
        _ announcement: HyperAnnouncement, _ actions: inout [HyperAction]
    ) -> Surface {
        let surface = Surface(key: SurfaceKey(makeKey()), metadata: announcement.metadata)
        actions.append(.createSurface(surface.key, announcement.metadata))
        return surface
    }

    private mutating func assemble(
        _ name: HyperSurfaceName, _ share: HyperFrameShare, _ actions: inout [HyperAction]
    ) {
        let gone = outputs[name.output, default: OutputAssembly()].add(
            surface: name.surface, share: share)
        for surface in gone where surface != name.surface {
            remove(HyperSurfaceName(output: name.output, surface: surface), &actions)
        }
    }

    private mutating func use(
        _ id: HyperBufferID, _ announcement: HyperAnnouncement, _ surface: Surface,
        _ actions: inout [HyperAction]
    ) {
        clock += 1
        var frame = FrameRecord(
            surface: surface.key, buffer: BufferKey(0), sequence: FrameSequence(surface.announced),
            acquire: .implicit)
        frame.crop = announcement.crop
        frame.transform = announcement.transform
        if let damage = announcement.damage {
            frame.damage = .none
            frame.damage.add(damage)
        }
        if var buffer = buffers[id], buffer.layout == announcement.layout {
            buffer.lastUse = clock
            guard !buffer.isRefused else {
                buffers[id] = buffer
                return
            }
            if buffer.waiting != nil { counts.overtaken += 1 }
            if let key = buffer.key {
                frame.buffer = key
                show(frame, announcement.surface, &actions)
            } else {
                buffer.waiting = (announcement.surface, frame)
            }
            buffers[id] = buffer
            return
        }
        // Another layout over the same memory is another buffer for whoever imported it.
        if let key = buffers[id]?.key { actions.append(.destroyBuffer(key)) }
        if buffers[id]?.waiting != nil { counts.overtaken += 1 }
        let isBeingOpened = buffers[id].map { $0.key == nil && !$0.isRefused } ?? false
        if buffers[id] == nil { makeRoom(&actions) }
        buffers[id] = Buffer(
            key: nil, layout: announcement.layout, waiting: (announcement.surface, frame),
            lastUse: clock)
        if !isBeingOpened { actions.append(.open(id)) }
    }

    private mutating func show(
        _ frame: FrameRecord, _ name: HyperSurfaceName, _ actions: inout [HyperAction]
    ) {
        // What waited for its dma-buf may have been overtaken, or have lost its surface.
        guard var surface = surfaces[name], surface.key == frame.surface,
            frame.sequence.value > surface.shown
        else {
            counts.overtaken += 1
            return
        }
        surface.shown = frame.sequence.value
        surfaces[name] = surface
        actions.append(.frame(frame))
    }

    private mutating func makeRoom(_ actions: inout [HyperAction]) {
        guard buffers.count >= bufferLimit else { return }
        let shown = Set(surfaces.values.compactMap(\.buffer))
        // One that is shown goes only when there is no other.
        let oldest =
            buffers.filter { !shown.contains($0.key) }.min { $0.value.lastUse < $1.value.lastUse }
            ?? buffers.min { $0.value.lastUse < $1.value.lastUse }
        guard let oldest else { return }
        buffers[oldest.key] = nil
        if let key = oldest.value.key { actions.append(.destroyBuffer(key)) }
    }

    // MARK: Buffers

    /// The dma-buf that was asked for is there.
    ///
    /// - Returns: false when nobody wants it any more; it is to be closed then.
    public mutating func opened(_ id: HyperBufferID, _ actions: inout [HyperAction]) -> Bool {
        guard var buffer = buffers[id], buffer.key == nil, !buffer.isRefused else { return false }
        counts.opened += 1
        let key = BufferKey(makeKey())
        buffer.key = key
        actions.append(.createBuffer(id, key, buffer.layout))
        let waiting = buffer.waiting
        buffer.waiting = nil
        buffers[id] = buffer
        if var waiting {
            waiting.frame.buffer = key
            show(waiting.frame, waiting.surface, &actions)
        }
        return true
    }

    /// The exporter or the driver did not hand it out; it is asked for again when it is announced again.
    public mutating func couldNotOpen(_ id: HyperBufferID) {
        guard let buffer = buffers[id], buffer.key == nil, !buffer.isRefused else { return }
        counts.failed += 1
        buffers[id] = nil
    }

    /// What was opened is no buffer: the session refused it.
    public mutating func wasRefused(_ key: BufferKey) {
        guard let id = buffers.first(where: { $0.value.key == key })?.key else { return }
        counts.failed += 1
        buffers[id]?.key = nil
        buffers[id]?.isRefused = true
    }

    /// Its exporter took it back. What shows it goes on showing it, until the compositor has let go of it.
    public mutating func tookBack(_ id: HyperBufferID, _ actions: inout [HyperAction]) {
        guard let buffer = buffers.removeValue(forKey: id), let key = buffer.key else { return }
        actions.append(.destroyBuffer(key))
    }

    /// Everything that is there goes: the domain is gone, or the driver.
    public mutating func end(_ actions: inout [HyperAction]) {
        for name in surfaces.keys.sorted(by: {
            ($0.output, $0.surface) < ($1.output, $1.surface)
        }) {
            remove(name, &actions)
        }
        for key in buffers.values.compactMap(\.key).sorted(by: { $0.value < $1.value }) {
            actions.append(.destroyBuffer(key))
        }
        buffers.removeAll()
        for output in outputs.values {
            counts.complete += output.complete
            counts.incomplete += output.incomplete
        }
        outputs.removeAll()
    }

    private mutating func remove(_ name: HyperSurfaceName, _ actions: inout [HyperAction]) {
        guard let surface = surfaces.removeValue(forKey: name) else { return }
        outputs[name.output]?.forget(surface: name.surface)
        actions.append(.destroySurface(surface.key))
    }
}
