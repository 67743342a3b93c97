import ArgumentParser
import VMBridge
import VMBridgeCore

/// What changes, as it does.
struct WatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Tell what changes at the running bridge, as it happens.",
        discussion: """
            Begins with what is there. Then a line for each surface that appears, changes or goes, and
            for each VM whose producer comes or leaves. Changes are looked for ten times a second. Ends
            when the bridge does.

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var control: ControlOptions

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Tell frames per second too, every so many milliseconds (100 to 3600000).",
            valueName: "MILLISECONDS"))
    var interval: UInt64?

    @Option(
        name: .long, help: ArgumentHelp("End by itself after so many events.", valueName: "COUNT"))
    var events: Int?

    func validate() throws {
        if let interval, !ControlProtocol.intervals.contains(interval) {
            throw ValidationError("--interval goes from 100 to 3600000 milliseconds.")
        }
        if let events, events < 0 { throw ValidationError("--events is not below 0.") }
    }

    func run() throws {
        try control.ask { client in
            let reply = try client.ask(.watch(interval: interval))
            var text = WatchText(TerminalColours(reply))
            control.write(
                control.json ? [reply.line] : SurfaceTable.lines(reply, TerminalColours(reply)))
            var left = events ?? .max
            while left > 0, let event = try next(client) {
                left -= 1
                control.write(control.json ? [event.line] : text.lines(event))
            }
        }
    }

    /// The bridge's end is the stream's.
    private func next(_ client: ControlClient) throws -> JSONValue? {
        do throws(ControlClientError) {
            return try client.nextEvent()
        } catch {
            if error == .ended { return nil }
            throw error
        }
    }
}

/// Events in words.
struct WatchText {
    private let colours: TerminalColours
    /// Frames of each surface at the last beat, and when that was.
    private var shown: [String: UInt64] = [:]
    private var lastBeat: UInt64?

    init(_ colours: TerminalColours) { self.colours = colours }

    mutating func lines(_ event: JSONValue) -> [String] {
        func text(_ name: String) -> String { TerminalText.escaped(event[name]?.text ?? "") }
        let name = text("vm")
        let vm = colours.vm(name, name)
        let surface = "\(vm): surface \(event["surface"]?.count ?? 0)"
        switch event["event"]?.text {
        case "surface_appeared":
            return ["\(surface) appeared: \(text("title")) (\(text("app_id")))"]
        case "surface_changed":
            let state = text("visibility")
            return ["\(surface) changed: \(state.isEmpty ? "" : state + ", ")\(text("title"))"]
        case "surface_gone": return ["\(surface) is gone"]
        case "vm_connected":
            return ["\(vm): producer connected (generation \(event["generation"]?.count ?? 0))"]
        case "vm_left": return ["\(vm): producer gone"]
        case "consumer_there": return ["\(vm): can be shown"]
        case "consumer_lost": return ["\(vm): cannot be shown now"]
        case "dropped": return ["\(event["count"]?.count ?? 0) events were left out"]
        case "beat": return beat(event)
        default: return [TerminalText.escaped(event.line)]
        }
    }

    private mutating func beat(_ event: JSONValue) -> [String] {
        let now = event["time_ns"]?.count ?? 0
        let seconds = lastBeat.map { Double(now - min(now, $0)) / 1e9 } ?? 0
        defer { lastBeat = now }
        var counts: [String: UInt64] = [:]
        var lines: [String] = []
        for vm in event["status"]?["vms"]?.elements ?? [] {
            let name = TerminalText.escaped(vm["name"]?.text ?? "")
            var frames: UInt64 = 0
            let surfaces = (vm["surfaces"]?.elements ?? []).filter { $0["gone"]?.truth != true }
            for surface in surfaces {
                let key = "\(name) \(surface["surface"]?.count ?? 0)"
                let count = surface["shown"]?.count ?? 0
                counts[key] = count
                // One of the same name that is newer begins anew.
                if let before = shown[key], before <= count { frames += count - before }
            }
            let rate = seconds > 0 ? Figures.rounded(Double(frames) / seconds) : "-"
            lines.append("\(colours.vm(name, name)): \(surfaces.count) surfaces, \(rate) frames/s")
        }
        shown = counts
        return lines
    }
}
