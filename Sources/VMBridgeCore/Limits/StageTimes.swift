/// A part of a frame's way, from one stamp to the next. All stamps are of CLOCK_MONOTONIC on this host:
/// no clock of a guest's comes in, and a time is never taken from another clock's.
public enum FrameStage: Int, Sendable, CaseIterable {
    /// Its datagram was read → its record was accepted.
    case validate
    /// → the image of its buffer is there.
    case importing
    /// → its acquire fence has signalled and its target time has come. Nothing for a fence that was
    /// passed on.
    case fence
    /// → it was committed: the wait for the compositor's frame callback, and the requests.
    case commit
    /// → it was presented, by the consumer's word.
    case present

    /// Its word in reports.
    public var word: String {
        switch self {
        case .validate: "validate"
        case .importing: "import"
        case .fence: "fence"
        case .commit: "commit"
        case .present: "present"
        }
    }
}

/// Counts durations in buckets that grow with them, two to each doubling, from 1 µs to 35 minutes:
/// 272 bytes, since a surface has one for each stage. Recording allocates nothing.
public struct StageHistogram: Sendable, DurationHistogram {
    /// Buckets of every histogram.
    public static let capacity = 64

    private var buckets: InlineArray<64, UInt32> = InlineArray(repeating: 0)
    /// All durations together, nanoseconds.
    public private(set) var sum: UInt64 = 0
    /// The longest one, nanoseconds.
    public private(set) var maximum: UInt64 = 0

    /// Nothing recorded.
    public init() {}

    /// Records a duration in nanoseconds.
    public mutating func record(_ nanoseconds: UInt64) {
        let microseconds = nanoseconds / 1000
        let exponent = 63 - (microseconds | 1).leadingZeroBitCount
        // 0 and 1 have a bucket each, then there are halves of each doubling.
        let index =
            microseconds < 2
            ? Int(microseconds) : 2 * exponent + Int(microseconds >> UInt64(exponent - 1) & 1)
        buckets[min(index, 63)] &+= 1
        sum &+= nanoseconds
        if nanoseconds > maximum { maximum = nanoseconds }
    }

    /// Durations recorded.
    public var count: UInt64 {
        var count: UInt64 = 0
        for index in 0..<Self.capacity { count += UInt64(buckets[index]) }
        return count
    }

    /// How many durations a bucket has.
    public subscript(_ index: Int) -> UInt32 { buckets[index] }

    /// The durations that a bucket counts, nanoseconds: from, and to but not included. The last one
    /// counts the longer ones too.
    public static func bounds(_ index: Int) -> Range<UInt64> {
        func lower(_ index: Int) -> UInt64 {
            index < 2
                ? UInt64(index) * 1000
                : UInt64(2 + index % 2) << UInt64(index / 2 - 1) * 1000
        }
        return lower(index)..<lower(index + 1)
    }

    /// The duration below which that share of all lies, nanoseconds, by the place that it would have in
    /// its bucket; 0 when nothing was recorded.
    public func percentile(_ share: Double) -> UInt64 {
        let wanted = max(Double(count) * share, 1)
        var seen = 0.0
        for index in 0..<Self.capacity where buckets[index] > 0 {
            let here = Double(buckets[index])
            if seen + here >= wanted {
                let bounds = Self.bounds(index)
                let width = Double(bounds.upperBound - bounds.lowerBound)
                let place = Double(bounds.lowerBound) + width * (wanted - seen) / here
                return min(UInt64(place), maximum)
            }
            seen += here
        }
        return maximum
    }
}

/// How long a surface's frames took, stage by stage. A frame counts when it is committed, and for the
/// last stage when it is presented; one that was superseded or refused counts in none.
public struct StageTimes: Sendable {
    private var histograms = InlineArray<5, StageHistogram>(repeating: StageHistogram())

    /// No frame yet.
    public init() {}

    /// The durations of one stage.
    public subscript(_ stage: FrameStage) -> StageHistogram { histograms[stage.rawValue] }

    /// Books the stages of a frame that was committed.
    public mutating func committed(_ frame: borrowing Frame, at now: UInt64) {
        record(.validate, frame.receivedAt, frame.validatedAt)
        record(.importing, frame.validatedAt, frame.importedAt)
        record(.fence, frame.importedAt, frame.openAt)
        record(.commit, frame.openAt, now)
    }

    /// Books the last stage. A consumer that tells a time before the commit does not know it.
    ///
    /// - Parameters:
    ///   - committed: when its commit was made, nanoseconds; 0 when that is not known any more.
    ///   - time: when it was presented, of the same clock.
    public mutating func presented(committed: UInt64, at time: UInt64) {
        guard committed > 0, time >= committed else { return }
        record(.present, committed, time)
    }

    private mutating func record(_ stage: FrameStage, _ from: UInt64, _ to: UInt64) {
        histograms[stage.rawValue].record(to > from ? to - from : 0)
    }
}
