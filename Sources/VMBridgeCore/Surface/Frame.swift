/// What a frame still lacks before it may be committed.
public struct FrameWaits: OptionSet, Sendable {
    /// Bits.
    public let rawValue: UInt8
    /// Wraps bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The compositor has not answered the import of its buffer.
    public static let importing = FrameWaits(rawValue: 1)
    /// Its acquire fence is pending.
    public static let fence = FrameWaits(rawValue: 2)
    /// Its target time lies ahead.
    public static let time = FrameWaits(rawValue: 4)
}

/// An accepted frame on its way to the screen.
public struct Frame: Sendable {
    /// The use of its buffer that ends with it.
    public var use: UseID
    /// Its buffer.
    public var buffer: BufferID
    /// Size of that buffer.
    public var size: Size
    /// Its number.
    public var sequence: FrameSequence
    /// What changed since the frame that was committed before.
    public var damage: Damage
    /// Part of the buffer to show; nil for all.
    public var crop: Rectangle?
    /// Size to show it at; nil for its own.
    public var destination: Size?
    /// How to turn it.
    public var transform: Transform
    /// When its record was received, nanoseconds of CLOCK_MONOTONIC, like those that follow.
    public var receivedAt: UInt64
    /// When it was accepted.
    public var validatedAt: UInt64
    /// When its image was there.
    public var importedAt: UInt64
    /// When it had all that it waited for.
    public var openAt: UInt64
    /// What it still lacks.
    public var waits: FrameWaits
    /// Its acquire fence was pending and goes to the compositor with it; until that signals, or fails
    /// to, the gate watches it.
    public var isFencePassed = false

    /// Makes a frame of a validated record.
    ///
    /// - Parameter validatedAt: when it was accepted; nil: when it was received.
    public init(
        _ record: FrameRecord, use: UseID, buffer: BufferID, size: Size, receivedAt: UInt64,
        validatedAt: UInt64? = nil, waits: FrameWaits
    ) {
        self.use = use
        self.buffer = buffer
        self.size = size
        sequence = record.sequence
        damage = record.damage
        crop = record.crop
        destination = record.destination
        transform = record.transform
        self.receivedAt = receivedAt
        let accepted = validatedAt ?? receivedAt
        self.validatedAt = accepted
        importedAt = accepted
        openAt = accepted
        self.waits = waits
    }

    /// Something that it waited for has come.
    ///
    /// - Returns: whether it is complete now.
    mutating func unblock(_ wait: FrameWaits, at time: UInt64) -> Bool {
        if time > 0 {
            if wait.contains(.importing) { importedAt = time }
            openAt = time
        }
        waits.subtract(wait)
        return waits.isEmpty
    }

    /// The size at which it is shown when nothing else is asked.
    public var shownSize: Size { geometry.shownSize }

    /// How its buffer is laid onto the screen.
    var geometry: FrameGeometry {
        FrameGeometry(size: size, crop: crop, destination: destination, transform: transform)
    }
}

/// How a buffer is laid onto the screen. Between frames that are equal in this, damage in buffer
/// pixels says what changes on the screen; between others everything does.
struct FrameGeometry: Equatable {
    var size: Size
    var crop: Rectangle?
    var destination: Size?
    var transform: Transform

    var shownSize: Size {
        if let destination { return destination }
        let source = crop.map { Size(width: $0.width, height: $0.height) } ?? size
        return transform.swapsAxes ? Size(width: source.height, height: source.width) : source
    }
}

extension FrameRecord {
    /// The size at which it is shown when nothing else is asked.
    func shownSize(ofBuffer size: Size) -> Size {
        FrameGeometry(size: size, crop: crop, destination: destination, transform: transform)
            .shownSize
    }
}
