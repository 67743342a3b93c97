import Descriptors
import Logging
import VMBridgeCore

/// One VM's socket of source-v1: listens, keeps one connection at a time, turns datagrams into records
/// for the session and the session's feedback into datagrams.
package final class SocketSource<P: Presenter>: VMSource<P> {
    private let logger: Logger
    private var listener: SeqPacketListener
    private var link: RecordLink
    private var listening: Registration?
    private var isGreeted = false
    private var isEnding = false
    private var generation: UInt64 = 0
    private var input: [UInt8]
    private var bundle: DescriptorBundle
    /// A datagram was taken in this turn of the loop, or in the one before.
    private var hasRead = false
    private var hadRead = false
    private var listenTimer: TimerID?
    /// Where those go who greet as a consumer of what other VMs' surfaces hold; nil turns them away.
    package var consumers: ConsumerEndpoint?
    private var room: GreetingRoom?
    private let reaper: DescriptorReaper
    private let tap: SessionTap?

    /// Output above which a producer that does not listen gets no input either: a person's hand alone never
    /// fills the rest.
    private static var inputLimit: Int { 32 * 1024 }
    /// Connections accepted in one turn of the loop.
    private static var turn: Int { 16 }

    /// Listens for the VM's producer.
    ///
    /// - Parameters:
    ///   - path: of the socket; made with mode 0600.
    ///   - session: the VM's.
    ///   - reaper: closes what the producer sends and nobody wants.
    package convenience init(
        path: String, session: VMSession<P>, reaper: DescriptorReaper
    ) throws(KernelError) {
        try self.init(listener: try SeqPacketListener(path: path), session: session, reaper: reaper)
    }

    /// The same with a socket that listens already.
    package init(
        listener: consuming SeqPacketListener, session: VMSession<P>, reaper: DescriptorReaper
    ) throws(KernelError) {
        bundle = DescriptorBundle(reaper: reaper)
        self.reaper = reaper
        tap = session.tap
        logger = session.logger
        self.listener = listener
        input = Array(repeating: 0, count: SourceProtocol.maximumDatagram)
        link = RecordLink(loop: session.loop)
        super.init(session: session)
        link.watchRefills { [unowned self] in self.link.refilled() }
        listening = try loop.register(self.listener.number, .read) { [unowned self] _ in
            self.accept()
        }
        listenTimer = loop.makeTimer { [unowned self] _ in self.listenAgain() }
    }

    /// Whether a producer is connected.
    override package var isConnected: Bool { link.isConnected }
    /// Descriptors that are open for the VM.
    override package var descriptors: DescriptorHoldings {
        var held = session.descriptors
        held.queued += link.outputDescriptors.count
        held.sockets += isConnected ? 2 : 1
        return held
    }
    /// Which connection it is, from 1; 0 before the first.
    override package var connectionNumber: UInt64 { generation }

    /// Other limits from the next record on, the rate of records included.
    override package func apply(_ limits: VMLimits, fences: FencePolicy) {
        super.apply(limits, fences: fences)
        link.setRate(rate)
    }

    // MARK: Connections

    private func accept() {
        for _ in 0..<Self.turn {
            switch listener.accept() {
            case .accepted(let socket): take(socket)
            case .wouldBlock: return
            case .turnedAway:
                session.tell(.warning, "out of descriptors, a producer was turned away")
            case .exhausted(let code): return pauseListening(code)
            case .failed(let code): return pauseListening(code)
            }
        }
    }

    /// A listener left readable would spin the loop.
    private func pauseListening(_ code: Int32) {
        logger.error(
            "\(session.name): cannot accept: \(KernelError.text(of: code)); trying again in a second"
        )
        guard let listening, let listenTimer else { return }
        _ = try? loop.setInterest(listening, [])
        loop.arm(listenTimer, after: 1_000_000_000)
    }

    private func listenAgain() {
        if let listening { _ = try? loop.setInterest(listening, .read) }
    }

    private func take(_ new: consuming SeqPacketSocket) {
        guard !isConnected else { return takeFurther(new) }
        do throws(KernelError) {
            try link.open(new, rate: rate) { [unowned self] in self.ready($0) }
        } catch {
            logger.error("\(session.name): cannot watch the producer's connection: \(error)")
            return
        }
        generation += 1
        isGreeted = false
        isEnding = false
        tap?.connected(generation: generation)
        session.tell(.info, "producer connected (generation \(generation))")
    }

    /// A producer is there: who comes further is a consumer, or told that the place is taken.
    private func takeFurther(_ new: consuming SeqPacketSocket) {
        let busy = Refusal(.busy, "Another producer is connected to this socket.")
        guard consumers != nil else { return GreetingRoom.refuse(new, busy, &input, &bundle) }
        if room == nil {
            room = GreetingRoom(
                loop: loop, reaper: reaper, answerToProducers: busy, answerToSilence: busy
            ) { [unowned self] in self.consumers?.adopt($0, $1) }
        }
        room?.admit(new)
    }

    /// The first connection turned out to be a consumer's: the place is free again.
    private func handOver(_ greeting: ConsumerGreeting) {
        generation -= 1
        session.tell(.info, "that is a consumer")
        if let moved = link.takeSocket() { consumers?.adopt(moved, greeting) }
    }

    private func disconnect(_ why: String) {
        guard isConnected else { return }
        link.close()
        bundle.reset()
        session.producerLeft()
        tap?.disconnected()
        session.tell(.info, "producer gone: \(why)")
    }

    // MARK: Input

    private var rate: Int {
        session.limits.baseRate + session.limits.ratePerSurface * session.mappedSurfaces
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
            link.becameWritable()
            flush()
            if !link.isOutputBlocked { session.isInputHeld = false }
        }
        guard !link.isReadingPaused else {
            // A hang-up is told whatever the interest: nothing more can be answered then.
            if readiness.contains(.hangUp) { disconnect("it hung up") }
            return
        }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    /// Takes one datagram, which is all there is as a rule: looking for another costs a call each
    /// time. Who sends turn after turn is read until nothing is left.
    private func read() {
        hasRead = true
        for _ in 0..<(hadRead ? RecordLink.turn : 1) {
            guard isConnected, !isEnding else { return }
            // Also the time at which its frames were received: with the call that reads them.
            let now = loop.now()
            guard link.mayRead(now: now) else { return }
            switch link.receive(into: &input, descriptors: &bundle) {
            case .datagram(let count): take(datagram: count, at: now)
            case .wouldBlock: return
            case .closed: return disconnect("it closed the connection")
            case .truncatedData:
                tap?.receivedBroken(.tooLong)
                end(Refusal(.truncated, "A datagram has at most 65536 bytes."))
            case .tooManyDescriptors:
                tap?.receivedBroken(.tooManyDescriptors)
                end(Refusal(.truncated, "A datagram carries at most 16 descriptors."))
            case .truncatedDescriptors:
                tap?.receivedBroken(.lostDescriptors)
                end(Refusal(.truncated, "The datagram's descriptors did not all arrive."))
            case .failed(let code):
                return disconnect("receiving failed: \(KernelError.text(of: code))")
            }
            if link.isOutputLong { return }
        }
    }

    private func take(datagram count: Int, at time: UInt64) {
        tap?.received(input, count: count, bundle, at: time)
        var walker = RecordWalker()
        var records = 0
        // The span is borrowed for each call anew, since handling a record may close the connection.
        while isConnected, !isEnding {
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
            handle(header, count, time)
        }
        bundle.reset()
        link.took(records: records, now: time)
    }

    private func handle(_ header: RecordFrame, _ count: Int, _ time: UInt64) {
        let record: ProducerRecord
        do throws(Refusal) {
            record = try ProducerDecoder.decode(header, in: input.span.extracting(0..<count))
        } catch {
            guard isGreeted || error.reason.endsConnection else {
                let isGreeting = header.type == RecordType.hello
                return end(
                    Refusal(
                        .notGreeted,
                        isGreeting ? error.sentence : "The first record is a greeting."))
            }
            guard !error.reason.endsConnection else { return end(error) }
            let identity = ProducerDecoder.frameIdentity(
                header, in: input.span.extracting(0..<count))
            return session.refuse(error, header, frame: identity)
        }
        if isGreeted {
            session.receive(record, header, &bundle, at: time)
        } else if case .hello(let producer, let takesFences, let wantsInput) = record {
            isGreeted = true
            session.producerTakesFences = takesFences
            say(.welcome(session.welcome(generation: generation)))
            session.wantsInput = wantsInput
            session.tell(.debug, "greeted by \(producer ?? "a producer without a name")")
        } else if case .greetConsumer(let greeting) = record, consumers != nil {
            guard header.end == count else {
                return end(Refusal(.notGreeted, "A consumer sends nothing behind its greeting."))
            }
            handOver(greeting)
        } else {
            end(Refusal(.notGreeted, "The first record is a producer's greeting."))
        }
    }

    /// Tells the producer why, as far as its queue takes it, and closes after the batch.
    private func end(_ refusal: Refusal) {
        guard !isEnding else { return }
        isEnding = true
        session.tell(
            .warning, "closing the connection, \(refusal.reason.word): \(refusal.sentence)")
        say(.refused(RefusedRecord(type: 0, object: 0, refusal: refusal)))
    }

    // MARK: Output

    /// Takes the session's feedback and sends what the producer's queue takes. Called after each batch.
    override package func settle() {
        session.settle()
        hadRead = hasRead
        hasRead = false
        takeFeedback()
        if link.isOutputBlocked, link.output.bytes.count > Self.inputLimit, !session.isInputHeld {
            session.isInputHeld = true
            takeFeedback()
        }
        // Only records change how many surfaces there are.
        if hadRead { link.setRate(rate) }
        flush()
        if isEnding {
            link.drain(into: &input, descriptors: &bundle)
            disconnect("refused")
        }
    }

    private func takeFeedback() {
        let isListening = isConnected && isGreeted
        session.takeFeedback { record in
            if isListening { say(record) }
            for _ in 0..<record.descriptors {
                guard let descriptor = session.feedbackDescriptors.takeFirst() else { break }
                if isListening { link.outputDescriptors.append(descriptor) }
            }
        }
    }

    private func say(_ record: BridgeRecord) { link.output.append(record) }

    private func flush() {
        if let why = link.flush(tap) { disconnect(why) }
    }

    /// Closes the socket and ends the session.
    override package func shutDown() {
        disconnect("the bridge ends")
        room?.shutDown()
        consumers = nil
        if let listening { loop.remove(listening) }
        listening = nil
        link.shutDown()
        if let listenTimer { loop.remove(listenTimer) }
        session.shutDown()
        tap?.shutDown()
    }
}
