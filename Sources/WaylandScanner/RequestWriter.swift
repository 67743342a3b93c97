/// Writes one request as a method of its interface's handle.
struct RequestWriter {
    let interface: InterfaceDescription
    let catalog: Catalog

    func write(_ request: MessageDescription, opcode: Int, to lines: inout Lines) {
        let created = request.arguments.first { $0.kind == .newID }
        lines.document(
            request.documentation, fallback: "`\(interface.name).\(request.name)`",
            notes: notes(on: request))
        lines.block(signature(of: request, created: created)) { lines in
            if request.since > 1 { lines.add("assertVersion(\(request.since))") }
            writeBody(request, opcode: opcode, created: created, to: &lines)
        }
    }

    private func notes(on request: MessageDescription) -> [String] {
        var notes: [String] = []
        if request.since > 1 { notes.append("Since version \(request.since).") }
        if request.isDestructor {
            notes.append("Ends the object: the handle must not be used afterwards.")
        }
        if request.arguments.contains(where: { $0.kind == .descriptor }) {
            notes.append("The descriptor is lent: libwayland sends a duplicate.")
        }
        if request.arguments.contains(where: { $0.kind == .string }) {
            notes.append("Strings end at their first NUL and are cut to what a message can hold.")
        }
        for argument in request.arguments where argument.kind != .newID {
            guard !argument.summary.isEmpty else { continue }
            let summary = argument.summary.split(whereSeparator: \.isWhitespace)
                .joined(separator: " ")
            notes.append("`\(Naming.member(argument.name))`: \(summary).")
        }
        return notes
    }

    private func signature(of request: MessageDescription, created: ArgumentDescription?) -> String
    {
        var parameters: [String] = []
        for argument in request.arguments {
            if argument.kind == .newID {
                if argument.interface == nil {
                    parameters += ["interface: Created.Type", "version: UInt32"]
                }
                continue
            }
            parameters.append(
                "\(Naming.declared(argument.name)): \(parameterType(argument, request))")
        }
        let name = Naming.declared(request.name)
        let list = parameters.joined(separator: ", ")
        guard let created else { return "public func \(name)(\(list)) {" }
        guard let interface = created.interface else {
            return "public func \(name)<Created: WaylandHandle>(\(list)) -> Created {"
        }
        return "public func \(name)(\(list)) -> \(Naming.type(interface)) {"
    }

    private func parameterType(_ argument: ArgumentDescription, _ request: MessageDescription)
        -> String
    {
        if let enumeration = catalog.enumeration(
            of: argument, message: request.name, in: interface.name)
        {
            return Naming.enumeration(enumeration, in: interface.name)
        }
        let optional = argument.allowsNull ? "?" : ""
        switch argument.kind {
        case .int: return "Int32"
        case .uint: return "UInt32"
        case .fixed: return "WaylandFixed"
        case .string: return "String" + optional
        case .array: return "[UInt8]"
        case .object: return (argument.interface.map(Naming.type) ?? "OpaquePointer") + optional
        case .descriptor: return "borrowing OwnedDescriptor"
        case .newID: return ""
        }
    }

    private func writeBody(
        _ request: MessageDescription, opcode: Int, created: ArgumentDescription?,
        to lines: inout Lines
    ) {
        // Strings and arrays live in closures around the call: outermost first.
        var closing = 0
        var body = Lines()
        var size = 8
        var growing: [String] = []
        var slots: [String] = []
        for argument in request.arguments {
            let name = Naming.declared(argument.name)
            switch argument.kind {
            case .newID:
                if argument.interface == nil {
                    // The wire carries interface name and version before the new number.
                    size += 12
                    growing.append("Marshal.padded(Created.interfaceName.utf8.count + 1)")
                    slots += [
                        "wl_argument(s: InterfaceTables.name(of: Created.interfaceNumber))",
                        "wl_argument(u: version)",
                    ]
                } else {
                    size += 4
                }
                slots.append("wl_argument(o: nil)")
            case .string, .array:
                let slot = Naming.member(argument.name) + "Slot"
                size += 4
                growing.append("\(slot).bytes")
                slots.append("\(slot).argument")
                let wrap = argument.kind == .string ? "withString" : "withBytes"
                lines.add(
                    "\(closing > 0 || created != nil ? "return " : "")Marshal.\(wrap)(\(name)) { "
                        + "\(slot) in")
                closing += 1
            case .descriptor:
                slots.append("wl_argument(h: \(name).number)")
            case .object:
                size += 4
                let pointer =
                    argument.interface == nil
                    ? name : name + (argument.allowsNull ? "?.proxy" : ".proxy")
                slots.append("wl_argument(o: \(pointer))")
            case .int, .uint, .fixed:
                size += 4
                slots.append(scalar(argument, name, request))
            }
        }
        let bytes = (["\(size)"] + growing).joined(separator: " + ")
        let descriptors = request.arguments.count { $0.kind == .descriptor }
        let call = { (arguments: String) in
            self.call(
                request, opcode: opcode, created: created, bytes: bytes, descriptors: descriptors,
                arguments: arguments)
        }
        if slots.isEmpty {
            body.add(call("nil"))
        } else {
            let result = created != nil || closing > 0 ? "return " : ""
            body.block(
                "\(result)withUnsafeTemporaryAllocation(of: wl_argument.self, "
                    + "capacity: \(slots.count)) { arguments in"
            ) { body in
                for (index, slot) in slots.enumerated() {
                    body.add("arguments[\(index)] = \(slot)")
                }
                body.add(
                    (created != nil ? "return " : "")
                        + call("arguments.baseAddress"))
            }
        }
        for line in body.text.split(separator: "\n") { lines.add(String(line)) }
        for _ in 0..<closing { lines.add("}") }
    }

    private func scalar(
        _ argument: ArgumentDescription, _ name: String, _ request: MessageDescription
    ) -> String {
        let isEnumeration =
            catalog.enumeration(of: argument, message: request.name, in: interface.name) != nil
        switch argument.kind {
        case .int:
            return isEnumeration
                ? "wl_argument(i: Int32(bitPattern: \(name).rawValue))" : "wl_argument(i: \(name))"
        case .fixed: return "wl_argument(f: \(name).rawValue)"
        default:
            return isEnumeration ? "wl_argument(u: \(name).rawValue)" : "wl_argument(u: \(name))"
        }
    }

    private func call(
        _ request: MessageDescription, opcode: Int, created: ArgumentDescription?, bytes: String,
        descriptors: Int, arguments: String
    ) -> String {
        let common =
            "proxy, opcode: \(opcode), bytes: \(bytes), descriptors: \(descriptors), "
            + "arguments: \(arguments)"
        if let created {
            let type = created.interface.map(Naming.type) ?? "Created"
            let version = created.interface == nil ? ", version: version" : ""
            return "\(type)(proxy: Marshal.create(\(common), "
                + "interface: \(type).interfaceNumber\(version)))"
        }
        return request.isDestructor ? "Marshal.destroy(\(common))" : "Marshal.send(\(common))"
    }
}
