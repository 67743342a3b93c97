import Testing

@testable import VMBridgeCore

/// The rules once more, written down as plainly as can be and apart from the router.
private enum Reference {
    /// Patterns by the definition: try every split at a star.
    static func matches(_ pattern: [Character], _ text: [Character]) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        let rest = Array(pattern.dropFirst())
        if first == "*" {
            return (0...text.count).contains { matches(rest, Array(text.dropFirst($0))) }
        }
        guard let letter = text.first else { return false }
        if first == "?" { return matches(rest, Array(text.dropFirst())) }
        if first == "\\", let literal = rest.first {
            return literal == letter && matches(Array(rest.dropFirst()), Array(text.dropFirst()))
        }
        return first == letter && matches(rest, Array(text.dropFirst()))
    }

    static func matches(_ pattern: String?, _ text: String?) -> Bool {
        guard let pattern else { return true }
        return matches(Array(pattern), Array(text ?? ""))
    }

    /// A rule as words, not yet anything of the product's.
    struct Condition {
        var vm: String?
        var source: String?
        var content: String?
        var tag: String?
        var title: String?
        var appID: String?
        var size: (width: (UInt32, UInt32), height: (UInt32, UInt32))?
        var transform: UInt32?

        func holds(_ vmName: String, _ facts: SurfaceFacts) -> Bool {
            if !Reference.matches(vm, vmName) { return false }
            if let source, source != "socket" { return false }
            if content == "graphics", !facts.isGraphics { return false }
            if content == "data", facts.isGraphics { return false }
            if !Reference.matches(tag, facts.metadata.consumerTag) { return false }
            if !Reference.matches(title, facts.metadata.title) { return false }
            if !Reference.matches(appID, facts.metadata.appID) { return false }
            if let size {
                guard let known = facts.size else { return false }
                if known.width < size.width.0 || known.width > size.width.1 { return false }
                if known.height < size.height.0 || known.height > size.height.1 { return false }
            }
            if let transform {
                guard let known = facts.transform else { return false }
                if known.rawValue != transform { return false }
            }
            return true
        }

        /// As a line of a configuration file.
        var words: String {
            func quoted(_ text: String) -> String {
                "\"" + text.flatMap { "\\\"".contains($0) ? ["\\", $0] : [$0] } + "\""
            }
            var words: [String] = []
            for (name, pattern) in [
                ("vm", vm), ("source", source), ("content", content), ("tag", tag),
                ("title", title), ("app-id", appID),
            ] {
                if let pattern { words += [name, quoted(pattern)] }
            }
            if let size {
                words += [
                    "size",
                    "\(size.width.0)..\(size.width.1)x\(size.height.0)..\(size.height.1)",
                ]
            }
            if let transform {
                words += ["transform", Transform.configurationNames[Int(transform)]]
            }
            return words.isEmpty ? "" : "match " + words.joined(separator: " ")
        }
    }
}

@Suite("[pure] routing against a plain reference")
struct RoutingReferenceTests {
    private static let letters: [Character] = ["a", "b", "c", "ä", "."]

    private func text(_ random: inout Random, _ most: Int = 4) -> String {
        String((0..<random.below(most + 1)).map { _ in Self.letters[random.below(5)] })
    }

    private func pattern(_ random: inout Random) -> String {
        let special: [Character] = ["*", "?", "*", "\\"]
        return String(
            (0..<random.below(6)).map { _ in
                random.oneIn(2) ? Self.letters[random.below(5)] : special[random.below(4)]
            })
    }

    @Test func patterns() {
        var random = Random(seed: 8)
        var matched = 0
        for _ in 0..<100_000 {
            let (pattern, text) = (pattern(&random), text(&random, 6))
            let expected = Reference.matches(Array(pattern), Array(text))
            if Glob(pattern).matches(text) != expected {
                Issue.record("“\(pattern)” and “\(text)”: not \(expected)")
                return
            }
            if expected { matched += 1 }
        }
        #expect(matched > 2000 && matched < 90_000, "\(matched)")
    }

