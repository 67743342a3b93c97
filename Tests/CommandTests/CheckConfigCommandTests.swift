import Foundation
import Testing

@Suite("[kernel] vm-bridge check-config")
struct CheckConfigCommandTests {
    private func file(_ text: String) throws -> String {
        let path = try Place.temporary() + "/config"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test func goodAndBadFiles() throws {
        let good = try file("vm a\nvm b {\n  label b\n}\nrule {\n  hide\n}\n")
        let first = try Program.run(["check-config", good])
        #expect(first.status == 0)
        #expect(first.out == "Good: 2 VMs, 0 consumers, 1 rule in \(good)\n")
        #expect(first.err.isEmpty)

        let bad = try file("vm a {\n  sorce socket\n}\nrule {\n}\n")
        let second = try Program.run(["check-config", bad])
        #expect(second.status == 1)
        #expect(
            second.out == """
                \(bad):2:3: error: “sorce” is unknown in a vm block (did you mean “source”?)
                \(bad):4:1: error: this rule does nothing: it needs show, hide, refuse or hand-to
                2 errors.

                """)
    }

    @Test func whereFilesAreLookedFor() throws {
        let directory = try Place.temporary()
        let environment = [
            "XDG_CONFIG_HOME": directory + "/own", "XDG_CONFIG_DIRS": directory + "/system",
        ]
        let none = try Program.run(["check-config"], environment: environment)
        #expect(none.status == 0)
        #expect(
            none.out == """
                There is no configuration file, which is good: every surface is shown. Places for one: \
                \(directory)/own/vm-bridge/config, \(directory)/system/vm-bridge/config

                """)
        for (place, text) in [("own", "vm a\n"), ("system", "vm a\nvm b\n")] {
            let folder = "\(directory)/\(place)/vm-bridge"
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try text.write(toFile: folder + "/config", atomically: true, encoding: .utf8)
        }
        let both = try Program.run(["check-config"], environment: environment)
        #expect(
            both.out == """
                Good: 2 VMs, 0 consumers, 0 rules in \(directory)/own/vm-bridge/config, \
                \(directory)/system/vm-bridge/config

                """)
        let missing = try Program.run(["check-config", directory + "/nothing"])
        #expect(missing.status == 66 && missing.out.isEmpty)
        #expect(missing.err.contains("\(directory)/nothing: No such file or directory"))
    }

    @Test func json() throws {
        let bad = try file("vm a {\n  label \"\\\"\n}\nvn\n")
        let run = try Program.run(["check-config", "--json", bad])
        #expect(run.status == 1)
        struct Answer: Decodable, Equatable {
            struct File: Decodable, Equatable { var file: String }
            struct Entry: Decodable, Equatable {
                var file: String
                var line: Int
                var column: Int
                var severity: String
                var message: String
                var suggestion: String?
            }
            var version: Int
            var good: Bool
            var files: [File]
            var diagnostics: [Entry]
            var vms: Int?
        }
        let answer = try JSONDecoder().decode(Answer.self, from: Data(run.out.utf8))
        #expect(
            answer
                == Answer(
                    version: 1, good: false, files: [.init(file: bad)],
                    diagnostics: [
                        .init(
                            file: bad, line: 2, column: 9, severity: "error",
                            message: "the quote that begins here is not closed on its line"),
                        .init(
                            file: bad, line: 4, column: 1, severity: "error",
                            message: "“vn” is unknown in a file's top level", suggestion: "vm"),
                    ]))
        let good = try Program.run(["check-config", "--json", try file("vm a")])
        let read = try JSONDecoder().decode(Answer.self, from: Data(good.out.utf8))
        #expect(good.status == 0 && read.good && read.vms == 1 && read.diagnostics.isEmpty)
    }
}
