import VMBridgeCore

/// What goes to a client of the control socket, as values.
package enum ControlReply {
    /// The first line of every connection.
    package static func greeting(process: Int32, program: String) -> JSONValue {
        var object = JSONObject()
        object.add("version", ControlProtocol.version)
        object.add("pid", UInt64(max(process, 0)))
        object.add("program", program)
        return object.value
    }

    /// A fulfilled request, with what it brought.
    package static func done(
        _ request: String, id: JSONValue?, _ members: [JSONMember]
    ) -> JSONValue {
        var object = head(request, id: id, isDone: true)
        for member in members { object.add(member.name, member.value) }
        return object.value
    }

    /// A request that was not fulfilled; its name is empty when it could not be read.
    package static func failed(
        _ request: String, id: JSONValue?, _ fault: ControlFault
    ) -> JSONValue {
        var object = head(request, id: id, isDone: false)
        object.add("error", fault.code.rawValue)
        object.add("sentence", fault.sentence)
        return object.value
    }

    private static func head(_ request: String, id: JSONValue?, isDone: Bool) -> JSONObject {
        var object = JSONObject()
        object.add("reply", request)
        if let id { object.add("id", id) }
        object.add("ok", isDone)
        return object
    }

    /// Something that happened, for a client that watches.
    package static func event(_ name: String, _ members: [JSONMember]) -> JSONValue {
        .object([JSONMember("event", .string(name))] + members)
    }

    /// A line of the log.
    package static func logged(_ event: LoggedEvent) -> JSONObject {
        var object = JSONObject()
        object.add("number", event.number)
        object.add("time_ms", event.time)
        object.add("level", event.level.rawValue)
        if let vm = event.vm { object.add("vm", vm) }
        if let surface = event.surface { object.add("surface", surface) }
        object.add("text", event.text)
        return object
    }

    /// What of a surface is news when it changes.
    package static func state(of surface: SurfaceStatus) -> JSONObject {
        var object = JSONObject()
        object.add("vm", surface.vm)
        object.add("surface", surface.surface.value)
        object.add("title", surface.title)
        object.add("app_id", surface.appID)
        object.add("visibility", surface.visibility)
        object.add("route", surface.route)
        return object
    }

    /// A surface as `list` and events tell of it: less than `status` does.
    package static func surface(_ surface: SurfaceStatus) -> JSONObject {
        var object = state(of: surface)
        object.add("size", surface.counters.size.description)
        object.add("frames_per_second", surface.counters.framesPerSecond)
        return object
    }
}

extension RGB {
    /// "#rrggbb".
    package var hexadecimal: String {
        let digits = String(UInt32(red) << 16 | UInt32(green) << 8 | UInt32(blue), radix: 16)
        return "#" + String(repeating: "0", count: 6 - digits.count) + digits
    }

    /// Reads "#rrggbb"; nil for anything else.
    package init?(hexadecimal text: String) {
        guard text.utf8.count == 7, text.hasPrefix("#"), text.dropFirst().allSatisfy(\.isHexDigit),
            let word = UInt32(text.dropFirst(), radix: 16)
        else { return nil }
        self.init(
            red: UInt8(truncatingIfNeeded: word >> 16), green: UInt8(truncatingIfNeeded: word >> 8),
            blue: UInt8(truncatingIfNeeded: word))
    }
}
