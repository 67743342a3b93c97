import Foundation
import Testing

@testable import VMBridge

@Suite("[kernel] recordings, replays and traces by the command", .serialized)
struct RecordingCommandTests {
    private static func replay(
        _ arguments: [String], seconds: Double = 60
    ) throws -> (status: Int32?, out: String, err: String) {
        try Program.run(["replay"] + arguments, seconds: seconds)
    }

    /// The pixels of each frame of a recording, by surface and sequence.
    private static func pixels(_ path: String) throws -> [String: [UInt8]] {
        let reader = try RecordingReader(try ReadableFile(path: path))
        var all: [String: [UInt8]] = [:]
        var offset = reader.first
        while let chunk = reader.chunk(at: offset) {
            offset = chunk.next
            guard case .frame(let frame) = chunk.body else { continue }
            #expect(frame.state == .there)
            var bytes: [UInt8] = []
            for region in frame.regions {
                bytes += reader.source.bytes(at: region.position, count: Int(region.length))
            }
            all["\(frame.surface) \(frame.sequence)"] = bytes
        }
        return all
    }

    private static func picturesAreEqual(_ one: String, _ other: String) throws -> Bool {
        let comparison = PictureComparison(
            expected: try PNGFile.read(one), actual: try PNGFile.read(other))
        #expect(comparison.isEqual, "\(comparison)")
        return comparison.isEqual
    }

