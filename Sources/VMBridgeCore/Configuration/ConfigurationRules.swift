/// Conditions and actions of rules.
extension ConfigurationFileReader {
    /// Reads `match CONDITION VALUE …` or `match { … }`; the second is where its `vm` stands.
    mutating func readMatch(
        _ directive: ConfigurationDirective
    ) -> (match: RuleMatch, vmPlace: TextPlace?) {
        var match = RuleMatch()
        var vmPlace: TextPlace?
        var lines = directive.block ?? []
        let words = directive.parameters
        if directive.block == nil {
            // A comment here would make pairs of its words.
            if let comment = words.first(where: { $0.text.hasPrefix("#") && !$0.isQuoted }) {
                report(.error, "a comment has a line of its own", at: comment.place)
                return (match, nil)
            }
            guard !words.isEmpty else {
                report(
                    .error,
                    "“match” has no condition; a rule without “match” is about every surface",
                    at: directive.name.place)
                return (match, nil)
            }
            lines = stride(from: 0, to: words.count, by: 2).map { index in
                ConfigurationDirective(
                    name: words[index], parameters: Array(words[(index + 1)...].prefix(1)))
            }
        } else if let word = words.first {
            report(
                .error, "“match” takes conditions on its line or a block, not both", at: word.place)
        }
        for line in known(lines, in: .match) {
            guard let word = parameter(line, in: .match) else { continue }
            switch line.name.text {
            case "vm":
                match.vm = readGlob(word)
                vmPlace = word.place
            case "source":
                if VMConfiguration.sourceKinds.contains(word.text) {
                    match.source = word.text
                } else {
                    reportChoice(word, of: VMConfiguration.sourceKinds, what: "kind of source")
                }
            case "role":
                match.role = readRole(word)
            case "content":
                switch word.text {
                case "graphics": match.isGraphics = true
                case "data": match.isGraphics = false
                default: reportChoice(word, of: ["graphics", "data"], what: "kind of content")
                }
            case "tag": match.tag = readGlob(word)
            case "title": match.title = readGlob(word)
            case "app-id": match.appID = readGlob(word)
            case "size": match.size = readSize(word)
            default:
                match.transform = Transform(configurationName: word.text)
                if match.transform == nil {
                    reportChoice(word, of: Transform.configurationNames, what: "transform")
                }
            }
        }
        return (match, vmPlace)
    }

    private mutating func readRole(_ word: ConfigurationWord) -> SurfaceRole? {
        switch word.text {
        case "toplevel": return .toplevel
        case "popup", "subsurface", "cursor":
            report(
                .error, "the role “\(word.text)” is reserved: every surface is a toplevel yet",
                at: word.place)
        default: reportChoice(word, of: ["toplevel"], what: "role")
        }
        return nil
    }

    /// "640x480", "800..1920x*", "*x..200".
    private mutating func readSize(_ word: ConfigurationWord) -> SizeCondition? {
        let sides = word.text.split(separator: "x", omittingEmptySubsequences: false)
        if sides.count == 2, let width = Self.side(sides[0]), let height = Self.side(sides[1]) {
            return SizeCondition(width: width, height: height)
        }
        report(
            .error,
            "\(quoted(word)) is no size: write WIDTHxHEIGHT, each a number from 1 to \(VMLimits.maximumDimension), a range such as 800..1920, or *",
            at: word.place)
        return nil
    }

    private static func side(_ text: Substring) -> ClosedRange<UInt32>? {
        let most = VMLimits.maximumDimension
        func bound(_ text: Substring, open: UInt32) -> UInt32? {
            if text.isEmpty || text == "*" { return open }
            guard let number = digits(text), (1...UInt64(most)).contains(number) else { return nil }
            return UInt32(number)
        }
        if text == "*" { return 1...most }
        guard let dots = text.firstIndex(of: ".") else {
            guard !text.isEmpty else { return nil }
            return bound(text, open: 1).map { $0...$0 }
        }
        let rest = text[dots...]
        guard rest.hasPrefix(".."), rest.utf8.count > 2 || dots != text.startIndex,
            let least = bound(text[..<dots], open: 1),
            let greatest = bound(rest.dropFirst(2), open: most), least <= greatest
        else { return nil }
        return least...greatest
    }

    /// Reads one of `show`, `hide`, `refuse` and `hand-to`; nil, with errors told, when it cannot.
    mutating func readAction(_ directive: ConfigurationDirective) -> RuleAction? {
        let words = directive.parameters
        switch directive.name.text {
        case "show": return readShow(directive)
        case "hide": return parameters(directive, 0...0, in: .rule).map { _ in .hide }
        case "refuse":
            guard parameters(directive, 0...1, in: .rule) != nil else { return nil }
            guard let sentence = words.first else { return .refuse(nil) }
            return isClean(sentence, limit: CleanText.limit) ? .refuse(sentence.text) : nil
        default:
            guard parameters(directive, 2...2, in: .rule) != nil else { return nil }
            switch words[0].text {
            case "consumer": return .handTo(.consumer(words[1].text))
            case "vm": return .handTo(.vm(words[1].text))
            default:
                reportChoice(words[0], of: ["consumer", "vm"], what: "kind of receiver")
                return nil
            }
        }
    }

