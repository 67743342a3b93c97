import ArgumentParser
import Glibc
import VMBridge
import VMBridgeCore

/// The last lines of a running bridge's log.
struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Print the last events of the running bridge.",
        discussion: """
            The bridge keeps its last 1000 events in memory, also those that it writes nowhere without
            --verbose.

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var control: ControlOptions

    @Option(name: .long, help: ArgumentHelp("Only the last so many.", valueName: "COUNT"))
    var count: UInt64?

    @Flag(name: .long, help: "Go on with what is added, until the bridge ends.")
    var follow = false

    func run() throws {
        try control.ask { client in
            let reply = try client.ask(.log(count: count, follow: follow))
            let events = reply["events"]?.elements ?? []
            control.write(control.json ? [reply.line] : events.map(Self.line))
            guard follow else { return }
            while true {
                do throws(ControlClientError) {
                    guard let event = try client.nextEvent() else { return }
                    control.write([control.json ? event.line : Self.line(event)])
                } catch {
                    if error == .ended { return }
                    throw error
                }
            }
        }
    }

    /// "21:04:05 warning: text", in local time.
    static func line(_ event: JSONValue) -> String {
        if let count = event["count"]?.count { return "\(count) events were left out" }
        var seconds = time_t(clamping: (event["time_ms"]?.count ?? 0) / 1000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { $0 < 10 ? "0\($0)" : "\($0)" }
        let level = event["level"]?.text ?? ""
        let head = level == "info" || level == "notice" ? "" : "\(level): "
        return time.joined(separator: ":") + " "
            + TerminalText.escaped(head + (event["text"]?.text ?? ""))
    }
}
