import Foundation
import Testing

@testable import VMBridge

/// Examples/consumer.c against the whole program: what a rule hands to it, and what becomes of the rest.
@Suite("[kernel] the consumer in C, by the command", .serialized)
struct HandoverCommandTests {
    /// A bridge with two VMs, a consumer `rec` and a rule for each that is not to be shown, and the consumer's program.
    private struct Stage {
        let bridge: RunningBridge
        let program: String

        init(_ rules: String, _ arguments: [String] = []) throws {
            bridge = try RunningBridge(
                configuration: { directory in
                    """
                    vm a {
                        source socket \(directory)/a.sock
                    }
                    vm b {
                        source socket \(directory)/b.sock
                    }
                    consumer rec {
                        socket \(directory)/rec.sock
                    }
                    \(rules)

                    """
                }, awaiting: "rec", ["--headless", "--refresh", "250"] + arguments)
            program = bridge.directory + "/consumer"
            let compiled = try Program.run(
                [
                    "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program,
                    Place.root + "/Examples/consumer.c",
                ], program: "/usr/bin/cc")
            try #require(compiled.status == 0, "\(compiled.err)")
        }

        func consumer(_ socket: String, _ arguments: String...) throws -> Program {
            try Program([bridge.socket(socket)] + arguments, program: program)
        }

