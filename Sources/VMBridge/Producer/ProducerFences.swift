import Descriptors
import Glibc
import VMBridgeCore

/// The acquire fences of a producer's frames: makes them, and ends them when their time has come.
final class ProducerFences {
    /// What will end a fence.
    enum End {
        /// The kernel is told; `error` is an errno, or 0.
        case fence(ProducerDevice.Fence, error: Int32)
        /// A point is made and signals at once.
        case point(ProducerDevice.Timeline, UInt64)
        /// A FENCE_SIGNAL record is sent.
        case message
    }

    /// What goes with a FRAME.
    struct Made: ~Copyable {
        /// The record's descriptor, if any.
        var descriptor = OwnedDescriptor.none
        /// The point that it names; 0 for none.
        var point: UInt64 = 0
        /// What is still to come; nil when nothing is.
        var end: End?

        /// Hands the descriptor over.
        consuming func takeDescriptor() -> OwnedDescriptor { descriptor }
    }

    /// A frame whose fence has not ended.
    struct Waiting {
        let deadline: UInt64
        let end: End
        let surface: ProducerSurface
        let buffer: ProducerBuffer
        let sequence: FrameSequence
        let kind: ProducerFence
    }

    let device = ProducerDevice()
    private let loop: EventLoop
    private var waiting: [Waiting] = []
    private var timer: TimerID?
    /// Told of each fence whose time has come, before it ends.
    var onEnd: ((Waiting) -> Void)?
    /// Told when a fence on a buffer's own memory has ended.
    var onMemoryFree: ((Waiting) -> Void)?
    /// Told after a batch of them.
    var onBatch: (() -> Void)?

    init(loop: EventLoop) {
        self.loop = loop
        timer = loop.makeTimer { [unowned self] now in self.timerFired(now) }
    }

    /// Makes the fence of a frame that is about to be sent.
    func make(
        _ kind: ProducerFence, _ surface: ProducerSurface, _ buffer: ProducerBuffer
    ) throws(ProducerFailure) -> Made {
        switch kind.kind {
        case .none: return Made()
        case .message: return Made(end: kind == .never ? nil : .message)
        case .syncFile:
            let new = try device.makeFence(kind.fate)
            let end = new.fence.map { End.fence($0, error: kind.endsBadly ? EIO : 0) }
            return Made(descriptor: new.takeSyncFile(), end: end)
        case .implicit:
            // One fence at a time: content that is sent again while its fence is pending waits for that one.
            guard !buffer.isFenced else { return Made() }
            let new = try device.makeFence(kind.fate)
            let end = new.fence.map { End.fence($0, error: kind.endsBadly ? EIO : 0) }
            try buffer.attach(new.takeSyncFile(), isStuck: end == nil)
            return Made(end: end)
        case .timelinePoint:
            let place = surface.timelines.firstIndex { $0.kind == kind } ?? surface.timelines.count
            if place == surface.timelines.count {
                surface.timelines.append((kind, try device.makeTimeline()))
            }
            let point = surface.timelines[place].timeline.next()
            let timeline = surface.timelines[place].timeline
            let end: End? =
                switch kind {
                case .pointStuck: nil
                case .pointFence:
                    .fence(try device.putFence(on: timeline, point: point), error: 0)
                default: .point(timeline, point)
                }
            return Made(descriptor: try device.export(timeline), point: point, end: end)
        }
    }

    /// Ends a frame's fence after a delay; those of earlier frames have ended by then. Without a delay it
    /// never ends by our doing.
    func schedule(
        _ end: End, _ frame: FrameRecord, _ surface: ProducerSurface, _ buffer: ProducerBuffer,
        _ kind: ProducerFence, after delay: UInt64?
    ) {
        guard let delay = delay ?? Self.limit(of: end) else { return }
        // The delay is the same for all, so the list is in order of time.
        waiting.append(
            Waiting(
                deadline: loop.now() + delay, end: end, surface: surface, buffer: buffer,
                sequence: frame.sequence, kind: kind))
        if waiting.count == 1, let timer { loop.arm(timer, at: waiting[0].deadline) }
    }

    /// What carried a fence of vgem can carry another when it has ended by itself, after 10 s.
    private static func limit(of end: End) -> UInt64? {
        if case .fence(let fence, _) = end, fence.endsByItself { return 11_000_000_000 }
        return nil
    }

    /// Ends a fence of the kernel now.
    func perform(_ end: End) {
        switch end {
        case .fence(let fence, let error): device.signal(fence, error: error)
        case .point(let timeline, let point): device.signal(timeline, point: point)
        case .message: break
        }
    }

    private func timerFired(_ now: UInt64) {
        while let next = waiting.first, next.deadline <= now {
            waiting.removeFirst()
            onEnd?(next)
            perform(next.end)
            if next.kind.kind == .implicit {
                next.buffer.fenceEnded()
                onMemoryFree?(next)
            }
        }
        if let next = waiting.first, let timer { loop.arm(timer, at: next.deadline) }
        onBatch?()
    }

    /// Gives the timer back; fences that are pending stay so until the process ends.
    func shutDown() {
        if let timer { loop.remove(timer) }
        timer = nil
        onEnd = nil
        onMemoryFree = nil
        onBatch = nil
    }
}
