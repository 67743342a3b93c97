import Testing
@testable import VMBridgeCore

/// A seat's events as QEMU is told of them.
@Suite("[pure] QEMU's input")
struct QEMUInputTests {
    private func translator(absolute: Bool = true, slots: UInt32 = 0) -> QEMUInputTranslator {
        var translator = QEMUInputTranslator(
            size: Size(width: 640, height: 480), isAbsolute: absolute)
        translator.touchSlots = slots
        return translator
    }

    private func point(_ x: Int32, _ y: Int32) -> InputPoint { InputPoint(x: x * 256, y: y * 256) }

    @Test func keysGoOnceEach() {
        var translator = translator()
        #expect(translator.translate(.keyboardEnter) == [])
        #expect(translator.translate(.key(30, isPressed: true)) == [.key(30, isPressed: true)])
        #expect(translator.translate(.key(30, isPressed: true)) == [])
        #expect(translator.translate(.key(103, isPressed: true)) == [.key(0xc8, isPressed: true)])
        #expect(translator.isPressed)
        #expect(translator.translate(.key(30, isPressed: false)) == [.key(30, isPressed: false)])
        #expect(translator.translate(.key(30, isPressed: false)) == [])
        #expect(translator.translate(.key(0x2ff, isPressed: true)) == [])
        #expect(translator.translate(.keyboardLeave) == [.key(0xc8, isPressed: false)])
        #expect(!translator.isPressed)
        #expect(translator.translate(.keyboardLeave) == [])
    }

    @Test func placesStayInsideThePicture() {
        var translator = translator()
        #expect(translator.translate(.pointerEnter(point(3, 4))) == [.position(point(3, 4))])
        for (given, told) in [
            (InputPoint(x: -5, y: 481 * 256), InputPoint(x: 0, y: 480 * 256 - 1)),
            (InputPoint(x: .max, y: .min), InputPoint(x: 640 * 256 - 1, y: 0)),
        ] {
            #expect(translator.translate(.pointerMotion(given)) == [.position(told)])
        }
        translator.size = .zero
        let none = InputPoint(x: 0, y: 0)
        #expect(translator.translate(.pointerMotion(point(9, 9))) == [.position(none)])
    }

