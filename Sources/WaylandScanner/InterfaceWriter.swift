/// Writes the Swift of one interface: the handle, its enumerations, requests and events.
struct InterfaceWriter {
    let interface: InterfaceDescription
    let catalog: Catalog

    var name: String { Naming.type(interface.name) }
    var isHot: Bool { Choices.hotInterfaces.contains(interface.name) }
    /// libwayland itself handles the display's events.
    var hasEvents: Bool { !interface.events.isEmpty && interface.name != "wl_display" }

    func write(to lines: inout Lines) {
        writeHandle(to: &lines)
        for enumeration in interface.enumerations {
            lines.add()
            write(enumeration, to: &lines)
        }
        if !interface.requests.isEmpty {
            lines.add()
            lines.block("extension \(name) {") { lines in
                for (opcode, request) in interface.requests.enumerated() {
                    if opcode > 0 { lines.add() }
                    RequestWriter(interface: interface, catalog: catalog)
                        .write(request, opcode: opcode, to: &lines)
                }
            }
        }
        if hasEvents {
            lines.add()
            EventWriter(interface: interface, catalog: catalog).write(to: &lines)
        }
    }

    private func writeHandle(to lines: inout Lines) {
        lines.document(
            interface.documentation, fallback: interface.name,
            notes: ["A handle of one pointer, see ``WaylandHandle`` for how long it is valid."])
        lines.block("public struct \(name): WaylandHandle {") { lines in
            lines.add("/// libwayland's `wl_proxy`.")
            lines.add("public let proxy: OpaquePointer")
            lines.add()
            lines.add("/// Makes a handle for a proxy that has the interface `\(interface.name)`.")
            lines.add("public init(proxy: OpaquePointer) { self.proxy = proxy }")
            lines.add()
            lines.add("/// The name on the wire.")
            lines.add("public static var interfaceName: String { \"\(interface.name)\" }")
            lines.add()
            lines.add("/// The newest version that these bindings know.")
            lines.add("public static var interfaceVersion: UInt32 { \(interface.version) }")
            lines.add()
            lines.add("/// The interface's number among the run-time tables.")
            lines.add(
                "public static var interfaceNumber: Int { \(catalog.number(of: interface.name)) }")
        }
    }

    private func write(_ enumeration: EnumerationDescription, to lines: inout Lines) {
        let type = Naming.enumeration(enumeration.name)
        let kind = enumeration.isBitfield ? "OptionSet" : "RawRepresentable, Hashable"
        lines.block("extension \(name) {") { lines in
            lines.document(
                enumeration.documentation, fallback: "Values of `\(enumeration.name)`.",
                notes: ["Values that this file does not know are kept."])
            lines.block("public struct \(type): \(kind), Sendable {") { lines in
                lines.add("/// The value on the wire.")
                lines.add("public let rawValue: UInt32")
                lines.add()
                lines.add("/// Takes any value, known or not.")
                lines.add("public init(rawValue: UInt32) { self.rawValue = rawValue }")
                // An option set's empty value is `[]`; a member for it draws a warning.
                for entry in enumeration.entries where !(enumeration.isBitfield && entry.value == 0)
                {
                    lines.add()
                    let notes = entry.since > 1 ? ["Since version \(entry.since)."] : []
                    lines.document(
                        Documentation(summary: entry.summary), fallback: "`\(entry.name)`",
                        notes: notes)
                    lines.add(
                        "public static var \(Naming.declared(entry.name)): Self { "
                            + "Self(rawValue: \(entry.value)) }")
                }
            }
        }
    }
}
