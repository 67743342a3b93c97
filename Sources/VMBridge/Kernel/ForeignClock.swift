import CLinux

/// A clock of the kernel that somebody else's times are of, to bring them to CLOCK_MONOTONIC.
///
/// Compositors without a display take another one: weston's headless backend uses
/// CLOCK_MONOTONIC_RAW, which is not slewed as CLOCK_MONOTONIC is and drifts from it by some
/// microseconds a second.
struct ForeignClock: Equatable {
    /// The kernel's number, as `clockid_t` and `wp_presentation.clock_id` have it.
    let number: UInt32

    private static let monotonic: UInt32 = 1
    /// CLOCK_REALTIME, _MONOTONIC_RAW, both _COARSE, _BOOTTIME and _TAI. Other numbers are CPU time, also
    /// that of other processes, or clocks of devices.
    private static let readable: [UInt32] = [0, 4, 5, 6, 7, 11]

    /// A time of this clock as one of CLOCK_MONOTONIC, nanoseconds; nil for a clock that cannot be
    /// read here. Exact for CLOCK_MONOTONIC itself, else as good as the two clocks agree on how long
    /// ago it was: for a time of just now that is to the microsecond.
    func monotonic(_ time: UInt64) -> UInt64? {
        if number == Self.monotonic { return time }
        var there: UInt64 = 0
        guard Self.readable.contains(number), vmb_clock_nanoseconds(Int32(number), &there) == 0
        else { return nil }
        return Self.convert(time, there: there, here: MonotonicClock.now())
    }

    /// The same with both clocks' present times given.
    static func convert(_ time: UInt64, there: UInt64, here: UInt64) -> UInt64 {
        guard time > there else { return here - min(here, there - time) }
        let (result, overflow) = here.addingReportingOverflow(time - there)
        return overflow ? UInt64.max : result
    }
}
