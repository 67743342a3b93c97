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
    /// - Parameter bundle: takes its descriptors; empty before.
    /// - Returns: the call, and its bytes, none for calls without.
    /// - Throws: `unsupported` for another call, `malformed` for other types, `badDescriptor` when one cannot be had.
    static func read(
        _ message: DBusMessage, _ bundle: inout DescriptorBundle
    ) throws(Refusal) -> (call: QEMUListenerCall, bytes: ArraySlice<UInt8>) {
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
        if let (call, bytes) = readBytes(message) { return (call, bytes) }
        if let call = try readWithout(message, &bundle) { return (call, []) }
        throw Refusal(.malformed, "\(member) cannot be read.")
    }

    /// Calls that bring bytes; nil for others, and for what cannot be read.
    private static func readBytes(
        _ message: DBusMessage
    ) -> (QEMUListenerCall, ArraySlice<UInt8>)? {
        switch message.member {
        case "Scanout":
            guard let width = message.readU32(), let height = message.readU32(),
                let stride = message.readU32(), let pixman = message.readU32(),
                let bytes = message.readBytes()
            else { return nil }
            let call = QEMUListenerCall.scanout(
                width: width, height: height, stride: stride, pixman: pixman, bytes: bytes.count)
            return (call, bytes)
        case "Update":
            guard let area = readArea(message), let stride = message.readU32(),
                let pixman = message.readU32(), let bytes = message.readBytes()
            else { return nil }
            return (.update(area, stride: stride, pixman: pixman, bytes: bytes.count), bytes)
        case "CursorDefine":
            guard let area = readArea(message), let bytes = message.readBytes() else { return nil }
            let call = QEMUListenerCall.cursorDefine(
                width: area.x, height: area.y, hotX: area.width, hotY: area.height,
                bytes: bytes.count)
            return (call, bytes)
        default: return nil
        }
    }

    /// The other calls; nil for what cannot be read.
    private static func readWithout(
        _ message: DBusMessage, _ bundle: inout DescriptorBundle
    ) throws(Refusal) -> QEMUListenerCall? {
        switch message.member {
        case "MouseSet":
            guard message.readI32() != nil, message.readI32() != nil, let on = message.readI32()
            else { return nil }
            return .mouseSet(isShown: on != 0)
        case "UpdateDMABUF": return readArea(message).map { .updateDMABUF($0) }
        case "UpdateMap": return readArea(message).map { .updateMap($0) }
        case "ScanoutMap":
            try readDescriptor(message, &bundle)
            guard let offset = message.readU32(), let width = message.readU32(),
                let height = message.readU32(), let stride = message.readU32(),
                let pixman = message.readU32()
            else { return nil }
            return .scanoutMap(
                offset: offset, width: width, height: height, stride: stride, pixman: pixman)
        case "ScanoutDMABUF":
            try readDescriptor(message, &bundle)
            guard let width = message.readU32(), let height = message.readU32(),
                let stride = message.readU32(), let fourcc = message.readU32(),
                let modifier = message.readU64(), let isBottomUp = message.readBool()
            else { return nil }
            return .scanoutDMABUF(
                QEMUDMABUF(
                    width: width, height: height, strides: [stride], fourcc: fourcc,
                    modifier: modifier, isBottomUp: isBottomUp))
        case "ScanoutDMABUF2":
            return try readPlanes(message, &bundle).map { .scanoutDMABUF($0) }
        case "Disable": return .disable
        default: return nil
        }
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
        _ message: DBusMessage, _ bundle: inout DescriptorBundle
    ) throws(Refusal) -> QEMUDMABUF? {
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
        else { return nil }
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

    private static func appendInterfaces(_ answer: DBusBody) {
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
