import Testing

@testable import VMBridgeCore

@Suite("[pure] times of a frame's stages")
struct StageTimesTests {
    @Test("a duration is counted in the one bucket whose bounds hold it, and buckets have no gap")
    func buckets() {
        #expect(StageHistogram.bounds(0) == 0..<1000)
        for index in 1..<StageHistogram.capacity {
            #expect(
                StageHistogram.bounds(index).lowerBound
                    == StageHistogram.bounds(index - 1).upperBound)
        }
        for index in 0..<StageHistogram.capacity {
            let bounds = StageHistogram.bounds(index)
            for duration in [bounds.lowerBound, bounds.upperBound - 1] {
                var histogram = StageHistogram()
                histogram.record(duration)
                #expect(histogram[index] == 1, "\(duration)")
                #expect(histogram.count == 1)
                #expect(histogram.sum == duration && histogram.maximum == duration)
            }
        }
        var histogram = StageHistogram()
        histogram.record(.max)
        #expect(histogram[63] == 1)
        for index in 0..<LatencyHistogram.capacity {
            var histogram = LatencyHistogram()
            histogram.record(LatencyHistogram.bounds(index).lowerBound)
            // Places that no duration falls into lie above 2³¹ µs.
            #expect(histogram[index] == 1 || index > 120, "\(index)")
        }
    }

    @Test("percentiles are right to the bucket's width, and never above the longest")
    func percentiles() {
        #expect(StageHistogram().percentile(0.5) == 0)
        var histogram = StageHistogram()
        for microseconds in 1...10_000 { histogram.record(UInt64(microseconds) * 1000) }
        for (share, truth) in [(0.1, 1_000_000.0), (0.5, 5_000_000), (0.99, 9_900_000)] {
            let told = Double(histogram.percentile(share))
            #expect(abs(told / truth - 1) < 0.05, "\(share): \(told)")
        }
        #expect(histogram.percentile(1) == 10_000_000)
        var one = StageHistogram()
        one.record(2_100_000)
        #expect(one.percentile(0.5) <= 2_100_000 && one.percentile(0.5) >= 2_000_000)
    }

    private func frame(waits: FrameWaits = []) -> Frame {
        let record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        return Frame(
            record, use: UseID(SlotIndex(index: 0, generation: 0)),
            buffer: BufferID(SlotIndex(index: 0, generation: 0)),
            size: Size(width: 4, height: 4), receivedAt: 1_000_000, validatedAt: 1_020_000,
            waits: waits)
    }

    @Test("stages follow on one another, whichever of a frame's waits ends first")
    func order() {
        // Import, then fence.
        var first = frame(waits: [.importing, .fence])
        var isOpen = first.unblock(.importing, at: 1_300_000)
        #expect(!isOpen)
        isOpen = first.unblock(.fence, at: 5_300_000)
        #expect(isOpen)
        var times = StageTimes()
        times.committed(first, at: 5_400_000)
        #expect(
            FrameStage.allCases.map { times[$0].sum } == [20_000, 280_000, 4_000_000, 100_000, 0])
        // Fence, then import: then nothing was left to wait for.
        var second = frame(waits: [.importing, .fence])
        isOpen = second.unblock(.fence, at: 1_300_000)
        #expect(!isOpen)
        isOpen = second.unblock(.importing, at: 5_300_000)
        #expect(isOpen)
        times = StageTimes()
        times.committed(second, at: 5_400_000)
        #expect(
            FrameStage.allCases.map { times[$0].sum } == [20_000, 4_280_000, 0, 100_000, 0])
        // Neither.
        times = StageTimes()
        times.committed(frame(), at: 1_030_000)
        #expect(FrameStage.allCases.map { times[$0].sum } == [20_000, 0, 0, 10_000, 0])
        #expect(FrameStage.allCases.map { times[$0].count } == [1, 1, 1, 1, 0])
    }

    @Test("a presentation counts when its commit is known and lies before it")
    func presented() {
        var times = StageTimes()
        times.presented(committed: 0, at: 5)
        times.presented(committed: 10_000, at: 9_000)
        #expect(times[.present].count == 0)
        times.presented(committed: 10_000, at: 16_010_000)
        #expect(times[.present].count == 1 && times[.present].sum == 16_000_000)
    }

    @Test("a surface pays 1.4 kB for its stages")
    func size() {
        #expect(MemoryLayout<StageHistogram>.size == 272)
        #expect(MemoryLayout<StageTimes>.size <= 1400)
    }
}
