import Testing
import VMBridgeCore

/// Whatever the bytes, reading ends in a configuration or in errors that point into the text; a trap would
/// end the test run.
@Suite("[pure] configuration: mutated and random files")
struct ConfigurationFuzzTests {
    /// What must hold of every reading; nil when it does.
    private func problem(_ bytes: [UInt8]) -> String? { judge(bytes).problem }

    private func judge(_ bytes: [UInt8]) -> (problem: String?, isGood: Bool) {
        let (configuration, said) = ConfigurationReader.read([
            ConfigurationText(file: "f", bytes: bytes)
        ])
        let hasError = said.contains { $0.severity == .error }
        if (configuration == nil) != hasError {
            return ("a configuration beside an error, or neither", false)
        }
        if said.isEmpty { return (nil, configuration != nil) }
        return (complaint(said, bytes), configuration != nil)
    }

    /// What is wrong with what is said.
    private func complaint(_ said: [Diagnostic], _ bytes: [UInt8]) -> String? {
        // Places counted by other means than the reader's: lines by their ends, columns by scalars.
        let lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
        var last = (0, 0)
        for one in said {
            guard (1...lines.count).contains(one.line) else { return "no such line: \(one)" }
            let width = String(decoding: lines[one.line - 1], as: UTF8.self).unicodeScalars.count
            guard (1...width + 1).contains(one.column) else { return "no such column: \(one)" }
            if one.message.isEmpty || one.message.utf8.count > 400 { return "no sentence: \(one)" }
            let text = one.description.unicodeScalars
            if text.contains(where: { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) }) {
                return "what a terminal would obey: \(one)"
            }
            if (one.line, one.column) < last { return "out of order: \(one)" }
            last = (one.line, one.column)
        }
        if said.count > 300 { return "\(said.count) diagnostics" }
        return nil
    }

    private static let pieces: [String] = [
        "vm", "consumer", "rule", "match", "show", "hide", "refuse", "hand-to", "source", "socket",
        "colour", "label", "budget", "surfaces", "bytes", "rate", "fences", "fullscreen", "title",
        "app-id", "size", "frame", "on", "off", "fixed", "tag", "content", "data", "role",
        "toplevel", "transform", "90", "\"{title} {vm}\"", "'{{'", "800..1920x*", "work", "a.b",
        "a_b", " ", "  ", "\t", "\n", "\n\n", "\r\n", " {\n", "\n}\n", "{", "}", "\"", "'", "\\",
        "#", "# x\n", "\u{0}", "\u{7f}", "\u{feff}", "\u{202e}", "ä", "🙂", "64M", "-1",
        "99999999999999999999", "*", "?",
    ]

    private func mutated(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
        var bytes = bytes
        for _ in 0...random.below(3) {
            let place = random.below(bytes.count + 1)
            switch random.below(7) {
            case 0 where place < bytes.count:
                bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1 where place < bytes.count: bytes.remove(at: place)
            case 2:
                let piece = Self.pieces[random.below(Self.pieces.count)]
                bytes.insert(contentsOf: Array(piece.utf8), at: place)
            case 3: bytes.removeSubrange(place..<min(bytes.count, place + random.below(40)))
            case 4: bytes = Array(bytes[..<place])
            case 5 where place < bytes.count: bytes[place] ^= 1 << UInt8(random.below(8))
            default:
                let end = min(bytes.count, place + random.below(80))
                bytes.insert(
                    contentsOf: Array(bytes[place..<end]), at: random.below(bytes.count + 1))
            }
        }
        return bytes
    }

    @Test func mutations() {
        var random = Random(seed: 4)
        let samples = ConfigurationReadingTests.complete.split(
            separator: "\n", omittingEmptySubsequences: false)
        var good = 0
        for round in 0..<60_000 {
            // A part of the complete file, whole blocks or not.
            let first = random.below(samples.count)
            let last = min(samples.count, first + random.below(12))
            let text = Array(samples[first..<last].joined(separator: "\n").utf8)
            let bytes = mutated(text, &random)
            let (problem, isGood) = judge(bytes)
            if let problem {
                Issue.record("\(round): \(problem): \(String(decoding: bytes, as: UTF8.self))")
                return
            }
            if isGood { good += 1 }
        }
        // Neither all nor none: the mutations reach past the first check.
        #expect(good > 100 && good < 50_000, "\(good) good files")
    }

    @Test func mutationsOfTheWhole() {
        var random = Random(seed: 5)
        let whole = Array(ConfigurationReadingTests.complete.utf8)
        for round in 0..<4000 {
            let bytes = mutated(whole, &random)
            if let problem = problem(bytes) {
                Issue.record("\(round): \(problem): \(String(decoding: bytes, as: UTF8.self))")
                return
            }
        }
    }

    @Test func wordsInAnyOrder() {
        var random = Random(seed: 6)
        for round in 0..<30_000 {
            var text = ""
            for _ in 0..<random.below(30) {
                text += Self.pieces[random.below(Self.pieces.count)]
                if !random.oneIn(4) { text += " " }
            }
            if let problem = problem(Array(text.utf8)) {
                Issue.record("\(round): \(problem): \(text)")
                return
            }
        }
    }

    @Test func randomBytes() {
        var random = Random(seed: 7)
        for round in 0..<10_000 {
            let bytes = (0..<random.below(120)).map { _ in UInt8(truncatingIfNeeded: random.next())
            }
            if let problem = problem(bytes) {
                Issue.record("\(round): \(problem): \(bytes)")
                return
            }
        }
    }

    /// Files as long as any may be, of what costs most: the time grows with the length, not its square.
    @Test(.timeLimit(.minutes(1)))
    func greatestFiles() {
        let limit = ConfigurationReader.limit
        func filled(_ text: String, _ final: String = "") -> [UInt8] {
            let count = (limit - final.utf8.count) / text.utf8.count
            return Array((String(repeating: text, count: count) + final).utf8)
        }
        for bytes in [
            filled("{"), filled("a {\n"), filled("}\n"), filled("\""), filled("\\"), filled("a "),
            filled("a'"), filled("vm aa\n"), filled("vmm\n"), filled("rule {\nhide\n}\n"),
            filled("rule {\nmatch title x\nhide\n}\n"), filled("*", "\n"), filled(" "),
            filled("rule {\nmatch vm xy\nhide\n}\n", "vm a\n"),
            Array(
                (0..<900).map { "vm v\($0)\nrule {\nmatch vm v\($0) title *a\($0)*\nhide\n}\n" }
                    .joined().utf8),
        ] {
            #expect(problem(bytes) == nil)
        }
    }
}