    @Test func motionAddsUp() {
        var translator = translator(absolute: false)
        #expect(translator.translate(.pointerEnter(point(100, 100))) == [])
        var x: Int32 = 0
        var place = InputPoint(x: 25_600, y: 25_600)
        for _ in 0..<1000 {
            place.x += 77
            for call in translator.translate(.pointerMotion(place)) {
                guard case .motion(let dx, 0) = call else {
                    Issue.record("\(call)")
                    continue
                }
                x += dx
            }
        }
        #expect(x == 77 * 1000 / 256)
        // Another place of entry is no motion.
        #expect(translator.translate(.pointerLeave) == [])
        #expect(translator.translate(.pointerEnter(point(5, 5))) == [])
        #expect(
            translator.translate(.pointerMotion(InputPoint(x: .min, y: .max))).count == 1)
        #expect(
            translator.translate(.pointerMotion(InputPoint(x: .max, y: .min))).count == 1)
    }

    @Test func buttonsGoOnceEach() {
        var translator = translator()
        let codes: [(UInt32, QEMUButton)] = [
            (0x110, .left), (0x111, .right), (0x112, .middle), (0x113, .side), (0x114, .extra),
        ]
        for (code, button) in codes {
            #expect(
                translator.translate(.button(code, isPressed: true))
                    == [.button(button, isPressed: true)])
            #expect(translator.translate(.button(code, isPressed: true)) == [])
        }
        #expect(translator.translate(.button(0x120, isPressed: true)) == [])
        #expect(
            translator.translate(.pointerLeave) == [
                .button(.left, isPressed: false), .button(.middle, isPressed: false),
                .button(.right, isPressed: false), .button(.side, isPressed: false),
                .button(.extra, isPressed: false),
            ])
    }

    @Test func notchesAddUp() {
        var translator = translator()
        func notches(_ event: InputEvent) -> [QEMUButton] {
            translator.translate(event).compactMap {
                if case .button(let button, true) = $0 { button } else { nil }
            }
        }
        #expect(notches(.axis(.vertical, distance: 2560, value120: 120)) == [.wheelDown])
        #expect(notches(.axis(.vertical, distance: 100, value120: -120)) == [.wheelUp])
        for _ in 0..<7 { #expect(notches(.axis(.vertical, distance: 0, value120: 15)) == []) }
        #expect(notches(.axis(.vertical, distance: 0, value120: 15)) == [.wheelDown])
        #expect(notches(.axis(.horizontal, distance: 0, value120: 240)).count == 2)
        #expect(notches(.axis(.horizontal, distance: -2560, value120: 0)) == [.wheelLeft])
        // No guest of ours is told of a million notches.
        #expect(notches(.axis(.vertical, distance: .max, value120: .max)).count == 32)
        #expect(notches(.axis(.vertical, distance: .min, value120: .min)).count == 32)
    }

    @Test func fingersHaveSlots() {
        var translator = translator(slots: 2)
        #expect(
            translator.translate(.touchDown(7, point(1, 1))) == [
                .touch(.begin, slot: 0, point(1, 1))
            ])
        #expect(
            translator.translate(.touchDown(9, point(2, 2))) == [
                .touch(.begin, slot: 1, point(2, 2))
            ])
        #expect(translator.translate(.touchDown(11, point(3, 3))) == [])
        #expect(translator.translate(.touchMotion(11, point(3, 4))) == [])
        #expect(
            translator.translate(.touchMotion(9, point(4, 4))) == [
                .touch(.update, slot: 1, point(4, 4))
            ])
        #expect(translator.translate(.touchUp(7)) == [.touch(.end, slot: 0, point(1, 1))])
        #expect(
            translator.translate(.touchDown(3, point(5, 5))) == [
                .touch(.begin, slot: 0, point(5, 5))
            ])
        #expect(
            translator.translate(.touchCancel) == [
                .touch(.cancel, slot: 0, point(5, 5)), .touch(.cancel, slot: 1, point(4, 4)),
            ])
        #expect(!translator.isPressed)
    }

    @Test func withoutSlotsTheFirstFingerPoints() {
        var translator = translator()
        #expect(
            translator.translate(.touchDown(1, point(8, 9))) == [
                .position(point(8, 9)), .button(.left, isPressed: true),
            ])
        #expect(translator.translate(.touchDown(2, point(1, 1))) == [])
        #expect(translator.translate(.touchMotion(1, point(9, 9))) == [.position(point(9, 9))])
        #expect(translator.translate(.touchUp(1)) == [.button(.left, isPressed: false)])
    }

    @Test func everythingIsReleased() {
        var translator = translator(slots: 1)
        _ = translator.translate(.key(30, isPressed: true))
        _ = translator.translate(.button(0x110, isPressed: true))
        _ = translator.translate(.touchDown(1, point(1, 1)))
        #expect(
            translator.releaseAll() == [
                .touch(.cancel, slot: 0, point(1, 1)), .button(.left, isPressed: false),
                .key(30, isPressed: false),
            ])
        #expect(!translator.isPressed && translator.releaseAll() == [])
    }

    @Test func argumentsOfQMP() {
        let size = Size(width: 640, height: 480)
        func line(_ calls: [QEMUInputCall], _ device: String? = nil) -> String? {
            QMPInput.arguments(calls, size: size, device: device, head: 0).map {
                JSONValue.object($0).line
            }
        }
        #expect(
            line([.key(30, isPressed: true)])
                == #"{"events":[{"type":"key","data":{"down":true,"key":{"type":"number","data":30}}}]}"#
        )
        #expect(
            line([.button(.wheelUp, isPressed: false)], "vga")
                == #"{"device":"vga","head":0,"events":[{"type":"btn","data":{"down":false,"button":"wheel-up"}}]}"#
        )
        #expect(
            line([.position(InputPoint(x: 640 * 256 - 1, y: 0))])
                == #"{"events":[{"type":"abs","data":{"axis":"x","value":32766}},{"type":"abs","data":{"axis":"y","value":0}}]}"#
        )
        #expect(
            line([.motion(x: -3, y: 0)])
                == #"{"events":[{"type":"rel","data":{"axis":"x","value":-3}}]}"#)
        #expect(line([]) == nil && line([.touch(.end, slot: 0, point(0, 0))]) == nil)
    }

    @Test func axesOfQMP() {
        #expect(QMPInput.scaled(0, 640) == 0 && QMPInput.scaled(320 * 256, 640) == 0x7fff / 2)
        #expect(QMPInput.scaled(.max, 640) == 0x7fff && QMPInput.scaled(.min, 640) == 0)
        #expect(QMPInput.scaled(5, 0) == 0 && QMPInput.scaled(.max, .max) >= 0)
    }
}
