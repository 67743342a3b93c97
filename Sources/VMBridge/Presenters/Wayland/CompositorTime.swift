/// Times of input events: pure.
enum CompositorTime {
    /// How far an event's time may be from now to be believed, milliseconds.
    static let farthest: Int64 = 60_000

    /// The nanoseconds of CLOCK_MONOTONIC that an event's milliseconds stand for.
    ///
    /// wl_pointer and its like tell 32 bits of milliseconds of a clock that they do not name: all known
    /// compositors take CLOCK_MONOTONIC, and the number wraps every 49.7 days, so it is the one nearest to now.
    /// One far from now is of another clock, as those of tools that play a keyboard: 0, nobody knows.
    ///
    /// - Parameters:
    ///   - time: as told.
    ///   - now: nanoseconds of CLOCK_MONOTONIC.
    static func nanoseconds(_ time: UInt32, now: UInt64) -> UInt64 {
        let milliseconds = Int64(now / 1_000_000)
        let distance = Int32(bitPattern: time &- UInt32(truncatingIfNeeded: milliseconds))
        guard abs(Int64(distance)) <= farthest else { return 0 }
        return UInt64(max(milliseconds + Int64(distance), 0)) * 1_000_000
    }
}
