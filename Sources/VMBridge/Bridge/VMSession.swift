import Descriptors
import Logging
import VMBridgeCore

/// One virtual machine: takes its records, keeps its surfaces and buffers, and performs what their
/// state machines decide on a presenter. Knows neither the transport nor the consumer.
///
/// Feedback gathers as values; the source takes it after each batch of events.
package final class VMSession<P: Presenter> {
    /// The VM's name on this host.
    package let name: String
    /// What the VM may take.
    package internal(set) var limits: VMLimits
    /// The consumer's side.
    package let presenter: P
    let loop: EventLoop
    let probe: DescriptorProbe
    let gate: FenceGate
    let logger: Logger
    var router: Router
    /// Whether each frame's size and transform are to be looked at.
    var looksAtFrames: Bool
    /// What rules can hand surfaces to; nil for nothing.
    package var handover: HandoverHub?
    /// The consumers that surfaces were handed to so far.
    var destinations: [Destination] = []
    /// Listens along the way: a recording, a trace. Nil without either.
    let tap: SessionTap?
    var ledger = BufferLedger()
    var surfaces = SlotTable<SurfaceSession>()
    var identifiers: [SurfaceKey: SurfaceID] = [:]
    var unimportable: [BufferID: Refusal] = [:]
    let feedback = Gathered<BridgeRecord>(capacity: 64)
    /// What the feedback's records carry, in order.
    package let feedbackDescriptors = DescriptorQueue()
    /// Whether the producer asked for releases as fences.
    package var producerTakesFences = false {
        didSet { presenter.wantsReleaseFences = producerTakesFences }
    }
    /// Whether the producer asked for input. The keymap is told at once, and the focus as it is then.
    package var wantsInput = false {
        didSet {
            guard wantsInput != oldValue else { return }
            owesKeymap = wantsInput
            inputWasOpenedOrClosed()
        }
    }
    /// Whether the producer does not take what it is told now: it gets no input until it does, and loses the
    /// focus meanwhile, so that input cannot pile up.
    package var isInputHeld = false {
        didSet { if isInputHeld != oldValue { inputWasOpenedOrClosed() } }
    }
    /// The keymap is still to be told.
    var owesKeymap = false
    /// Whether `takeFrameCallbacks` is told of the compositor's readiness for further frames.
    package var tellsFrameCallbacks = false
    let frameCallbacks = Gathered<(surface: SurfaceKey, sequence: FrameSequence)>(capacity: 16)
    /// Whether memfds without F_SEAL_SHRINK are taken: from a source that has no others. They are passed on, and
    /// read but never mapped, since a mapping of what shrinks can kill the process.
    package var acceptsUnsealedMemory = false
    /// Whether dma-bufs that are open for reading alone are taken: from a source whose driver makes no others.
    package var acceptsReadOnlyBuffers = false
    /// What sources say of their buffers: see `describe`.
    var origins: [BufferKey: String] = [:]
    /// Committed uses whose passed fence failed or did not signal.
    var badFences: Set<UseID> = []
    /// Knows the timelines that guests name; nil when no device does.
    let syncDevice: SyncDevice?
    /// Allocates for the producer; nil where no program for it is named.
    package var graphics: GraphicsWorker?
    var allocations: [GraphicsRequest: Allocation] = [:]
    var hiddenTimer: TimerID?
    var patienceTimer: TimerID?
    var isHiddenTimerArmed = false
    var isPatienceOver = false
    private var retired: [SurfaceStatus] = []
    private var refusalLog = GuestLog()
    private var connectionLog = GuestLog()
    /// Refusals so far, by reason.
    package private(set) var refusals: [RefusalReason: UInt64] = [:]

    /// How long a frame is kept without a compositor, nanoseconds.
    package var patience: UInt64 = 30_000_000_000 {
        didSet { if !presenter.isReady { beginPatience() } }
    }
    /// The beat at which hidden surfaces' frames end, nanoseconds.
    package static var hiddenBeat: UInt64 { 100_000_000 }

    /// A session without a producer.
    ///
    /// - Parameter router: where its surfaces go; nil for that of a host without a configuration.
    package init(
        name: String, limits: VMLimits, router: Router? = nil, presenter: P, loop: EventLoop,
        probe: DescriptorProbe, syncDevice: SyncDevice? = nil, tap: SessionTap? = nil,
        logger: Logger
    ) {
        self.tap = tap
        self.name = name
        self.syncDevice = syncDevice
        self.limits = limits
        self.presenter = presenter
        self.loop = loop
        self.probe = probe
        self.logger = logger.of(vm: name)
        gate = FenceGate(loop: loop)
        let router = router ?? Router(vmName: name)
        self.router = router
        looksAtFrames = router.looksAtFrames
        hiddenTimer = loop.makeTimer { [unowned self] now in self.hiddenBeat(now) }
        patienceTimer = loop.makeTimer { [unowned self] _ in self.patienceEnded() }
        if !presenter.isReady { beginPatience() }
    }

    /// Surfaces that the producer has and that count for its message rate.
    package var mappedSurfaces: Int { identifiers.count }

    /// The greeting's answer.
    package func welcome(generation: UInt64) -> Welcome {
        var welcome = Welcome(
            generation: generation, limits: limits, vmName: name, formats: presenter.formats)
        welcome.acquireKinds = acquireKinds
        return welcome
    }

    // MARK: Producer

    /// Takes a decoded record.
    ///
    /// - Parameters:
    ///   - record: what it says.
    ///   - header: where it stood; its descriptors are taken out of the bundle when it is accepted.
    ///   - bundle: the datagram's descriptors.
    ///   - time: when its datagram was read, nanoseconds of the loop's clock; 0 when nobody knows.
    package func receive(
        _ record: ProducerRecord, _ header: RecordFrame, _ bundle: inout DescriptorBundle,
        at time: UInt64 = 0
    ) {
        do throws(Refusal) {
            switch record {
            case .frame(let frame): try accept(frame, header, &bundle, time)
            case .bufferCreate(let key, let layout): try create(key, layout, header, &bundle)
            case .bufferAllocate(let key, let wish): try allocate(key, wish)
            case .bufferDestroy(let key):
                if let freed = try ledger.destroy(key) { forget(freed) }
                if !origins.isEmpty { origins[key] = nil }
            case .surfaceCreate(let key, let role, let isGraphics, let metadata):
                try create(key, role, isGraphics, metadata)
            case .surfaceUpdate(let key, let metadata): try update(key, metadata)
            case .surfaceDestroy(let key):
                let surface = try find(key)
                identifiers[key] = nil
                destroy(surface)
                if surface.role == .toplevel { rerouteCursors(of: key, isGone: true) }
            case .fenceSignal(let key, let sequence, let isError):
                try signal(key, sequence, isError: isError)
            case .targetsQuery: feedback.append(.targets(router.targets))
            case .hello, .greetConsumer:
                throw Refusal(.badValue, "The greeting came already.")
            }
        } catch {
            refuse(error, header, frame: Self.identity(of: record))
        }
    }

    /// Tells the producer that a record is refused, and ends the use that it was about, if any.
    package func refuse(
        _ refusal: Refusal, _ header: RecordFrame,
        frame: (buffer: BufferKey, sequence: FrameSequence)?
    ) {
        count(
            refusal, about: RecordType.name(header.type), object: header.object,
            surface: Self.surface(of: header))
        feedback.append(
            .refused(
                RefusedRecord(
                    type: header.type, object: header.object,
                    sequence: frame?.sequence ?? FrameSequence(0), refusal: refusal)))
        guard let frame else { return }
        let key = SurfaceKey(header.object)
        if let id = identifiers[key], let surface = surfaces[id.slot] {
            surface.machine.frameWasRefused()
            surface.counters.refused += 1
        }
        feedback.append(.released(frame.buffer, key, frame.sequence, .refused))
    }

    /// The producer is gone: everything it had is let go of.
    package func producerLeft() {
        tellLeftOut(&refusalLog)
        for slot in surfaces.slots {
            if let surface = surfaces[slot] { destroy(surface) }
        }
        identifiers.removeAll()
        for slot in surfaces.slots {
            guard let surface = surfaces[slot] else { continue }
            for use in ledger.uses(of: surface.id) { finish(use, .lost, surface) }
        }
        // Those that outlive their surface, until a release fence.
        for use in ledger.allUses { finish(use, .lost, nil) }
        for id in ledger.allBuffers {
            if let key = ledger[id]?.key { _ = try? ledger.destroy(key) }
            forget(id)
        }
        allocations.removeAll()
        feedback.removeAll()
        feedbackDescriptors.removeAll()
        gate.cancelAll()
        badFences.removeAll()
        producerTakesFences = false
        wantsInput = false
        isInputHeld = false
        frameCallbacks.removeAll()
        origins.removeAll()
    }

    private static func identity(
        of record: ProducerRecord
    ) -> (buffer: BufferKey, sequence: FrameSequence)? {
        if case .frame(let frame) = record { return (frame.buffer, frame.sequence) }
        return nil
    }

    // MARK: Buffers

    private func create(
        _ key: BufferKey, _ layout: BufferLayout, _ header: RecordFrame,
        _ bundle: inout DescriptorBundle
    ) throws(Refusal) {
        // Before the kernel is asked about its descriptors: a flood of records stays cheap.
        try ledger.mayCreate(key, bytes: 0, limits: limits)
        let range = header.firstDescriptor..<header.firstDescriptor + header.descriptorCount
        let (bytes, isUnsealed) = try check(layout, bundle, range)
        let id = try ledger.create(key, size: layout.size, bytes: bytes, limits: limits)
        presenter.addBuffer(
            id,
            BufferMemory(
                layout: layout, bytes: bytes, isUnsealed: isUnsealed, from: &bundle, range))
        tap?.holdings(buffers: ledger.bufferCount, bytes: ledger.bytes)
    }

    /// Whether a buffer can be made of descriptors; it is not made.
    ///
    /// - Parameters:
    ///   - range: positions of the buffer's own descriptors.
    /// - Returns: what it counts against the VM's budget, and whether its memory may be cut short by its owner.
    func check(
        _ layout: BufferLayout, _ bundle: borrowing DescriptorBundle, _ range: Range<Int>
    ) throws(Refusal) -> (bytes: UInt64, isUnsealed: Bool) {
        var facts = try probe.facts(of: bundle, range)
        let isUnsealed = acceptsUnsealedMemory && facts.contains { $0.mayBeCutShort }
        if isUnsealed {
            for index in facts.indices { facts[index].isSealedAgainstShrinking = true }
        }
        if acceptsReadOnlyBuffers {
            for index in facts.indices where facts[index].kind == .dmaBuf {
                facts[index].isReadWrite = true
            }
        }
        let bytes = try BufferValidator.validate(layout, facts: facts, formats: presenter.formats)
        return (bytes, isUnsealed)
    }

    func forget(_ id: BufferID) {
        unimportable[id] = nil
        presenter.forgetBuffer(id)
        for destination in destinations { destination.presenter.forgetBuffer(id) }
        tap?.forgot(id, buffers: ledger.bufferCount, bytes: ledger.bytes)
    }

    // MARK: Surfaces

    private func find(_ key: SurfaceKey) throws(Refusal) -> SurfaceSession {
        guard let id = identifiers[key], let surface = surfaces[id.slot] else {
            throw Refusal(.unknownObject, "There is no surface \(key).")
        }
        return surface
    }

    private func create(
        _ key: SurfaceKey, _ role: SurfaceRole, _ isGraphics: Bool, _ metadata: SurfaceMetadata
    ) throws(Refusal) {
        guard identifiers[key] == nil else {
            throw Refusal(.identifierInUse, "Surface \(key) exists.")
        }
        // Windows that are still being taken away count too, or a guest could pile them up.
        guard surfaces.count < limits.surfaces else {
            throw Refusal(
                .tooManySurfaces, "\(limits.surfaces) surfaces are in use, the most allowed.")
        }
        let facts = SurfaceFacts(role: role, isGraphics: isGraphics, metadata: metadata)
        if role == .cursor { try checkCursor(metadata, of: key) }
        let route = route(facts)
        if case .refuse(let refusal) = route { throw refusal }
        let properties = properties(of: route, facts)
        let surface = surfaces.insert {
            SurfaceSession(
                id: SurfaceID($0), key: key, facts: facts, route: route, properties: properties)
        }.element
        identifiers[key] = surface.id
        if !isInputOpen { surface.input.pause { _ in } }
        begin(surface)
    }

    private func update(_ key: SurfaceKey, _ metadata: SurfaceMetadata) throws(Refusal) {
        let surface = try find(key)
        if surface.role == .cursor, metadata.parent != nil { try checkCursor(metadata, of: key) }
        surface.metadata.apply(metadata)
        reroute(surface)
    }

    private func destroy(_ surface: SurfaceSession) {
        guard !surface.isDetached else { return }
        endInput(of: surface)
        surface.isDetached = true
        perform(surface.machine.destroy(), surface)
        removeIfGone(surface)
    }

    func removeIfGone(_ surface: SurfaceSession) {
        guard surface.machine.phase == .gone else { return }
        for use in ledger.uses(of: surface.id) where !gate.isReleasing(use) {
            finish(use, outcome(of: use), surface)
        }
        retired.append(status(of: surface))
        if retired.count > 64 { retired.removeFirst() }
        surfaces.remove(surface.id.slot)
        tap?.surfaceGone(surface.key)
    }

    // MARK: Frames

    private func accept(
        _ record: FrameRecord, _ header: RecordFrame, _ bundle: inout DescriptorBundle,
        _ received: UInt64
    ) throws(Refusal) {
        let surface = try find(record.surface)
        guard let buffer = ledger.find(record.buffer), let size = ledger[buffer]?.size else {
            throw Refusal(.unknownObject, "There is no buffer \(record.buffer).")
        }
        let frame = try FrameValidator.validate(
            record, bufferSize: size, last: surface.lastSequence, role: surface.role)
        if looksAtFrames { look(at: frame, size, surface) }
        if let refusal = unimportable[buffer], surface.destination == nil { throw refusal }
        let use = try ledger.begin(
            buffer, surface: surface.id, key: surface.key, sequence: frame.sequence, limits: limits)
        let now = loop.now()
        do throws(Refusal) {
            let (waits, fence) = try startWaits(
                frame, use, buffer, header, &bundle, surface, now: now)
            surface.lastSequence = frame.sequence
            var accepted = Frame(
                frame, use: use, buffer: buffer, size: size,
                receivedAt: received == 0 ? now : received, validatedAt: now, waits: waits)
            accepted.isFencePassed = fence == .passed
            tap?.accepted(surface.key, accepted)
            perform(surface.machine.accept(accepted), surface)
            if surface.machine.hasReadyFrame { armHiddenTimer() }
        } catch {
            // The use is told of by whoever refuses the record; here it only leaves the books.
            gate.cancel(use)
            cancelImage(use, surface)
            if let freed = ledger.end(use, .refused)?.freed { forget(freed) }
            throw error
        }
    }

    private func startWaits(
        _ frame: FrameRecord, _ use: UseID, _ buffer: BufferID, _ header: RecordFrame,
        _ bundle: inout DescriptorBundle, _ surface: SurfaceSession, now: UInt64
    ) throws(Refusal) -> (FrameWaits, FenceStart) {
        var waits: FrameWaits = []
        // First the image: whether it is there decides whether its fence can be passed on.
        if surface.machine.phase == .concealed {
            // Nobody is to see it.
        } else if surface.destination?.isReady ?? presenter.isReady {
            switch reserveImage(use, of: buffer, surface) {
            case .ready: break
            case .pending: waits.insert(.importing)
            case .refused(let refusal): throw refusal
            }
        } else {
            waits.insert(.importing)
        }
        var fence = FenceStart.open
        if frame.acquire != .none {
            fence = try startFence(
                frame, use, buffer, header, &bundle, surface, now: now)
            if fence == .held { waits.insert(.fence) }
        }
        if frame.targetTime > 0 {
            gate.wait(use, until: now + frame.targetTime)
            waits.insert(.time)
        }
        return (waits, fence)
    }

    private func signal(
        _ key: SurfaceKey, _ sequence: FrameSequence, isError: Bool
    ) throws(Refusal) {
        let surface = try find(key)
        if let use = surface.machine.waitingUse(sequence), gate.message(use, isError: isError) {
            return
        }
        // Its frame was just superseded or timed out: the message was on its way, nobody is to blame.
        if let last = surface.lastSequence, sequence <= last { return }
        throw Refusal(
            .unknownObject, "No frame \(sequence) of surface \(key) waits for such a message.")
    }

    // MARK: Reports

    /// The surface that a record is about, if it is about one.
    private static func surface(of header: RecordFrame) -> SurfaceKey? {
        switch header.type {
        case RecordType.surfaceCreate, RecordType.surfaceUpdate, RecordType.surfaceDestroy,
            RecordType.frame, RecordType.fenceSignal:
            SurfaceKey(header.object)
        default: nil
        }
    }

    func count(
        _ refusal: Refusal, about what: String, object: UInt64, surface: SurfaceKey? = nil
    ) {
        refusals[refusal.reason, default: 0] += 1
        tap?.refused(what, object: object, refusal.reason)
        warn(
            "refused \(what) \(object), \(refusal.reason.word): \(refusal.sentence)",
            surface: surface)
    }

    /// Logs what a guest has brought about, at a limited rate.
    func warn(_ text: @autoclosure () -> String, surface: SurfaceKey? = nil) {
        guard refusalLog.admits(now: loop.now()) else { return }
        tellLeftOut(&refusalLog)
        logger.warning(
            "\(name): \(text())", metadata: surface.map { [LogText.surfaceKey: "\($0)"] })
    }

    /// The same for what a producer brings about by connecting and leaving, which a flood of refusals must not hide.
    package func tell(_ level: Logger.Level, _ text: @autoclosure () -> String) {
        guard connectionLog.admits(now: loop.now()) else { return }
        tellLeftOut(&connectionLog)
        logger.log(level: level, "\(name): \(text())")
    }

    private func tellLeftOut(_ log: inout GuestLog) {
        if let leftOut = log.takeLeftOut() { logger.warning("\(name): \(leftOut)") }
    }

    private func status(of surface: SurfaceSession) -> SurfaceStatus {
        var status = SurfaceStatus(
            vm: name, surface: surface.key, title: surface.properties.identity.title,
            appID: surface.properties.identity.appID, isGone: surface.isDetached,
            counters: surface.counters)
        status.visibility = visibility(of: surface)
        status.route = routeWords(of: surface)
        return status
    }

    /// All surfaces, those that are gone first.
    package var status: [SurfaceStatus] {
        retired + surfaces.slots.compactMap { surfaces[$0].map(status(of:)) }
    }

    /// Buffers, bytes and uses at the moment.
    package var holdings: (buffers: Int, bytes: UInt64, uses: Int, waits: Int) {
        (ledger.bufferCount, ledger.bytes, ledger.useCount, gate.count)
    }

    /// Descriptors that are open for it, but for its source's.
    package var descriptors: DescriptorHoldings {
        var held = DescriptorHoldings()
        for id in ledger.allBuffers {
            held.buffers += presenter.memory(of: id)?.descriptorCount ?? 0
        }
        held.fences = gate.descriptors
        held.queued = feedbackDescriptors.count
        held.consumer = destinations.reduce(presenter.descriptors) { $0 + $1.presenter.descriptors }
        // A socket and a handle of the process.
        for worker in [graphics?.status, presenter.graphicsStatus] where worker?.isRunning == true {
            held.workers += 2
        }
        return held
    }

    /// Ends the session and gives its timers back.
    package func shutDown() {
        producerLeft()
        tellLeftOut(&connectionLog)
        gate.shutDown()
        graphics?.shutDown()
        presenter.shutDown()
        if let timer = hiddenTimer { loop.remove(timer) }
        if let timer = patienceTimer { loop.remove(timer) }
        for destination in destinations { loop.remove(destination.patience) }
        destinations.removeAll()
    }
}
