import Testing

@testable import VMBridgeCore

@Suite("[pure] input tracker: nothing stays pressed, nothing comes without focus")
struct InputTrackerTests {
    private static let place = InputPoint(x: 256, y: 512)

    /// The events that the tables are about, by the words of their rows.
    private static let events: [(word: String, event: InputEvent)] = [
        ("K+", .keyboardEnter), ("K-", .keyboardLeave), ("k30+", .key(30, isPressed: true)),
        ("k30-", .key(30, isPressed: false)),
        ("mod", .modifiers(depressed: 1, latched: 2, locked: 3, group: 4)),
        ("P+", .pointerEnter(place)), ("P-", .pointerLeave), ("move", .pointerMotion(place)),
        ("b1+", .button(1, isPressed: true)), ("b1-", .button(1, isPressed: false)),
        ("axis", .axis(.vertical, distance: 1, value120: 0)), ("stop", .axisStop(.vertical)),
        ("frame", .frame), ("t0+", .touchDown(0, place)), ("t0~", .touchMotion(0, place)),
        ("t0-", .touchUp(0)), ("t!", .touchCancel),
    ]

    private static func event(_ word: Substring) -> InputEvent {
        events.first { $0.word == word }?.event ?? .frame
    }

    private static func words(_ told: [InputEvent]) -> String {
        told.map { event in events.first { $0.event == event }?.word ?? "\(event)" }
            .joined(separator: " ")
    }

    /// A tracker that was told this.
    private static func tracker(_ words: String) -> InputTracker {
        var tracker = InputTracker()
        for word in words.split(separator: " ") {
            switch word {
            case "pause": tracker.pause { _ in }
            case "resume": tracker.resume { _ in }
            default: tracker.take(event(word)) { _ in }
            }
        }
        return tracker
    }

    /// What is told of each event, in the order of `events`; "-" for nothing.
    private static let table: [(state: String, told: [String])] = [
        (
            "",
            [
                "K+", "-", "-", "-", "-", "P+", "-", "-", "-", "-", "-", "-", "-", "t0+", "-", "-",
                "-",
            ]
        ),
        (
            "K+",
            [
                "-", "K-", "k30+", "-", "mod", "P+", "-", "-", "-", "-", "-", "-", "-", "t0+", "-",
                "-", "-",
            ]
        ),
        (
            "K+ k30+",
            [
                "-", "k30- K-", "-", "k30-", "mod", "P+", "-", "-", "-", "-", "-", "-", "-", "t0+",
                "-", "-", "-",
            ]
        ),
        (
            "P+ frame",
            [
                "K+", "-", "-", "-", "-", "move", "P-", "move", "b1+", "-", "axis", "stop", "-",
                "t0+", "-", "-", "-",
            ]
        ),
        (
            "P+ b1+",
            [
                "K+", "-", "-", "-", "-", "move", "b1- P-", "move", "-", "b1-", "axis", "stop",
                "frame", "t0+", "-", "-", "-",
            ]
        ),
        (
            "t0+ frame",
            [
                "K+", "-", "-", "-", "-", "P+", "-", "-", "-", "-", "-", "-", "-", "-", "t0~",
                "t0-",
                "t!",
            ]
        ),
        (
            "K+ k30+ P+ b1+ t0+",
            [
                "-", "k30- K-", "-", "k30-", "mod", "move", "b1- P-", "move", "-", "b1-", "axis",
                "stop", "frame", "-", "t0~", "t0-", "t!",
            ]
        ),
        (
            "K+ k30+ P+ b1+ t0+ pause",
            [
                "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-",
            ]
        ),
        (
            "K+ k30+ P+ b1+ t0+ pause resume",
            [
                "-", "K-", "k30+", "-", "mod", "move", "P-", "move", "b1+", "-", "axis", "stop",
                "-",
                "t0+", "-", "-", "-",
            ]
        ),
    ]

    @Test("each event in each state")
    func states() {
        for (state, expected) in Self.table {
            #expect(expected.count == Self.events.count)
            for (event, told) in zip(Self.events, expected) {
                var tracker = Self.tracker(state)
                var heard: [InputEvent] = []
                tracker.take(event.event) { heard.append($0) }
                #expect(Self.words(heard) == (told == "-" ? "" : told), "\(state) | \(event.word)")
            }
        }
    }

    @Test("losing everything: touches, buttons, pointer, keys, keyboard, each told once")
    func leaving() {
        for (state, expected) in [
            ("", ""), ("K+", "K-"), ("K+ k30+", "k30- K-"), ("P+ frame", "P- frame"),
            ("P+ b1+", "b1- P- frame"), ("t0+", "t! frame"), ("t0+ frame", "t!"),
            ("K+ k30+ P+ b1+ t0+", "t! b1- P- frame k30- K-"),
            ("K+ k30+ pause", ""), ("K+ K- P+ P-", "frame"),
        ] {
            var left = Self.tracker(state)
            var heard: [InputEvent] = []
            left.leave { heard.append($0) }
            #expect(Self.words(heard) == expected, "\(state)")
            #expect(left.isIdle, "\(state)")
            left.leave { _ in Issue.record("told twice: \(state)") }
            // A pause takes the same away, and gives nothing back after a loss.
            var paused = Self.tracker(state)
            var words: [InputEvent] = []
            paused.pause { words.append($0) }
            #expect(words == heard && paused.isPaused, "\(state)")
            paused.leave { _ in Issue.record("told while paused: \(state)") }
            paused.resume { _ in Issue.record("told after a loss: \(state)") }
        }
    }

