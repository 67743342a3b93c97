import Foundation
import Testing

/// A terminal of its own: a tmux server with one window in which a shell runs.
private final class TmuxTerminal {
    private let directory: String
    private let environment: [String: String]

    /// - Parameter environment: of the shell and what it starts.
    init(columns: Int, rows: Int, environment: [String: String]) throws {
        directory = try Place.temporary()
        self.environment = environment.merging(["TMUX_TMPDIR": directory, "LC_ALL": "C.UTF-8"]) {
            $1
        }
        let made = try run(
            "-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "\(columns)", "-y", "\(rows)",
            "env PS1='$ ' bash --norc --noprofile")
        try #require(made.status == 0, "\(made.err)")
        try #require(eventually { self.screen.contains { $0.hasPrefix("$") } })
    }

    deinit {
        _ = try? run("kill-server")
        try? FileManager.default.removeItem(atPath: directory)
    }

    @discardableResult
    func run(_ arguments: String...) throws -> (status: Int32?, out: String, err: String) {
        // Its server goes on: a descriptor of ours that it kept would look like the client's life.
        let script =
            "for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -le 2 ] || eval \"exec $n>&-\"; done; exec tmux -u \"$@\""
        return try Program.run(
            ["-c", script, "tmux"] + arguments, program: "/bin/bash", environment: environment)
    }

    /// Presses keys, by tmux's names.
    func press(_ keys: String...) throws {
        for key in keys { try run("send-keys", "-t", "t", key) }
    }

    /// Types a command and the end of its line.
    func type(_ command: String) throws {
        try run("send-keys", "-t", "t", "-l", command)
        try press("Enter")
    }

    func resize(_ columns: Int, _ rows: Int) throws {
        try run("resize-window", "-t", "t", "-x", "\(columns)", "-y", "\(rows)")
    }

