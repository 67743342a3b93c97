import Foundation
import Testing

@testable import VMBridge

@Suite("[kernel] the command with a configuration, headless", .serialized)
struct ConfigurationCommandTests {
    private static func vm(_ name: String, _ directory: String, _ more: String = "") -> String {
        "vm \(name) {\n    source \"socket:\(directory)/\(name).sock\"\n\(more)}\n"
    }

    @Test("without any VM it says what to do, and what stands in the way of a file's use")
    func statuses() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let home = ["XDG_CONFIG_HOME": directory, "XDG_CONFIG_DIRS": directory + "/none"]
        let none = try Program.run(["run", "--headless"], environment: home)
        #expect(none.status == 64)
        #expect(none.err.contains("--source work=socket"))
        #expect(none.err.contains(directory + "/vm-bridge/config"))
        let both = try Program.run(["run", "--headless", "--no-config", "--config", "x"])
        #expect(both.status == 64 && both.err.contains("--no-config"))
        let absent = try Program.run(["run", "--headless", "--config", directory + "/absent"])
        #expect(absent.status == 78 && absent.err.contains(directory + "/absent"))
        let file = directory + "/bad"
        try "vm a {\n  sorce socket\n}\n".write(toFile: file, atomically: true, encoding: .utf8)
        let bad = try Program.run(["run", "--headless", "--config", file])
        #expect(bad.status == 78)
        #expect(bad.err.contains("\(file):2:3: error: ") && bad.err.contains("“source”"))
        let fences = try Program.run(
            ["run", "--headless", "--no-config", "--source", "a=socket:/x", "--fences", "b=hold"])
        #expect(fences.status == 64 && fences.err.contains("“b”"))
    }

    @Test("a socket without a path lies in the runtime directory, which is made for it alone")
    func runtimeDirectory() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let bridge = try Program(
            ["run", "--headless", "--no-config", "--source", "a=socket"],
            environment: ["XDG_RUNTIME_DIR": directory])
        let socket = directory + "/vm-bridge/a.sock"
        #expect(eventually { FileManager.default.fileExists(atPath: socket) }, "\(bridge.err)")
        let attributes = try FileManager.default.attributesOfItem(atPath: directory + "/vm-bridge")
        #expect(attributes[.posixPermissions] as? Int == 0o700)
        #expect(bridge.end() == 0)
        let nowhere = try Program.run(
            ["run", "--headless", "--no-config", "--source", "a=socket"],
            environment: ["XDG_RUNTIME_DIR": ""])
        #expect(nowhere.status == 64 && nowhere.err.contains("XDG_RUNTIME_DIR"))
    }

    @Test("rules hide, show and refuse surfaces of real producers")
    func rules() throws {
        let bridge = try RunningBridge(
            configuration: {
                """
                \(Self.vm("a", $0, "    label Work\n"))
                \(Self.vm("b", $0))
                rule {
                    match title "*secret*"
                    hide
                }
                rule {
                    match vm a title "not here"
                    refuse "Nobody sees this."
                }
                rule {
                    match vm b
                    show title "{title} of {vm}" app-id chosen fullscreen HEADLESS-7
                }
                """
            }, awaiting: "b", ["--headless"])
        let hidden = try bridge.produce("a", ["--frames", "8", "--title", "a secret"])
        let shown = try bridge.produce("b", ["--frames", "30", "--title", "plain", "--hold"])
        #expect(hidden.wait() == 0, "\(hidden.err)")
        let unseen = try #require(try bridge.vm("a").surfaces.first)
        #expect(unseen.shown == 0 && unseen.refused == 0 && unseen.superseded == 8)
        #expect(unseen.title == "[Work] a secret")
        let refused = try bridge.produce("a", ["--frames", "8", "--title", "not here"])
        #expect(refused.wait() != nil)
        #expect(refused.err.contains("Nobody sees this."), "\(refused.err)")
        #expect(try bridge.vm("a").refusals["not_routed"] ?? 0 >= 1)
        #expect(try eventually { try bridge.vm("b").surfaces.first?.presented ?? 0 > 3 })
        let seen = try #require(try bridge.vm("b").surfaces.first)
        #expect(seen.title == "plain of b" && seen.app_id == "vm-bridge.b.chosen")
        #expect(seen.visibility == "shown")
        #expect(
            seen.route
                == "show, fullscreen on HEADLESS-7; no output HEADLESS-7 is there, but HEADLESS-1")
        shown.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }

    @Test(
        "SIGHUP and a change of the file both reload; a bad file changes nothing; VMs come and go")
    func reload() throws {
        let bridge = try RunningBridge(
            configuration: { Self.vm("a", $0, "    label one\n") }, awaiting: "a", ["--headless"])
        let producer = try bridge.produce("a", ["--frames", "100000", "--rate", "120"])
        func title() throws -> String? { try bridge.vm("a").surfaces.first?.title }
        #expect(try eventually { try title() == "[one] vm-bridge produce" })
        let directory = bridge.directory
        let both = Self.vm("a", directory, "    label two\n") + Self.vm("b", directory)
        try bridge.configure(both)
        #expect(
            try eventually { try title() == "[two] vm-bridge produce" }, "\(bridge.program.err)")
        #expect(FileManager.default.fileExists(atPath: bridge.socket("b")))
        func readings() -> Int {
            bridge.program.err.components(separatedBy: "configuration read anew").count - 1
        }
        let before = readings()
        bridge.program.send(SIGHUP)
        #expect(eventually { readings() == before + 1 }, "\(bridge.program.err)")
        try bridge.configure("vm a {\n    lable three\n}\n")
        let place = "\(directory)/config:2:5: error: "
        #expect(eventually { bridge.program.err.contains(place) }, "\(bridge.program.err)")
        #expect(bridge.program.err.contains("did you mean “label”"))
        #expect(bridge.program.err.contains("stays as it was"))
        #expect(try title() == "[two] vm-bridge produce")
        // b goes while a's frames flow.
        try bridge.configure(Self.vm("a", directory, "    label three\n"))
        #expect(try eventually { try title() == "[three] vm-bridge produce" })
        #expect(!FileManager.default.fileExists(atPath: bridge.socket("b")))
        let vm = try bridge.vm("a")
        let shown = vm.surfaces.first?.shown ?? 0
        #expect(vm.generation == 1 && vm.connected && vm.surfaces.first?.refused == 0)
        #expect(try eventually { try bridge.vm("a").surfaces.first?.shown ?? 0 > shown + 20 })
        producer.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }

    @Test("many SIGHUPs and replaced files lose no descriptor of the process")
    func descriptors() throws {
        let bridge = try RunningBridge(
            configuration: { Self.vm("a", $0) }, awaiting: "a", ["--headless"])
        let producer = try bridge.produce("a", ["--frames", "100000", "--rate", "120"])
        #expect(try eventually { try bridge.vm("a").surfaces.first?.presented ?? 0 > 3 })
        let before = bridge.program.descriptors
        for number in 0..<40 {
            let other = number % 2 == 0 ? Self.vm("b", bridge.directory) : ""
            try bridge.configure(Self.vm("a", bridge.directory, "    label L\(number)\n") + other)
            bridge.program.send(SIGHUP)
            usleep(20_000)
        }
        #expect(
            try eventually {
                try bridge.vm("a").surfaces.first?.title == "[L39] vm-bridge produce"
            })
        #expect(
            eventually { bridge.program.descriptors == before }, "\(bridge.program.descriptors)")
        #expect(try bridge.vm("a").surfaces.first?.refused == 0)
        producer.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }
}

