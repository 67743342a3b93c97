import VMBridgeCore

/// What happened at one consumer so far.
public struct ConsumerCounters: Sendable {
    /// Frames handed over.
    public var frames: UInt64 = 0
    /// Of these, with a fence that was pending.
    public var fences: UInt64 = 0
    /// Uses that it gave back.
    public var released: UInt64 = 0
    /// Of these, with a fence.
    public var releaseFences: UInt64 = 0
    /// Uses that it kept beyond the end of their surface, and that were taken back.
    public var overdue: UInt64 = 0
    /// Frames refused since it has as much as it may.
    public var overBudget: UInt64 = 0
    /// Times that a surface had to wait for its rate.
    public var throttled: UInt64 = 0
    /// Buffers whose memory it got for reading only.
    public var readOnlyBuffers: UInt64 = 0
    /// What it refused by its own word.
    public var refusedByConsumer: UInt64 = 0
    /// Its records that were refused, by reason.
    public var refusals: [RefusalReason: UInt64] = [:]
}

/// One consumer in a report.
public struct ConsumerStatus: Sendable {
    /// Who it is, as rules name it.
    public var target: HandTarget
    /// Whether it is connected.
    public var isConnected: Bool
    /// Which connection it is, from 1.
    public var generation: UInt64
    /// Surfaces that it has.
    public var surfaces: Int
    /// Buffers that it has.
    public var buffers: Int
    /// Bytes of these.
    public var bytes: UInt64
    /// What happened.
    public var counters: ConsumerCounters
}
