import Descriptors
import Logging
import VMBridgeCore

/// The bridge's end of one consumer's connection, if there is one: writes what presenters hand over,
/// and hands what the consumer answers to the presenter that it is about. Knows no VM.
///
/// A consumer is as hostile as a producer: its records are decoded by `ConsumerDecoder`, numbers that
/// were never given out are refused and counted, its rate is bounded by not reading, and while it does
/// not read nothing is written for it but what ends things, of which there is a bounded number.
package final class ConsumerEndpoint {
    /// Who it is, as rules name it.
    package let target: HandTarget
    /// What it is given at most.
    package private(set) var limits: VMLimits
    let loop: EventLoop
    let logger: Logger
    let probe: DescriptorProbe
    private var link: RecordLink
    private var generation: UInt64 = 0
    /// Whether the consumer takes frames whose fence is pending.
    private(set) var takesFences = false
    private var isEnding = false
    private var input: [UInt8] = []
    private var bundle: DescriptorBundle
    private var logBucket: TokenBucket
    private var presenters: [ConsumerPresenter] = []
    /// Who handed each announced surface over.
    private var owners: [UInt64: ConsumerPresenter] = [:]
    private var lastSurface: UInt64 = 0
    private var lastBuffer: UInt64 = 0
    private var buffers = 0
    private var bytes: UInt64 = 0
    /// What happened so far.
    var counters = ConsumerCounters()

    /// A target to which nobody is connected.
    ///
    /// - Parameter reaper: closes what the consumer sends and nobody wants.
    package init(
        target: HandTarget, limits: VMLimits, loop: EventLoop, logger: Logger,
        probe: DescriptorProbe, reaper: DescriptorReaper
    ) {
        self.target = target
        self.limits = limits
        self.loop = loop
        self.logger = logger
        self.probe = probe
        bundle = DescriptorBundle(reaper: reaper)
        logBucket = TokenBucket(rate: 5, now: loop.now())
        link = RecordLink(loop: loop)
        link.watchRefills { [unowned self] in self.link.refilled() }
    }

    /// Its name on this host.
    package var name: String {
        switch target {
        case .consumer(let name), .vm(let name): name
        }
    }

    /// In words, for logs and status.
    package var description: String {
        switch target {
        case .consumer(let name): "the consumer \(name)"
        case .vm(let name): "the consumer of VM \(name)"
        }
    }

    /// Whether a consumer is there.
    package var isConnected: Bool { link.isConnected && !isEnding }

    /// Whether records may be written: a consumer is there and reads.
    var isOpen: Bool { isConnected && !link.isOutputBlocked }

    /// Bytes and descriptors that the consumer has not taken yet.
    var waiting: (bytes: Int, descriptors: Int) {
        (link.output.bytes.count, link.outputDescriptors.count)
    }

    /// What it holds and what happened.
    package var status: ConsumerStatus {
        ConsumerStatus(
            target: target, isConnected: isConnected, generation: generation,
            surfaces: owners.count, buffers: buffers, bytes: bytes, counters: counters)
    }

    /// Adds a VM's half.
    func attach(_ presenter: ConsumerPresenter) { presenters.append(presenter) }

    /// Forgets a VM's half, which is over.
    func detach(_ presenter: ConsumerPresenter) { presenters.removeAll { $0 === presenter } }

    /// What it is given from now on.
    package func setLimits(_ limits: VMLimits) { self.limits = limits }

    // MARK: Connections

    /// Takes the connection of a consumer that has greeted; one that comes while another is served is
    /// told `busy`.
    func adopt(_ new: consuming SeqPacketSocket, _ greeting: ConsumerGreeting) {
        if input.isEmpty {
            input = Array(repeating: 0, count: SourceProtocol.maximumDatagram)
        }
        guard !link.isConnected else {
            return GreetingRoom.refuse(
                new, Refusal(.busy, "Another consumer is connected."), &input, &bundle)
        }
        do throws(KernelError) {
            try link.open(new, rate: rate) { [unowned self] in self.ready($0) }
        } catch {
            logger.error("\(description): its connection cannot be watched: \(error)")
            return
        }
        generation += 1
        takesFences = greeting.takesFences
        isEnding = false
        var welcome = Welcome(generation: generation, limits: limits, vmName: name, formats: [])
        // Frames come complete, or with a sync_file.
        welcome.acquireKinds = takesFences ? 0b101 : 0b001
        link.output.append(.welcome(welcome))
        logger.info(
            "\(description) is connected (generation \(generation)), “\(greeting.name ?? "without a name")”"
        )
        for presenter in presenters { presenter.consumerCame() }
    }

    /// Ends the connection, if there is one: all that was handed over is taken back.
    func disconnect(_ why: String) {
        guard link.isConnected else { return }
        link.close()
        isEnding = false
        bundle.reset()
        owners.removeAll()
        (lastSurface, lastBuffer, buffers, bytes) = (0, 0, 0, 0)
        logger.info("\(description) is gone: \(why)")
        for presenter in presenters { presenter.consumerLost(why) }
    }

    private func end(_ refusal: Refusal) {
        guard !isEnding else { return }
        isEnding = true
        logger.warning(
            "\(description): closing its connection, \(refusal.reason.word): \(refusal.sentence)")
        link.output.append(.refused(RefusedRecord(type: 0, object: 0, refusal: refusal)))
    }

    // MARK: What presenters hand over

    /// A key for a surface; nil when the consumer has as many as it may.
    func announceSurface(of presenter: ConsumerPresenter) -> UInt64? {
        guard owners.count < limits.surfaces else { return nil }
        lastSurface += 1
        owners[lastSurface] = presenter
        link.setRate(rate)
        return lastSurface
    }

    /// A surface's records are answered no more.
    func retireSurface(_ key: UInt64) {
        owners[key] = nil
        link.setRate(rate)
    }

    /// A key for a buffer.
    ///
    /// - Throws: when the consumer has as much as it may.
    func announceBuffer(bytes new: UInt64) throws(Refusal) -> UInt64 {
        guard buffers < limits.buffers else {
            throw Refusal(.tooManyBuffers, "Its consumer has as many buffers as it may.")
        }
        guard new <= limits.bytes, bytes <= limits.bytes - new else {
            throw Refusal(.tooManyBytes, "Its consumer has as much memory as it may.")
        }
        lastBuffer += 1
        buffers += 1
        bytes += new
        return lastBuffer
    }

    /// A buffer's place in the budget is free again.
    func retireBuffer(bytes old: UInt64) {
        buffers -= 1
        bytes -= old
    }

    /// Writes a record; its descriptors follow by `carry`.
    func say(_ record: ProducerRecord, descriptors: Int = 0) {
        guard isConnected else { return }
        link.output.append(record, descriptors: descriptors)
    }

    /// A descriptor of the record written last.
    func carry(_ descriptor: consuming OwnedDescriptor) {
        if isConnected { link.outputDescriptors.append(descriptor) }
    }

    // MARK: What the consumer answers

    private var rate: Int {
        // Each frame is answered by two records at most: how it was seen, and that it is done with.
        2 * (limits.baseRate + limits.ratePerSurface * owners.count)
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
            link.becameWritable()
            flush()
            if isOpen { for presenter in presenters { presenter.outputOpened() } }
        }
        guard !link.isReadingPaused else {
            if readiness.contains(.hangUp) { disconnect("it hung up") }
            return
        }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    private func read() {
        for _ in 0..<RecordLink.turn {
            guard isConnected else { return }
            guard link.mayRead(now: loop.now()) else { return }
            switch link.receive(into: &input, descriptors: &bundle) {
            case .datagram(let count): take(datagram: count)
            case .wouldBlock: return
            case .closed: return disconnect("it closed the connection")
            case .truncatedData, .tooManyDescriptors, .truncatedDescriptors:
                end(Refusal(.truncated, "A datagram or its descriptors did not arrive whole."))
            case .failed(let code):
                return disconnect("receiving failed: \(KernelError.text(of: code))")
            }
            if link.isOutputLong { return }
        }
    }

    private func take(datagram count: Int) {
        var walker = RecordWalker()
        var records = 0
        while isConnected {
            let header: RecordFrame
            do throws(Refusal) {
                guard
                    let next = try walker.next(
                        in: input.span.extracting(0..<count), descriptorCount: bundle.count)
                else { break }
                header = next
            } catch {
                end(error)
                break
            }
            records += 1
            do throws(Refusal) {
                try handle(
                    try ConsumerDecoder.decode(header, in: input.span.extracting(0..<count)), header
                )
            } catch { refuse(error, header) }
        }
        bundle.reset()
        link.took(records: records, now: loop.now())
    }

    private func handle(_ record: BridgeRecord, _ header: RecordFrame) throws(Refusal) {
        switch record {
        case .released(let buffer, let surface, let sequence, let outcome):
            if let owner = try owner(of: surface) {
                try owner.released(buffer, surface, sequence, outcome, fence: .none)
            }
        case .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            _ = try probe.requireSyncFile(bundle, header.firstDescriptor)
            let fence = bundle.take(header.firstDescriptor)
            if let owner = try owner(of: surface) {
                try owner.released(buffer, surface, sequence, outcome, fence: fence ?? .none)
            }
        case .presented(let surface, let presented):
            try owner(of: surface)?.presented(surface, presented)
        case .discarded(let surface, let sequence):
            try owner(of: surface)?.discarded(surface, sequence)
        case .configure(let surface, let configure):
            try owner(of: surface)?.configured(surface, configure)
        case .close(let surface): try owner(of: surface)?.closeRequested(surface)
        case .refused(let refused):
            counters.refusedByConsumer += 1
            warn(
                "it refused \(RecordType.name(refused.type)), \(refused.refusal.reason.word): \(refused.refusal.sentence)"
            )
        default: throw Refusal(.unsupported, "A consumer does not send such a record.")
        }
    }

    /// Who handed a surface over; nil for one that is gone, of which both sides may still speak.
    private func owner(of surface: SurfaceKey) throws(Refusal) -> ConsumerPresenter? {
        guard surface.value <= lastSurface else {
            throw Refusal(.unknownObject, "There is no surface \(surface).")
        }
        return owners[surface.value]
    }

    private func refuse(_ refusal: Refusal, _ header: RecordFrame) {
        counters.refusals[refusal.reason, default: 0] += 1
        warn(
            "refused \(RecordType.name(header.type)) \(header.object), \(refusal.reason.word): \(refusal.sentence)"
        )
        link.output.append(
            .refused(RefusedRecord(type: header.type, object: header.object, refusal: refusal)))
    }

    /// Logs what a consumer has brought about, at a bounded rate.
    func warn(_ text: @autoclosure () -> String) {
        let now = loop.now()
        guard logBucket.isOpen(now: now) else { return }
        logBucket.take(1, now: now)
        logger.warning("\(description): \(text())")
    }

    // MARK: Output

    /// Sends what was written, as far as the consumer's queue takes it. Called after each batch, when
    /// all sessions have settled.
    ///
    /// - Returns: false when the consumer turned out to be gone.
    @discardableResult
    package func flush() -> Bool {
        guard link.isConnected else { return true }
        if let why = link.flush() {
            disconnect(why)
        } else if isEnding {
            link.drain(into: &input, descriptors: &bundle)
            disconnect("refused")
        }
        return link.isConnected
    }

    /// Ends the connection and gives the timer back.
    package func shutDown() {
        disconnect("the bridge ends")
        link.shutDown()
        presenters.removeAll()
    }
}
