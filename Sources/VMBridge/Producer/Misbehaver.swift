import Descriptors
import VMBridgeCore

/// Runs a producer, breaks one rule in the midst of its frames, and judges the bridge's answer.
///
/// A misbehaviour is a list of stages; each does something and then waits for answers. Before the
/// first and after the last one a few normal frames must come back, so that what is broken stays
/// what was meant to be.
package final class Misbehaver: ProducerObserver, ProducerConnectionDelegate {
    /// An answer that a stage waits for.
    enum Awaited: Equatable {
        /// A record was refused; of any object when it is nil.
        case refused(type: UInt16, object: UInt64?, RefusalReason)
        /// A frame's use ended as one of these.
        case released(SurfaceKey, UInt64, [UseOutcome])
        /// A frame was not refused: presented, discarded or released.
        case taken(SurfaceKey, UInt64)
    }

    /// One step.
    struct Stage {
        var deed: () throws(ProducerFailure) -> Void
        var awaits: [Awaited] = []
        /// The connection ends, with this reason.
        var ends: RefusalReason?
        /// Nothing is awaited before somebody calls ``Misbehaver/stageDone()``.
        var isOpen = false
        /// How long the answers may take, nanoseconds.
        var limit: UInt64 = 10_000_000_000
    }

    private enum Phase {
        case warmingUp
        case misbehaving
        case coolingDown
        case judged
    }

    /// What is done.
    package let kind: Misbehaviour
    /// How it was answered; nil before.
    package private(set) var verdict: MisbehaviourVerdict?
    /// Called once, when there is a verdict.
    package var onEnd: (() -> Void)?
    let producer: Producer
    /// Surfaces and buffers from this number on are ours, those below are the producer's.
    static let first: UInt64 = 1001
    /// A connection beside the producer's.
    var other: ProducerConnection?
    /// What the other connection is expected to end with.
    var otherEnds: RefusalReason?
    private var otherRefusal: Refusal?
    private var phase = Phase.warmingUp
    private var stages: [Stage] = []
    private var awaited: [Awaited] = []
    private var isStageOpen = false
    private var expectedEnd: RefusalReason?
    private var answers: [String] = []
    private var released: [(surface: SurfaceKey, sequence: FrameSequence, outcome: UseOutcome)] = []
    private var returned = 0
    private var timer: TimerID?
    private var retries = 0
    lazy var pump = MisbehaviourPump(self)

    private static let calmFrames = 3

    /// - Parameter producer: not started yet.
    package init(_ kind: Misbehaviour, producer: Producer) {
        self.kind = kind
        self.producer = producer
        timer = producer.loop.makeTimer { [unowned self] _ in self.timedOut() }
    }

    /// Starts the producer; the rest follows on its loop.
    package func start() {
        producer.observer = self
        producer.onEnd = { [unowned self] in self.producerEnded() }
        arm(producer.options.connectPatience + 10_000_000_000)
        producer.start()
    }

    var connection: ProducerConnection? { producer.connection }
    var limits: VMLimits { producer.welcome?.limits ?? VMLimits() }

    // MARK: Stages

    private func nextStage() {
        guard !stages.isEmpty else {
            phase = .coolingDown
            returned = 0
            arm(10_000_000_000)
            return
        }
        let stage = stages.removeFirst()
        // What was released before the stage that asks for it counts: some consumers give back at once.
        awaited = stage.awaits.filter { !isReleased($0) }
        expectedEnd = stage.ends
        isStageOpen = stage.isOpen || stage.ends != nil
        arm(stage.limit)
        do throws(ProducerFailure) {
            try stage.deed()
            connection?.flush()
        } catch {
            judge(.otherwise("the deed itself failed: \(error.sentence)"))
        }
    }

    /// An open stage has got what it wanted.
    func stageDone(_ answer: String) {
        guard phase == .misbehaving, isStageOpen else { return }
        answers.append(answer)
        isStageOpen = false
        if awaited.isEmpty { nextStage() }
    }

    /// It went wrong.
    func fail(_ sentence: String) { judge(.otherwise(sentence)) }

    private func satisfy(_ isMatch: (Awaited) -> Bool, _ answer: @autoclosure () -> String) -> Bool
    {
        guard let index = awaited.firstIndex(where: isMatch) else { return false }
        awaited.remove(at: index)
        if answers.count < 8 { answers.append(answer()) }
        if awaited.isEmpty, !isStageOpen { nextStage() }
        return true
    }

    private func isReleased(_ awaited: Awaited) -> Bool {
        guard case .released(let surface, let sequence, let outcomes) = awaited else {
            return false
        }
        return released.contains {
            $0.surface == surface && $0.sequence.value == sequence && $0.outcome != .refused
                && outcomes.contains($0.outcome)
        }
    }

    private func timedOut() {
        switch phase {
        case .warmingUp: judge(.otherwise("no normal frame came back before the deed"))
        case .misbehaving:
            let missing =
                awaited.first.map { "\($0)" } ?? expectedEnd.map { "the end, \($0.word)" }
                ?? otherEnds.map { "the other connection's end, \($0.word)" } ?? "an answer"
            judge(.otherwise("still waiting for \(missing)"))
        case .coolingDown: judge(.otherwise("after the deed no normal frame came back"))
        case .judged: break
        }
    }

    private func arm(_ limit: UInt64) {
        if let timer { producer.loop.arm(timer, after: limit) }
    }

    private func judge(_ verdict: MisbehaviourVerdict) {
        guard self.verdict == nil else { return }
        self.verdict = verdict
        phase = .judged
        pump.stop()
        other?.close()
        // Twice: at once, whatever is still held.
        producer.stop()
        producer.stop()
        if let timer { producer.loop.remove(timer) }
        timer = nil
        onEnd?()
    }

    // MARK: What the producer sees

    func producerReceived(_ record: BridgeRecord) -> Bool {
        switch record {
        case .released(_, let surface, let sequence, let outcome),
            .releasedWithFence(_, let surface, let sequence, let outcome):
            if surface.value < Self.first {
                countNormal()
                return false
            }
            if pump.takes(record) { return true }
            let isKnown = satisfy(
                {
                    if case .released(surface, sequence.value, let outcomes) = $0 {
                        return outcomes.contains(outcome)
                    }
                    return false
                }, "frame \(sequence) released, \(outcome)")
            released.append((surface, sequence, outcome))
            if !isKnown, outcome != .refused { taken(surface, sequence) }
            return true
        case .refused(let refused): return self.refused(refused, record)
        case .presented(let surface, let presented): return own(surface, presented.sequence)
        case .discarded(let surface, let sequence): return own(surface, sequence)
        case .configure(let surface, _), .close(let surface): return surface.value >= Self.first
        case .welcome, .formatsChanged, .surfaceFormats, .allocated, .targets, .input, .keymap:
            return false
        }
    }

    private func own(_ surface: SurfaceKey, _ sequence: FrameSequence) -> Bool {
        guard surface.value >= Self.first else { return false }
        taken(surface, sequence)
        return true
    }

    private func taken(_ surface: SurfaceKey, _ sequence: FrameSequence) {
        _ = satisfy({ $0 == .taken(surface, sequence.value) }, "frame \(sequence) taken")
    }

    private func refused(_ refused: RefusedRecord, _ record: BridgeRecord) -> Bool {
        // The connection's end is judged when it comes.
        if refused.type == 0 { return false }
        if pump.takes(record) { return true }
        let isKnown = satisfy(
            {
                guard case .refused(let type, let object, let reason) = $0 else { return false }
                return type == refused.type && reason == refused.refusal.reason
                    && (object == nil || object == refused.object)
            }, "\(RecordType.name(refused.type)) refused, \(refused.refusal.reason.word)")
        if !isKnown {
            fail(
                "\(RecordType.name(refused.type)) \(refused.object) was refused, "
                    + "\(refused.refusal.reason.word): \(refused.refusal.sentence)")
        }
        return true
    }

    func producerIsWritable() { pump.push() }

    private func countNormal() {
        returned += 1
        guard returned == Self.calmFrames else { return }
        switch phase {
        case .warmingUp:
            phase = .misbehaving
            stages = makeStages()
            nextStage()
        case .coolingDown:
            if producer.summary.refused > 0 {
                fail("\(producer.summary.refused) normal frames were refused")
            } else {
                succeed()
            }
        case .misbehaving, .judged: break
        }
    }

    func succeed() {
        judge(.asExpected(answers.isEmpty ? "no answer" : answers.joined(separator: "; ")))
    }

    private func producerEnded() {
        let end = producer.end ?? .done
        switch (phase, end) {
        case (.warmingUp, _): judge(.notTried(end))
        case (.misbehaving, .refused(let refusal)) where refusal.reason == expectedEnd:
            judge(.asExpected("the connection ended, \(refusal.reason.word): \(refusal.sentence)"))
        // The stage sent it away.
        case (.misbehaving, .done) where otherEnds != nil: break
        case (.misbehaving, _), (.coolingDown, _): fail("the normal part ended: \(end)")
        case (.judged, _): break
        }
    }

    // MARK: The other connection

    /// Connects beside the producer and sends something; the bridge should end it.
    func openOther(_ bytes: [UInt8]) throws(ProducerFailure) {
        do throws(KernelError) {
            let other = try ProducerConnection(
                path: producer.options.socketPath, loop: producer.loop, delegate: self)
            self.other = other
            otherBytes = bytes
            other.sendRaw(bytes)
        } catch { throw ProducerFailure("a second connection cannot be made: \(error)") }
    }

    private var otherBytes: [UInt8] = []

    func connectionReceived(_ record: BridgeRecord, _ descriptor: consuming OwnedDescriptor) {
        switch record {
        case .refused(let refused) where refused.type == 0: otherRefusal = refused.refusal
        default: fail("the other connection was answered")
        }
    }

    func connectionIsWritable() {}

    func connectionEnded(_ why: String) {
        guard let refusal = otherRefusal else { return fail("the other connection: \(why)") }
        otherRefusal = nil
        if refusal.reason == .busy, otherEnds != .busy, retries < 50 {
            // The bridge has not seen the producer leave yet.
            retries += 1
            pump.later(20_000_000) { [unowned self] in
                do throws(ProducerFailure) {
                    try openOther(otherBytes)
                } catch { fail(error.sentence) }
            }
            return
        }
        guard refusal.reason == otherEnds else {
            return fail("the other connection ended, \(refusal.reason.word): \(refusal.sentence)")
        }
        let answer = "the other connection ended, \(refusal.reason.word)"
        if producer.end == nil {
            stageDone(answer)
        } else {
            judge(.asExpected(answer))
        }
    }
}
