/// Writes how an interface's events reach the program: a dispatch function and either methods of
/// `HotEventTarget` (hot interfaces) or an `Event` value given to a closure.
struct EventWriter {
    let interface: InterfaceDescription
    let catalog: Catalog

    private var name: String { Naming.type(interface.name) }
    private var isHot: Bool { Choices.hotInterfaces.contains(interface.name) }

    func write(to lines: inout Lines) {
        if isHot {
            writeSetTarget(to: &lines)
        } else {
            writeEventType(to: &lines)
            lines.add()
            writeOnEvent(to: &lines)
        }
        lines.add()
        writeDispatch(to: &lines)
    }

    // MARK: hot

    /// The methods of `HotEventTarget` for this interface.
    func writeTargetMethods(to lines: inout Lines) {
        for event in interface.events {
            lines.add()
            var notes = event.since > 1 ? ["Since version \(event.since)."] : []
            if isLast(event) {
                notes.append(
                    "The object ends with this event: `sender` is good for comparisons only, and "
                        + "must not be destroyed here.")
            }
            lines.document(
                event.documentation, fallback: "`\(interface.name).\(event.name)`", notes: notes)
            let parameters = event.arguments.map {
                ", \(Naming.declared($0.name)): \(hotType($0, event))"
            }
            lines.add(
                "open func \(method(event))(_ sender: \(name)\(parameters.joined())) {}")
        }
    }

    private func method(_ event: MessageDescription) -> String {
        Naming.member(interface.name) + Naming.type(event.name)
    }

    private func isLast(_ event: MessageDescription) -> Bool {
        Choices.lastEvents.contains("\(interface.name).\(event.name)")
    }

    private func writeSetTarget(to lines: inout Lines) {
        lines.block("extension \(name) {") { lines in
            lines.add("/// Sends this object's events to `target` from now on; nil drops them.")
            lines.add("///")
            lines.add("/// The target is not retained: it must outlive the object, or be replaced.")
            lines.block("public func setTarget(_ target: HotEventTarget?) {") { lines in
                lines.add("Dispatch.setTarget(target, of: proxy, dispatch\(name))")
            }
        }
    }

    // MARK: cold

    private func writeEventType(to lines: inout Lines) {
        lines.block("extension \(name) {") { lines in
            lines.add("/// An event of `\(interface.name)`. Newer protocol files may add cases.")
            lines.block("public enum Event: ~Copyable {") { lines in
                for (index, event) in interface.events.enumerated() {
                    if index > 0 { lines.add() }
                    lines.document(
                        event.documentation, fallback: "`\(interface.name).\(event.name)`",
                        notes: event.since > 1 ? ["Since version \(event.since)."] : [])
                    let payload = event.arguments.map {
                        "\(Naming.member($0.name)): \(coldType($0, event))"
                    }
                    let list = payload.isEmpty ? "" : "(\(payload.joined(separator: ", ")))"
                    lines.add("case \(Naming.declared(event.name))\(list)")
                }
            }
        }
    }

    private func writeOnEvent(to lines: inout Lines) {
        lines.block("extension \(name) {") { lines in
            lines.add("/// Gives this object's events to `handler` from now on.")
            lines.add("///")
            lines.add(
                "/// The connection keeps the handler until the object is destroyed. Descriptors in"
            )
            lines.add("/// an event that the handler does not take out are closed.")
            lines.block(
                "public func onEvent(_ handler: @escaping (consuming Event) -> Void) {"
            ) { lines in
                lines.add("Dispatch.setHandler(handler, of: proxy, dispatch\(name))")
            }
        }
    }

    // MARK: dispatch

    private func writeDispatch(to lines: inout Lines) {
        lines.add("// Events are demarshalled by libwayland against the same tables.")
        lines.block(
            "private func dispatch\(name)(", ") -> Int32 {"
        ) { lines in
            lines.add("_: UnsafeRawPointer?, _ target: UnsafeMutableRawPointer?, _ opcode: UInt32,")
            lines.add(
                "_: UnsafePointer<wl_message>?, _ arguments: UnsafeMutablePointer<wl_argument>?")
        }
        lines.block("    guard let target, let arguments else { return 0 }", "}") { lines in
            if isHot {
                lines.add("let sender = \(name)(proxy: OpaquePointer(target))")
                lines.add("let user = wl_proxy_get_user_data(sender.proxy)")
            } else {
                lines.add("let sender = OpaquePointer(target)")
            }
            if !interface.events.contains(where: { !$0.arguments.isEmpty }) {
                lines.add("_ = arguments")
            }
            lines.add("switch opcode {")
            for (opcode, event) in interface.events.enumerated() {
                lines.add("case \(opcode):")
                if isHot {
                    writeHotCase(event, to: &lines)
                } else {
                    writeColdCase(event, to: &lines)
                }
            }
            lines.add("default: break")
            lines.add("}")
            lines.add("return 0")
        }
    }

