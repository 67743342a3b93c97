import Descriptors
import Logging
import VMBridgeCore

/// Takes what belongs to one domain.
package protocol HyperListener: AnyObject {
    /// The reader runs, or does not any more; with `isGone` the driver is gone too, and all that came by it.
    func hyperReaderChanged(isReady: Bool, isGone: Bool)
    /// A record of the domain: its private data are bytes of the range. With `wasAsked` no record came, and the
    /// driver was asked for them.
    func hyperAnnounced(
        _ id: HyperBufferID, _ bytes: borrowing [UInt8], _ range: Range<Int>, at time: UInt64,
        wasAsked: Bool)
    /// The dma-buf that was asked for, alone in the bundle.
    func hyperOpened(
        _ id: HyperBufferID, _ facts: HyperBufferFacts, _ bundle: inout DescriptorBundle)
    /// It is not to be had: the driver's errno, 0 when nobody knows.
    func hyperCouldNotOpen(_ id: HyperBufferID, _ code: Int32)
    /// What the driver knows of a buffer; nil and an errno when it knows nothing.
    func hyperKnows(_ id: HyperBufferID, _ facts: HyperBufferFacts?, _ code: Int32)
    /// Something of the domain made no sense.
    func hyperRefused(_ refusal: Refusal)
}

