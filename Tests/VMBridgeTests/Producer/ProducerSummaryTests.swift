import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] what the reference producer counts")
struct ProducerSummaryTests {
    private func presented(_ time: UInt64, latency: UInt64 = 0) -> PresentedRecord {
        PresentedRecord(
            sequence: FrameSequence(1), time: time, latency: latency, refresh: 0, flags: 0)
    }

    @Test func nothingYet() {
        #expect(ProducerSummary().line.hasSuffix("mean latency unknown"))
        #expect(ProducerSummary().details.isEmpty)
    }

    @Test func framesWithoutFences() {
        var summary = ProducerSummary()
        for (outcome, record) in [
            (.shown, presented(5, latency: 1_000_000)),
            (.shown, presented(6, latency: 2_100_000)),
            // The compositor's clock is another one: no time is known.
            (.shown, presented(0)), (.superseded, nil), (.refused, nil), (.lost, nil),
        ] as [(UseOutcome, PresentedRecord?)] {
            var note = FrameNote(kind: .none)
            summary.countSent(.none)
            if let record { summary.countPresented(record, &note) }
            summary.countReleased(outcome, &note, at: 10)
            #expect(note.isDone == (record != nil))
        }
        #expect(
            summary.line
                == "frames: 6 sent, 3 shown, 1 superseded, 1 refused, 1 lost; 3 presented, 0 discarded, 0 skipped; mean latency 1.55 ms"
        )
        #expect(summary.details.isEmpty)
        let json = summary.json(.done)
        #expect(
            json.hasPrefix(
                "{\"sent\":6,\"shown\":3,\"superseded\":1,\"refused\":1,\"lost\":1,\"presented\":3,\"discarded\":0,\"skipped\":0,\"timed\":2,\"mean_latency_ns\":1550000,\"highest_latency_ns\":2100000,\"early\":0,"
            ))
        #expect(json.hasSuffix(",\"exit\":0,\"end\":\"done\"}"))
        #expect(json.contains("\"kind_none_superseded\":1,") && !json.contains("kind_stuck"))
        #expect(json.contains("\"reason_fence_timeout\":0,"))
    }

    @Test func inputByKind() {
        var summary = ProducerSummary()
        summary.count(.frame)
        #expect(summary.input == nil && summary.details.isEmpty)
        #expect(!summary.json(.done).contains("input_"))
        summary.input = [:]
        #expect(summary.details == ["input: none"])
        #expect(summary.json(.done).contains("\"input_touch_cancel\":0,"))
        for pressed in [true, false] { summary.count(.key(30, isPressed: pressed)) }
        summary.count(.keyboardEnter)
        #expect(summary.details == ["input: 1 keyboard_enter, 2 key"])
        #expect(summary.json(.done).contains("\"input_key\":2,"))
    }

    /// Scripts rely on these lines.
    @Test func linesOfInput() {
        func line(_ event: InputEvent) -> String { ProducerInput.line(SurfaceKey(3), event) }
        let place = InputPoint(x: -384, y: 5121)
        #expect(line(.keyboardEnter) == "input 3 keyboard_enter")
        #expect(line(.key(30, isPressed: true)) == "input 3 key 30 pressed")
        #expect(line(.button(272, isPressed: false)) == "input 3 button 272 released")
        #expect(
            line(.modifiers(depressed: 1, latched: 2, locked: 3, group: 4))
                == "input 3 modifiers 1 2 3 4")
        #expect(line(.pointerEnter(place)) == "input 3 pointer_enter -1.5 20.00390625")
        #expect(
            line(.pointerMotion(InputPoint(x: 0, y: -1)))
                == "input 3 pointer_motion 0 -0.00390625")
        #expect(
            line(.pointerMotion(InputPoint(x: .min, y: .max)))
                == "input 3 pointer_motion -8388608 8388607.99609375")
        #expect(
            line(.axis(.vertical, distance: 2560, value120: -120))
                == "input 3 axis vertical 10 -120")
        #expect(line(.axisStop(.horizontal)) == "input 3 axis_stop horizontal")
        #expect(line(.touchDown(2, place)) == "input 3 touch_down 2 -1.5 20.00390625")
        #expect(line(.touchUp(2)) == "input 3 touch_up 2" && line(.frame) == "input 3 frame")
        #expect(
            ProducerInput.line(KeymapRecord(size: 5, repeatRate: 25, repeatDelay: 600))
                == "keymap 5 bytes, repeat 25 a second after 600 ms")
        #expect(Set(ProducerInput.words).count == 15)
    }

    @Test func fencesByKind() {
        var summary = ProducerSummary()
        // In time: 30 ms to the screen, 40 to the release.
        var good = FrameNote(kind: .syncFile)
        summary.countSent(.syncFile)
        summary.countSignal(&good, at: 100_000_000)
        summary.countPresented(presented(130_000_000), &good)
        summary.countReleased(.shown, &good, at: 140_000_000)
        // On the screen before its fence.
        var early = FrameNote(kind: .syncFile)
        summary.countSent(.syncFile)
        summary.countSignal(&early, at: 100_000_000)
        summary.countPresented(presented(99_999_999), &early)
        summary.countReleased(.shown, &early, at: 160_000_000)
        // Shown although its fence never signalled; counted once.
        var never = FrameNote(kind: .stuck)
        summary.countSent(.stuck)
        summary.countPresented(presented(0), &never)
        summary.countReleased(.shown, &never, at: 1)
        // As it should be.
        var refused = FrameNote(kind: .implicitStuck)
        summary.countSent(.implicitStuck)
        summary.countRefusal(.fenceTimeout)
        summary.countReleased(.refused, &refused, at: 1)

        #expect(summary.early == 2 && summary.signalled == 2)
        #expect(summary.kinds[.syncFile]?.shown == 2 && summary.kinds[.stuck]?.presented == 1)
        #expect(summary.sent == 4 && summary.shown == 3 && summary.refused == 1)
        #expect(
            summary.details == [
                "sync_file frames: 2 sent, 2 shown, 0 superseded, 0 refused, 0 lost; 2 presented, 0 discarded",
                "stuck frames: 1 sent, 1 shown, 0 superseded, 0 refused, 0 lost; 1 presented, 0 discarded",
                "implicit-stuck frames: 1 sent, 0 shown, 0 superseded, 1 refused, 0 lost; 0 presented, 0 discarded",
                "fences: 2 signalled, 2 frames shown before theirs; to the screen 30.00 ms, at most 30.00 ms, to the release 50.00 ms, at most 60.00 ms",
                "refusals: 1 fence_timeout",
            ])
        let json = summary.json(.done)
        for field in [
            "\"early\":2,", "\"signalled\":2,", "\"signal_to_presented\":1,",
            "\"mean_signal_to_presented_ns\":30000000,", "\"signal_to_released\":2,",
            "\"highest_signal_to_released_ns\":60000000,", "\"kind_implicit_stuck_refused\":1,",
            "\"kind_stuck_shown\":1,", "\"reason_fence_timeout\":1,",
        ] { #expect(json.contains(field), "\(field)") }
    }

    @Test func releases() {
        var summary = ProducerSummary()
        summary.releaseFences = 3
        summary.pendingReleaseFences = 2
        summary.releaseWaits.add(7_000_000)
        summary.overwritten = 4
        #expect(
            summary.details == [
                "releases: 3 with a fence, 2 of these pending, longest wait 7.00 ms",
                "buffers: 4 overwritten after their release",
            ])
        #expect(
            summary.json(.done).contains(
                "\"overwritten\":4,\"release_fences\":3,\"pending_release_fences\":2,\"longest_release_wait_ns\":7000000,"
            ))
    }

    @Test func stringsAreQuoted() {
        #expect(ProducerSummary.quoted("a\"\\\n") == "\"a\\\"\\\\\\u000a\"")
    }

    @Test func aWindowsFencesTakeTurns() {
        var options = ProducerOptions(socketPath: "")
        options.fencePattern = [.none, .stuck, .message]
        let kinds = (1...5).map { options.fence(surface: 0, FrameSequence($0)) }
        #expect(kinds == [.none, .stuck, .message, .none, .stuck])
        #expect(options.usedFences == [.none, .stuck, .message])
        options.fencePattern = []
        for (kind, stuck) in [
            (.none, .stuck), (.syncFile, .stuck), (.message, .never), (.implicit, .implicitStuck),
            (.point, .pointStuck),
        ] as [(ProducerFence, ProducerFence)] {
            options.fence = kind
            options.stuckSurfaces = 1
            #expect(
                (1...3).map { options.fence(surface: 0, FrameSequence($0)) } == [
                    .none, stuck, stuck,
                ])
            #expect(options.fence(surface: 1, FrameSequence(2)) == kind)
            #expect(options.usedFences == [kind, stuck])
        }
    }
}
