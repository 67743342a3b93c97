import Descriptors
import Logging
import VMBridgeCore

/// One VM's socket of source-v1: listens, keeps one connection at a time, turns datagrams into records
/// for the session and the session's feedback into datagrams.
package final class SocketSource<P: Presenter>: VMSource<P> {
    private let logger: Logger
    private var listener: SeqPacketListener
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    private var listening: Registration?
    private var isGreeted = false
    private var isEnding = false
    private var generation: UInt64 = 0
    private var input: [UInt8]
    private var bundle: DescriptorBundle
    private var output = RecordWriter()
    /// What the output's records carry, in order.
    private let outputDescriptors = DescriptorQueue()
    private var hasOutput = false
    private var isOutputBlocked = false
    private var isThrottled = false
    /// What the loop was told to wait for on the connection.
    private var interest = Interest.read
    /// A datagram was taken in this turn of the loop, or in the one before.
    private var hasRead = false
    private var hadRead = false
    private var bucket: TokenBucket
    private var bucketRate: Int
    private var bucketTimer: TimerID?
    private var listenTimer: TimerID?
    /// Where those go who greet as a consumer of what other VMs' surfaces hold; nil turns them away.
    package var consumers: ConsumerEndpoint?
    private var room: GreetingRoom?
    private let reaper: DescriptorReaper
    private let tap: SessionTap?

    /// Output that has gathered above this many bytes stops the reading: who does not listen is not
    /// listened to.
    private static var outputLimit: Int { 128 * 1024 }
    /// Descriptors in the output above which the same holds.
    private static var descriptorLimit: Int { 256 }
    /// Output above which a producer that does not listen gets no input either: a person's hand alone never
    /// fills the rest.
    private static var inputLimit: Int { 32 * 1024 }
    /// Datagrams taken in one turn of the loop, so that no VM keeps it for itself.
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
        bucketRate = session.limits.baseRate
        bucket = TokenBucket(rate: bucketRate, now: session.loop.now())
        super.init(session: session)
        listening = try loop.register(self.listener.number, .read) { [unowned self] _ in
            self.accept()
        }
        bucketTimer = loop.makeTimer { [unowned self] _ in self.bucketRefilled() }
        listenTimer = loop.makeTimer { [unowned self] _ in self.listenAgain() }
    }

    /// Whether a producer is connected.
    override package var isConnected: Bool { registration != nil }
    /// Descriptors that are open for the VM.
    override package var descriptors: DescriptorHoldings {
        var held = session.descriptors
        held.queued += outputDescriptors.count
        held.sockets += isConnected ? 2 : 1
        return held
    }
    /// Which connection it is, from 1; 0 before the first.
    override package var connectionNumber: UInt64 { generation }

    /// Other limits from the next record on, the rate of records included.
    override package func apply(_ limits: VMLimits, fences: FencePolicy) {
        super.apply(limits, fences: fences)
        guard bucketRate != rate else { return }
        bucketRate = rate
        bucket.setRate(bucketRate, now: loop.now())
        // A wait was reckoned by the former rate.
        if isThrottled, let bucketTimer { loop.arm(bucketTimer, after: 1_000_000) }
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
        guard socket == nil else { return takeFurther(new) }
        let number = new.number
        do throws(KernelError) {
            registration = try loop.register(number, .read) { [unowned self] in self.ready($0) }
        } catch {
            logger.error("\(session.name): cannot watch the producer's connection: \(error)")
            return
        }
        socket = consume new
        generation += 1
        isGreeted = false
        isEnding = false
        isOutputBlocked = false
        isThrottled = false
        interest = .read
        forgetOutput()
        bucketRate = rate
        bucket = TokenBucket(rate: bucketRate, now: loop.now())
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
        if let registration { loop.remove(registration) }
        registration = nil
        generation -= 1
        if let bucketTimer { loop.disarm(bucketTimer) }
        forgetOutput()
        session.tell(.info, "that is a consumer")
        if let moved = socket.take() { consumers?.adopt(moved, greeting) }
    }

    private func disconnect(_ why: String) {
        guard isConnected else { return }
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        if let bucketTimer { loop.disarm(bucketTimer) }
        bundle.reset()
        forgetOutput()
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
            isOutputBlocked = false
            flush()
            if !isOutputBlocked { session.isInputHeld = false }
        }
        guard !isReadingPaused else {
            // A hang-up is told whatever the interest: nothing more can be answered then.
            if readiness.contains(.hangUp) { disconnect("it hung up") }
            return
        }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    private var isReadingPaused: Bool {
        isThrottled || isOutputBlocked && isOutputLong
    }

    private var isOutputLong: Bool {
        output.bytes.count > Self.outputLimit || output.descriptors > Self.descriptorLimit
    }

    /// Takes one datagram, which is all there is as a rule: looking for another costs a call each
    /// time. Who sends turn after turn is read until nothing is left.
    private func read() {
        hasRead = true
        for _ in 0..<(hadRead ? Self.turn : 1) {
            guard isConnected, !isEnding else { return }
            // Also the time at which its frames were received: with the call that reads them.
            let now = loop.now()
            guard bucket.isOpen(now: now) else { return throttle() }
            switch socket?.receive(into: &input, descriptors: &bundle) ?? .wouldBlock {
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
            if hasOutput, isOutputLong { return }
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
        bucket.take(max(records, 1), now: time)
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

    // MARK: Throttle

    private func throttle() {
        guard !isThrottled, let bucketTimer else { return }
        isThrottled = true
        updateInterest()
        loop.arm(bucketTimer, after: max(bucket.delay(), 1_000_000))
    }

    private func bucketRefilled() {
        isThrottled = false
        updateInterest()
    }

    private func updateInterest() {
        guard let registration else { return }
        var interest: Interest = []
        if !isReadingPaused { interest.insert(.read) }
        if isOutputBlocked { interest.insert(.write) }
        guard interest != self.interest else { return }
        if (try? loop.setInterest(registration, interest)) != nil { self.interest = interest }
    }

    // MARK: Output

    /// Takes the session's feedback and sends what the producer's queue takes. Called after each batch.
    override package func settle() {
        session.settle()
        hadRead = hasRead
        hasRead = false
        takeFeedback()
        if isOutputBlocked, output.bytes.count > Self.inputLimit, !session.isInputHeld {
            session.isInputHeld = true
            takeFeedback()
        }
        // Only records change how many surfaces there are.
        if hadRead, bucketRate != rate {
            bucketRate = rate
            bucket.setRate(bucketRate, now: loop.now())
        }
        flush()
        if isEnding {
            for _ in 0..<4 * Self.turn {
                guard
                    case .datagram? = socket?.receive(into: &input, descriptors: &bundle)
                else { break }
            }
            disconnect("refused")
        }
    }

    private func takeFeedback() {
        let isListening = isConnected && isGreeted
        session.takeFeedback { record in
            if isListening { say(record) }
            for _ in 0..<record.descriptors {
                guard let descriptor = session.feedbackDescriptors.takeFirst() else { break }
                if isListening { outputDescriptors.append(descriptor) }
            }
        }
    }

    private func say(_ record: BridgeRecord) {
        output.append(record)
        hasOutput = true
    }

    private func forgetOutput() {
        output.removeAll()
        outputDescriptors.removeAll()
        hasOutput = false
    }

    private func flush() {
        guard isConnected else { return }
        if hasOutput, !isOutputBlocked { send() }
        updateInterest()
    }

    private func send() {
        while !isOutputBlocked, hasOutput {
            let (count, descriptors) = output.wholeRecords(upTo: SourceProtocol.maximumDatagram)
            switch send(count, descriptors) {
            case .sent:
                tap?.sent(output.bytes, count: count, descriptors: descriptors)
                output.removeFirst(count, descriptors: descriptors)
                if descriptors > 0 { outputDescriptors.removeFirst(descriptors) }
                hasOutput = !output.isEmpty
            case .wouldBlock: isOutputBlocked = true
            case .closed: return disconnect("it closed the connection")
            case .failed(let code):
                return disconnect("sending failed: \(KernelError.text(of: code))")
            }
        }
    }

    private func send(_ count: Int, _ descriptors: Int) -> SendResult {
        guard descriptors > 0 else { return socket?.send(output.bytes, count: count) ?? .closed }
        return outputDescriptors.withFirst(descriptors) {
            socket?.send(output.bytes, count: count, descriptors: $0) ?? .closed
        }
    }

    /// Closes the socket and ends the session.
    override package func shutDown() {
        disconnect("the bridge ends")
        room?.shutDown()
        consumers = nil
        if let listening { loop.remove(listening) }
        listening = nil
        if let bucketTimer { loop.remove(bucketTimer) }
        if let listenTimer { loop.remove(listenTimer) }
        session.shutDown()
        tap?.shutDown()
    }
}
