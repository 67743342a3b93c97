import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] clocks of others") struct ForeignClockTests {
    @Test func monotonicTimesStayAsTheyAre() {
        #expect(ForeignClock(number: 1).monotonic(123_456_789) == 123_456_789)
    }

    @Test func aTimeOfTheRawClockIsBroughtOver() throws {
        let raw = ForeignClock(number: UInt32(CLOCK_MONOTONIC_RAW))
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC_RAW, &now)
        let before = MonotonicClock.now()
        let told = UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
        let time = try #require(raw.monotonic(told))
        // Taken a moment before: within 50 ms on a busy machine, where the clocks themselves differ by more.
        #expect(time <= before + 50_000_000 && time + 50_000_000 >= before)
    }

    @Test func agesAreKept() {
        #expect(ForeignClock.convert(900, there: 1000, here: 5000) == 4900)
        #expect(ForeignClock.convert(1100, there: 1000, here: 5000) == 5100)
        #expect(ForeignClock.convert(0, there: 1000, here: 500) == 0)
        #expect(ForeignClock.convert(.max, there: 0, here: 1) == .max)
    }

    @Test func aClockThatIsNotThereGivesNothing() {
        // 2 is this process's CPU time, and so is the last one, of another process.
        for number: UInt32 in [2, 1234, .max - 1] {
            #expect(ForeignClock(number: number).monotonic(1) == nil)
        }
    }
}
