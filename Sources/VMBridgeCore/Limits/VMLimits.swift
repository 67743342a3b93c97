/// What one VM may take of the host. Told to the producer in the WELCOME record.
public struct VMLimits: Sendable, Equatable {
    /// Longest side of any picture, in pixels: also the wire's bound on every coordinate.
    public static let maximumDimension: UInt32 = 16_384

    /// Surfaces at a time.
    public var surfaces = 64
    /// Buffers at a time, destroyed ones that are still held included.
    public var buffers = 256
    /// Bytes of memory imported at a time.
    public var bytes: UInt64 = 1 << 30
    /// Uses of one buffer at a time.
    public var usesPerBuffer = 8
    /// Records a second, apart from those that mapped surfaces allow.
    public var baseRate = 500
    /// Further records a second for each mapped surface.
    public var ratePerSurface = 250
    /// How long a frame's acquire fence is waited for, in nanoseconds.
    public var fenceLimit: UInt64 = 2_000_000_000

    /// The limits that are in force when nobody says otherwise.
    public init() {}
}

/// What happens to a frame whose acquire fence is still pending.
public enum FencePolicy: String, Sendable, CaseIterable {
    /// It is held in the loop, unless the compositor takes fences as points of a timeline and was shown
    /// to keep other surfaces going meanwhile; releases come back as fences where there are any.
    case auto
    /// It is passed on to the compositor with its frame wherever there is a way, whatever else that
    /// stops.
    case pass
    /// It is held in the loop, and the compositor never sees a fence.
    case hold
}

/// A bucket of permits that refills with time: it bounds the rate of records and allows a burst of
/// one second. Pure: the caller brings the clock.
public struct TokenBucket: Sendable {
    private var millitokens: Int64
    private var rate: Int64
    private var last: UInt64

    /// Rates in use: never none, which would close a bucket for good with no delay to wait for, and
    /// never so many that a minute of them overflows.
    private static func usable(_ rate: Int) -> Int64 { Int64(min(max(rate, 1), 1_000_000)) }

    /// A full bucket.
    ///
    /// - Parameters:
    ///   - rate: permits a second, and the bucket's size; from 1 to 1 000 000.
    ///   - now: nanoseconds of the caller's monotonic clock.
    public init(rate: Int, now: UInt64) {
        self.rate = TokenBucket.usable(rate)
        millitokens = self.rate * 1000
        last = now
    }

    /// Changes the rate; what has gathered stays, up to the new size.
    public mutating func setRate(_ rate: Int, now: UInt64) {
        refill(now)
        self.rate = TokenBucket.usable(rate)
        millitokens = min(millitokens, self.rate * 1000)
    }

    /// Takes permits, going below zero if need be: records of one datagram are never split.
    public mutating func take(_ count: Int, now: UInt64) {
        refill(now)
        millitokens -= Int64(count) * 1000
    }

    /// Whether a permit is there now.
    public mutating func isOpen(now: UInt64) -> Bool {
        // What time has brought since only matters when there is none.
        if millitokens >= 1000 { return true }
        refill(now)
        return millitokens >= 1000
    }

    /// Nanoseconds until a permit is there; 0 when one is.
    public func delay() -> UInt64 {
        guard millitokens < 1000 else { return 0 }
        let missing = UInt64(1000 - millitokens)
        return (missing * 1_000_000 + UInt64(rate) - 1) / UInt64(rate)
    }

    private mutating func refill(_ now: UInt64) {
        guard now > last else { return }
        // A second fills the bucket, whatever it lacks beyond one is debt that takes longer.
        let elapsed = Int64(min(now - last, 60_000_000_000))
        let gained = elapsed * rate / 1_000_000
        guard gained > 0 else { return }
        millitokens = min(millitokens + gained, rate * 1000)
        // Only the time that was paid for is gone: a bucket that is looked at often would otherwise
        // lose a part of a permit each time.
        let spent = (gained * 1_000_000 + rate - 1) / rate
        last = millitokens == rate * 1000 ? now : now - UInt64(elapsed - spent)
    }
}