/// hyper_dmabuf on this host: its node's comings and goings, its one reader, and which domain is whose VM.
package final class HyperHub: HyperReaderOwner {
    private let loop: EventLoop
    private let logger: Logger
    private var reader: HyperReader?
    private var uevents: UeventSocket?
    private var registration: Registration?
    private var timer: TimerID?
    private let options: HyperReaderOptions
    private var listeners: [UInt8: any HyperListener] = [:]
    /// Asked when a domain exports that no VM has: whoever can make one for it does, and adds it.
    package var onUnmapped: ((UInt8) -> Void)?
    private var bytes = [UInt8](repeating: 0, count: KernelUevent.maximumBytes)
    private var log = GuestLog()
    private var lastSentence = ""

    /// What was counted, for status and tests.
    package private(set) var counts = Counts()
    /// Counts of the host, whoever's VM they concern.
    package struct Counts: Sendable, Equatable {
        /// Records read, and those among them that said the same as a later one of the same read.
        package var records: UInt64 = 0
        package var repeated: UInt64 = 0
        /// Records of domains that no VM has.
        package var unmapped: UInt64 = 0
        /// Records that made no sense.
        package var malformed: UInt64 = 0
        /// Records that another reader took.
        package var stolen: UInt64 = 0
        /// Messages of the kernel about the node.
        package var uevents: UInt64 = 0
    }

    /// The same for a report.
    package var status: DriverStatus {
        var status = DriverStatus(name: "hyper_dmabuf", node: options.node, trouble: trouble)
        status.records = counts.records
        status.unmapped = counts.unmapped
        status.malformed = counts.malformed
        status.stolen = counts.stolen
        status.uevents = counts.uevents
        return status
    }

    /// Why no reader runs, in words; nil while one does.
    package private(set) var trouble: String? = "no reader was started yet"

    /// Begins to listen for the node, and starts the reader if it is there.
    package init(
        loop: EventLoop, options: HyperReaderOptions, launcher: any HyperReaderLauncher,
        logger: Logger
    ) {
        self.loop = loop
        self.logger = logger
        self.options = options
        timer = loop.makeTimer { [unowned self] _ in self.tryAgain() }
        reader = HyperReader(loop: loop, options: options, launcher: launcher, owner: self)
        do throws(KernelError) {
            let socket = try UeventSocket()
            registration = try loop.register(socket.number, .read) { [unowned self] _ in
                self.takeUevents()
            }
            uevents = consume socket
        } catch {
            logger.warning(
                "hyper_dmabuf: the kernel's messages about devices cannot be heard (\(error)): the node is looked for every \(options.restartDelay / 1_000_000_000) s instead"
            )
        }
        tryAgain()
    }

    // MARK: VMs

    /// A VM takes what a domain exports.
    ///
    /// - Throws: a sentence when another VM has that domain.
    func add(_ listener: any HyperListener, domain: UInt8) throws(SpecificationError) {
        guard listeners[domain] == nil else {
            throw SpecificationError("domain \(domain) of hyper_dmabuf belongs to another VM")
        }
        listeners[domain] = listener
        if isReady { listener.hyperReaderChanged(isReady: true, isGone: false) }
    }

    /// It takes no more of it.
    package func remove(domain: UInt8) {
        listeners[domain] = nil
        reader?.forget(domain: domain)
    }

    /// Whether nobody takes anything.
    package var isIdle: Bool { listeners.isEmpty }
    /// Whether the reader runs.
    package var isReady: Bool { reader?.isReady ?? false }
    /// Descriptors that are open here.
    package var descriptors: Int { (uevents == nil ? 0 : 1) + (reader?.descriptors ?? 0) }
    /// The reader's process; 0 without one.
    package var process: Int32 { reader?.processNumber ?? 0 }
    /// How often the reader was started, and given up.
    package var starts: UInt64 { reader?.starts ?? 0 }

    /// Asks the driver; see `HyperReader.ask`.
    package func ask(_ request: ReaderRequest) -> Bool { reader?.ask(request) ?? false }

    /// Ends everything.
    package func shutDown() {
        onUnmapped = nil
        listeners.removeAll()
        reader?.shutDown()
        reader = nil
        if let registration { loop.remove(registration) }
        registration = nil
        uevents = nil
        if let timer { loop.remove(timer) }
        timer = nil
    }

    // MARK: The node

    private func tryAgain() {
        guard let reader, !reader.isRunning else { return }
        guard HyperDmabufNode.isThere(options.node) else {
            tell("\(options.node) is not there")
            // Its coming is told, where that can be heard.
            if uevents == nil { armRetry() }
            return
        }
        reader.start()
    }

    private func armRetry() {
        if let timer { loop.arm(timer, after: options.restartDelay) }
    }

    private func tell(_ sentence: String) {
        trouble = sentence
        guard sentence != lastSentence else { return }
        lastSentence = sentence
        logger.warning("hyper_dmabuf: \(sentence)")
    }

    private func takeUevents() {
        for _ in 0..<16 {
            switch uevents?.receive(into: &bytes) ?? .wouldBlock {
            case .wouldBlock: return
            case .ignored: continue
            case .overrun: tryAgain()
            case .failed(let code):
                logger.error(
                    "hyper_dmabuf: hearing of devices failed: \(KernelError.text(of: code)); the node is looked for every \(options.restartDelay / 1_000_000_000) s instead"
                )
                if let registration { loop.remove(registration) }
                registration = nil
                uevents = nil
                if !isReady { armRetry() }
                return
            case .message(let count):
                guard let event = KernelUevent(bytes.span.extracting(0..<count)),
                    options.node == "/dev/" + event.node
                else { continue }
                take(event)
            }
        }
    }

    private func take(_ event: KernelUevent) {
        counts.uevents += 1
        switch event.action {
        case .add: tryAgain()
        case .remove:
            guard let reader, reader.isRunning else { return }
            reader.stop()
            tell("\(options.node) went away")
            changed(isReady: false, isGone: true)
        case .change:
            tryAgain()
            // The queue is read whenever it has something; what a lost record said can only be asked for.
            guard let id = event.buffer else { return }
            if listeners[id.domain] == nil { onUnmapped?(id.domain) }
            if listeners[id.domain] != nil { _ = ask(.describe(id)) }
        case .other: break
        }
    }

    private func changed(isReady: Bool, isGone: Bool = false) {
        for listener in listeners.values {
            listener.hyperReaderChanged(isReady: isReady, isGone: isGone)
        }
    }

    // MARK: The reader

    package func readerIsReady() {
        trouble = nil
        lastSentence = ""
        logger.info("hyper_dmabuf: reading \(options.node)")
        changed(isReady: true)
    }

    package func readerEnded(_ why: ReaderEnd?, _ sentence: String) {
        tell(sentence)
        let isGone = why == .noNode || why == .nodeGone
        changed(isReady: false, isGone: isGone)
        // Without a node there is nothing to start it for; else whatever it was may have passed.
        if !isGone || uevents == nil { armRetry() }
    }

    package func readerWasRobbed() {
        counts.stolen += 1
        if log.admits(now: loop.now()) {
            logger.warning(
                "hyper_dmabuf: another program reads \(options.node) too: each record goes to one of us, and frames are lost by it"
            )
        }
    }

    package func readerBrought(_ bytes: borrowing [UInt8], _ range: Range<Int>) {
        let now = loop.now()
        let read = bytes.span.extracting(range)
        var events: [HyperEvent] = []
        var walker = HyperEventReader()
        while true {
            do throws(Refusal) {
                guard let event = try walker.next(in: read) else { break }
                events.append(event)
            } catch { refused(error) }
        }
        counts.records += UInt64(events.count)
        for (index, event) in events.enumerated() {
            // All records of a buffer show its latest private data, so some of one read are the same.
            let isRepeated = events[(index + 1)...].contains {
                $0.id == event.id && $0.count == event.count
                    && Self.isSame(read, event.start, $0.start, event.count)
            }
            guard !isRepeated else {
                counts.repeated += 1
                continue
            }
            if listeners[event.id.domain] == nil { onUnmapped?(event.id.domain) }
            guard let listener = listeners[event.id.domain] else {
                counts.unmapped += 1
                if log.admits(now: now) {
                    logger.warning(
                        "hyper_dmabuf: domain \(event.id.domain) exports, and no VM of this host has it: write VM=hyper-dmabuf:\(event.id.domain), or hyper-dmabuf alone for all domains"
                    )
                }
                continue
            }
            let start = range.lowerBound + event.start
            listener.hyperAnnounced(
                event.id, bytes, start..<start + event.count, at: now, wasAsked: false)
        }
    }

    private static func isSame(
        _ bytes: borrowing Span<UInt8>, _ a: Int, _ b: Int, _ count: Int
    ) -> Bool {
        for offset in 0..<count where bytes[a + offset] != bytes[b + offset] { return false }
        return true
    }

    private func refused(_ refusal: Refusal) {
        counts.malformed += 1
        if log.admits(now: loop.now()) {
            logger.warning("hyper_dmabuf: a record is refused: \(refusal.sentence)")
        }
    }

    package func readerAnswered(
        _ request: ReaderRequest, _ raw: RawFacts, _ bytes: borrowing [UInt8],
        _ range: Range<Int>, _ bundle: inout DescriptorBundle
    ) {
        let id = request.id
        guard let listener = listeners[id.domain] else { return }
        do throws(Refusal) {
            let facts = try raw.facts(of: id)
            switch request {
            case .open: listener.hyperOpened(id, facts, &bundle)
            case .ask: listener.hyperKnows(id, facts, 0)
            case .describe where facts.isUnexported: break
            case .describe:
                listener.hyperAnnounced(id, bytes, range, at: loop.now(), wasAsked: true)
            }
        } catch {
            listener.hyperRefused(error)
            if case .open = request { listener.hyperCouldNotOpen(id, 0) }
        }
    }

    package func readerRefused(_ request: ReaderRequest, _ code: Int32) {
        guard let listener = listeners[request.id.domain] else { return }
        switch request {
        case .open: listener.hyperCouldNotOpen(request.id, code)
        case .ask: listener.hyperKnows(request.id, nil, code)
        case .describe: break
        }
    }
}