    @Test("after a pause the focus comes back as the seat has it then")
    func pausing() {
        for (state, expected) in [
            ("pause", ""), ("K+ pause", "K+"), ("K+ mod k30+ pause", "K+ mod"),
            ("P+ pause", "P+ frame"), ("K+ P+ pause K- P-", ""), ("pause K+ mod", "K+ mod"),
            ("pause P+", "P+ frame"), ("K+ mod pause K- K+", "K+"), ("t0+ pause t0~", ""),
        ] {
            var tracker = Self.tracker(state)
            var heard: [InputEvent] = []
            tracker.resume { heard.append($0) }
            #expect(Self.words(heard) == expected, "\(state)")
            #expect(!tracker.isPaused)
        }
        // Where the pointer went meanwhile.
        var tracker = Self.tracker("P+ pause")
        let there = InputPoint(x: -7, y: 9)
        tracker.take(.pointerMotion(there)) { _ in }
        var heard: [InputEvent] = []
        tracker.resume { heard.append($0) }
        #expect(heard == [.pointerEnter(there), .frame])
    }

    @Test("more than 32 keys: the further ones go down for nobody, and all of the others come up")
    func manyKeys() {
        var tracker = Self.tracker("K+")
        var told = 0
        for code in 0..<UInt32(InputTracker.most + 8) {
            tracker.take(.key(code, isPressed: true)) { _ in told += 1 }
        }
        #expect(told == 32)
        tracker.take(.key(39, isPressed: false)) { _ in Issue.record("released without a press") }
        tracker.take(.key(5, isPressed: false)) { _ in told += 1 }
        tracker.take(.key(39, isPressed: true)) { _ in told += 1 }
        #expect(told == 34)
        var released: Set<UInt32> = []
        tracker.leave {
            if case .key(let code, false) = $0 { #expect(released.insert(code).inserted) }
        }
        #expect(released == Set(0..<32).subtracting([5]).union([39]))
    }

    /// What a guest knows from what it was told, and what is wrong with the last word.
    private struct Guest: Equatable {
        var hasKeyboard = false
        var hasPointer = false
        var keys: Set<UInt32> = []
        var buttons: Set<UInt32> = []
        var touches: Set<UInt32> = []
        var isInGroup = false

        mutating func hear(_ event: InputEvent) -> String? {
            switch event {
            case .keyboardEnter:
                defer { hasKeyboard = true }
                return hasKeyboard || !keys.isEmpty ? "enters twice" : nil
            case .keyboardLeave:
                defer { hasKeyboard = false }
                return !hasKeyboard || !keys.isEmpty ? "leaves with keys \(keys)" : nil
            case .key(let code, let isPressed):
                return change(&keys, code, isPressed, hasKeyboard)
            case .modifiers: return hasKeyboard ? nil : "modifiers without focus"
            case .pointerEnter:
                defer { (hasPointer, isInGroup) = (true, true) }
                return hasPointer || !buttons.isEmpty ? "enters twice" : nil
            case .pointerLeave:
                defer { (hasPointer, isInGroup) = (false, true) }
                return !hasPointer || !buttons.isEmpty ? "leaves with buttons \(buttons)" : nil
            case .pointerMotion, .axis, .axisStop:
                isInGroup = true
                return hasPointer ? nil : "pointer without focus"
            case .button(let code, let isPressed):
                isInGroup = true
                return change(&buttons, code, isPressed, hasPointer)
            case .frame:
                defer { isInGroup = false }
                return isInGroup ? nil : "a frame around nothing"
            case .touchDown(let finger, _):
                isInGroup = true
                return change(&touches, finger, true, true)
            case .touchUp(let finger):
                isInGroup = true
                return change(&touches, finger, false, true)
            case .touchMotion(let finger, _):
                isInGroup = true
                return touches.contains(finger) ? nil : "motion of no finger"
            case .touchCancel:
                defer { touches = [] }
                return touches.isEmpty ? "cancels nothing" : nil
            }
        }

        private func change(
            _ set: inout Set<UInt32>, _ number: UInt32, _ isPressed: Bool, _ hasFocus: Bool
        ) -> String? {
            guard hasFocus else { return "\(number) without focus" }
            guard isPressed else { return set.remove(number) == nil ? "\(number) up twice" : nil }
            let isNew = set.insert(number).inserted
            return isNew && set.count <= 32 ? nil : "\(number) down, \(set.count)"
        }
    }

    /// What a guest should know, from what the seat said: written apart from the tracker.
    private struct Model {
        var guest = Guest()
        var seatHasKeyboard = false
        var seatHasPointer = false
        var isPaused = false

        mutating func take(_ event: InputEvent) {
            switch event {
            case .keyboardEnter:
                seatHasKeyboard = true
                if !isPaused { guest.hasKeyboard = true }
            case .keyboardLeave:
                seatHasKeyboard = false
                (guest.hasKeyboard, guest.keys) = (false, [])
            case .key(let code, true):
                if guest.hasKeyboard, guest.keys.count < 32 { guest.keys.insert(code) }
            case .key(let code, false): guest.keys.remove(code)
            case .pointerEnter:
                seatHasPointer = true
                if !isPaused { guest.hasPointer = true }
            case .pointerLeave:
                seatHasPointer = false
                (guest.hasPointer, guest.buttons) = (false, [])
            case .button(let code, true):
                if guest.hasPointer, guest.buttons.count < 32 { guest.buttons.insert(code) }
            case .button(let code, false): guest.buttons.remove(code)
            case .touchDown(let finger, _):
                if !isPaused, guest.touches.count < 32 { guest.touches.insert(finger) }
            case .touchUp(let finger): guest.touches.remove(finger)
            case .touchCancel: guest.touches = []
            case .modifiers, .pointerMotion, .axis, .axisStop, .frame, .touchMotion: break
            }
        }

        mutating func leave() {
            (seatHasKeyboard, seatHasPointer) = (false, false)
            guest = Guest()
        }

        mutating func pause() {
            isPaused = true
            guest = Guest()
        }

        mutating func resume() {
            isPaused = false
            (guest.hasKeyboard, guest.hasPointer) = (seatHasKeyboard, seatHasPointer)
        }
    }

    private func randomEvent(_ random: inout Random) -> InputEvent {
        let many = UInt32(random.below(random.oneIn(3) ? 60 : 5))
        let place = InputPoint(x: Int32(random.below(100)), y: 1)
        switch random.below(22) {
        case 0: return .keyboardEnter
        case 1: return random.oneIn(4) ? .keyboardLeave : .key(many, isPressed: true)
        case 2, 3, 4: return .key(many, isPressed: true)
        case 5, 6: return .key(many, isPressed: false)
        case 7: return .modifiers(depressed: many, latched: 0, locked: 0, group: 0)
        case 8: return .pointerEnter(place)
        case 9: return random.oneIn(4) ? .pointerLeave : .pointerMotion(place)
        case 10: return .pointerMotion(place)
        case 11, 12: return .button(many, isPressed: true)
        case 13: return .button(many, isPressed: false)
        case 14: return .axis(.vertical, distance: 1, value120: 120)
        case 15: return .axisStop(.horizontal)
        case 16, 17: return .frame
        case 18: return .touchDown(many, place)
        case 19: return .touchMotion(many, place)
        case 20: return .touchUp(many)
        default: return random.oneIn(8) ? .touchCancel : .touchDown(many, place)
        }
    }

    @Test("100000 random sequences against a model", arguments: [0x5eed_0007 as UInt64])
    func sequences(seed: UInt64) {
        print("seed \(seed)")
        var random = Random(seed: seed)
        var told = 0
        var fullest = 0
        for round in 0..<100_000 {
            var tracker = InputTracker()
            var guest = Guest()
            var model = Model()
            var problem: String?
            func hear(_ event: InputEvent) {
                told += 1
                if let wrong = guest.hear(event), problem == nil { problem = wrong }
            }
            // A few are long enough to press more than 32 keys.
            let length = round % 100 == 0 ? 400 : 1 + random.below(24)
            for step in 0..<length {
                switch random.below(round % 100 == 0 ? 200 : 24) {
                case 0:
                    tracker.leave(hear)
                    model.leave()
                case 1:
                    tracker.pause(hear)
                    model.pause()
                case 2:
                    tracker.resume(hear)
                    if model.isPaused { model.resume() }
                default:
                    var event = randomEvent(&random)
                    if round % 100 == 0, random.oneIn(2) {
                        event = .key(UInt32(random.below(60)), isPressed: true)
                    }
                    tracker.take(event, hear)
                    model.take(event)
                }
                fullest = max(fullest, guest.keys.count)
                var known = guest
                known.isInGroup = model.guest.isInGroup
                if problem == nil, known != model.guest {
                    problem = "the guest knows \(guest), the model \(model.guest)"
                }
                if tracker.isPaused, guest != Guest() { problem = "paused with \(guest)" }
                if let problem {
                    Issue.record("seed \(seed), round \(round), step \(step): \(problem)")
                    return
                }
            }
            tracker.leave(hear)
            guard problem == nil, guest == Guest() else {
                Issue.record("seed \(seed), round \(round): left with \(guest), \(problem ?? "")")
                return
            }
        }
        #expect(told > 200_000 && fullest == 32, "\(told) told, at most \(fullest) keys")
    }
}