    private func writeHotCase(_ event: MessageDescription, to lines: inout Lines) {
        var values: [String] = []
        var owned: [Int] = []
        for (index, argument) in event.arguments.enumerated() {
            let label = Naming.member(argument.name)
            switch argument.kind {
            case .newID:
                let type = Naming.type(argument.interface ?? "")
                lines.add(
                    "    guard let \(label)Proxy = Dispatch.adopt(arguments[\(index)].o, "
                        + "from: sender.proxy) else { break }")
                values.append("\(label): \(type)(proxy: \(label)Proxy)")
            case .descriptor:
                owned.append(index)
                values.append("\(label): OwnedDescriptor(owning: arguments[\(index)].h)")
            case .array:
                values.append("\(label): Dispatch.words(arguments[\(index)].a).span")
            default:
                values.append("\(label): \(value(argument, index, event))")
            }
        }
        let list = values.map { ", " + $0 }.joined()
        let call = "Dispatch.with(user) { $0.\(method(event))(sender\(list)) }"
        if owned.isEmpty {
            lines.add("    if let user { \(call) }")
        } else {
            let closes = owned.map { "_ = OwnedDescriptor(owning: arguments[\($0)].h)" }
            lines.add("    if let user { \(call) } else { \(closes.joined(separator: "; ")) }")
        }
        if isLast(event) { lines.add("    wl_proxy_destroy(sender.proxy)") }
    }

    private func writeColdCase(_ event: MessageDescription, to lines: inout Lines) {
        var values: [String] = []
        for (index, argument) in event.arguments.enumerated() {
            let label = Naming.member(argument.name)
            switch argument.kind {
            case .newID:
                let type = Naming.type(argument.interface ?? "")
                lines.add(
                    "    guard let \(label)Proxy = Dispatch.adopt(arguments[\(index)].o, "
                        + "from: sender) else { break }")
                values.append("\(label): \(type)(proxy: \(label)Proxy)")
            case .descriptor:
                values.append("\(label): OwnedDescriptor(owning: arguments[\(index)].h)")
            case .array:
                values.append(
                    "\(label): Dispatch.array(arguments[\(index)].a, of: "
                        + "\(element(argument, event)).self)")
            default:
                values.append("\(label): \(value(argument, index, event))")
            }
        }
        let list = values.isEmpty ? "" : "(\(values.joined(separator: ", ")))"
        lines.add(
            "    Dispatch.deliver(\(name).Event.\(Naming.member(event.name))\(list), to: sender)")
    }

    /// An expression for an argument that is neither new object, descriptor nor array.
    private func value(_ argument: ArgumentDescription, _ index: Int, _ event: MessageDescription)
        -> String
    {
        let slot = "arguments[\(index)]"
        if let enumeration = catalog.enumeration(
            of: argument, message: event.name, in: interface.name)
        {
            let type = Naming.enumeration(enumeration, in: interface.name)
            return argument.kind == .int
                ? "\(type)(rawValue: UInt32(bitPattern: \(slot).i))"
                : "\(type)(rawValue: \(slot).u)"
        }
        switch argument.kind {
        case .int: return "\(slot).i"
        case .uint: return "\(slot).u"
        case .fixed: return "WaylandFixed(rawValue: \(slot).f)"
        case .string:
            return argument.allowsNull
                ? "Dispatch.optionalString(\(slot).s)" : "Dispatch.string(\(slot).s)"
        default:
            return argument.interface.map { "\(slot).o.map(\(Naming.type($0)).init(proxy:))" }
                ?? "\(slot).o"
        }
    }

    private func element(_ argument: ArgumentDescription, _ event: MessageDescription) -> String {
        Choices.arrayElements["\(interface.name).\(event.name).\(argument.name)"] ?? "UInt32"
    }

    private func coldType(_ argument: ArgumentDescription, _ event: MessageDescription) -> String {
        if let enumeration = catalog.enumeration(
            of: argument, message: event.name, in: interface.name)
        {
            return Naming.enumeration(enumeration, in: interface.name)
        }
        switch argument.kind {
        case .int: return "Int32"
        case .uint: return "UInt32"
        case .fixed: return "WaylandFixed"
        case .string: return argument.allowsNull ? "String?" : "String"
        case .array: return "[\(element(argument, event))]"
        case .descriptor: return "OwnedDescriptor"
        case .newID: return Naming.type(argument.interface ?? "")
        // libwayland gives no object where we have destroyed ours meanwhile, allow-null or not.
        case .object: return (argument.interface.map(Naming.type) ?? "OpaquePointer") + "?"
        }
    }

    private func hotType(_ argument: ArgumentDescription, _ event: MessageDescription) -> String {
        switch argument.kind {
        case .descriptor: "consuming OwnedDescriptor"
        case .array: "Span<\(element(argument, event))>"
        default: coldType(argument, event)
        }
    }
}
