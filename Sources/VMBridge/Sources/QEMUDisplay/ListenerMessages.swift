import Descriptors
import VMBridgeCore

/// The listener's calls as they come by D-Bus: interface, member and types are checked, then the arguments are taken
/// over.
enum ListenerMessages {
    static let path = "/org/qemu/Display1/Listener"
    static let listener = "org.qemu.Display1.Listener"
    static let map = "org.qemu.Display1.Listener.Unix.Map"
    static let dmaBuf2 = "org.qemu.Display1.Listener.Unix.ScanoutDMABUF2"
    static let properties = "org.freedesktop.DBus.Properties"
    static let introspectable = "org.freedesktop.DBus.Introspectable"

    /// Interfaces beyond the first that are served, which QEMU asks for when it registers the listener.
    static let further = [map, dmaBuf2]

    private static let signatures: [String: (interface: String, signature: String)] = [
        "Scanout": (listener, "uuuuay"), "Update": (listener, "iiiiuuay"),
        "ScanoutDMABUF": (listener, "huuuutb"), "UpdateDMABUF": (listener, "iiii"),
        "Disable": (listener, ""), "MouseSet": (listener, "iii"),
        "CursorDefine": (listener, "iiiiay"), "ScanoutMap": (map, "huuuuu"),
        "UpdateMap": (map, "iiii"), "ScanoutDMABUF2": (dmaBuf2, "ahuuuuauauuuuutb"),
    ]

    /// Reads a call.
    ///
    /// - Parameters:
    ///   - bundle: takes its descriptors; empty before.
    ///   - body: is lent its bytes, none for calls without.
    /// - Throws: `unsupported` for another call, `malformed` for other types, `badDescriptor` when one cannot be had.
    static func read(
        _ message: DBusMessage, _ bundle: inout DescriptorBundle,
        _ body: (QEMUListenerCall, DBusBytes?) throws(Refusal) -> Void
    ) throws(Refusal) {
        let member = message.member
        guard message.path == path, let known = signatures[member],
            message.interface == known.interface
        else {
            throw Refusal(
                .unsupported,
                "There is no \(CleanText.clean(member)) at a listener, as QEMU calls it.")
        }
        guard message.hasSignature(known.signature) else {
            throw Refusal(
                .malformed, "\(member) came with other types than (\(known.signature)).")
        }
        let broken = Refusal(.malformed, "\(member) cannot be read.")
        switch member {
        case "Scanout":
            guard let width = message.readU32(), let height = message.readU32(),
                let stride = message.readU32(), let pixman = message.readU32()
            else { throw broken }
            try readBytes(message, broken) { (bytes) throws(Refusal) in
                try body(
                    .scanout(
                        width: width, height: height, stride: stride, pixman: pixman,
                        bytes: bytes.count), bytes)
            }
        case "Update":
            guard let area = readArea(message), let stride = message.readU32(),
                let pixman = message.readU32()
            else { throw broken }
            try readBytes(message, broken) { (bytes) throws(Refusal) in
                try body(
                    .update(area, stride: stride, pixman: pixman, bytes: bytes.count), bytes)
            }
        case "CursorDefine":
            guard let area = readArea(message) else { throw broken }
            try readBytes(message, broken) { (bytes) throws(Refusal) in
                try body(
                    .cursorDefine(
                        width: area.x, height: area.y, hotX: area.width, hotY: area.height,
                        bytes: bytes.count), bytes)
            }
        case "MouseSet":
            guard message.readI32() != nil, message.readI32() != nil, let on = message.readI32()
            else { throw broken }
            try body(.mouseSet(isShown: on != 0), nil)
        case "UpdateDMABUF":
            guard let area = readArea(message) else { throw broken }
            try body(.updateDMABUF(area), nil)
        case "UpdateMap":
            guard let area = readArea(message) else { throw broken }
            try body(.updateMap(area), nil)
        case "ScanoutMap":
            try readDescriptor(message, &bundle)
            guard let offset = message.readU32(), let width = message.readU32(),
                let height = message.readU32(), let stride = message.readU32(),
                let pixman = message.readU32()
            else { throw broken }
            try body(
                .scanoutMap(
                    offset: offset, width: width, height: height, stride: stride, pixman: pixman),
                nil)
        case "ScanoutDMABUF":
            try readDescriptor(message, &bundle)
            guard let width = message.readU32(), let height = message.readU32(),
                let stride = message.readU32(), let fourcc = message.readU32(),
                let modifier = message.readU64(), let isBottomUp = message.readBool()
            else { throw broken }
            try body(
                .scanoutDMABUF(
                    QEMUDMABUF(
                        width: width, height: height, strides: [stride], fourcc: fourcc,
                        modifier: modifier, isBottomUp: isBottomUp)), nil)
        case "ScanoutDMABUF2":
            try body(.scanoutDMABUF(try readPlanes(message, &bundle, broken)), nil)
        default: try body(.disable, nil)
        }
    }