    private mutating func readShow(_ directive: ConfigurationDirective) -> RuleAction? {
        let errors = diagnostics.count
        if directive.block != nil, let word = directive.parameters.first {
            report(
                .error, "“show” takes properties on its line or a block, not both", at: word.place)
            return nil
        }
        var properties = ShowProperties()
        var modePlace: TextPlace?
        let lines = directive.block ?? Self.propertyLines(directive.parameters)
        for line in known(lines, in: .show) {
            switch line.name.text {
            case "title":
                guard let word = parameter(line, in: .show) else { continue }
                properties.title = readTemplate(word)
                if let title = properties.title, !title.names([.vm, .label]) {
                    report(
                        .warning,
                        "nothing in this title says which VM the window is of: {vm} and {label} do",
                        at: word.place)
                }
            case "app-id":
                guard let word = parameter(line, in: .show) else { continue }
                properties.appID = readTemplate(word)
                note(
                    "the compositor's own rules see this behind “vm-bridge.VM.”", at: word.place)
            case "maximized", "fullscreen":
                if let modePlace {
                    report(
                        .error,
                        "a window is maximized or fullscreen, not both; see line \(modePlace.line)",
                        at: line.name.place)
                }
                modePlace = line.name.place
                if line.name.text == "maximized" {
                    guard parameters(line, 0...0, in: .show) != nil else { continue }
                    properties.mode = .maximized
                } else if let fullscreen = readFullscreen(line, in: .show) {
                    properties.mode = .fullscreen(fullscreen)
                }
            default:
                guard let word = parameter(line, in: .show) else { continue }
                let choices = line.name.text == "size" ? ["fixed", "free"] : ["on", "off"]
                guard let choice = choices.firstIndex(of: word.text) else {
                    reportChoice(word, of: choices, what: line.name.text)
                    continue
                }
                if line.name.text == "size" {
                    properties.isFixedSize = choice == 0
                } else {
                    properties.hasFrame = choice == 0
                }
            }
        }
        let isGood = !diagnostics[errors...].contains { $0.severity == .error }
        return isGood ? .show(properties) : nil
    }

    /// The properties of a `show` on one line, as if each had its own.
    private static func propertyLines(_ words: [ConfigurationWord]) -> [ConfigurationDirective] {
        var lines: [ConfigurationDirective] = []
        var rest = words[...]
        let names = ConfigurationWords.show.words
        while let name = rest.popFirst() {
            var line = ConfigurationDirective(name: name)
            let takesValue: Bool
            switch name.text {
            case "maximized": takesValue = false
            // An output may be called like a property if it stands in quotes.
            case "fullscreen":
                takesValue = rest.first.map { $0.isQuoted || !names.contains($0.text) } ?? false
            default: takesValue = names.contains(name.text)
            }
            if takesValue, let value = rest.popFirst() { line.parameters = [value] }
            lines.append(line)
        }
        return lines
    }
}

extension TextTemplate {
    /// Whether one of some places is in it.
    func names(_ places: [Place]) -> Bool {
        pieces.contains { piece in
            if case .place(let place) = piece { places.contains(place) } else { false }
        }
    }
}

extension Transform {
    /// The names in rules, each at the index of its number: those of wl_output.transform.
    public static let configurationNames = [
        "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270",
    ]

    /// The transform of a name.
    public init?(configurationName: String) {
        guard let index = Self.configurationNames.firstIndex(of: configurationName) else {
            return nil
        }
        self.init(rawValue: UInt32(index))
    }
}

extension RuleAction {
    /// Why words are no action.
    public struct Problem: Error, Equatable, CustomStringConvertible {
        /// One sentence for people, without a full stop.
        public var message: String
        /// The word that may have been meant.
        public var suggestion: String?
        /// "message (did you mean “…”?)".
        public var description: String {
            message + (suggestion.map { " (did you mean “\($0)”?)" } ?? "")
        }
    }

    /// Reads an action from words as they stand in a rule: ["hide"], ["show", "fullscreen", "DP-1"],
    /// ["refuse", "Not here."], ["hand-to", "vm", "work"]. Whether a receiver exists is not looked at.
    public static func parse(_ words: [String]) throws(Problem) -> RuleAction {
        guard words.count <= 64, words.allSatisfy({ $0.utf8.count <= 1024 }) else {
            throw Problem(message: "this is too long for an action")
        }
        let written = words.enumerated().map { index, text in
            ConfigurationWord(text: text, place: TextPlace(line: 1, column: index + 1))
        }
        let actions = ["show", "hide", "refuse", "hand-to"]
        guard let name = written.first, actions.contains(name.text) else {
            let given = words.first ?? ""
            throw Problem(
                message: words.isEmpty
                    ? "an action is missing: \(actions.joined(separator: ", "))"
                    : "\(ConfigurationFileReader.quoted(given)) is no action: \(actions.joined(separator: ", "))",
                suggestion: Spelling.nearest(to: given, of: actions))
        }
        var reader = ConfigurationFileReader(file: "")
        let directive = ConfigurationDirective(
            name: name, parameters: Array(written.dropFirst()))
        guard let action = reader.readAction(directive) else {
            let error = reader.diagnostics.first { $0.severity == .error }
            throw Problem(
                message: error?.message ?? "this is no action", suggestion: error?.suggestion)
        }
        return action
    }
}
