import Foundation
import Testing

@testable import VMBridge

@Suite("[kernel] the command, headless", .serialized)
struct HeadlessCommandTests {
    @Test(
        "usage errors, a missing compositor and a taken path end with their own status and say why")
    func statuses() throws {
        let usage = try Program.run(["run", "--source", "nonsense", "--headless"])
        #expect(usage.status == 64)
        #expect(usage.err.contains("VM=socket:PATH"))
        let kind = try Program.run(["run", "--source", "a=carrier:pigeon", "--headless"])
        #expect(kind.status == 64)
        #expect(kind.err.contains("carrier"))
        let frames = try Program.run(
            ["run", "--source", "a=socket:/tmp/x.sock", "--headless", "--capture-frames"])
        #expect(frames.status == 64)
        #expect(frames.err.contains("--capture"))
        let compositor = try Program.run(["run", "--source", "a=socket:/tmp/vmb-none.sock"])
        #expect(compositor.status == 69)
        #expect(compositor.err.contains("WAYLAND_DISPLAY"))
        #expect(compositor.err.contains("--headless"))
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let taken = try Program.run(
            ["run", "--headless", "--source", "a=socket:" + bridge.socket("a")])
        #expect(taken.status == 74)
        #expect(taken.err.contains(bridge.socket("a")))
        let nowhere = try Program.run(
            ["run", "--headless", "--source", "a=socket:/nonexistent/a.sock"])
        #expect(nowhere.status == 74)
        #expect(nowhere.err.contains("/nonexistent/a.sock"))
        for command in [
            ["--help"], ["run", "--help"], ["demo", "--help"], ["produce", "--help"],
        ] {
            let help = try Program.run(command)
            #expect(help.status == 0)
            #expect(help.out.contains("USAGE"))
        }
    }

