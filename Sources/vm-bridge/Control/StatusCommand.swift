import ArgumentParser
import VMBridge
import VMBridgeCore

/// What a running bridge has and did.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Say what the running bridge has and did.",
        discussion: """
            A line for each VM, then a table of all surfaces, those that are gone too.

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var control: ControlOptions

    func run() throws {
        try control.ask(.status) { reply in
            let colours = TerminalColours(reply)
            return StatusText.lines(reply["status"] ?? .null) { colours.vm($0, $0) }
        }
    }
}

/// The surfaces that are there.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the surfaces of the running bridge.",
        discussion: """
            A line for each surface that is there; a VM without one has a line of its own.

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var control: ControlOptions

    func run() throws {
        try control.ask(.list) { SurfaceTable.lines($0, TerminalColours($0)) }
    }
}

/// The table of surfaces that `list` prints.
enum SurfaceTable {
    /// - Parameter reply: to `list` or `watch`.
    static func lines(_ reply: JSONValue, _ colours: TerminalColours) -> [String] {
        let table = TextTable(
            headings: ["vm", "surface", "size", "state", "frames/s", "app id", "title"],
            right: [1, 4])
        let surfaces = reply["surfaces"]?.elements ?? []
        var rows: [[String]] = []
        for vm in reply["vms"]?.elements ?? [] {
            guard let name = vm["name"]?.text else { continue }
            let own = surfaces.filter { $0["vm"]?.text == name }
            rows += own.map(row)
            if own.isEmpty {
                let state = vm["connected"]?.truth == true ? "connected" : "no producer"
                rows.append([TerminalText.escaped(name), "", "", state, "", "", ""])
            }
        }
        guard !rows.isEmpty else { return ["no VM"] }
        return table.lines(rows) { row, column, cell in
            if row < 0 { return colours.heading(cell) }
            return column == 0 ? colours.vm(cell, cell) : cell
        }
    }

    private static func row(_ surface: JSONValue) -> [String] {
        func text(_ name: String) -> String { TerminalText.escaped(surface[name]?.text ?? "") }
        return [
            text("vm"), surface["surface"]?.count.map(String.init) ?? "", text("size"),
            text("visibility"), Figures.rounded(surface["frames_per_second"]?.real ?? 0),
            text("app_id"), text("title"),
        ]
    }
}
