import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] the reference producer's fences and patterns against a tiny bridge")
struct ProducerFenceTests {
    private func withDialogue(
        _ change: (inout ProducerOptions) -> Void,
        _ body: (EventLoop, TinyBridge, Producer) throws -> Void
    ) throws {
        try TinyBridge.withProducer(
            {
                $0.size = Size(width: 300, height: 32)
                $0.rate = 200
                change(&$0)
            }, body)
    }

    @Test func everyRowOfEveryFrameCarriesItsNumber() throws {
        try withDialogue {
            $0.pattern = .rows
            $0.surfaces = 2
            $0.seed = 40
            $0.frames = 6
        } _: { loop, bridge, producer in
            var shown: [RowsWindow] = []
            bridge.onRecord = { record in
                guard case .frame(let frame) = record else { return }
                if let picture = try? bridge.picture(frame) {
                    shown += RowsPattern.windows(in: picture)
                }
                bridge.present(frame)
                bridge.release(frame)
            }
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(producer.end == .done)
            #expect(shown.count == 12)
            #expect(shown.allSatisfy { $0.faults().isEmpty && $0.wholeRows == 32 })
            for seed in [40, 41] as [UInt16] {
                #expect(shown.filter { $0.seed == seed }.map(\.frame) == (1...6).map { $0 })
            }
            #expect(bridge.frames.allSatisfy { $0.damage.isWhole || $0.damage.count == 1 })
        }
    }

    @Test func aBufferIsOverwrittenWhenItIsGivenBack() throws {
        try withDialogue {
            $0.pattern = .rows
            $0.buffers = 1
            $0.frames = 2
            $0.rate = 20
            $0.overwrites = true
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            let first = bridge.frames[0]
            func frame() throws -> UInt32? {
                RowsPattern.windows(in: try bridge.picture(first)).first?.frame
            }
            #expect(try frame() == 1)
            bridge.release(first)
            try run(loop) { producer.summary.overwritten == 1 }
            #expect(bridge.frames.count == 1)
            #expect(try frame() == RowsPattern.poison)
            try run(loop) { bridge.frames.count == 2 }
            #expect(try frame() == 2)
        }
    }

    @Test func aBufferThatIsHeldTwiceIsNotOverwritten() throws {
        try withDialogue {
            $0.pattern = .rows
            $0.buffers = 1
            $0.frames = 1
            $0.holds = true
            $0.overwrites = true
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            bridge.send(
                .configure(SurfaceKey(1), ConfigureRecord(size: .zero, wantsFrame: true)))
            try run(loop) { bridge.frames.count == 2 }
            bridge.release(bridge.frames[0])
            try run(loop) { producer.summary.shown == 1 }
            #expect(producer.summary.overwritten == 0)
            bridge.release(bridge.frames[1])
            try run(loop) { producer.summary.overwritten == 1 }
        }
    }

    @Test func stuckSurfacesStandBesideLiveOnes() throws {
        try withDialogue {
            $0.surfaces = 2
            $0.frames = 4
            $0.fence = .message
            $0.fenceDelay = 5_000_000
            $0.stuckSurfaces = 1
            $0.holds = true
        } _: { loop, bridge, producer in
            var signals: [UInt64] = []
            bridge.onRecord = { record in
                switch record {
                case .frame(let frame):
                    // What a bridge does: refuse what stays incomplete, show the rest.
                    if frame.surface.value == 1, frame.sequence.value > 1 {
                        bridge.send(
                            .refused(
                                RefusedRecord(
                                    type: RecordType.frame, object: 1, sequence: frame.sequence,
                                    refusal: Refusal(.fenceTimeout, "Too late."))))
                        bridge.release(frame, .refused)
                    } else if frame.surface.value == 1 {
                        bridge.release(frame)
                    }
                case .fenceSignal(let surface, let sequence, let isError):
                    #expect(!isError)
                    signals.append(surface.value)
                    if let frame = bridge.frames.first(where: {
                        $0.surface == surface && $0.sequence == sequence
                    }) {
                        bridge.present(frame)
                        bridge.release(frame)
                    }
                default: break
                }
            }
            producer.start()
            try run(loop) { producer.summary.shown == 5 && producer.summary.refused == 3 }
            #expect(signals == [2, 2, 2, 2])
            let stuck = bridge.frames.filter { $0.surface.value == 1 }
            #expect(stuck.map(\.acquire) == [.none, .message, .message, .message])
            let summary = producer.summary
            #expect(summary.kinds[.never]?.sent == 3 && summary.kinds[.never]?.refused == 3)
            #expect(summary.kinds[.message]?.presented == 4)
            #expect(summary.reasons == [.fenceTimeout: 3])
            #expect(summary.signalled == 4 && summary.early == 0)
            #expect(summary.signalToPresented.count == 4 && summary.signalToReleased.count == 4)
        }
    }

    @Test func kindsTakeTurns() throws {
        try withDialogue {
            $0.frames = 6
            $0.fencePattern = [.none, .never, .message]
            $0.fenceDelay = 1_000_000
        } _: { loop, bridge, producer in
            var signals: [UInt64] = []
            bridge.onRecord = { record in
                switch record {
                // Early, where it has a fence.
                case .frame(let frame) where frame.acquire == .none || frame.sequence.value == 2:
                    bridge.present(frame)
                    bridge.release(frame)
                case .frame(let frame) where frame.sequence.value == 5:
                    bridge.release(frame, .superseded)
                case .fenceSignal(_, let sequence, _):
                    signals.append(sequence.value)
                    if let frame = bridge.frames.first(where: { $0.sequence == sequence }) {
                        bridge.present(frame)
                        bridge.release(frame)
                    }
                default: break
                }
            }
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(
                bridge.frames.map(\.acquire)
                    == [.none, .message, .message, .none, .message, .message])
            #expect(signals == [3, 6])
            #expect(producer.summary.early == 1)
            #expect(producer.summary.kinds[.never]?.superseded == 1)
        }
    }

    @Test(arguments: ProducerRelease.allCases)
    func releasesAreWantedAsTold(release: ProducerRelease) throws {
        try withDialogue {
            $0.release = release
            $0.frames = 1
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            #expect(bridge.producerTakesFences == (release == .fence))
        }
    }

    /// Real fences of releases need a kernel that makes some: see the test machine.
    @Test func whatIsNoFenceHoldsNoBuffer() throws {
        try withDialogue {
            $0.release = .fence
            $0.buffers = 1
            $0.frames = 2
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            let file = open("/dev/null", O_RDONLY)
            defer { close(file) }
            bridge.release(bridge.frames[0], fence: file)
            try run(loop) { bridge.frames.count == 2 }
            #expect(producer.summary.releaseFences == 1)
            #expect(producer.summary.pendingReleaseFences == 0 && producer.summary.shown == 1)
        }
    }

    @Test(.enabled(if: (try? TestDevice.find()) == nil, "this machine has the test device"))
    func aMissingTestDeviceIsNamed() throws {
        for change in [
            { $0.fence = .failing }, { $0.fencePattern = [.none, .pointFence] },
            { $0.stuckSurfaces = 1 },
        ] as [(inout ProducerOptions) -> Void] {
            try withDialogue(change) { _, _, producer in
                producer.start()
                guard case .deviceMissing(let why) = producer.end else {
                    Issue.record("\(String(describing: producer.end))")
                    return
                }
                #expect(why.contains("vmbtest"))
            }
        }
    }
}
