/// The guest's own name of a surface: any number but 0, chosen by the producer (source-v1 §4).
public struct SurfaceKey: Hashable, Sendable, CustomStringConvertible {
    /// The number as it stands on the wire.
    public var value: UInt64
    /// Wraps a number as it stands on the wire.
    public init(_ value: UInt64) { self.value = value }
    /// The number in decimal.
    public var description: String { "\(value)" }
}

/// The guest's own name of a buffer: any number but 0, chosen by the producer (source-v1 §4).
public struct BufferKey: Hashable, Sendable, CustomStringConvertible {
    /// The number as it stands on the wire.
    public var value: UInt64
    /// Wraps a number as it stands on the wire.
    public init(_ value: UInt64) { self.value = value }
    /// The number in decimal.
    public var description: String { "\(value)" }
}

/// The number of a frame on its surface; a producer counts upwards and may leave gaps.
public struct FrameSequence: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number as it stands on the wire.
    public var value: UInt64
    /// Wraps a number as it stands on the wire.
    public init(_ value: UInt64) { self.value = value }
    /// Orders frames of one surface by age.
    public static func < (a: FrameSequence, b: FrameSequence) -> Bool { a.value < b.value }
    /// The number in decimal.
    public var description: String { "\(value)" }
}

/// Our name of a surface inside one VM's session: a slot and the slot's generation, so that a late
/// event for a surface that is gone never reaches its successor.
public struct SurfaceID: Hashable, Sendable {
    /// The slot and its generation.
    public var slot: SlotIndex
    /// Wraps a slot of the session's surface table.
    public init(_ slot: SlotIndex) { self.slot = slot }
}

/// Our name of a buffer inside one VM's session.
public struct BufferID: Hashable, Sendable {
    /// The slot and its generation.
    public var slot: SlotIndex
    /// Wraps a slot of the ledger's buffer table.
    public init(_ slot: SlotIndex) { self.slot = slot }
}

/// One use of a buffer by one frame; it begins once and ends once, in the `BufferLedger`.
public struct UseID: Hashable, Sendable {
    /// The slot and its generation.
    public var slot: SlotIndex
    /// Wraps a slot of the ledger's use table.
    public init(_ slot: SlotIndex) { self.slot = slot }
}
