import Descriptors
import Logging
import VMBridgeCore

/// One VM that is a domain of hyper_dmabuf: what it exports becomes surfaces, buffers and frames of its
/// session. Nothing goes back to the guest, since the driver has no way for that; a buffer that its exporter took
/// back is held until the compositor has let go of it.
package final class HyperDmabufSource<P: Presenter>: VMSource<P>, HyperListener {
    private let hub: HyperHub
    /// The domain's number, as far as ids tell it.
    private let number: UInt8
    private var domain: HyperDomain
    private var actions: [HyperAction] = []
    private var bucket: TokenBucket
    private var bucketRate: Int
    private var timer: TimerID?
    private var generation: UInt64 = 0
    /// A record came since the driver runs, and the domain answers.
    private var isPresent = false
    /// When it was last heard of, nanoseconds.
    private var lastSign: UInt64 = 0
    private var isProbing = false
    private var failedProbes = 0
    /// Where among the open buffers the next questions go.
    private var nextQuestion = 0
    /// What each buffer's private data were last, by their sum: what is asked for may have come already.
    private var sums: [HyperBufferID: UInt64] = [:]

    /// Records taken, left out for their rate, and answers that said nothing new.
    private var records: UInt64 = 0
    private var excess: UInt64 = 0

    /// How often open buffers are asked about, and a silent domain is probed.
    private static var beat: UInt64 { 1_000_000_000 }
    /// Questions of one beat.
    private static var questions: Int { 16 }
    /// So long without a word, and a domain is probed.
    private static var silence: UInt64 { 3_000_000_000 }

    /// Takes what the domain exports from now on.
    ///
    /// - Throws: when another VM has that domain.
    init(session: VMSession<P>, domain number: UInt8, hub: HyperHub) throws {
        self.hub = hub
        self.number = number
        domain = HyperDomain(limits: session.limits)
        bucketRate = session.limits.baseRate
        bucket = TokenBucket(rate: bucketRate, now: session.loop.now())
        super.init(session: session)
        // The driver opens its dma-bufs for reading alone.
        session.acceptsReadOnlyBuffers = true
        timer = loop.makeTimer { [unowned self] now in self.beat(now) }
        try hub.add(self, domain: number)
    }

    package override var isConnected: Bool { isPresent }
    package override var connectionNumber: UInt64 { generation }
    package override var words: String? {
        if let trouble = hub.trouble { return trouble }
        let counts = domain.counted
        var text = "domain \(number) of hyper_dmabuf: \(records) records"
        if !isPresent { text += ", silent" }
        text += ", frames \(counts.complete) whole, \(counts.incomplete) with parts lost"
        text += ", \(counts.overtaken) overtaken before their buffer was open"
        text += ", buffers \(counts.opened) opened, \(counts.failed) not to be had"
        if excess > 0 { text += ", \(excess) records above the rate" }
        return text
    }

    package override func apply(_ limits: VMLimits, fences: FencePolicy) {
        super.apply(limits, fences: fences)
        domain.apply(limits)
    }

    package override func shutDown() {
        hub.remove(domain: number)
        if let timer { loop.remove(timer) }
        timer = nil
        super.shutDown()
    }

    package override func settle() {
        session.settle()
        session.takeFeedback { record in
            // There is nobody to tell; but what the session would not take is no buffer of the domain's.
            if case .refused(let refused) = record, refused.type == RecordType.bufferCreate {
                domain.wasRefused(BufferKey(refused.object))
            }
            for _ in 0..<record.descriptors { _ = session.feedbackDescriptors.takeFirst() }
        }
    }

    // MARK: Coming and going

    package func hyperReaderChanged(isReady: Bool, isGone: Bool) {
        if isReady {
            lastSign = loop.now()
            if let timer { loop.arm(timer, after: Self.beat) }
        } else {
            if let timer { loop.disarm(timer) }
            isProbing = false
            // A reader that was given up comes back, and what was opened is still there.
            if isGone { leave("the driver's node is gone") }
        }
    }

    private func heard(at time: UInt64) {
        lastSign = time
        failedProbes = 0
        guard !isPresent else { return }
        isPresent = true
        generation += 1
        session.tell(.info, "domain \(number) exports (generation \(generation))")
    }

    private func leave(_ why: String) {
        guard isPresent else { return }
        isPresent = false
        domain.end(&actions)
        actions.removeAll(keepingCapacity: true)
        sums.removeAll()
        session.producerLeft()
        session.tell(.info, "domain \(number) is gone: \(why)")
    }

    // MARK: Records

    private var rate: Int {
        session.limits.baseRate + session.limits.ratePerSurface * session.mappedSurfaces
    }

    package func hyperAnnounced(
        _ id: HyperBufferID, _ bytes: borrowing [UInt8], _ range: Range<Int>, at time: UInt64,
        wasAsked: Bool
    ) {
        if bucketRate != rate {
            bucketRate = rate
            bucket.setRate(bucketRate, now: time)
        }
        guard bucket.isOpen(now: time) else {
            excess += 1
            return
        }
        bucket.take(1, now: time)
        let data = bytes.span.extracting(range)
        let sum = Self.sum(data)
        if wasAsked, sums[id] == sum { return }
        do throws(Refusal) {
            let announcement = try HyperPrivateData.decode(data)
            heard(at: time)
            records += 1
            if sums.count > 1024 { sums.removeAll(keepingCapacity: true) }
            sums[id] = sum
            try domain.announced(id, announcement, &actions)
        } catch { hyperRefused(error) }
        perform(at: time)
    }

    /// FNV-1a.
    private static func sum(_ bytes: borrowing Span<UInt8>) -> UInt64 {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in bytes.indices { sum = (sum ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
        return sum
    }

    package func hyperRefused(_ refusal: Refusal) {
        session.countRefused(refusal, about: "a record of domain \(number)")
    }

    private func perform(at time: UInt64) {
        for action in actions {
            switch action {
            case .createSurface(let key, let metadata):
                session.receive(
                    .surfaceCreate(key, .toplevel, isGraphics: true, metadata), at: time)
                session.describe(key, announcement: "announced without a fence")
            case .updateSurface(let key, let metadata):
                session.receive(.surfaceUpdate(key, metadata), at: time)
            case .destroySurface(let key): session.receive(.surfaceDestroy(key), at: time)
            case .open(let id):
                if !hub.ask(.open(id)) { domain.couldNotOpen(id) }
            case .createBuffer: break  // Where its descriptor is: `hyperOpened`.
            case .destroyBuffer(let key): session.receive(.bufferDestroy(key), at: time)
            case .frame(let frame): session.receive(.frame(frame), at: time)
            }
        }
        actions.removeAll(keepingCapacity: true)
    }

    // MARK: Buffers

    package func hyperOpened(
        _ id: HyperBufferID, _ facts: HyperBufferFacts, _ bundle: inout DescriptorBundle
    ) {
        let now = loop.now()
        // An answer that comes late, after all was given up, brings nothing back.
        guard isPresent else { return }
        heard(at: now)
        isProbing = false
        guard domain.opened(id, &actions) else { return }
        if case .createBuffer(_, let key, let layout)? = actions.first {
            session.receive(.bufferCreate(key, layout), descriptors: &bundle, at: now)
            session.describe(key, origin: "hyper_dmabuf")
        }
        perform(at: now)
        if facts.isUnexported { takeBack(id) }
    }

    package func hyperCouldNotOpen(_ id: HyperBufferID, _ code: Int32) {
        // The exporter itself says that it is not there any more; anything else may pass.
        let isAnswer = code == KernelError.invalid
        if isProbing, code != 0 { probed(isAlive: isAnswer) }
        if isAnswer { takeBack(id) }
        domain.couldNotOpen(id)
        if code != 0 {
            session.countRefused(
                Refusal(
                    .importFailed,
                    "Buffer \(id) is not to be had from its exporter: \(KernelError.text(of: code))."
                ), about: "a buffer of domain \(number)")
        }
    }

    package func hyperKnows(_ id: HyperBufferID, _ facts: HyperBufferFacts?, _ code: Int32) {
        guard let facts else {
            if code == KernelError.noEntry { takeBack(id) }
            return
        }
        if facts.isUnexported { takeBack(id) }
    }

    private func takeBack(_ id: HyperBufferID) {
        sums[id] = nil
        domain.tookBack(id, &actions)
        perform(at: loop.now())
    }

    // MARK: Questions

    /// Nothing tells of an unexport or of a domain's end: both must be asked for.
    private func beat(_ now: UInt64) {
        guard hub.isReady else { return }
        if let timer { loop.arm(timer, after: Self.beat) }
        guard isPresent else { return }
        let open = domain.openBuffers
        for _ in 0..<min(Self.questions, open.count) {
            nextQuestion += 1
            _ = hub.ask(.ask(open[nextQuestion % open.count]))
        }
        guard now > lastSign, now - lastSign >= Self.silence, !isProbing else { return }
        guard let id = open.first else {
            // It has nothing that it could be asked for.
            if domain.bufferCount == 0, now - lastSign >= 10 * Self.silence {
                leave("nothing was heard of it for half a minute")
            }
            return
        }
        // A second dma-buf of what is open already: only a domain that lives hands one out.
        isProbing = hub.ask(.open(id))
    }

    private func probed(isAlive: Bool) {
        isProbing = false
        lastSign = loop.now()
        guard !isAlive else {
            failedProbes = 0
            return
        }
        failedProbes += 1
        if failedProbes >= 2 { leave("it answers nothing any more") }
    }
}