        /// The report's part on a consumer; nil while it has none.
        func report(_ name: String) -> [String: Any]? {
            let path = bridge.directory + "/report.json"
            try? FileManager.default.removeItem(atPath: path)
            bridge.program.send(SIGUSR1)
            var found: [String: Any]?
            _ = eventually {
                guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)),
                    let root = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
                else { return false }
                found = (root["consumers"] as? [[String: Any]])?
                    .first { $0["name"] as? String == name && $0["connected"] != nil }
                return true
            }
            return found
        }
    }

    /// What the consumer prints of a picture: FNV-1a of its colours.
    private static func checksum(_ picture: Picture) -> String {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for word in picture.pixels {
            for shift in [0, 8, 16] as [UInt32] {
                sum = (sum ^ UInt64(word >> shift & 0xff)) &* 0x100_0000_01b3
            }
        }
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func sums(_ text: String) -> [String] {
        text.matches(of: /checksum ([0-9a-f]{16})/).map { String($0.1) }
    }

    @Test("a local consumer gets each frame to the pixel; another VM's window goes on")
    func local() throws {
        let stage = try Stage("rule {\n match vm a\n hand-to consumer rec\n}")
        let picture = stage.bridge.directory + "/last.ppm"
        let consumer = try stage.consumer("rec", "ppm", picture)
        #expect(eventually { stage.report("rec")?["connected"] as? Bool == true })
        let beside = try stage.bridge.produce("b", ["--rate", "25", "--hold"])
        let producer = try stage.bridge.produce(
            "a",
            [
                "--frames", "20", "--rate", "25", "--size", "320x200", "--title", "One",
                "--colour", "3", "--fence", "message", "--fence-delay", "5",
            ])
        #expect(producer.wait() == 0, "\(producer.err)")
        let vm = try stage.bridge.vm("a")
        let surface = try #require(vm.surfaces.first)
        #expect(surface.shown + surface.superseded == 20 && surface.superseded <= 4)
        #expect(surface.refused == 0 && vm.buffers == 0 && vm.uses == 0 && vm.refusals.isEmpty)
        #expect(surface.import_path == "memfd, handed over to be read")
        let told = try #require(stage.report("rec"))
        #expect(told["frames"] as? Int == surface.shown)
        #expect(told["released"] as? Int == surface.shown)
        #expect(told["surfaces"] as? Int == 0 && told["buffers"] as? Int == 0)
        let other = try #require(try stage.bridge.vm("b").surfaces.first)
        #expect(other.shown > 10 && other.superseded * 8 <= other.shown && other.lost == 0)
        _ = beside.end()
        #expect(stage.bridge.program.end() == 0)
        #expect(consumer.wait() == 0, "\(consumer.out)\(consumer.err)")
        #expect(consumer.out.contains("surface 1 of VM a, graphics: [a] One\n"))
        #expect(consumer.out.contains("surface 1 is gone\n"))
        // Each of them is one of the pattern's frames, in their order, and the last is the last.
        let pattern = try TestPattern(
            width: 320, height: 200, format: .xrgb8888, seed: 3, label: "One")
        var expected: [String: UInt32] = [:]
        for frame in 0...21 as ClosedRange<UInt32> {
            expected[Self.checksum(try pattern.picture(frame: frame))] = frame
        }
        let seen = Self.sums(consumer.out).map { expected[$0] }
        #expect(seen.count == surface.shown)
        let numbers = seen.compactMap { $0 }
        #expect(numbers.count == seen.count, "\(consumer.out)")
        #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
        let file = try Data(contentsOf: URL(fileURLWithPath: picture))
        let header = Data("P6\n320 200\n255\n".utf8)
        #expect(file.starts(with: header) && file.count == header.count + 320 * 200 * 3)
        let last = try pattern.picture(frame: try #require(numbers.last))
        let colours = last.pixels.flatMap { word in
            [UInt8(word & 0xff), UInt8(word >> 8 & 0xff), UInt8(word >> 16 & 0xff)]
        }
        #expect(Array(file.dropFirst(header.count)) == colours)
    }

    @Test("what is handed to a VM goes to who serves it, beside its own producer")
    func toAnotherVM() throws {
        let stage = try Stage("rule {\n match vm a title \"Far*\"\n hand-to vm b\n}")
        let own = try stage.bridge.produce("b", ["--rate", "25", "--hold"])
        #expect(try eventually { try stage.bridge.vm("b").connected })
        let consumer = try stage.consumer("b", "fences", "frames", "10")
        #expect(eventually { stage.report("b")?["connected"] as? Bool == true })
        let producer = try stage.bridge.produce(
            "a", ["--frames", "40", "--rate", "25", "--title", "Far away"])
        #expect(consumer.wait() == 0, "\(consumer.out)\(consumer.err)")
        #expect(Self.sums(consumer.out).count == 10)
        #expect(Set(Self.sums(consumer.out)).count == 10, "\(consumer.out)")
        #expect(consumer.out.contains("of VM a, graphics: [a] Far away\n"))
        // It has left in the middle: the guest goes on by itself, and another one may come.
        let next = try stage.consumer("b", "skip", "frames", "5")
        #expect(next.wait() == 0, "\(next.out)\(next.err)")
        #expect(next.out.contains(": skipped, no fence\n"))
        #expect(producer.wait() == 0, "\(producer.err)")
        let vm = try stage.bridge.vm("b")
        #expect(vm.connected && vm.generation == 1 && vm.refusals.isEmpty)
        let surface = try #require(vm.surfaces.first)
        #expect(surface.shown > 10 && surface.lost == 0)
        #expect(stage.report("b")?["generation"] as? Int == 2)
        _ = own.end()
    }

    @Test("consumers that come and are killed leave the bridge as it was")
    func killed() throws {
        let stage = try Stage("rule {\n match vm a\n hand-to consumer rec\n}")
        let before = stage.bridge.program.descriptors
        let beside = try stage.bridge.produce("b", ["--rate", "25", "--hold"])
        #expect(try eventually { try stage.bridge.vm("b").surfaces.contains { $0.shown > 3 } })
        for _ in 0..<3 {
            let consumer = try stage.consumer("rec")
            let producer = try stage.bridge.produce("a", ["--surfaces", "3", "--rate", "50"])
            #expect(eventually { consumer.out.split(separator: "\n").count > 20 })
            consumer.send(SIGKILL)
            #expect(eventually { stage.report("rec")?["connected"] as? Bool == false })
            producer.send(SIGKILL)
            #expect(try eventually { try !stage.bridge.vm("a").connected })
            let vm = try stage.bridge.vm("a")
            #expect(vm.buffers == 0 && vm.uses == 0 && vm.surfaces.allSatisfy { $0.gone })
        }
        let other = try #require(try stage.bridge.vm("b").surfaces.first)
        #expect(other.superseded * 8 <= other.shown && other.refused == 0 && other.lost == 0)
        _ = beside.end()
        #expect(eventually { stage.bridge.program.descriptors == before })
        #expect(stage.bridge.program.end() == 0, "\(stage.bridge.program.err)")
    }

    @Test("its README names the line that compiles it, and it includes the header alone")
    func readme() throws {
        let readme = try String(contentsOfFile: Place.root + "/Examples/README.md", encoding: .utf8)
        #expect(readme.contains("\ncc -std=c11 -O2 -Wall -Wextra -Werror -o consumer consumer.c\n"))
        let text = try String(contentsOfFile: Place.root + "/Examples/consumer.c", encoding: .utf8)
        #expect(
            text.matches(of: /#include "(.+)"/).map { String($0.1) }
                == ["../Protocols/vm_bridge_source.h"])
    }
}
