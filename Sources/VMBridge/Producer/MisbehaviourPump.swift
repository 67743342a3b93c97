import VMBridgeCore

/// Sends records as fast as the socket takes them, for the kinds that are about too much.
final class MisbehaviourPump {
    private enum Work {
        case none
        /// Metadata without end, until a time.
        case titles(start: UInt64, end: UInt64)
        /// Frames that are refused, until the bridge takes no more.
        case unread
        /// All answers are being read now.
        case reading
    }

    private unowned let owner: Misbehaver
    private var work = Work.none
    private var timer: TimerID?
    private var sent = 0
    private var wasBlocked = false
    private var lastProgress: UInt64 = 0
    private var refusals = 0
    private var releases = 0
    private var delayed: (() -> Void)?

    /// The bridge has stopped listening when the socket took nothing for so long.
    private static let stall: UInt64 = 1_500_000_000

    init(_ owner: Misbehaver) {
        self.owner = owner
        timer = owner.producer.loop.makeTimer { [unowned self] now in self.fired(now) }
    }

    /// No more.
    func stop() {
        work = .none
        if let timer { owner.producer.loop.remove(timer) }
        timer = nil
        delayed = nil
    }

    /// Does something a little later.
    func later(_ delay: UInt64, _ body: @escaping () -> Void) {
        delayed = body
        arm(delay)
    }

    /// Floods with titles of a surface for two seconds.
    func startTitles() {
        let now = owner.producer.loop.now()
        work = .titles(start: now, end: now + 2_000_000_000)
        push()
    }

    /// Stops reading and sends frames that are refused, until the socket is full for good.
    func startUnread() {
        owner.connection?.isReading = false
        lastProgress = owner.producer.loop.now()
        work = .unread
        push()
    }

    /// Sends while the socket takes it, a bounded number at a time.
    func push() {
        let now = owner.producer.loop.now()
        for _ in 0..<64 {
            switch work {
            case .none, .reading: return
            case .titles(let start, let end):
                guard now < end else { return endTitles(now - start) }
                var metadata = SurfaceMetadata()
                metadata.title = "flood \(sent)"
                guard send(.surfaceUpdate(SurfaceKey(Misbehaver.first), metadata)) else {
                    return arm(end - now)
                }
            case .unread:
                let frame = FrameRecord(
                    surface: SurfaceKey(Misbehaver.first), buffer: BufferKey(Misbehaver.first),
                    sequence: FrameSequence(UInt64(sent + 1)))
                guard send(.frame(frame)) else { return arm(100_000_000) }
                lastProgress = now
            }
        }
        arm(0)
    }

    private func send(_ record: ProducerRecord) -> Bool {
        var writer = RecordWriter(capacity: 128)
        writer.append(record)
        guard owner.connection?.sendRawNow(writer.bytes) == true else {
            wasBlocked = true
            return false
        }
        sent += 1
        return true
    }

    private func fired(_ now: UInt64) {
        if let delayed {
            self.delayed = nil
            return delayed()
        }
        if case .unread = work, now > lastProgress + Self.stall {
            work = .reading
            owner.connection?.isReading = true
            return
        }
        push()
    }

    private func endTitles(_ duration: UInt64) {
        work = .none
        let limits = owner.limits
        let rate = limits.baseRate + limits.ratePerSurface * (owner.producer.surfaces.count + 1)
        // The burst, what the time allowed, and what may wait in the socket.
        let most = rate + Int(Double(rate) * Double(duration) / 1e9) + 1000
        guard wasBlocked, sent <= most else {
            return owner.fail("\(sent) records were taken in \(duration / 1_000_000) ms")
        }
        owner.stageDone("slowed down to \(sent) records in \(duration / 1_000_000) ms")
    }

    /// Answers to the refused frames; true when it is one.
    func takes(_ record: BridgeRecord) -> Bool {
        guard case .reading = work else { return false }
        switch record {
        case .refused(let refused) where refused.refusal.reason == .unknownObject: refusals += 1
        case .released(_, _, _, .refused): releases += 1
        default: return false
        }
        if refusals == sent, releases == sent {
            work = .none
            owner.stageDone("not listened to while not reading, then all \(sent) answers came")
        }
        return true
    }

    private func arm(_ delay: UInt64) {
        if let timer { owner.producer.loop.arm(timer, after: delay) }
    }
}