    /// What stands on it, line by line.
    var screen: [String] {
        let shown = (try? run("capture-pane", "-p", "-t", "t").out) ?? ""
        return shown.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Whether it shows its other screen, and whether its cursor is seen.
    var state: String {
        let told = try? run("display-message", "-p", "-t", "t", "#{alternate_on} #{cursor_flag}")
        return (told?.out ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    static let isDrawnUpon = "1 0"
    static let isOrdinary = "0 1"
}

@Suite("[kernel] top and metrics", .serialized)
struct TopCommandTests {
    /// A bridge with two VMs whose producers go on, and where to ask it.
    private struct Scene {
        let runtime: String
        let bridge: RunningBridge
        let producers: [Program]
        /// So that the bridge's socket is the usual one.
        var environment: [String: String] { ["XDG_RUNTIME_DIR": runtime] }

        init(title: String = "Sensors") throws {
            runtime = try Place.temporary()
            bridge = try RunningBridge(
                vms: ["work", "play"], ["--headless", "--control", runtime + "/vm-bridge/control"])
            producers = [
                try bridge.produce(
                    "work", ["--title", title, "--size", "320x200", "--rate", "50"]),
                try bridge.produce(
                    "play",
                    [
                        "--title", "Arcade", "--size", "160x90", "--rate", "25", "--fence",
                        "message", "--fence-delay", "4",
                    ]),
            ]
            let bridge = bridge
            try #require(
                try eventually {
                    try bridge.report().vms.allSatisfy { $0.surfaces.contains { $0.shown > 3 } }
                })
        }
    }

    /// The numbers of a row: its cells behind the title.
    private func cells(_ screen: [String], _ title: String) -> [String]? {
        guard let row = screen.first(where: { $0.hasPrefix("  \(title)") }) else { return nil }
        return row.dropFirst(title.count + 2).split(separator: " ").map(String.init)
    }

    /// Whether the row has a rate of frames around what its producer sends.
    private func moves(_ screen: [String], _ title: String, _ rates: ClosedRange<Double>) -> Bool {
        guard let cells = cells(screen, title), cells.count > 2, let rate = Double(cells[1]) else {
            return false
        }
        return rates.contains(rate)
    }

    @Test("the picture moves, follows the terminal's size and keys, and leaves no trace")
    func picture() throws {
        let scene = try Scene()
        defer { try? FileManager.default.removeItem(atPath: scene.runtime) }
        let terminal = try TmuxTerminal(columns: 80, rows: 24, environment: scene.environment)
        try terminal.type("stty -a >\(scene.runtime)/before; echo before-it")
        try #require(eventually { terminal.screen.contains("before-it") })
        try terminal.type("\(Place.program) top --interval 0.5")
        #expect(
            eventually(seconds: 20) {
                moves(terminal.screen, "Sensors", 3...70)
                    && moves(terminal.screen, "Arcade", 3...35)
            }, "\(terminal.screen.joined(separator: "\n"))")
        #expect(terminal.state == TmuxTerminal.isDrawnUpon)
        let usual = terminal.screen
        #expect(usual[0].hasPrefix("vm-bridge  2 VMs, 2 windows, "))
        #expect(
            usual[1]
                == "VM, window               size    fps sup/s   ref  p50 ms  p99 ms import   sync")
        let arcade = try #require(cells(usual, "Arcade"))
        #expect(arcade[0] == "160x90" && arcade.suffix(2) == ["memfd", "held"], "\(arcade)")
        // Its fence alone takes 4 ms.
        #expect((Double(arcade[4]) ?? 0) > 3, "\(arcade)")
        #expect(usual.contains { $0.hasPrefix("work  ") && $0.contains(" descriptors") })
        #expect(!usual.contains { $0.contains("before-it") })

        try terminal.resize(60, 20)
        #expect(
            eventually {
                terminal.screen.contains(
                    "VM, window           size    fps sup/s   ref  p50 ms  p99 ms")
            }, "\(terminal.screen.joined(separator: "\n"))")
        #expect(terminal.screen.allSatisfy { $0.count <= 60 })
        try terminal.resize(120, 30)
        #expect(
            eventually {
                terminal.screen.contains {
                    $0.hasSuffix(" validate   import    fence   commit  present")
                }
            },
            "\(terminal.screen.joined(separator: "\n"))")
        #expect(eventually { moves(terminal.screen, "Sensors", 3...70) })
        try terminal.resize(80, 24)

        try terminal.press("t", "t", "t")
        #expect(eventually { terminal.screen[23].hasSuffix("t: fence") })
        try terminal.press("s")
        #expect(eventually { terminal.screen[23].contains("s: frames/s") })
        try terminal.press("h")
        #expect(eventually { terminal.screen.contains { $0.contains("space to freeze") } })
        try terminal.press("h", "Space")
        #expect(eventually { terminal.screen[0].hasSuffix("frozen") })
        let frozen = terminal.screen
        usleep(1_200_000)
        #expect(terminal.screen == frozen)
        try terminal.press("Space")
        #expect(eventually { !terminal.screen[0].hasSuffix("frozen") })
        try terminal.resize(80, 5)
        try terminal.press("Down", "j", "j", "j")
        #expect(eventually { terminal.screen[4].hasSuffix("3-4 of 4") })
        try terminal.resize(80, 24)

        // Stopped by its key it gives the terminal back, and takes it again when it goes on.
        try terminal.press("C-z")
        #expect(eventually { terminal.state == TmuxTerminal.isOrdinary })
        #expect(eventually { terminal.screen.contains { $0.contains("Stopped") } })
        #expect(terminal.screen.contains("before-it"))
        try terminal.type("fg; echo ended with $?")
        #expect(eventually { terminal.state == TmuxTerminal.isDrawnUpon })
        #expect(eventually { moves(terminal.screen, "Sensors", 3...70) })

        try terminal.press("q")
        #expect(eventually { terminal.screen.contains("ended with 0") })
        #expect(terminal.state == TmuxTerminal.isOrdinary)
        #expect(terminal.screen.contains("before-it"))
        try terminal.type("stty -a >\(scene.runtime)/after; echo after-it")
        try #require(eventually { terminal.screen.contains("after-it") })
        let before = try String(contentsOfFile: scene.runtime + "/before", encoding: .utf8)
        #expect(try String(contentsOfFile: scene.runtime + "/after", encoding: .utf8) == before)
        #expect(before.contains("icanon"))
    }

    @Test("SIGINT from its key and SIGTERM end it with the terminal as it was")
    func signals() throws {
        let scene = try Scene()
        defer { try? FileManager.default.removeItem(atPath: scene.runtime) }
        let terminal = try TmuxTerminal(columns: 80, rows: 24, environment: scene.environment)
        for number in 1...2 {
            try terminal.type("\(Place.program) top; echo end \(number) with $?")
            try #require(eventually { terminal.state == TmuxTerminal.isDrawnUpon })
            if number == 1 {
                try terminal.press("C-c")
            } else {
                let top = try #require(
                    try Program.run(
                        ["-f", "^\(Place.program) top$"],
                        program: "/usr/bin/pgrep"
                    ).out.split(separator: "\n").first.flatMap { Int32($0) })
                kill(top, SIGTERM)
            }
            #expect(eventually { terminal.screen.contains("end \(number) with 0") })
            #expect(terminal.state == TmuxTerminal.isOrdinary)
        }
    }

    @Test("a guest's title with escapes and wide characters stays in its cells")
    func hostileTitle() throws {
        let title = "\u{1b}[2J\u{1b}]0;own\u{7}日本語\u{202e}🚀e\u{301}\u{9b}5A end"
        let scene = try Scene(title: title)
        defer { try? FileManager.default.removeItem(atPath: scene.runtime) }
        let terminal = try TmuxTerminal(columns: 80, rows: 24, environment: scene.environment)
        try terminal.type("\(Place.program) top --interval 0.3")
        #expect(eventually { moves(terminal.screen, "Arcade", 3...35) })
        let screen = terminal.screen
        #expect(screen[0].hasPrefix("vm-bridge  2 VMs, 2 windows"))
        let row = try #require(screen.first { $0.contains("日本語") }, "\(screen)")
        // The columns behind it stand where the heading has them: three wide characters and one more
        // take two cells each, and a mark none.
        let cells = row.unicodeScalars.reduce(0) {
            $0 + ("日本語🚀".unicodeScalars.contains($1) ? 2 : $1 == "\u{301}" ? 0 : 1)
        }
        #expect(cells <= 80)
        let size = try #require(row.range(of: "320x200"))
        let ahead = row[..<size.lowerBound].unicodeScalars.reduce(0) {
            $0 + ("日本語🚀".unicodeScalars.contains($1) ? 2 : $1 == "\u{301}" ? 0 : 1)
        }
        let heading = try #require(screen[1].range(of: " size "))
        let place = screen[1].distance(from: screen[1].startIndex, to: heading.upperBound) - 1
        #expect(ahead + "320x200".count == place, "\(row)")
        try terminal.press("q")
        #expect(eventually { terminal.state == TmuxTerminal.isOrdinary })
    }

    @Test("when the bridge ends top says so, waits, and goes on with the next one")
    func bridgeEnds() throws {
        let scene = try Scene()
        defer { try? FileManager.default.removeItem(atPath: scene.runtime) }
        let terminal = try TmuxTerminal(columns: 80, rows: 24, environment: scene.environment)
        try terminal.type("\(Place.program) top --interval 0.3; echo ended with $?")
        #expect(eventually { moves(terminal.screen, "Sensors", 3...70) })
        #expect(scene.bridge.program.end() == 0)
        #expect(eventually { terminal.screen[0].hasPrefix("vm-bridge  no bridge, waiting for") })
        #expect(terminal.state == TmuxTerminal.isDrawnUpon)
        // Keys are heard all the while.
        try terminal.press("t")
        #expect(eventually { terminal.screen[23].hasSuffix("t: validate") })
        let next = try RunningBridge(
            vms: ["other"], ["--headless", "--control", scene.runtime + "/vm-bridge/control"])
        let producer = try next.produce("other", ["--title", "Again", "--rate", "50"])
        #expect(eventually { moves(terminal.screen, "Again", 3...70) })
        #expect(!terminal.screen.contains { $0.contains("Sensors") })
        producer.send(SIGTERM)
        try terminal.press("q")
        #expect(eventually { terminal.screen.contains("ended with 0") })
    }

    @Test("for scripts: a table, lines of JSON, OpenMetrics; without a bridge status 69 and why")
    func scripts() throws {
        let scene = try Scene()
        defer { try? FileManager.default.removeItem(atPath: scene.runtime) }
        let table = try Program.run(
            ["top", "--once", "--interval", "0.5"], environment: scene.environment)
        #expect(table.status == 0, "\(table.err)")
        #expect(!table.out.contains("\u{1b}"))
        let lines = table.out.split(separator: "\n").map(String.init)
        #expect(lines.first?.hasPrefix("VM, window") == true)
        #expect(moves(lines, "Sensors", 3...70), "\(table.out)")

        let stream = try Program(
            ["top", "--json", "--interval", "0.2"], environment: scene.environment)
        #expect(eventually { stream.out.split(separator: "\n").count >= 3 })
        stream.send(SIGKILL)
        _ = stream.wait()
        let line = try #require(stream.out.split(separator: "\n").first)
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect((object["vms"] as? [Any])?.count == 2)

        let metrics = try Program.run(["metrics"], environment: scene.environment)
        #expect(metrics.status == 0, "\(metrics.err)")
        #expect(metrics.out.hasSuffix("# EOF\n"))
        #expect(metrics.out.contains("vm_bridge_vm_connected{vm=\"play\"} 1\n"))
        #expect(metrics.out.contains("title=\"[work] Sensors\""))
        let counts = metrics.out.split(separator: "\n").filter {
            $0.hasPrefix("vm_bridge_surface_stage_seconds_count{vm=\"play\"")
        }
        #expect(counts.count == 5)
        #expect(counts.allSatisfy { !$0.hasSuffix(" 0") }, "\(counts)")

        for command in [["top"], ["top", "--json", "--once"], ["top", "--interval", "0"]] {
            let usage = try Program.run(command, environment: scene.environment)
            #expect(usage.status == 64, "\(command): \(usage.err)")
        }
        #expect(scene.bridge.program.end() == 0)
        for command in [["top", "--once"], ["top", "--json"], ["metrics"]] {
            let alone = try Program.run(command, environment: scene.environment)
            #expect(alone.status == 69)
            #expect(alone.err.contains("no vm-bridge is running"), "\(alone.err)")
        }
    }
}