    private static func readBytes(
        _ message: DBusMessage, _ broken: Refusal,
        _ body: (DBusBytes) throws(Refusal) -> Void
    ) throws(Refusal) {
        let refusal = message.readBytes { bytes -> Refusal? in
            do throws(Refusal) {
                try body(bytes)
                return nil
            } catch {
                return error
            }
        }
        guard let refusal else { throw broken }
        if let refusal { throw refusal }
    }

    private static func readArea(_ message: DBusMessage) -> QEMUArea? {
        guard let x = message.readI32(), let y = message.readI32(), let width = message.readI32(),
            let height = message.readI32()
        else { return nil }
        return QEMUArea(x: x, y: y, width: width, height: height)
    }

    private static func readDescriptor(
        _ message: DBusMessage, _ bundle: inout DescriptorBundle
    ) throws(Refusal) {
        guard let descriptor = message.readDescriptor(), bundle.append(descriptor) else {
            throw Refusal(.badDescriptor, "\(message.member) came without its descriptor.")
        }
    }

    private static func readPlanes(
        _ message: DBusMessage, _ bundle: inout DescriptorBundle, _ broken: Refusal
    ) throws(Refusal) -> QEMUDMABUF {
        let queue = DescriptorQueue()
        let count = message.readDescriptors(limit: 4) { queue.append($0) }
        while let descriptor = queue.takeFirst() { _ = bundle.append(descriptor) }
        guard let count, count > 0, count == bundle.count else {
            throw Refusal(.badDescriptor, "ScanoutDMABUF2 comes with 1 to 4 descriptors.")
        }
        guard let x = message.readU32(), let y = message.readU32(),
            let width = message.readU32(), let height = message.readU32(),
            let offsets = message.readU32s(limit: 4), let strides = message.readU32s(limit: 4),
            let planes = message.readU32(), let fourcc = message.readU32(),
            let backingWidth = message.readU32(), let backingHeight = message.readU32(),
            let modifier = message.readU64(), let isBottomUp = message.readBool()
        else { throw broken }
        guard planes == strides.count else {
            throw Refusal(.badLayout, "\(planes) planes with \(strides.count) strides.")
        }
        var picture = QEMUDMABUF(
            width: width, height: height, offsets: offsets, strides: strides, fourcc: fourcc,
            modifier: modifier, isBottomUp: isBottomUp, descriptors: count)
        picture.x = x
        picture.y = y
        picture.backingWidth = backingWidth
        picture.backingHeight = backingHeight
        return picture
    }

    // MARK: What QEMU asks of the object itself

    /// Answers calls of the standard interfaces; false for any other.
    static func answerStandard(_ message: DBusMessage, _ connection: DBusConnection) -> Bool {
        switch (message.interface, message.member) {
        case (properties, "GetAll") where message.hasSignature("ss") || message.hasSignature("s"):
            connection.answer(message) { answer in
                answer.append("a", "{sv}") {
                    answer.append("e", "sv") {
                        answer.append("Interfaces")
                        appendInterfaces(answer)
                    }
                }
            }
        case (properties, "Get") where message.hasSignature("ss"):
            _ = message.readText()
            guard message.readText() == "Interfaces" else { return false }
            connection.answer(message) { appendInterfaces($0) }
        case (introspectable, "Introspect") where message.hasSignature(""):
            connection.answer(message) { $0.append(introspection) }
        default: return false
        }
        return true
    }

    private static func appendInterfaces(_ answer: DBusMessage) {
        answer.append("v", "as") {
            answer.append("a", "s") { further.forEach { answer.append($0) } }
        }
    }

    private static var introspection: String {
        let members = signatures.sorted { $0.key < $1.key }
        var text = "<node>"
        for interface in [listener] + further {
            text += "<interface name=\"\(interface)\">"
            for (name, known) in members where known.interface == interface {
                text += "<method name=\"\(name)\">"
                for type in types(known.signature) {
                    text += "<arg type=\"\(type)\" direction=\"in\"/>"
                }
                text += "</method>"
            }
            if interface == listener {
                text += "<property name=\"Interfaces\" type=\"as\" access=\"read\"/>"
            }
            text += "</interface>"
        }
        return text + "</node>"
    }

    /// The single types of a signature without structures.
    private static func types(_ signature: String) -> [String] {
        var types: [String] = []
        var prefix = ""
        for letter in signature {
            prefix.append(letter)
            if letter == "a" { continue }
            types.append(prefix)
            prefix = ""
        }
        return types
    }
}
