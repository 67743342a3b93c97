/// What is read of one file: values, and the places that later checks want to point at.
struct ConfigurationFileReader {
    /// A VM's settings and where they stand.
    struct VMEntry {
        var value: VMConfiguration
        var place: TextPlace
        var sourcePlace: TextPlace?
        var labelPlace: TextPlace?
    }
    /// A consumer's settings and where they stand.
    struct ConsumerEntry {
        var value: ConsumerConfiguration
        var place: TextPlace
        var socketPlace: TextPlace?
    }
    /// A rule and where it stands.
    struct RuleEntry {
        var value: Rule
        var place: TextPlace
        var vmPlace: TextPlace?
        var targetPlace: TextPlace?
    }

    /// Most of each kind in one file: later checks compare them with each other.
    static let entryLimit = 1000
    /// Most that is said of each severity; nobody reads more.
    static let diagnosticLimit = 100
    /// Longest path of a unix socket: `sun_path` of sockaddr_un without its final zero.
    static let pathLimit = 107

    let file: String
    private(set) var diagnostics: [Diagnostic] = []
    private(set) var vms: [VMEntry] = []
    private(set) var consumers: [ConsumerEntry] = []
    private(set) var rules: [RuleEntry] = []
    private var counts: [Diagnostic.Severity: Int] = [:]
    /// What was explained already: once a file is enough.
    private var notes: Set<String> = []

    /// A reader that has read nothing yet.
    init(file: String) { self.file = file }

    /// Reads a file's text.
    mutating func read(_ text: String) {
        let syntax = ConfigurationSyntax(text)
        for problem in syntax.problems { report(.error, problem.message, at: problem.place) }
        for directive in known(syntax.directives, in: .file) {
            switch directive.name.text {
            case "vm": readVM(directive)
            case "consumer": readConsumer(directive)
            default: readRule(directive)
            }
        }
    }

    // MARK: Saying

    mutating func report(
        _ severity: Diagnostic.Severity, _ message: String, at place: TextPlace,
        suggestion: String? = nil
    ) {
        guard counts[severity, default: 0] < Self.diagnosticLimit else { return }
        counts[severity, default: 0] += 1
        diagnostics.append(
            Diagnostic(
                file: file, line: place.line, column: place.column, severity: severity,
                message: message, suggestion: suggestion))
    }

    mutating func note(_ message: String, at place: TextPlace) {
        if notes.insert(message).inserted { report(.note, message, at: place) }
    }

    /// Errors for a value that is none of a list.
    mutating func reportChoice(
        _ word: ConfigurationWord, of choices: [String], what: String
    ) {
        report(
            .error, "\(quoted(word)) is no \(what): \(choices.joined(separator: ", "))",
            at: word.place, suggestion: Spelling.nearest(to: word.text, of: choices))
    }

    /// A word as it stands in messages: short, and nothing in it that a terminal obeys.
    func quoted(_ word: ConfigurationWord) -> String { Self.quoted(word.text) }

    static func quoted(_ text: String) -> String {
        let clean = CleanText.clean(text, limit: 64)
        return "“\(clean)\(text.utf8.count > 64 ? "…" : "")”"
    }

    // MARK: Directives

    /// The directives whose names a place knows, each once; the others are errors.
    mutating func known(
        _ directives: [ConfigurationDirective], in place: ConfigurationWords
    ) -> [ConfigurationDirective] {
        var lines: [String: Int] = [:]
        let words = place.words
        return directives.filter { directive in
            let name = directive.name
            guard words.contains(name.text) else {
                reportUnknown(name, in: place)
                return false
            }
            if !place.mayRepeat, let line = lines[name.text] {
                report(
                    .error, "“\(name.text)” is given twice; first on line \(line)", at: name.place)
                return false
            }
            lines[name.text] = name.place.line
            return true
        }
    }

    private mutating func reportUnknown(_ name: ConfigurationWord, in place: ConfigurationWords) {
        guard counts[.error, default: 0] < Self.diagnosticLimit else { return }
        if let why = place.impossible(name.text) {
            report(.error, why, at: name.place)
            return
        }
        let homes = ConfigurationWords.allCases.filter { $0.words.contains(name.text) }
        if !homes.isEmpty {
            let names = homes.map(\.place).joined(separator: " or ")
            report(
                .error, "“\(name.text)” does not belong in \(place.place), but in \(names)",
                at: name.place)
            return
        }
        report(
            .error, "\(quoted(name)) is unknown in \(place.place)", at: name.place,
            suggestion: Spelling.nearest(to: name.text, of: place.words))
    }

    /// Checks how many parameters a directive has and that it has no block.
    mutating func parameters(
        _ directive: ConfigurationDirective, _ counts: ClosedRange<Int>,
        in place: ConfigurationWords
    ) -> [ConfigurationWord]? {
        let name = directive.name.text
        guard counts.contains(directive.parameters.count) else {
            let excess = directive.parameters.dropFirst(counts.upperBound).first
            if let excess, excess.text.hasPrefix("#"), !excess.isQuoted {
                report(.error, "a comment has a line of its own", at: excess.place)
            } else {
                report(
                    .error,
                    "“\(name)” has \(excess == nil ? "too few" : "too many") values: \(place.usage(name))",
                    at: excess?.place ?? directive.name.place)
            }
            return nil
        }
        guard directive.block == nil else {
            report(
                .error, "“\(name)” takes no block: \(place.usage(name))", at: directive.name.place)
            return nil
        }
        return directive.parameters
    }

