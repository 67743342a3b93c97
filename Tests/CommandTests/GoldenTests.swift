import Foundation
import Testing

@Suite("[kernel] what commands print, word by word")
struct GoldenTests {
    @Test("the help of the program and of each of its commands")
    func help() throws {
        let main = try Program.run(["--help"])
        #expect(main.status == 0)
        try Golden.check("help", main.out)
        let commands = main.out.split(separator: "\n").drop { $0 != "SUBCOMMANDS:" }.dropFirst()
            .filter {
                $0.hasPrefix("  ") && !$0.hasPrefix("   ")
                    && $0.dropFirst(2).first?.isLowercase == true
            }
            .compactMap { $0.split(separator: " ").first.map(String.init) }
        #expect(commands.count >= 16, "\(main.out)")
        for command in commands {
            let help = try Program.run([command, "--help"])
            #expect(help.status == 0)
            try Golden.check("help-" + command, help.out)
        }
    }

    @Test("tables and sentences of the commands that ask a bridge")
    func tables() throws {
        let stage = try ControlStage()
        for (name, arguments) in [
            ("status", ["status"]), ("list", ["list"]), ("list-json", ["list", "--json"]),
            ("watch", ["watch", "--events", "0"]), ("close", ["close", "--vm", "work"]),
            ("hide", ["hide", "--vm", "work", "--surface", "1"]),
            ("show", ["show", "--vm", "play"]), ("freeze", ["freeze", "--vm", "work"]),
            ("thaw", ["thaw", "--vm", "work"]),
            ("move", ["move", "--vm", "work", "--surface", "7", "show", "fullscreen", "DP-1"]),
            ("reload", ["reload"]),
        ] {
            let result = try stage.run(arguments)
            #expect(result.status == 0, "\(name): \(result.err)")
            #expect(result.err.isEmpty)
            #expect(!result.out.contains("\u{1b}"))
            try Golden.check("control-" + name, result.out)
        }
        // The time of day stands before each line.
        let log = try stage.run(["log", "--count", "4"])
        let lines = log.out.split(separator: "\n").map { $0.dropFirst(9) }
        try Golden.check("control-log", lines.joined(separator: "\n") + "\n")
    }

    @Test("errors and their statuses")
    func errors() throws {
        let stage = try ControlStage()
        var text = ""
        for (arguments, status) in [
            (["close", "--vm", "x"], 1), (["hide", "--vm", "work", "--surface", "9"], 1),
            (["hide", "--vm", "play", "--surface", "1"], 1),
            (["move", "--vm", "work", "shwo"], 1),
            (["move", "--vm", "work", "hand-to", "moon"], 1),
            (["capture", "--vm", "work", "--output", stage.directory + "/x.png"], 1),
            (["capture", "--output", "x.png"], 64), (["close"], 64),
            (["watch", "--interval", "5"], 64),
            (["capture", "--all", "--surface", "1", "--output", "x.png"], 64),
        ] as [([String], Int32)] {
            let result = try stage.run(arguments)
            #expect(result.status == status, "\(arguments): \(result.err)")
            #expect(result.out.isEmpty)
            let shown = arguments.map { $0.replacing(stage.directory, with: "DIR") }
            text += "$ vm-bridge \(shown.joined(separator: " "))\n\(result.err)"
        }
        #expect(!FileManager.default.fileExists(atPath: stage.directory + "/x.png"))
        for (socket, status) in [("/nonexistent/control", 69), (stage.directory, 69)]
            as [(String, Int32)]
        {
            let result = try Program.run(["status", "--socket", socket])
            #expect(result.status == status)
            text +=
                "$ vm-bridge status --socket X\n"
                + result.err.replacing(socket, with: "X")
        }
        let nowhere = try Program.run(["status"], environment: ["XDG_RUNTIME_DIR": ""])
        #expect(nowhere.status == 69)
        text += "$ XDG_RUNTIME_DIR= vm-bridge status\n" + nowhere.err
        try Golden.check("control-errors", text)
    }
}