    @Test("frames of two VMs are captured to the pixel, logged and reported")
    func capture() throws {
        let out = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: out) }
        let bridge = try RunningBridge(
            vms: ["a", "b"], ["--headless", "--capture", out, "--capture-frames"])
        let first = try bridge.produce(
            "a",
            [
                "--frames", "20", "--rate", "200", "--size", "320x200", "--title", "One",
                "--colour", "3",
            ])
        let second = try bridge.produce(
            "b",
            [
                "--frames", "10", "--size", "160x90", "--format", "RG16", "--title", "Two\u{202e}",
                "--app-id", "org.example/x",
            ])
        #expect(first.wait() == 0, "\(first.err)")
        #expect(second.wait() == 0, "\(second.err)")
        let other = try #require(try bridge.vm("b").surfaces.first)
        #expect(other.title == "[b] Two")
        #expect(other.app_id == "vm-bridge.b.org.example_x")
        let report = try bridge.vm("a")
        #expect(report.surfaces.first?.shown == 20 - (report.surfaces.first?.superseded ?? 0))
        #expect(report.surfaces.first?.app_id == "vm-bridge.a.produce")
        #expect(report.buffers == 0)
        #expect(report.uses == 0)
        #expect(bridge.program.end() == 0)
        let picture = try PNGFile.read(out + "/a-0.png")
        let pattern = try TestPattern(
            width: 320, height: 200, format: .xrgb8888, seed: 3, label: "One")
        let verdict = FrameMark.verdict(picture, nil)
        guard case .whole(let number) = verdict else {
            Issue.record("torn or unreadable: \(verdict)")
            return
        }
        let expected = try pattern.picture(frame: number)
        let comparison = PictureComparison(expected: expected, actual: picture)
        #expect(comparison.isEqual, "\(comparison)")
        let log = try String(contentsOfFile: out + "/commits.jsonl", encoding: .utf8)
        let lines = log.split(separator: "\n").filter { $0.contains("\"vm\":\"a\"") }
        #expect(lines.count == report.surfaces.first?.shown)
        let frames = try String(contentsOfFile: out + "/frames.log", encoding: .utf8)
            .split(separator: "\n").filter { $0.hasPrefix("a 0 ") }
        #expect(frames.count == lines.count)
        var checksum = PixelChecksum()
        checksum.add(picture)
        let last = try #require(frames.last?.split(separator: " "))
        #expect(last[3] == "320x200")
        #expect(UInt32(last[4], radix: 16) == checksum.value)
        #expect(lines.last?.contains("\"title\":\"[a] One\"") == true)
    }

    @Test("a cursor is a surface of its own, and who asks for input is told the keymap at once")
    func cursorAndInput() throws {
        let out = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: out) }
        let bridge = try RunningBridge(vms: ["a"], ["--headless", "--capture", out])
        let producer = try bridge.produce(
            "a", ["--frames", "5", "--cursor", "quarters", "--input"])
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(producer.out.contains("keymap 0 bytes, repeat 0"), "\(producer.out)")
        #expect(producer.out.contains("input: none"), "\(producer.out)")
        let surfaces = try bridge.vm("a").surfaces
        #expect(surfaces.count == 2 && surfaces.allSatisfy { $0.refused == 0 }, "\(surfaces)")
        let cursor = try #require(surfaces.first { $0.route == "cursor of surface 1" })
        #expect(cursor.size == "32x32" && cursor.shown == 1, "\(cursor)")
        #expect(bridge.program.end() == 0)
        let pictures = try FileManager.default.contentsOfDirectory(atPath: out)
            .filter { $0.hasSuffix(".png") }.map { try PNGFile.read(out + "/" + $0) }
        #expect(pictures.count == 2 && pictures.contains(ProducerCursor.picture))
    }

    @Test("the virtual output's size is asked of windows, its refresh rate paces them")
    func output() throws {
        let bridge = try RunningBridge(
            vms: ["a"], ["--headless", "--refresh", "20", "--output-size", "800x600"])
        let producer = try bridge.produce(
            "a", ["--frames", "40", "--rate", "100", "--verbose"])
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(producer.out.contains("800x600"), "\(producer.out)")
        let surface = try #require(try bridge.vm("a").surfaces.first)
        // The producer would send a hundred a second.
        #expect((10...25).contains(surface.frames_per_second), "\(surface)")
        #expect(surface.shown + surface.superseded == 40)
        let wrong = try Program.run(
            ["run", "--headless", "--output-size", "0x5", "--source", "a=socket:/tmp/x.sock"])
        #expect(wrong.status == 64)
    }

    @Test("a producer killed in mid-frame leaves no descriptor, buffer or window")
    func killed() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        // Its socket is there before all else is that it opens; who answers has it all.
        _ = try bridge.report()
        let before = bridge.program.descriptors
        #expect(!before.isEmpty)
        for round in 1...3 {
            let producer = try bridge.produce(
                "a", ["--surfaces", "3", "--fence", "message", "--fence-delay", "30"])
            #expect(
                try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 5 && !$0.gone } }
            )
            #expect(bridge.program.descriptors.count > before.count)
            producer.send(SIGKILL)
            #expect(try eventually { try !bridge.vm("a").connected })
            #expect(eventually { bridge.program.descriptors == before })
            let vm = try bridge.vm("a")
            #expect(vm.generation == round)
            #expect(vm.buffers == 0 && vm.uses == 0)
            #expect(vm.surfaces.allSatisfy { $0.gone })
        }
    }

    @Test("a bridge that is stopped and goes on serves what waited in its sockets")
    func stopped() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let producer = try bridge.produce("a", ["--rate", "50", "--verbose"])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 5 } })
        bridge.program.send(SIGSTOP)
        usleep(500_000)
        #expect(producer.process.isRunning)
        bridge.program.send(SIGCONT)
        let before = try #require(try bridge.vm("a").surfaces.first).shown
        #expect(try eventually { try (bridge.vm("a").surfaces.first?.shown ?? 0) > before + 10 })
        let vm = try bridge.vm("a")
        #expect(vm.generation == 1)
        #expect(vm.refusals.isEmpty)
    }

    @Test(
        "an ended bridge removes its sockets, a killed one's are replaced, generations begin anew")
    func ended() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        let producer = try bridge.produce("a", [])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 2 } })
        #expect(bridge.program.end() == 0)
        #expect(!FileManager.default.fileExists(atPath: bridge.socket("a")))
        #expect(bridge.program.out.contains("[a] "), "\(bridge.program.out)")
        #expect(producer.wait() == 69)
        let report = try String(contentsOfFile: bridge.directory + "/report.json", encoding: .utf8)
        #expect(report.contains("\"vms\""))

        let killed = try RunningBridge(vms: ["b"], ["--headless"])
        killed.program.send(SIGKILL)
        _ = killed.program.wait()
        #expect(FileManager.default.fileExists(atPath: killed.socket("b")))
        let next = try Program([
            "run", "--headless", "--seconds", "1.5", "--source", "b=socket:" + killed.socket("b"),
        ])
        let again = try Program([
            "produce", "--wait", "5", "--frames", "3", "--verbose", "--socket", killed.socket("b"),
        ])
        #expect(again.wait() == 0, "\(again.err)")
        #expect(next.wait() == 0)
        #expect(next.err.contains("generation 1"), "\(next.err)")
    }

    @Test("the C producer of the header alone runs against the bridge")
    func example() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let compiled = try Program.run(
            [
                "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", Place.root + "/Protocols", "-o",
                directory + "/minimal", Place.root + "/Examples/minimal-producer.c",
            ], program: "/usr/bin/cc")
        #expect(compiled.status == 0, "\(compiled.err)")
        let bridge = try RunningBridge(
            vms: ["c"], ["--headless", "--capture", directory + "/out"])
        let example = try Program.run([bridge.socket("c"), "30"], program: directory + "/minimal")
        #expect(example.status == 0, "\(example.out)\(example.err)")
        let vm = try bridge.vm("c")
        #expect(vm.surfaces.first?.title.hasPrefix("[c] ") == true)
        #expect((vm.surfaces.first?.shown ?? 0) > 0)
        #expect(vm.refusals.isEmpty)
        #expect(bridge.program.end() == 0)
        #expect(try PNGFile.read(directory + "/out/c-0.png").width > 0)
    }

    @Test("the demo shows both VMs and draws the sheet")
    func demo() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let sheet = directory + "/sheet.png"
        let demo = try Program.run(["demo", "--headless", "--seconds", "2", "--output", sheet])
        #expect(demo.status == 0, "\(demo.err)")
        for words in [
            "[work] Sensors 1", "[work] Sensors 2", "[play] Arcade", "frames/s", "held in the loop",
        ] {
            #expect(demo.out.contains(words), "\(words) is not in: \(demo.out)")
        }
        let picture = try PNGFile.read(sheet)
        #expect(picture.width > 600 && picture.height > 400)
        // Nothing of it stays behind.
        let left = try FileManager.default.contentsOfDirectory(atPath: "/tmp")
            .filter { $0.hasPrefix("vm-bridge-demo-") }
        #expect(left.isEmpty)
    }
}
