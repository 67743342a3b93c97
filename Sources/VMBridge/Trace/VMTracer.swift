import VMBridgeCore

/// One VM in a trace: a process with a group of tracks for each surface, and counters of its buffers.
///
/// Frames of a surface overlap, and slices of one track may only nest: each frame is put on the first track ("lane") of its surface
/// that is free, and the stages it goes through nest in the frame's slice. A frame that waits for several things at once
/// is shown waiting for the import first, then for the fence, then for its time.
package final class VMTracer {
    private enum Stage: String {
        case importing = "import"
        case fence
        case time
        case ready
        case committed = "commit to presented"
    }

    private struct TracedFrame {
        var lane: Int
        var waits: FrameWaits
        var stage: Stage
    }

    private final class TracedSurface {
        let track: UInt64
        var lanes: [(track: UInt64, isFree: Bool)] = []
        var frames: [FrameSequence: TracedFrame] = [:]
        init(_ track: UInt64) { self.track = track }
    }

    private let tracer: Tracer
    private let process: UInt64
    private let buffers: UInt64
    private let bytes: UInt64
    private var surfaces: [SurfaceKey: TracedSurface] = [:]

    /// Frames of one surface that are followed at a time; more are shown as instants alone.
    private static var maximumFrames: Int { 64 }

    /// A VM of a trace.
    package init(_ tracer: Tracer, vm: String) {
        self.tracer = tracer
        process = tracer.makeProcess(vm)
        buffers = tracer.makeCounter("buffers", below: process, isBytes: false)
        bytes = tracer.makeCounter("buffer memory", below: process, isBytes: true)
    }

    private func surface(_ key: SurfaceKey) -> TracedSurface {
        if let known = surfaces[key] { return known }
        let made = TracedSurface(tracer.makeTrack("surface \(key)", below: process))
        surfaces[key] = made
        return made
    }

    /// A frame was accepted.
    ///
    /// - Parameters:
    ///   - received: when its datagram came.
    ///   - now: when it was validated.
    ///   - waits: what it lacks.
    func accepted(
        _ key: SurfaceKey, _ sequence: FrameSequence, _ waits: FrameWaits, received: UInt64,
        now: UInt64
    ) {
        let surface = surface(key)
        guard surface.frames.count < Self.maximumFrames, surface.frames[sequence] == nil else {
            return instant(key, "received", sequence, now)
        }
        let lane: Int
        if let free = surface.lanes.firstIndex(where: \.isFree) {
            lane = free
        } else {
            lane = surface.lanes.count
            surface.lanes.append((tracer.makeTrack("frames", below: surface.track), true))
        }
        surface.lanes[lane].isFree = false
        let track = surface.lanes[lane].track
        tracer.event(.begin, track, "frame", time: received, number: sequence.value)
        tracer.event(.begin, track, "receive to validate", time: received, number: sequence.value)
        tracer.event(.end, track, time: now)
        var frame = TracedFrame(lane: lane, waits: waits, stage: .ready)
        begin(&frame, surface, sequence, now)
        surface.frames[sequence] = frame
    }

    /// The next stage that the frame stands in.
    private func begin(
        _ frame: inout TracedFrame, _ surface: TracedSurface, _ sequence: FrameSequence,
        _ now: UInt64
    ) {
        if frame.waits.contains(.importing) {
            frame.stage = .importing
        } else if frame.waits.contains(.fence) {
            frame.stage = .fence
        } else {
            frame.stage = frame.waits.contains(.time) ? .time : .ready
        }
        tracer.event(
            .begin, surface.lanes[frame.lane].track, frame.stage.rawValue, time: now,
            number: sequence.value)
    }

    /// Something that a frame waited for has come.
    func unblocked(
        _ key: SurfaceKey, _ sequence: FrameSequence, _ wait: FrameWaits, now: UInt64
    ) {
        guard let surface = surfaces[key], var frame = surface.frames[sequence],
            frame.stage != .committed
        else { return }
        frame.waits.subtract(wait)
        let isOver =
            switch frame.stage {
            case .importing: wait.contains(.importing)
            case .fence: wait.contains(.fence)
            case .time: wait.contains(.time)
            case .ready, .committed: false
            }
        if isOver {
            tracer.event(.end, surface.lanes[frame.lane].track, time: now)
            begin(&frame, surface, sequence, now)
        }
        surface.frames[sequence] = frame
    }

    /// A frame went to the consumer.
    func committed(_ key: SurfaceKey, _ sequence: FrameSequence, now: UInt64) {
        guard let surface = surfaces[key], let frame = surface.frames[sequence],
            frame.stage != .committed
        else { return }
        let track = surface.lanes[frame.lane].track
        tracer.event(.end, track, time: now)
        surface.frames[sequence]?.stage = .committed
        tracer.event(
            .begin, track, Stage.committed.rawValue, time: now, number: sequence.value)
    }

    /// A frame was seen, or never will be.
    func presented(_ key: SurfaceKey, _ sequence: FrameSequence, isSeen: Bool, now: UInt64) {
        close(key, sequence, now)
        if !isSeen { instant(key, "discarded", sequence, now) }
    }

    /// A use of a buffer ended.
    func ended(_ key: SurfaceKey, _ sequence: FrameSequence, _ outcome: UseOutcome, now: UInt64) {
        close(key, sequence, now)
        let word =
            switch outcome {
            case .shown: "released"
            case .superseded: "superseded"
            case .refused: "refused"
            case .lost: "lost"
            }
        instant(key, word, sequence, now)
    }

    /// Something was refused.
    func refused(_ what: String, object: UInt64, _ reason: String, now: UInt64) {
        tracer.event(
            .instant, process, "refused \(reason)", time: now, label: "object", number: object,
            text: what)
    }

    /// Buffers and their bytes at the moment.
    func holdings(buffers count: Int, bytes size: UInt64, now: UInt64) {
        tracer.count(buffers, UInt64(count), time: now)
        tracer.count(bytes, size, time: now)
    }

    /// A surface is gone, and its tracks are of no more use.
    func surfaceGone(_ key: SurfaceKey, now: UInt64) {
        guard let surface = surfaces[key] else { return }
        for sequence in surface.frames.keys { close(key, sequence, now) }
        surfaces[key] = nil
    }

    private func close(_ key: SurfaceKey, _ sequence: FrameSequence, _ now: UInt64) {
        guard let surface = surfaces[key], let frame = surface.frames.removeValue(forKey: sequence)
        else { return }
        let track = surface.lanes[frame.lane].track
        // The stage, then the frame.
        tracer.event(.end, track, time: now)
        tracer.event(.end, track, time: now)
        surface.lanes[frame.lane].isFree = true
    }

    private func instant(
        _ key: SurfaceKey, _ word: String, _ sequence: FrameSequence, _ now: UInt64
    ) {
        let track = surfaces[key]?.track ?? process
        tracer.event(.instant, track, word, time: now, number: sequence.value)
    }
}
