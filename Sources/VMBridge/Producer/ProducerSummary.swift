import VMBridgeCore

/// What a producer knows of a frame that it sent.
struct FrameNote {
    /// How its completion is told.
    let kind: ProducerFence
    /// When its fence ended well (CLOCK_MONOTONIC); nil when it has not, or never will.
    var signalledAt: UInt64?
    var isReleased = false
    var isSeen = false
    /// It was shown before its content was complete.
    var isEarly = false

    /// Nothing more will come.
    var isDone: Bool { isReleased && isSeen }
}

/// What became of a producer's frames.
package struct ProducerSummary: Sendable, Equatable {
    /// What became of the frames with one kind of fence.
    package struct Counts: Sendable, Equatable {
        /// FRAME records sent.
        package var sent: UInt64 = 0
        /// Uses that ended, by outcome.
        package var shown: UInt64 = 0
        package var superseded: UInt64 = 0
        package var refused: UInt64 = 0
        package var lost: UInt64 = 0
        /// Frames reported to have reached the screen.
        package var presented: UInt64 = 0
        /// Frames reported never to.
        package var discarded: UInt64 = 0

        /// Nothing yet.
        package init() {}

        mutating func count(_ outcome: UseOutcome) {
            switch outcome {
            case .shown: shown += 1
            case .superseded: superseded += 1
            case .refused: refused += 1
            case .lost: lost += 1
            }
        }
    }

    /// Times of one kind, nanoseconds.
    package struct Times: Sendable, Equatable {
        /// How many were measured.
        package private(set) var count: UInt64 = 0
        package private(set) var sum: UInt64 = 0
        package private(set) var highest: UInt64 = 0
        /// 0 when none was measured.
        package var mean: UInt64 { count == 0 ? 0 : sum / count }

        /// Nothing yet.
        package init() {}

        mutating func add(_ time: UInt64) {
            count += 1
            sum &+= time
            highest = max(highest, time)
        }
    }

    /// All frames.
    package var all = Counts()
    /// Frames by the kind of their fence; kinds that were used.
    package var kinds: [ProducerFence: Counts] = [:]
    /// REFUSED records by reason, whatever they were about.
    package var reasons: [RefusalReason: UInt64] = [:]
    /// Times at which a frame was due and every buffer was held.
    package var skipped: UInt64 = 0
    /// From a frame's receipt to the screen, where the time on the screen is known: some compositors keep another clock.
    package var latency = Times()
    /// Frames that were shown before their fence had signalled, or without that it ever did.
    package var early: UInt64 = 0
    /// Fences of frames that ended well.
    package var signalled: UInt64 = 0
    /// From a fence's signal to the time on the screen.
    package var signalToPresented = Times()
    /// From a fence's signal to the release of the frame as shown.
    package var signalToReleased = Times()
    /// Buffers overwritten when they were given back.
    package var overwritten: UInt64 = 0
    /// Releases that brought a fence.
    package var releaseFences: UInt64 = 0
    /// From a release to the signal of its fence, for fences that were pending when they came.
    package var releaseWaits = Times()
    /// Fences of releases that were pending when they came.
    package var pendingReleaseFences: UInt64 = 0
    /// Input events by the words of their kinds; nil when input was not asked for.
    package var input: [String: UInt64]?

    /// Nothing yet.
    package init() {}

    /// The sums of all kinds, as they were called before there were kinds.
    package var sent: UInt64 { all.sent }
    package var shown: UInt64 { all.shown }
    package var superseded: UInt64 { all.superseded }
    package var refused: UInt64 { all.refused }
    package var lost: UInt64 { all.lost }
    package var presented: UInt64 { all.presented }
    package var discarded: UInt64 { all.discarded }
    /// Mean time from a frame's receipt to the screen, nanoseconds; 0 when unknown.
    package var meanLatency: UInt64 { latency.mean }

    // MARK: Counting

    mutating func countSent(_ kind: ProducerFence) { count(kind) { $0.sent += 1 } }

    /// A fence ended well at `time`.
    mutating func countSignal(_ note: inout FrameNote, at time: UInt64) {
        note.signalledAt = time
        signalled += 1
    }

    mutating func countReleased(_ outcome: UseOutcome, _ note: inout FrameNote, at now: UInt64) {
        note.isReleased = true
        count(note.kind) { $0.count(outcome) }
        guard outcome == .shown else { return }
        look(&note, shownAt: now)
        if let signal = note.signalledAt { signalToReleased.add(now - min(signal, now)) }
    }

    mutating func countPresented(_ record: PresentedRecord, _ note: inout FrameNote) {
        note.isSeen = true
        count(note.kind) { $0.presented += 1 }
        if record.time != 0 { latency.add(record.latency) }
        look(&note, shownAt: record.time == 0 ? .max : record.time)
        if record.time != 0, let signal = note.signalledAt, record.time >= signal {
            signalToPresented.add(record.time - signal)
        }
    }

    mutating func countDiscarded(_ note: inout FrameNote) {
        note.isSeen = true
        count(note.kind) { $0.discarded += 1 }
    }

    mutating func count(_ event: InputEvent) {
        input?[ProducerInput.word(event), default: 0] += 1
    }

    mutating func countRefusal(_ reason: RefusalReason) { reasons[reason, default: 0] += 1 }

    private mutating func look(_ note: inout FrameNote, shownAt time: UInt64) {
        guard note.kind != .none, !note.isEarly else { return }
        if let signal = note.signalledAt, time >= signal { return }
        note.isEarly = true
        early += 1
    }

    private mutating func count(_ kind: ProducerFence, _ body: (inout Counts) -> Void) {
        body(&all)
        body(&kinds[kind, default: Counts()])
    }
}
