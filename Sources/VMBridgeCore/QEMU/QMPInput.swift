/// Input as QMP's `input-send-event` takes it (QAPI schema, "InputEvent").
public enum QMPInput {
    /// The end of an absolute axis; it begins at 0.
    static let axisEnd: Int64 = 0x7fff

    /// The arguments of one `input-send-event`.
    ///
    /// - Parameters:
    ///   - calls: what happened together; fingers are left out, since a translator without slots makes none.
    ///   - size: of the console's picture.
    ///   - device: the display device that the console belongs to, by its id; nil for whichever takes input.
    ///   - head: which of its consoles.
    /// - Returns: nil when there is nothing to tell.
    public static func arguments(
        _ calls: [QEMUInputCall], size: Size, device: String? = nil, head: UInt64? = nil
    ) -> [JSONMember]? {
        let events = calls.flatMap { self.events($0, size) }
        guard !events.isEmpty else { return nil }
        var arguments = JSONObject()
        if let device {
            arguments.add("device", device)
            if let head { arguments.add("head", head) }
        }
        arguments.add("events", events)
        return arguments.members
    }

    private static func events(_ call: QEMUInputCall, _ size: Size) -> [JSONObject] {
        switch call {
        case .key(let number, let isPressed):
            var key = JSONObject()
            key.add("type", "number")
            key.add("data", UInt64(number))
            var data = JSONObject()
            data.add("down", isPressed)
            data.add("key", key)
            return [event("key", data)]
        case .button(let button, let isPressed):
            var data = JSONObject()
            data.add("down", isPressed)
            data.add("button", button.word)
            return [event("btn", data)]
        case .position(let point):
            return [
                axis("abs", "x", scaled(point.x, size.width)),
                axis("abs", "y", scaled(point.y, size.height)),
            ]
        case .motion(let x, let y):
            return (x == 0 ? [] : [axis("rel", "x", Int64(x))])
                + (y == 0 ? [] : [axis("rel", "y", Int64(y))])
        case .touch: return []
        }
    }

    private static func event(_ type: String, _ data: JSONObject) -> JSONObject {
        var event = JSONObject()
        event.add("type", type)
        event.add("data", data)
        return event
    }

    private static func axis(_ type: String, _ axis: String, _ value: Int64) -> JSONObject {
        var data = JSONObject()
        data.add("axis", axis)
        data.add("value", value < 0 ? JSONValue.negative(value) : .unsigned(UInt64(value)))
        return event(type, data)
    }

    /// A place in 1/256 of a pixel on an axis of that many pixels.
    static func scaled(_ place: Int32, _ length: UInt32) -> Int64 {
        guard length > 0 else { return 0 }
        return max(0, min(axisEnd, Int64(place) * axisEnd / (Int64(length) * 256)))
    }
}