    /// Stars beside stars over a long text: the time is bounded by the product of the lengths.
    @Test(.timeLimit(.minutes(1)))
    func hostilePatterns() {
        let pattern = String(repeating: "*a", count: 120) + "*b"
        let text = String(repeating: "a", count: 256)
        for _ in 0..<20 { #expect(!Glob(pattern).matches(text)) }
        #expect(Glob(pattern).matches(text + "b"))
    }

    private func condition(_ random: inout Random) -> Reference.Condition {
        var condition = Reference.Condition()
        if random.oneIn(3) { condition.vm = random.oneIn(2) ? "v*" : ["v", "w"][random.below(2)] }
        if random.oneIn(6) { condition.source = "socket" }
        if random.oneIn(4) { condition.content = ["graphics", "data"][random.below(2)] }
        if random.oneIn(3) { condition.tag = pattern(&random) }
        if random.oneIn(3) { condition.title = pattern(&random) }
        if random.oneIn(3) { condition.appID = pattern(&random) }
        if random.oneIn(4) {
            let (width, height) = (UInt32(1 + random.below(4)), UInt32(1 + random.below(4)))
            condition.size = (
                (width, width + UInt32(random.below(4))), (height, height + UInt32(random.below(4)))
            )
        }
        if random.oneIn(6) { condition.transform = UInt32(random.below(8)) }
        return condition
    }

    private func facts(_ random: inout Random) -> SurfaceFacts {
        var metadata = SurfaceMetadata()
        if !random.oneIn(3) { metadata.title = text(&random) }
        if !random.oneIn(3) { metadata.appID = text(&random) }
        if !random.oneIn(3) { metadata.consumerTag = text(&random) }
        var facts = SurfaceFacts(
            role: .toplevel, isGraphics: !random.oneIn(4), metadata: metadata)
        if !random.oneIn(3) {
            facts.size = Size(
                width: UInt32(1 + random.below(6)), height: UInt32(1 + random.below(6)))
            facts.transform = Transform(rawValue: UInt32(random.below(8)))
        }
        return facts
    }

    /// Random rules, read from text, and random surfaces: the first rule that holds counts, and what
    /// is not known of a surface holds for no rule.
    @Test func rulesAndSurfaces() throws {
        var random = Random(seed: 9)
        var ruled = [0, 0]
        for round in 0..<5000 {
            let conditions = (0..<1 + random.below(6)).map { _ in condition(&random) }
            let text = conditions.enumerated().map { index, condition in
                "rule {\n\(condition.words)\nrefuse \"rule \(index)\"\n}\n"
            }.joined()
            let (configuration, said) = ConfigurationReader.read(text, file: "f")
            let read = try #require(configuration, "\(said.map(\.description)) \(text)")
            let vm = ["v", "w"][random.below(2)]
            let router = Router(vmName: vm, configuration: read)
            for _ in 0..<20 {
                let facts = facts(&random)
                let expected = conditions.firstIndex { $0.holds(vm, facts) }
                let got: String?
                switch router.route(facts) {
                case .refuse(let refusal) where refusal.sentence.hasPrefix("rule "):
                    got = refusal.sentence
                case .refuse: got = facts.isGraphics ? "refused" : nil
                case .show: got = facts.isGraphics ? nil : "shown"
                case .hide, .handTo: got = "elsewhere"
                }
                ruled[expected == nil ? 0 : 1] += 1
                if got != expected.map({ "rule \($0)" }) {
                    Issue.record(
                        "\(round): \(String(describing: got)), not \(String(describing: expected)): \(facts) of \(vm) with \(text)"
                    )
                    return
                }
            }
        }
        #expect(ruled[0] + ruled[1] == 100_000 && ruled[0] > 5000 && ruled[1] > 5000, "\(ruled)")
    }

    /// A rule that is said to be never reached is not reached by any surface either.
    @Test func unreachableRulesAreUnreachable() throws {
        var random = Random(seed: 10)
        var warned = 0
        for _ in 0..<4000 {
            let conditions = (0..<5).map { _ in condition(&random) }
            let text = conditions.map { "rule {\n\($0.words)\nhide\n}\n" }.joined()
            let (_, said) = ConfigurationReader.read(text, file: "f")
            let starts = Set(
                said.filter { $0.message.contains("never reached") }.map { ($0.line - 1) / 4 })
            guard conditions.allSatisfy({ !$0.words.isEmpty }), !starts.isEmpty else { continue }
            warned += 1
            for _ in 0..<50 {
                let facts = facts(&random)
                for vm in ["v", "w"] {
                    let first = conditions.firstIndex { $0.holds(vm, facts) }
                    if let first, starts.contains(first) {
                        Issue.record("rule \(first) is reached by \(facts): \(text)")
                        return
                    }
                }
            }
        }
        #expect(warned > 50, "\(warned)")
    }
}