    /// The only parameter of a directive.
    mutating func parameter(
        _ directive: ConfigurationDirective, in place: ConfigurationWords
    ) -> ConfigurationWord? {
        parameters(directive, 1...1, in: place)?.first
    }

    /// The name of a block such as `vm NAME { … }`.
    private mutating func blockName(_ directive: ConfigurationDirective) -> ConfigurationWord? {
        var line = directive
        line.block = nil
        guard let name = parameter(line, in: .file) else { return nil }
        if let problem = VMConfiguration.problem(ofName: name.text) {
            report(.error, problem, at: name.place)
            return nil
        }
        return name
    }

    // MARK: Blocks

    private mutating func readVM(_ directive: ConfigurationDirective) {
        guard let name = blockName(directive) else { return }
        if let other = vms.first(where: { $0.value.name == name.text }) {
            report(
                .error, "“\(name.text)” is configured already, on line \(other.place.line)",
                at: name.place)
            return
        }
        var entry = VMEntry(value: VMConfiguration(name: name.text), place: name.place)
        for line in known(directive.block ?? [], in: .vm) {
            switch line.name.text {
            case "source":
                entry.value.source = readSource(line)
                entry.sourcePlace = line.name.place
            case "colour": entry.value.colour = readColour(line)
            case "label":
                guard let label = parameter(line, in: .vm) else { continue }
                guard isClean(label, limit: 64) else { continue }
                entry.value.label = label.text
                entry.labelPlace = label.place
            case "budget": entry.value.limits = readBudget(line)
            case "fences":
                guard let word = parameter(line, in: .vm) else { continue }
                entry.value.fences = FencePolicy(rawValue: word.text)
                if entry.value.fences == nil {
                    reportChoice(
                        word, of: FencePolicy.allCases.map(\.rawValue), what: "policy for fences")
                }
            default: entry.value.fullscreen = readFullscreen(line, in: .vm)
            }
        }
        guard vms.count < Self.entryLimit else {
            return report(.error, "a file names at most \(Self.entryLimit) VMs", at: name.place)
        }
        vms.append(entry)
    }

    private mutating func readConsumer(_ directive: ConfigurationDirective) {
        guard let name = blockName(directive) else { return }
        if let other = consumers.first(where: { $0.value.name == name.text }) {
            report(
                .error, "“\(name.text)” is configured already, on line \(other.place.line)",
                at: name.place)
            return
        }
        var entry = ConsumerEntry(
            value: ConsumerConfiguration(name: name.text), place: name.place)
        for line in known(directive.block ?? [], in: .consumer) {
            switch line.name.text {
            case "socket":
                guard let word = parameter(line, in: .consumer) else { continue }
                entry.value.socket = readPath(word)
                entry.socketPlace = word.place
            default: entry.value.limits = readBudget(line)
            }
        }
        guard consumers.count < Self.entryLimit else {
            return report(
                .error, "a file names at most \(Self.entryLimit) consumers", at: name.place)
        }
        consumers.append(entry)
    }

    private mutating func readRule(_ directive: ConfigurationDirective) {
        var line = directive
        line.block = nil
        guard parameters(line, 0...0, in: .file) != nil else { return }
        guard let block = directive.block else {
            return report(.error, "“rule” needs a block: rule { … }", at: directive.name.place)
        }
        let errors = diagnostics.count
        var match = RuleMatch()
        var vmPlace: TextPlace?
        var action: (value: RuleAction?, line: ConfigurationDirective)?
        for line in known(block, in: .rule) {
            if line.name.text == "match" {
                (match, vmPlace) = readMatch(line)
            } else if let first = action {
                report(
                    .error,
                    "a rule does one thing, and “\(first.line.name.text)” stands on line \(first.line.name.place.line)",
                    at: line.name.place)
            } else {
                action = (readAction(line), line)
            }
        }
        guard let action else {
            guard directive.isComplete,
                !diagnostics[errors...].contains(where: { $0.severity == .error })
            else { return }
            return report(
                .error, "this rule does nothing: it needs show, hide, refuse or hand-to",
                at: directive.name.place)
        }
        guard let value = action.value else { return }
        guard rules.count < Self.entryLimit else {
            return report(
                .error, "a file has at most \(Self.entryLimit) rules", at: directive.name.place)
        }
        rules.append(
            RuleEntry(
                value: Rule(match: match, action: value), place: directive.name.place,
                vmPlace: vmPlace, targetPlace: action.line.parameters.last?.place))
    }

    /// Reads `budget { … }`.
    private mutating func readBudget(_ directive: ConfigurationDirective) -> LimitChanges {
        var changes = LimitChanges()
        var line = directive
        line.block = nil
        guard parameters(line, 0...0, in: .vm) != nil else { return changes }
        guard let block = directive.block else {
            report(.error, "“budget” needs a block: budget { … }", at: directive.name.place)
            return changes
        }
        for line in known(block, in: .budget) {
            guard let word = parameter(line, in: .budget) else { continue }
            switch line.name.text {
            case "surfaces": changes.surfaces = readNumber(word, 1...1024)
            case "buffers": changes.buffers = readNumber(word, 1...16_384)
            case "bytes": changes.bytes = readBytes(word)
            case "rate": changes.baseRate = readNumber(word, 1...1_000_000)
            case "surface-rate": changes.ratePerSurface = readNumber(word, 1...1_000_000)
            default:
                changes.fenceLimit = readNumber(word, 1...600_000).map { UInt64($0) * 1_000_000 }
            }
        }
        return changes
    }
}
