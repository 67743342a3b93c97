import VMBridgeCore

/// How the reference producer tells of input: one line for each event, which scripts may rely on. The words are
/// those of source-v1 §6.4.
package enum ProducerInput {
    /// "input 1 key 30 pressed".
    package static func line(_ surface: SurfaceKey, _ event: InputEvent) -> String {
        "input \(surface) " + ([word(event)] + details(event)).joined(separator: " ")
    }

    /// "keymap 51200 bytes, repeat 25 a second after 600 ms".
    package static func line(_ keymap: KeymapRecord) -> String {
        "keymap \(keymap.size) bytes, repeat \(keymap.repeatRate) a second after \(keymap.repeatDelay) ms"
    }

    /// The event's kind.
    package static func word(_ event: InputEvent) -> String {
        switch event {
        case .keyboardEnter: "keyboard_enter"
        case .keyboardLeave: "keyboard_leave"
        case .key: "key"
        case .modifiers: "modifiers"
        case .pointerEnter: "pointer_enter"
        case .pointerLeave: "pointer_leave"
        case .pointerMotion: "pointer_motion"
        case .button: "button"
        case .axis: "axis"
        case .axisStop: "axis_stop"
        case .frame: "frame"
        case .touchDown: "touch_down"
        case .touchMotion: "touch_motion"
        case .touchUp: "touch_up"
        case .touchCancel: "touch_cancel"
        }
    }

    /// All kinds, in the order of their numbers.
    package static let words = [
        "keyboard_enter", "keyboard_leave", "key", "modifiers", "pointer_enter", "pointer_leave",
        "pointer_motion", "button", "axis", "axis_stop", "frame", "touch_down", "touch_motion",
        "touch_up", "touch_cancel",
    ]

    private static func details(_ event: InputEvent) -> [String] {
        switch event {
        case .keyboardEnter, .keyboardLeave, .pointerLeave, .frame, .touchCancel: []
        case .key(let code, let isPressed), .button(let code, let isPressed):
            ["\(code)", isPressed ? "pressed" : "released"]
        case .modifiers(let depressed, let latched, let locked, let group):
            ["\(depressed)", "\(latched)", "\(locked)", "\(group)"]
        case .pointerEnter(let place), .pointerMotion(let place): words(place)
        case .axis(let axis, let distance, let value120):
            ["\(axis)", pixels(distance), "\(value120)"]
        case .axisStop(let axis): ["\(axis)"]
        case .touchDown(let finger, let place), .touchMotion(let finger, let place):
            ["\(finger)"] + words(place)
        case .touchUp(let finger): ["\(finger)"]
        }
    }

    private static func words(_ place: InputPoint) -> [String] {
        [pixels(place.x), pixels(place.y)]
    }

    /// 1/256 of a pixel as pixels, to the last digit: -384 is "-1.5".
    private static func pixels(_ value: Int32) -> String {
        let magnitude = UInt64(value.magnitude)
        var text = (value < 0 ? "-" : "") + "\(magnitude / 256)"
        // 1/256 has eight decimals.
        let digits = "\(magnitude % 256 * 390_625)"
        var decimals = String(repeating: "0", count: 8 - digits.count) + digits
        while decimals.last == "0" { decimals.removeLast() }
        if !decimals.isEmpty { text += "." + decimals }
        return text
    }
}
