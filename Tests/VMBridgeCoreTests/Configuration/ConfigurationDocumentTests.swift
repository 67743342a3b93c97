import Foundation
import Testing

@testable import VMBridgeCore

/// What the manual and the template say is what the reader reads.
@Suite("[pure] configuration: manual and template")
struct ConfigurationDocumentTests {
    private func text(_ path: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    private func manual() throws -> [String] {
        try text("dist/man/vm-bridge-config.5").components(separatedBy: "\n")
    }

    /// Literal blocks of a section.
    private func blocks(_ lines: [String], of section: String) -> [String] {
        var blocks: [String] = []
        var block: [String]?
        var isThere = false
        for line in lines {
            if line.hasPrefix(".Sh ") { isThere = line == ".Sh \(section)" }
            if line.hasPrefix(".Bd "), isThere {
                block = []
            } else if line == ".Ed", let whole = block {
                blocks.append(whole.joined(separator: "\n"))
                block = nil
            } else {
                block?.append(line)
            }
        }
        return blocks
    }

    @Test func examplesAreRight() throws {
        let examples = blocks(try manual(), of: "EXAMPLES")
        #expect(examples.count == 3)
        for example in examples {
            // Nothing in them that the page's language would change.
            #expect(!example.contains("\\") && !example.contains("\n."))
            let (configuration, said) = ConfigurationReader.read(example, file: "example")
            #expect(configuration != nil)
            #expect(!said.contains { $0.severity != .note }, "\(said.map(\.description))")
        }
        let whole = ConfigurationReader.read(examples.joined(separator: "\n"), file: "all")
        #expect(whole.configuration?.vms.count == 5 && whole.configuration?.rules.count == 6)
    }

    @Test func theDiagnosticIsReal() throws {
        let shown = try #require(blocks(try manual(), of: "DIAGNOSTICS").first)
        let said = ConfigurationReader.read("vm work {\n    sorce socket\n}\n", file: "config")
        #expect(said.diagnostics.map(\.description) == [shown])
    }

    /// Each word of the language has an entry in the manual, and in the part about its block.
    @Test func everyWordIsInTheManual() throws {
        let lines = try manual()
        func entries(from start: String, to end: String) throws -> Set<String> {
            let first = try #require(lines.firstIndex { $0.hasPrefix(start) })
            let last = try #require(lines[first...].firstIndex { $0.hasPrefix(end) })
            return Set(
                lines[first..<last].filter { $0.hasPrefix(".It Ic ") }.map {
                    String($0.dropFirst(7).prefix { $0 != " " })
                })
        }
        for (block, start, end) in [
            (ConfigurationWords.file, ".Sh VIRTUAL", ".Ss Conditions"),
            (.vm, ".Sh VIRTUAL", ".Sh CONSUMERS"), (.consumer, ".Sh CONSUMERS", ".Sh BUDGETS"),
            (.budget, ".Sh BUDGETS", ".Sh RULES"), (.rule, ".Ss Conditions", ".Sh TEMPLATES"),
            (.match, ".Ss Conditions", ".Ss Actions"), (.show, ".Ss Actions", ".Sh TEMPLATES"),
        ] {
            let there = try entries(from: start, to: end)
            for word in block.words { #expect(there.contains(word), "\(word) of \(block.place)") }
            if [.vm, .budget].contains(block) {
                #expect(
                    there.subtracting(block.words).subtracting(["vm"]).isEmpty, "\(block.place)")
            }
        }
        let page = lines.joined(separator: "\n")
        for name in Transform.configurationNames { #expect(page.contains(name)) }
        for place in TextTemplate.Place.allCases {
            #expect(page.contains(".Brq \(place.rawValue)"))
        }
        for (number, word) in [
            (VMLimits().surfaces, "surfaces"), (VMLimits().buffers, "buffers"),
            (VMLimits().baseRate, "rate"), (VMLimits().ratePerSurface, "surface-rate"),
            (Int(VMLimits().fenceLimit / 1_000_000), "fence-limit"),
        ] {
            let entry = try #require(lines.firstIndex { $0.hasPrefix(".It Ic \(word) ") })
            #expect(lines[entry + 1].contains("\(number)"), "default of \(word)")
        }
    }

    /// The template configures nothing as it stands, and what it offers in comments is right.
    @Test func theTemplate() throws {
        let template = try text("dist/config")
        let (configuration, said) = ConfigurationReader.read(template, file: "config")
        #expect(configuration == Configuration() && said.isEmpty)

        // Examples have no blank behind their sign, or several.
        let offered = template.components(separatedBy: "\n").map { line in
            let isText = line.hasPrefix("# ") && !line.hasPrefix("#  ")
            return line.hasPrefix("#") && !isText ? String(line.dropFirst()) : ""
        }
        let read = ConfigurationReader.read(offered.joined(separator: "\n"), file: "config")
        #expect(!read.diagnostics.contains { $0.severity != .note })
        #expect(read.configuration?.vms.count == 1 && read.configuration?.rules.count == 2)
    }
}
