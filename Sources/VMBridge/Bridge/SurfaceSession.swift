import VMBridgeCore

/// One guest surface of a session: its machine, what is known of it, and its counters.
final class SurfaceSession {
    let id: SurfaceID
    let key: SurfaceKey
    let role: SurfaceRole
    let isGraphics: Bool
    var machine = SurfaceMachine()
    var metadata: SurfaceMetadata
    /// Who takes its frames instead of the session's presenter; nil for that, or for nobody.
    var destination: ConsumerPresenter?
    /// Windows of the session's presenter that are being taken away.
    var leavingWindows = 0
    /// What its window is told; of one that has none, what it would be.
    var properties: WindowProperties
    /// Where it goes.
    var route: Route
    /// Where a person sent it; nil for what the rules say.
    var wish: RuleAction?
    /// Size and transform of the last frame; looked at only where a rule does.
    var frameShape: (size: Size, transform: Transform)?
    /// Sequence of the last accepted frame.
    var lastSequence: FrameSequence?
    /// When the last commit was made, nanoseconds.
    var committedAt: UInt64 = 0
    var counters = SurfaceCounters()
    /// Its focus, and what is pressed on it.
    var input = InputTracker()
    /// The last commits, when their records came and when they were made: presentation is reported a
    /// few frames later.
    private var receipts = InlineArray<8, (sequence: UInt64, received: UInt64, committed: UInt64)>(
        repeating: (0, 0, 0))
    private var nextReceipt = 0
    /// The list of formats that the producer was told for it alone; nil while the one for all stands.
    var toldFormats: [ImportableFormat]?
    /// The producer has destroyed it, or is gone.
    var isDetached = false

    init(
        id: SurfaceID, key: SurfaceKey, facts: SurfaceFacts, route: Route,
        properties: WindowProperties
    ) {
        self.id = id
        self.key = key
        role = facts.role
        isGraphics = facts.isGraphics
        metadata = facts.metadata
        self.route = route
        self.properties = properties
    }

    /// What its route is found by.
    var facts: SurfaceFacts {
        var facts = SurfaceFacts(role: role, isGraphics: isGraphics, metadata: metadata)
        facts.size = frameShape?.size
        facts.transform = frameShape?.transform
        return facts
    }

    /// Books a commit.
    ///
    /// - Returns: whether it is the first one, or the first one of that size.
    func committed(_ frame: Frame, now: UInt64) -> Bool {
        committedAt = now
        receipts[nextReceipt] = (frame.sequence.value, frame.receivedAt, now)
        nextReceipt = (nextReceipt + 1) % 8
        return counters.committed(frame, now: now)
    }

    /// Books that a commit was presented.
    ///
    /// - Returns: when its record came; 0 when that is not known any more.
    func presented(_ sequence: FrameSequence, at time: UInt64) -> UInt64 {
        for index in 0..<8 where receipts[index].sequence == sequence.value {
            counters.presented(committed: receipts[index].committed, at: time)
            return receipts[index].received
        }
        counters.presented(committed: 0, at: time)
        return 0
    }
}

/// What happened to a surface's frames so far.
public struct SurfaceCounters: Sendable {
    /// Frames committed.
    public var shown: UInt64 = 0
    /// Frames replaced before they were committed.
    public var superseded: UInt64 = 0
    /// Frames refused.
    public var refused: UInt64 = 0
    /// Frames whose consumer went away.
    public var lost: UInt64 = 0
    /// Commits that were reported as presented.
    public var presented: UInt64 = 0
    /// Frames whose fence was waited for in the loop.
    public var fencesHeld: UInt64 = 0
    /// Frames that came with a fence.
    public var fences: UInt64 = 0
    /// Frames whose pending fence went to the compositor with them.
    public var fencesPassed: UInt64 = 0
    /// Releases that came with a fence that was still pending.
    public var releaseFences: UInt64 = 0
    /// How the consumer says that it is done with a buffer, in the words of status.
    public var releasePath = "none yet"
    /// From receipt to commit.
    public var latency = LatencyHistogram()
    /// From stage to stage.
    public var stages = StageTimes()
    /// Of the first commit, nanoseconds; 0 before it.
    public var firstCommit: UInt64 = 0
    /// Of the last commit, nanoseconds.
    public var lastCommit: UInt64 = 0
    /// Size of the last committed buffer.
    public var size = Size.zero
    /// How its buffer's pixels got to the consumer.
    public var importPath = "none yet"
    /// What its guest is held to its pace by, in words; nil when its source says nothing of it.
    public var pacing: String?
    /// What its source knows of its frames' completion, in words; nil when it says nothing of it.
    public var announcement: String?
    /// Bytes of its buffers' pixels that we read ourselves, as presenters tell where they do it: copies
    /// for a compositor that cannot import them, and a headless capture's picture at the end of its
    /// surface (one made when the bridge itself ends comes too late to be counted). 0 when they are
    /// imported.
    public var bytesCopied: UInt64 = 0

    /// Books a commit; see `SurfaceSession.committed`.
    mutating func committed(_ frame: Frame, now: UInt64) -> Bool {
        shown += 1
        latency.record(now - frame.receivedAt)
        stages.committed(frame, at: now)
        if firstCommit == 0 { firstCommit = now }
        lastCommit = now
        let isNew = shown == 1 || size != frame.size
        size = frame.size
        return isNew
    }

    /// Books that a commit was presented; see `StageTimes.presented`.
    mutating func presented(committed: UInt64, at time: UInt64) {
        presented += 1
        stages.presented(committed: committed, at: time)
    }

    mutating func count(_ outcome: UseOutcome) {
        switch outcome {
        case .shown: break
        case .superseded: superseded += 1
        case .refused: refused += 1
        case .lost: lost += 1
        }
    }

    /// How the surface's fences were served, in the words of status.
    public var syncPath: String {
        guard let announcement else { return fencePath }
        return fencesHeld + fencesPassed == 0 ? announcement : "\(announcement); \(fencePath)"
    }

    private var fencePath: String {
        if fences == 0 { return "no fence" }
        if fencesPassed > 0 {
            return fencesHeld == 0 ? "passed on" : "passed on, some held in the loop"
        }
        return fencesHeld == 0 ? "fence signalled on arrival" : "held in the loop"
    }

    /// Commits a second between the first and the last one.
    public var framesPerSecond: Double {
        guard shown > 1, lastCommit > firstCommit else { return 0 }
        return Double(shown - 1) * 1e9 / Double(lastCommit - firstCommit)
    }
}

/// One surface in a report.
public struct SurfaceStatus: Sendable {
    /// The VM's name.
    public var vm: String
    /// The guest's name of the surface.
    public var surface: SurfaceKey
    /// Title as shown.
    public var title: String
    /// App id as told to the compositor.
    public var appID: String
    /// Whether the producer has taken it away.
    public var isGone: Bool
    /// "shown", "hidden", "frozen", "handed", or "gone".
    public var visibility = "shown"
    /// Where it goes and by whose word, and what of that could not be had: "show, fullscreen on DP-1".
    public var route = "show"
    /// Counters.
    public var counters: SurfaceCounters
}
