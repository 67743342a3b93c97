/// What can be read of durations that were counted in buckets.
public protocol DurationHistogram {
    /// Buckets of every histogram of the kind.
    static var capacity: Int { get }
    /// The durations that a bucket counts, nanoseconds: from, and to but not included. The last one
    /// counts the longer ones too.
    static func bounds(_ index: Int) -> Range<UInt64>
    /// How many durations a bucket has.
    subscript(_ index: Int) -> UInt32 { get }
    /// Durations recorded.
    var count: UInt64 { get }
    /// All of them together, nanoseconds.
    var sum: UInt64 { get }
    /// The longest one, nanoseconds.
    var maximum: UInt64 { get }
    /// The duration below which that share of all lies, nanoseconds; 0 when nothing was recorded.
    func percentile(_ share: Double) -> UInt64
}

/// Counts durations in buckets that grow with them: four to each doubling, so a percentile is right to
/// about a fifth. A fixed table: recording allocates nothing.
public struct LatencyHistogram: Sendable, DurationHistogram {
    /// Buckets of every histogram.
    public static let capacity = 128

    private var buckets: InlineArray<128, UInt32> = InlineArray(repeating: 0)
    /// Durations recorded.
    public private(set) var count: UInt64 = 0
    /// All of them together, nanoseconds.
    public private(set) var sum: UInt64 = 0
    /// The longest one, nanoseconds.
    public private(set) var maximum: UInt64 = 0
    private var shortest = UInt64.max
    /// The shortest one, nanoseconds; 0 when nothing was recorded.
    public var minimum: UInt64 { count == 0 ? 0 : shortest }

    /// Nothing recorded.
    public init() {}

    /// Records a duration in nanoseconds.
    public mutating func record(_ nanoseconds: UInt64) {
        buckets[LatencyHistogram.bucket(nanoseconds)] &+= 1
        count &+= 1
        sum &+= nanoseconds
        maximum = max(maximum, nanoseconds)
        shortest = min(shortest, nanoseconds)
    }

    /// Mean in nanoseconds; 0 when nothing was recorded.
    public var mean: UInt64 { count == 0 ? 0 : sum / count }

    /// The duration below which that share of all lies, nanoseconds; 0 when nothing was recorded.
    public func percentile(_ share: Double) -> UInt64 {
        let wanted = UInt64((Double(count) * share).rounded(.up))
        guard wanted > 0 else { return 0 }
        var seen: UInt64 = 0
        for index in 0..<128 {
            seen += UInt64(buckets[index])
            if seen >= wanted { return min(LatencyHistogram.upperBound(index), maximum) }
        }
        return maximum
    }

    /// How many durations a bucket has.
    public subscript(_ index: Int) -> UInt32 { buckets[index] }

    /// The durations that a bucket counts, nanoseconds: from, and to but not included. The last one
    /// counts the longer ones too.
    public static func bounds(_ index: Int) -> Range<UInt64> {
        (index == 0 ? 0 : upperBound(index - 1))..<upperBound(index)
    }

    private static func bucket(_ value: UInt64) -> Int {
        // Below 1 µs everything is one bucket; 2³¹ µs and more are the last one.
        let microseconds = value / 1000
        guard microseconds >= 4 else { return Int(microseconds) }
        let exponent = 63 - microseconds.leadingZeroBitCount
        let quarter = Int((microseconds >> UInt64(exponent - 2)) & 3)
        return min((exponent - 1) * 4 + quarter, 127)
    }

    private static func upperBound(_ index: Int) -> UInt64 {
        guard index >= 4 else { return UInt64(index + 1) * 1000 }
        let exponent = index / 4 + 1
        let quarter = UInt64(index % 4)
        return ((4 + quarter + 1) << UInt64(exponent - 2)) * 1000
    }
}
