import Logging
import VMBridgeCore

/// What listens along a VM's path: its recorder, its part of a trace, or both. The path asks once in each place whether there is one.
package final class SessionTap {
    private let recorder: Recorder?
    private let tracer: VMTracer?
    private let loop: EventLoop

    /// Listens for a recorder, a trace or both.
    package init(recorder: Recorder?, tracer: VMTracer?, loop: EventLoop) {
        self.recorder = recorder
        self.tracer = tracer
        self.loop = loop
    }

    /// What listens to a VM by the bridge's configuration; nil when nothing does.
    convenience init?(
        _ vm: String, _ recording: RecordingSettings?, _ tracer: Tracer?, _ loop: EventLoop,
        _ logger: Logger
    ) {
        guard recording != nil || tracer != nil else { return nil }
        self.init(
            recorder: recording.map { Recorder($0, vm: vm, logger: logger) },
            tracer: tracer.map { VMTracer($0, vm: vm) }, loop: loop)
    }

    /// How the recording fares; nil without one.
    package var recording: RecordingStatus? { recorder?.status }

    // MARK: The source

    func connected(generation: UInt64) { recorder?.connected(generation: generation) }

    func disconnected() { recorder?.disconnected() }

    func received(
        _ bytes: [UInt8], count: Int, _ bundle: borrowing DescriptorBundle, at time: UInt64
    ) {
        recorder?.received(bytes, count: count, bundle, time: time)
    }

    func receivedBroken(_ how: BrokenDatagram) {
        recorder?.receivedBroken(how, time: loop.now())
    }

    func sent(_ bytes: [UInt8], count: Int, descriptors: Int) {
        recorder?.sent(bytes, count: count, descriptors: descriptors, time: loop.now())
    }

    func shutDown() { recorder?.shutDown() }

    // MARK: The session

    func accepted(_ surface: SurfaceKey, _ frame: Frame) {
        tracer?.accepted(
            surface, frame.sequence, frame.waits, received: frame.receivedAt,
            now: frame.validatedAt)
    }

    func unblocked(
        _ surface: SurfaceKey, _ sequence: FrameSequence?, _ wait: FrameWaits, at time: UInt64
    ) {
        guard let sequence else { return }
        tracer?.unblocked(surface, sequence, wait, now: time)
        if wait == .fence { recorder?.fenceOpened(surface, sequence, time: time) }
    }

    func committed(
        _ surface: SurfaceKey, _ frame: Frame, _ memory: BufferMemory?, at time: UInt64
    ) {
        tracer?.committed(surface, frame.sequence, now: time)
        recorder?.committed(surface, frame.sequence, frame.buffer, memory, time: time)
    }

    func presented(_ surface: SurfaceKey, _ sequence: FrameSequence, isSeen: Bool) {
        tracer?.presented(surface, sequence, isSeen: isSeen, now: loop.now())
    }

    func ended(_ surface: SurfaceKey, _ sequence: FrameSequence, _ outcome: UseOutcome) {
        tracer?.ended(surface, sequence, outcome, now: loop.now())
    }

    func refused(_ what: String, object: UInt64, _ reason: RefusalReason) {
        tracer?.refused(what, object: object, reason.word, now: loop.now())
    }

    func holdings(buffers: Int, bytes: UInt64) {
        tracer?.holdings(buffers: buffers, bytes: bytes, now: loop.now())
    }

    func forgot(_ buffer: BufferID, buffers: Int, bytes: UInt64) {
        recorder?.forgot(buffer)
        holdings(buffers: buffers, bytes: bytes)
    }

    func surfaceGone(_ surface: SurfaceKey) {
        tracer?.surfaceGone(surface, now: loop.now())
    }
}
