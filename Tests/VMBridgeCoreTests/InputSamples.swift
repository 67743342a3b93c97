import VMBridgeCore

/// Every kind of input event, and the places of its body by hand.
enum InputSamples {
    /// In the order of their numbers: `detail`, then `a` to `d`.
    static let all: [(event: InputEvent, places: [UInt32])] = [
        (.keyboardEnter, [0, 0, 0, 0, 0]),
        (.keyboardLeave, [0, 0, 0, 0, 0]),
        (.key(0xf0f1_f2f3, isPressed: true), [0xf0f1_f2f3, 1, 0, 0, 0]),
        (.modifiers(depressed: 11, latched: 12, locked: .max, group: 14), [0, 11, 12, .max, 14]),
        (.pointerEnter(InputPoint(x: 1, y: -1)), [0, 1, .max, 0, 0]),
        (.pointerLeave, [0, 0, 0, 0, 0]),
        (.pointerMotion(InputPoint(x: .min, y: .max)), [0, 0x8000_0000, 0x7fff_ffff, 0, 0]),
        (.button(0x110, isPressed: false), [0x110, 0, 0, 0, 0]),
        (.axis(.horizontal, distance: -256, value120: 120), [1, 0xffff_ff00, 120, 0, 0]),
        (.axisStop(.vertical), [0, 0, 0, 0, 0]),
        (.frame, [0, 0, 0, 0, 0]),
        (.touchDown(7, InputPoint(x: 21, y: 22)), [7, 21, 22, 0, 0]),
        (.touchMotion(8, InputPoint(x: 23, y: 24)), [8, 23, 24, 0, 0]),
        (.touchUp(9), [9, 0, 0, 0, 0]),
        (.touchCancel, [0, 0, 0, 0, 0]),
    ]

    /// "pointer_enter": the kind as the document writes it.
    static func word(of event: InputEvent) -> String {
        NamedNumbers.snake(String("\(event)".prefix { $0 != "(" }))
    }
}