    @Test("what was recorded is shown again to the pixel, at any speed, frame by frame")
    func roundTrip() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(
            vms: ["a"],
            [
                "--headless", "--capture", place + "/first", "--record", place + "/rec",
                "--record-content", "whole",
            ])
        let producer = try bridge.produce(
            "a",
            [
                "--frames", "20", "--rate", "40", "--size", "96x64", "--surfaces", "2", "--fence",
                "message", "--fence-delay", "4",
            ])
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(try eventually { try !bridge.vm("a").connected })
        #expect(bridge.program.end() == 0, "\(bridge.program.err)")
        let file = place + "/rec/a-1.vmbrec"
        let recorded = try Self.pixels(file)
        // Superseded ones were never handed on.
        #expect(recorded.count > 30 && recorded.count <= 40)
        #expect(recorded.values.allSatisfy { $0.count == 96 * 64 * 4 })
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions]
        #expect(mode as? Int == 0o600)

        for (number, speed) in ["1", "max", "8"].enumerated() {
            let out = place + "/again\(number)"
            let began = Date()
            let result = try Self.replay(
                ["--headless", "--capture", out, "--speed", speed, "--json", file])
            #expect(result.status == 0, "\(result.out)\(result.err)")
            #expect(result.out.contains("\"same_refusals\":true"), "\(result.out)")
            #expect(result.out.contains("\"frames\":40"), "\(result.out)")
            #expect(result.out.contains("\"given_up\":0"), "\(result.out)")
            #expect(result.out.contains("\"pixels\":\(recorded.count)"), "\(result.out)")
            for name in ["a-0.png", "a-1.png"] {
                #expect(try Self.picturesAreEqual(place + "/first/" + name, out + "/" + name))
            }
            // 20 frames at 40 a second; how much longer it takes is the machine's affair.
            if speed == "1" { #expect(Date().timeIntervalSince(began) > 0.4) }
        }

        // Recorded again while it is played, every frame has the pixels that it had.
        let second = try RunningBridge(
            vms: ["b"],
            ["--headless", "--record", place + "/rec2", "--record-content", "whole"])
        let result = try Self.replay(["--socket", second.socket("b"), "--speed", "max", file])
        #expect(result.status == 0, "\(result.out)\(result.err)")
        #expect(try eventually { try !second.vm("b").connected })
        #expect(second.program.end() == 0)
        let again = try Self.pixels(place + "/rec2/b-1.vmbrec")
        let both = recorded.filter { again[$0.key] != nil }
        #expect(both.count > 25)
        for (name, bytes) in both {
            #expect(again[name] == bytes, "frame \(name) differs")
        }
        // The order of what was handed on is the one it had been.
        let orders = try [file, place + "/rec2/b-1.vmbrec"].map { path -> [String] in
            let list = try Self.replay(["--list", "--json", path]).out
            return try list.split(separator: "\n").filter { $0.contains("\"kind\":\"frame\"") }
                .compactMap { line in
                    let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
                    let frame = try #require(object as? [String: Any])
                    guard frame["surface"] as? Int == 1 else { return nil }
                    return "\(frame["sequence"] ?? "")"
                }
        }
        #expect(orders[0].filter(orders[1].contains) == orders[1].filter(orders[0].contains))
    }

    @Test("a bridge that is killed leaves a recording that is read, listed and played")
    func killed() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(
            vms: ["a"], ["--headless", "--record", place, "--record-content", "whole"])
        let producer = try bridge.produce("a", ["--rate", "50", "--size", "64x48"])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.shown > 20 } })
        bridge.program.send(SIGKILL)
        #expect(producer.wait() != nil)
        let file = place + "/a-1.vmbrec"
        let list = try Self.replay(["--list", file])
        #expect(list.status == 0)
        #expect(list.out.contains("index rebuilt"), "\(list.out)")
        #expect(list.out.contains("ended: cut off"), "\(list.out)")
        let frames = list.out.split(separator: "\n").filter { $0.contains("handed on surface") }
        #expect(frames.count >= 20)
        let result = try Self.replay(["--headless", "--speed", "max", "--json", file])
        #expect(result.status == 0, "\(result.out)\(result.err)")
        // In the middle of a chunk, too.
        let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        try bytes.prefix(bytes.count * 2 / 3 + 5).write(
            to: URL(fileURLWithPath: place + "/cut.vmbrec"))
        let cut = try Self.replay(
            ["--headless", "--speed", "max", "--json", place + "/cut.vmbrec"])
        #expect(cut.status == 0, "\(cut.out)\(cut.err)")
    }

    @Test("a hostile guest is refused again for the same reasons")
    func refusals() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(
            vms: ["bad"], ["--headless", "--fence-limit", "300", "--record", place])
        let kinds = [
            "short-stride", "offset-overflow", "foreign-modifier", "huge-size", "huge-memory",
            "unsealed-memfd", "write-sealed-memfd", "read-only-memfd", "fifo-as-buffer",
            "socket-as-buffer", "device-as-buffer", "eventfd-as-fence", "fence-never",
            "unknown-buffer", "id-reuse", "unknown-record", "extra-descriptors",
            "many-descriptors", "long-datagram", "bad-framing", "no-greeting", "wrong-version",
        ]
        var files: [String: String] = [:]
        for kind in kinds {
            let guest = try Program.run(
                ["produce", "--socket", bridge.socket("bad"), "--misbehave", kind])
            #expect(guest.status == 0, "\(kind): \(guest.out)\(guest.err)")
            #expect(eventually { (try? bridge.vm("bad").connected) == false }, "\(kind)")
            // Some greet properly first and misbehave on their next connection: the last one counts.
            let file = place + "/bad-\(try bridge.vm("bad").generation).vmbrec"
            files[kind] = file
            #expect(eventually { FileManager.default.fileExists(atPath: file) }, "\(kind)")
        }
        #expect(bridge.program.end() == 0)
        for kind in kinds {
            let file = try #require(files[kind])
            let result = try Self.replay(
                ["--headless", "--fence-limit", "300", "--speed", "max", file])
            #expect(result.status == 0, "\(kind): \(result.out)\(result.err)")
            #expect(result.out.contains("the same as recorded"), "\(kind): \(result.out)")
            // These two are refused on a second connection, which is none of the VM's when the bridge
            // sees it before it has seen the end of the first one.
            if kind == "no-greeting" || kind == "wrong-version" { continue }
            #expect(!result.out.contains("refused: 0,"), "\(kind): \(result.out)")
        }
    }

    @Test("another refusal than recorded is told and ends with a status of its own")
    func difference() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(vms: ["a"], ["--headless", "--record", place])
        let guest = try Program.run(
            ["produce", "--socket", bridge.socket("a"), "--misbehave", "short-stride"])
        #expect(guest.status == 0, "\(guest.err)")
        #expect(bridge.program.end() == 0)
        // The stride made what it should have been, in the file: nothing is refused for it then.
        let path = place + "/a-1.vmbrec"
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let reader = try RecordingReader(RecordingInMemory(bytes))
        var offset = reader.first
        while let chunk = reader.chunk(at: offset) {
            offset = chunk.next
            guard case .sent(let sent, _) = chunk.body,
                let at = (0..<sent.count - 1).first(where: { sent[$0] == 27 && sent[$0 + 1] == 0 })
            else { continue }
            // Reason 27 of a REFUSED becomes 26: what was recorded is another story now.
            bytes[Int(chunk.offset) + 32 + 8 + at] = 26
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let result = try Self.replay(["--headless", "--speed", "max", path])
        #expect(result.status == 1, "\(result.out)\(result.err)")
        #expect(result.out.contains("only now: BUFFER_CREATE"), "\(result.out)")
    }

    @Test("stepwise: says what comes, and goes on with each line")
    func steps() throws {
        let file = Place.root + "/Tests/Fixtures/three-frames.vmbrec"
        let input = Pipe()
        let replay = try Program(["replay", "--headless", "--step", file], input: input)
        for step in 1...3 {
            #expect(
                eventually { replay.out.contains("frame \(step): buffer") }, "\(replay.out)")
            usleep(100_000)
            #expect(!replay.out.contains("frame \(step + 1): buffer"))
            #expect(replay.process.isRunning)
            try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
        }
        #expect(replay.wait() == 0, "\(replay.err)")
        #expect(replay.out.contains("replayed 3 frames"), "\(replay.out)")
        // Without a line there is nothing more to come.
        let ended = try Self.replay(["--headless", "--step", file])
        #expect(ended.status == 0)
        #expect(ended.out.contains("replayed 0 frames"), "\(ended.out)")
    }

    @Test("the fixtures are played to the pixel and to the refusal")
    func fixtures() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let result = try Self.replay([
            "--headless", "--capture", place, "--speed", "max",
            Place.root + "/Tests/Fixtures/three-frames.vmbrec",
        ])
        #expect(result.status == 0, "\(result.out)\(result.err)")
        let picture = try PNGFile.read(place + "/fixture-0.png")
        let pattern = try TestPattern(
            width: 64, height: 48, format: .xrgb8888, seed: 3, label: "fixture")
        let comparison = PictureComparison(
            expected: try pattern.picture(frame: 3), actual: picture)
        #expect(comparison.isEqual, "\(comparison)")
        let hostile = try Self.replay([
            "--headless", "--speed", "max", Place.root + "/Tests/Fixtures/eventfd-as-fence.vmbrec",
        ])
        #expect(hostile.status == 0, "\(hostile.out)\(hostile.err)")
        #expect(hostile.out.contains("refused: 1, the same as recorded"), "\(hostile.out)")
    }

    @Test("a part of a recording shows what was to be seen then")
    func part() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let file = Place.root + "/Tests/Fixtures/three-frames.vmbrec"
        let list = try Self.replay(["--list", "--json", file]).out
        let times = try list.split(separator: "\n").filter { $0.contains("\"kind\":\"frame\"") }
            .map { line -> UInt64 in
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
                let time = (object as? [String: Any])?["time_ns"] as? NSNumber
                return try #require(time).uint64Value
            }
        #expect(times.count == 3)
        let pattern = try TestPattern(
            width: 64, height: 48, format: .xrgb8888, seed: 3, label: "fixture")
        // Up to a little behind the second frame; and from there on, which begins with what it left.
        let middle = String(Double(times[1]) / 1e9 + 0.004)
        for (name, arguments, shown, frames) in [
            ("first", ["--to", middle], UInt32(2), 2), ("rest", ["--from", middle], 3, 2),
        ] {
            let result = try Self.replay(
                ["--headless", "--capture", "\(place)/\(name)", "--json"] + arguments + [file])
            #expect(result.status == 0, "\(result.out)\(result.err)")
            #expect(result.out.contains("\"frames\":\(frames),"), "\(name): \(result.out)")
            let picture = try PNGFile.read("\(place)/\(name)/fixture-0.png")
            let comparison = PictureComparison(
                expected: try pattern.picture(frame: shown), actual: picture)
            #expect(comparison.isEqual, "\(name): \(comparison)")
        }
    }

    @Test("a replay on a compositor shows the window that was recorded, under the VM's name")
    func onCompositor() throws {
        let weston = try PrivateCompositor(.weston)
        let input = Pipe()
        let replay = try Program(
            ["replay", "--step", Place.root + "/Tests/Fixtures/three-frames.vmbrec"],
            environment: weston.environment, input: input)
        let pattern = try TestPattern(
            width: 64, height: 48, format: .xrgb8888, seed: 3, label: "fixture")
        for step in 1...3 {
            #expect(
                eventually(seconds: 20) { replay.out.contains("frame \(step): buffer") },
                "\(replay.out)\(replay.err)")
            if step == 3 {
                // The second one is there until the third one's line comes.
                #expect(
                    try eventually(seconds: 20) {
                        try weston.screenshot().shownFrame(of: pattern, in: 1...3) == 2
                    })
                #expect(try weston.sceneGraph().contains("[fixture] fixture"))
            }
            try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
        }
        #expect(replay.wait() == 0, "\(replay.err)")
        #expect(replay.out.contains("the same as recorded"), "\(replay.out)")
    }

    @Test("limits end a recording and a trace, a full disk too, and the bridge goes on")
    func limits() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(
            vms: ["a"],
            [
                "--headless", "--record", place, "--record-content", "whole", "--record-limit",
                "60000", "--trace", "/dev/full",
            ])
        let producer = try bridge.produce(
            "a", ["--frames", "30", "--rate", "100", "--size", "64x48", "--json"])
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(try bridge.vm("a").refusals.isEmpty)
        #expect(bridge.program.end() == 0)
        let file = place + "/a-1.vmbrec"
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int
        #expect((size ?? .max) <= 60_000)
        let list = try Self.replay(["--list", file]).out
        #expect(list.contains("ended: the size limit was reached"), "\(list)")
        #expect(!list.contains("rebuilt"), "\(list)")
        #expect(bridge.program.err.contains("the size limit was reached"))
        #expect(bridge.program.err.contains("/dev/full ends"), "\(bridge.program.err)")
        let report = try String(contentsOfFile: bridge.directory + "/report.json", encoding: .utf8)
        #expect(report.contains("\"ended\":\"the size limit was reached\""), "\(report)")
    }

    @Test("a trace has each frame's stages, and another reader understands it")
    func trace() throws {
        let place = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let bridge = try RunningBridge(
            vms: ["good", "bad"], ["--headless", "--trace", place + "/trace"])
        let producer = try bridge.produce(
            "good",
            [
                "--frames", "25", "--rate", "50", "--size", "64x48", "--surfaces", "2", "--fence",
                "message",
            ])
        let hostile = try bridge.produce("bad", ["--misbehave", "short-stride"])
        #expect(producer.wait() == 0, "\(producer.err)")
        #expect(hostile.wait() == 0, "\(hostile.err)")
        #expect(bridge.program.end() == 0)
        let read = try Program.run(
            ["python3", Place.root + "/Tests/Support/read-trace.py", place + "/trace"],
            program: "/usr/bin/env")
        #expect(read.status == 0, "\(read.err)")
        struct Trace: Decodable {
            var tracks: [String]
            var vms: [String]
            var open: Int
            var lost: Int
            var stray: Int
            var frames: [Int]
            var slices: [String: Int]
            var instants: [String: Int]
            var counters: [String: [Int]]
        }
        let trace = try JSONDecoder().decode(Trace.self, from: Data(read.out.utf8))
        #expect(trace.vms == ["bad", "good"])
        #expect(trace.open == 0 && trace.lost == 0 && trace.stray == 0)
        #expect(trace.frames.prefix(25) == [Int](1...25)[...])
        // 50 of the good VM, and those around the misbehaviour.
        let frames = try #require(trace.slices["frame"])
        #expect(frames >= 50)
        #expect(trace.slices["receive to validate"] == frames)
        #expect((trace.slices["fence"] ?? 0) > 0)
        #expect((trace.slices["commit to presented"] ?? 0) > 40)
        #expect((trace.instants["released"] ?? 0) > 40)
        #expect(trace.instants["refused bad_layout"] == 1)
        #expect(trace.counters["buffers"]?.max() ?? 0 >= 6)
        #expect(trace.counters["buffers"]?.last == 0)
        #expect(trace.counters["buffer memory"]?.last == 0)
    }

    @Test("wrong usage and files that are no recordings say what is wrong")
    func usage() throws {
        for (arguments, status, word) in [
            (["--socket", "/x", "--headless", "f"], Int32(64), "--headless"),
            (["--speed", "0", "f"], 64, "--speed"),
            (["--from", "3", "--to", "2", "f"], 64, "--from"),
            (["--headless", "/dev/null"], 65, "regular file"),
            (["--headless", Place.root + "/README.md"], 65, "no recording"),
            (["--headless", "/nonexistent.vmbrec"], 65, "/nonexistent"),
            (
                ["--socket", "/nonexistent", Place.root + "/Tests/Fixtures/three-frames.vmbrec"],
                69,
                "cannot connect"
            ),
            ([Place.root + "/Tests/Fixtures/three-frames.vmbrec"], 69, "WAYLAND_DISPLAY"),
        ] {
            let result = try Self.replay(arguments)
            #expect(result.status == status, "\(arguments): \(result.err)")
            #expect(result.err.contains(word), "\(arguments): \(result.err)")
        }
        let content = try Program.run([
            "run", "--headless", "--source", "a=socket:/tmp/x.sock", "--record-content", "whole",
        ])
        #expect(content.status == 64)
        let trace = try Program.run([
            "run", "--headless", "--source", "a=socket:/tmp/vmb-x.sock", "--trace",
            "/nonexistent/t",
        ])
        #expect(trace.status == 74)
        #expect(trace.err.contains("/nonexistent/t"))
    }
}
