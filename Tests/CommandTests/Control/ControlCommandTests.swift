import Foundation
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] commanding a running bridge", .serialized)
struct ControlCommandTests {
    @Test(
        "two daemons do not fight over a socket: the second says whose it is, the first serves on")
    func twoDaemons() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let producer = try bridge.produce("a", ["--rate", "60"])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 5 } })
        let before = bridge.program.descriptors
        let process = "process \(bridge.program.process.processIdentifier)"
        for _ in 0..<3 {
            let second = try Program.run([
                "run", "--headless", "--source", "b=socket:\(bridge.directory)/b.sock",
                "--control", bridge.directory + "/control",
            ])
            #expect(second.status == 75)
            #expect(second.err.contains(process), "\(second.err)")
            #expect(!FileManager.default.fileExists(atPath: bridge.directory + "/b.sock"))
        }
        let sameSource = try Program.run([
            "run", "--headless", "--source", "a=socket:" + bridge.socket("a"), "--no-control",
        ])
        #expect(sameSource.status == 74)
        let list = try bridge.ask(["list"])
        #expect(list.status == 0)
        #expect(list.out.contains("[a] "))
        #expect(eventually { bridge.program.descriptors == before })
        let vm = try bridge.vm("a")
        #expect(vm.generation == 1 && vm.connected)
        _ = producer.end()
    }

    @Test("the socket of a daemon that was killed is replaced, and one that ends removes it")
    func stale() throws {
        let killed = try RunningBridge(vms: ["a"], ["--headless"])
        let path = killed.directory + "/control"
        #expect(try killed.ask(["list"]).status == 0)
        killed.program.send(SIGKILL)
        #expect(killed.program.wait() != nil)
        #expect(FileManager.default.fileExists(atPath: path))
        let asked = try killed.ask(["list"])
        #expect(asked.status == 69)
        #expect(asked.err.contains("vm-bridge run"), "\(asked.err)")
        let next = try Program([
            "run", "--headless", "--source", "a=socket:" + killed.socket("a"), "--control", path,
        ])
        #expect(try eventually { try killed.ask(["list"]).status == 0 }, "\(next.err)")
        #expect(next.end() == 0)
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(try killed.ask(["status"]).status == 69)
    }

    @Test("a file or a foreign socket at the path is left alone")
    func occupied() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/control"
        try "precious".write(toFile: path, atomically: true, encoding: .utf8)
        let result = try Program.run([
            "run", "--headless", "--source", "a=socket:\(directory)/a.sock", "--control", path,
        ])
        #expect(result.status == 74)
        #expect(result.err.contains(path))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    }

    @Test("modes: the directory is the user's alone, and so is the socket")
    func modes() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let made = directory + "/vm-bridge"
        #expect(mkdir(made, 0o777) == 0 && chmod(made, 0o777) == 0)
        let program = try Program(
            [
                "run", "--headless", "--source", "a=socket:\(directory)/a.sock", "--control",
                made + "/control",
            ], environment: ["XDG_RUNTIME_DIR": directory])
        func mode(_ path: String) -> UInt32 {
            var facts = stat()
            return lstat(path, &facts) == 0 ? facts.st_mode & 0o777 : 0
        }
        #expect(eventually { mode(made + "/control") == 0o600 }, "\(program.err)")
        #expect(mode(made) == 0o700)
        #expect(mode(made + "/control.lock") == 0o600)
        // Found without being named.
        let list = try Program.run(["list"], environment: ["XDG_RUNTIME_DIR": directory])
        #expect(list.status == 0, "\(list.err)")
        #expect(program.end() == 0)
    }

    @Test("surfaces are hidden, shown, frozen, thawed, moved and closed")
    func surfaces() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let producer = try bridge.produce(
            "a", ["--surfaces", "2", "--rate", "60", "--title", "One"])
        #expect(try eventually { try bridge.vm("a").surfaces.filter { $0.shown > 3 }.count == 2 })
        func states() throws -> [String] {
            let list = try JSONValue(parsing: bridge.ask(["list", "--json"]).out.utf8.dropLast())
            return list["surfaces"]?.elements.compactMap { $0["visibility"]?.text } ?? []
        }
        #expect(try states() == ["shown", "shown"])
        for (arguments, wanted) in [
            (["hide", "--vm", "a", "--surface", "1"], ["hidden", "shown"]),
            (["freeze", "--vm", "a", "--surface", "2"], ["hidden", "frozen"]),
            (["show", "--vm", "a", "--surface", "1"], ["shown", "frozen"]),
            (["thaw", "--vm", "a"], ["shown", "shown"]),
            (["move", "--vm", "a", "hide"], ["hidden", "hidden"]),
            (["move", "--vm", "a", "--surface", "2", "show"], ["hidden", "shown"]),
            (["show", "--vm", "a"], ["shown", "shown"]),
        ] as [([String], [String])] {
            let result = try bridge.ask(arguments)
            #expect(result.status == 0, "\(result.err)")
            #expect(try states() == wanted, "\(arguments)")
        }
        let shown = try bridge.vm("a").surfaces.map(\.shown)
        #expect(
            try eventually {
                try zip(bridge.vm("a").surfaces.map(\.shown), shown).allSatisfy { $0 > $1 + 5 }
            })
        let closed = try bridge.ask(["close", "--vm", "a"])
        #expect(closed.status == 0)
        // A producer whose windows are all closed ends.
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(try states().isEmpty)
    }

    @Test("a capture is the frame to the pixel, and nothing stays open for it")
    func capture() throws {
        let bridge = try RunningBridge(vms: ["a", "b"], ["--headless"])
        let first = try bridge.produce(
            "a", ["--rate", "60", "--size", "320x200", "--title", "One", "--colour", "3"])
        let second = try bridge.produce(
            "b", ["--rate", "30", "--size", "160x90", "--title", "Two"])
        #expect(
            try eventually {
                try ["a", "b"].allSatisfy { try bridge.vm($0).surfaces.contains { $0.shown > 5 } }
            })
        let before = bridge.program.descriptors
        let path = bridge.directory + "/a.png"
        let pattern = try TestPattern(
            width: 320, height: 200, format: .xrgb8888, seed: 3, label: "One")
        var stable = 0
        for _ in 0..<20 {
            let result = try bridge.ask(["capture", "--vm", "a", "--output", path, "--json"])
            #expect(result.status == 0, "\(result.err)")
            let reply = try JSONValue(parsing: result.out.utf8.dropLast())
            let told = try #require(reply["pictures"]?.elements.first)
            guard told["stable"] == .boolean(true) else { continue }
            stable += 1
            let picture = try PNGFile.read(path)
            guard case .whole(let number) = FrameMark.verdict(picture, nil) else {
                Issue.record("torn or unreadable, and said to be stable")
                continue
            }
            let comparison = PictureComparison(
                expected: try pattern.picture(frame: number), actual: picture)
            #expect(comparison.isEqual, "\(comparison)")
        }
        #expect(stable > 0)
        let sheet = try bridge.ask(["capture", "--all", "--output", bridge.directory + "/all.png"])
        #expect(sheet.status == 0, "\(sheet.err)")
        let picture = try PNGFile.read(bridge.directory + "/all.png")
        #expect(picture.width > 320 + 160 && picture.height > 200)
        let none = try bridge.ask(["capture", "--vm", "b", "--surface", "4", "--output", path])
        #expect(none.status == 1)
        #expect(eventually { bridge.program.descriptors == before })
        let loss = try bridge.vm("a")
        #expect(loss.generation == 1 && loss.refusals.isEmpty)
        _ = (first.end(), second.end())
    }

    @Test("commands are obeyed at once while a guest floods, and the other VM loses no frame")
    func flood() throws {
        let bridge = try RunningBridge(
            vms: ["good", "bad"], ["--headless", "--refresh", "250"])
        let good = try bridge.produce("good", ["--rate", "25", "--hold"])
        #expect(try eventually { try bridge.vm("good").surfaces.contains { $0.shown > 3 } })
        // One connection, so that only the bridge's own time counts.
        let client = try ControlClient(path: bridge.directory + "/control")
        var slowest: UInt64 = 0
        var obeyed = 0
        // On a quick machine a flood may be over before anybody looks.
        for _ in 0..<20 where obeyed < 5 {
            let flood = try Program(
                ["produce", "--socket", bridge.socket("bad"), "--misbehave", "flood"])
            var round = 0
            while flood.process.isRunning, round < 4000 {
                let start = MonotonicClock.now()
                let verb: SurfaceVerb = round % 2 == 0 ? .close : round % 4 == 1 ? .hide : .show
                let reply = try client.ask(.verb(verb, SurfaceSelector(vm: "bad")))
                slowest = max(slowest, MonotonicClock.now() - start)
                if reply["surfaces"] == .unsigned(1) { obeyed += 1 }
                round += 1
                usleep(5_000)
            }
            #expect(flood.wait() != nil)
        }
        #expect(obeyed >= 5)
        // A command is served in the turn of the loop that finds it; what remains is a busy machine.
        #expect(slowest > 0 && slowest < 1_000_000_000, "\(slowest) ns")
        let vm = try bridge.vm("good")
        let surface = try #require(vm.surfaces.first)
        #expect(surface.superseded * 50 <= surface.shown, "\(surface)")
        #expect(surface.refused == 0 && surface.lost == 0)
        _ = good.end()
    }

    @Test("a watch tells of a VM that comes and goes, a log follows, and both end with the bridge")
    func streams() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let socket = ["--socket", bridge.directory + "/control"]
        let watch = try Program(["watch"] + socket)
        let log = try Program(["log", "--follow"] + socket)
        #expect(eventually { watch.out.contains("no producer") && !log.out.isEmpty })
        let producer = try bridge.produce("a", ["--title", "One\u{1b}[31m"])
        #expect(
            eventually {
                watch.out.contains("a: producer connected (generation 1)")
                    && watch.out.contains("appeared: [a] One")
            }, "\(watch.out)")
        _ = producer.end()
        #expect(eventually { watch.out.contains("a: producer gone") }, "\(watch.out)")
        #expect(eventually { log.out.contains("producer gone") }, "\(log.out)")
        #expect(!watch.out.contains("\u{1b}"))
        #expect(bridge.program.end() == 0)
        #expect(watch.wait() == 0)
        #expect(log.wait() == 0)
    }

    @Test("reload by command says what is wrong, and where")
    func reload() throws {
        let bridge = try RunningBridge(
            configuration: { "vm a {\n    source socket \($0)/a.sock\n}\n" }, awaiting: "a",
            ["--headless"])
        let good = try bridge.ask(["reload"])
        #expect(good.status == 0, "\(good.err)")
        try bridge.configure("vm a {\n    sourrce socket x\n}\n")
        let bad = try bridge.ask(["reload"])
        #expect(bad.status == 1)
        #expect(bad.err.contains("config:2:5"), "\(bad.err)")
        #expect(try bridge.ask(["list"]).status == 0)
    }

    @Test("a client that stops reading in mid-reply does not hold the bridge")
    func stopped() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let producer = try bridge.produce("a", ["--rate", "60"])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 5 } })
        let deaf = try RawSocket(bridge.directory + "/control")
        deaf.write(
            String(repeating: #"{"request":"status"}"# + "\n", count: 3000))
        let before = try #require(try bridge.vm("a").surfaces.first).shown
        #expect(try eventually { try (bridge.vm("a").surfaces.first?.shown ?? 0) > before + 30 })
        #expect(try bridge.ask(["list"]).status == 0)
        // All are answered once it reads.
        _ = deaf.readLine()
        for _ in 0..<3000 { try #require(deaf.readLine() != nil) }
        _ = producer.end()
    }
}