@Suite("[compositor] the command with a configuration, on real compositors", .serialized)
struct ConfigurationCompositorTests {
    /// A window in sway's list: the output that it is on and whether it is fullscreen.
    private func place(_ appID: String, in sway: PrivateCompositor) throws -> String? {
        struct Node: Decodable {
            var type: String
            var name: String?
            var app_id: String?
            var fullscreen_mode: Int?
            var nodes: [Node]
            var floating_nodes: [Node]

            func find(_ appID: String, _ output: String) -> String? {
                if app_id == appID { return "\(output) \(fullscreen_mode ?? 0)" }
                let output = type == "output" ? name ?? "" : output
                for node in nodes + floating_nodes {
                    if let found = node.find(appID, output) { return found }
                }
                return nil
            }
        }
        let text = try Program.run(
            ["-r", "-t", "get_tree"], program: "/usr/bin/swaymsg", environment: sway.environment
        ).out
        return try JSONDecoder().decode(Node.self, from: Data(text.utf8)).find(appID, "")
    }

    @Test(
        "sway shows a window fullscreen on the output that a rule names, and plain after a reload")
    func fullscreen() throws {
        let sway = try PrivateCompositor(.sway)
        let made = try Program.run(
            ["create_output"], program: "/usr/bin/swaymsg", environment: sway.environment)
        #expect(made.status == 0, "\(made.err)")
        func text(_ directory: String, _ rule: String) -> String {
            "vm a {\n    source \"socket:\(directory)/a.sock\"\n}\nrule {\n    \(rule)\n}\n"
        }
        let bridge = try RunningBridge(
            configuration: { text($0, "show fullscreen HEADLESS-2") }, awaiting: "a", [],
            environment: sway.environment)
        let producer = try bridge.produce(
            "a", ["--frames", "100000", "--rate", "60", "--size", "400x300"])
        let name = "vm-bridge.a.produce"
        #expect(
            try eventually { try place(name, in: sway) == "HEADLESS-2 1" },
            "\(bridge.program.err)")
        #expect(try bridge.vm("a").surfaces.first?.route == "show, fullscreen on HEADLESS-2")
        try bridge.configure(text(bridge.directory, "show fullscreen HEADLESS-1"))
        #expect(try eventually { try place(name, in: sway) == "HEADLESS-1 1" })
        try bridge.configure(text(bridge.directory, "show"))
        #expect(try eventually { try place(name, in: sway) == "HEADLESS-1 0" })
        try bridge.configure(text(bridge.directory, "hide"))
        #expect(try eventually { try place(name, in: sway) == nil })
        try bridge.configure(text(bridge.directory, "show fullscreen DP-9"))
        #expect(try eventually { try place(name, in: sway)?.hasSuffix(" 1") == true })
        #expect(
            try bridge.vm("a").surfaces.first?.route
                == "show, fullscreen on DP-9; no output DP-9 is there, so the compositor chose")
        #expect(
            bridge.program.err.components(separatedBy: "no output named DP-9").count == 2)
        let surface = try #require(try bridge.vm("a").surfaces.first)
        #expect(surface.refused == 0 && surface.lost == 0)
        let shown = surface.shown
        #expect(try eventually { try bridge.vm("a").surfaces.first?.shown ?? 0 > shown + 5 })
        producer.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }
}
