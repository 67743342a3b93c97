import ArgumentParser
import Glibc
import VMBridge
import VMBridgeCore

/// What is wrong with a configuration.
struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Read the configuration and say what is wrong with it.",
        discussion: """
            Without FILE it reads what `vm-bridge run` would:
              $XDG_CONFIG_HOME/vm-bridge/config (or ~/.config/vm-bridge/config), and below it
              vm-bridge/config in each of $XDG_CONFIG_DIRS (or /etc/xdg).
            No file at all is a good configuration. The language is in vm-bridge-config(5).

            Each line is FILE:LINE:COLUMN: SEVERITY: SENTENCE. An error makes a configuration useless;
            a warning is about something that is surely not meant; a note is worth knowing.

            JSON
              One object on one line. Members may be added; while "version" is 1 none
              changes its meaning or goes away:
                version      1
                good         whether `vm-bridge run` would take it
                files        an array of objects with the file's name as "file"
                diagnostics  an array of objects: file, line, column, severity, message,
                             and suggestion where there is one
                vms, consumers, rules  how many there are, when it is good

            EXIT STATUS
              0   good, perhaps with warnings     1   not good
              64  wrong usage                     66  FILE cannot be read
            """)

    @Argument(
        help: ArgumentHelp("The file to check instead.", valueName: "FILE"), completion: .file())
    var file: String?

    @Flag(name: .long, help: "Print one JSON object.")
    var json = false

    func run() throws {
        let texts: [ConfigurationText]
        do {
            texts = try ConfigurationFiles.load(named: file)
        } catch {
            StandardError.write("vm-bridge: \(error)\n")
            throw ExitCode(66)
        }
        let (configuration, diagnostics) = ConfigurationReader.read(texts)
        if json {
            print(Self.json(texts, configuration, diagnostics))
        } else {
            for diagnostic in diagnostics { print(diagnostic) }
            print(Self.verdict(texts, configuration, diagnostics))
        }
        if configuration == nil { throw ExitCode(1) }
    }

    private static func verdict(
        _ texts: [ConfigurationText], _ configuration: Configuration?, _ diagnostics: [Diagnostic]
    ) -> String {
        guard let configuration else {
            let count = diagnostics.filter { $0.severity == .error }.count
            return "\(count) \(count == 1 ? "error" : "errors")."
        }
        guard !texts.isEmpty else {
            return
                "There is no configuration file, which is good: every surface is shown. Places for one: "
                + ConfigurationFiles.places().joined(separator: ", ")
        }
        func count(_ number: Int, _ word: String) -> String {
            "\(number) \(word)\(number == 1 ? "" : "s")"
        }
        let content = [
            count(configuration.vms.count, "VM"),
            count(configuration.consumers.count, "consumer"),
            count(configuration.rules.count, "rule"),
        ]
        return "Good: \(content.joined(separator: ", ")) in "
            + texts.map(\.file).joined(separator: ", ")
    }

    private static func json(
        _ texts: [ConfigurationText], _ configuration: Configuration?, _ diagnostics: [Diagnostic]
    ) -> String {
        var object = JSONObject()
        object.add("version", 1 as UInt64)
        object.add("good", configuration != nil)
        object.add(
            "files",
            texts.map { text in
                var file = JSONObject()
                file.add("file", text.file)
                return file
            })
        object.add(
            "diagnostics",
            diagnostics.map { diagnostic in
                var entry = JSONObject()
                entry.add("file", diagnostic.file)
                entry.add("line", UInt64(diagnostic.line))
                entry.add("column", UInt64(diagnostic.column))
                entry.add("severity", diagnostic.severity.rawValue)
                entry.add("message", diagnostic.message)
                if let suggestion = diagnostic.suggestion { entry.add("suggestion", suggestion) }
                return entry
            })
        if let configuration {
            object.add("vms", UInt64(configuration.vms.count))
            object.add("consumers", UInt64(configuration.consumers.count))
            object.add("rules", UInt64(configuration.rules.count))
        }
        return object.text
    }
}
