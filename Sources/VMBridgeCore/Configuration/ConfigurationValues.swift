/// Values of single words.
extension ConfigurationFileReader {
    /// Digits only; the range's bounds have fewer than 18.
    mutating func readNumber(_ word: ConfigurationWord, _ range: ClosedRange<Int>) -> Int? {
        if let number = Self.digits(word.text), let value = Int(exactly: number),
            range.contains(value)
        {
            return value
        }
        report(
            .error,
            "\(quoted(word)) is no number from \(range.lowerBound) to \(range.upperBound)",
            at: word.place)
        return nil
    }

    /// A number of digits alone; one beyond 2⁶⁴ - 1 is the greatest.
    static func digits(_ text: some StringProtocol) -> UInt64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return UInt64(text) ?? .max
    }

    /// "64M": from a page to 16 TiB.
    mutating func readBytes(_ word: ConfigurationWord) -> UInt64? {
        var text = Substring(word.text)
        var shift: UInt64 = 0
        switch text.last {
        case "K", "k": shift = 10
        case "M", "m": shift = 20
        case "G", "g": shift = 30
        default: break
        }
        if shift > 0 { text.removeLast() }
        if let number = Self.digits(text), number <= (1 << 44) >> shift,
            number << shift >= 4096
        {
            return number << shift
        }
        report(
            .error,
            "\(quoted(word)) is no size from 4K to 16384G: digits, and K, M or G for KiB, MiB or GiB",
            at: word.place)
        return nil
    }

    /// Reads `colour "#RRGGBB"`.
    mutating func readColour(_ directive: ConfigurationDirective) -> RGB? {
        guard let word = parameter(directive, in: .vm) else { return nil }
        let digits = word.text.utf8.dropFirst()
        if word.text.utf8.first == UInt8(ascii: "#"), digits.count == 6,
            digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-"),
            let value = UInt32(String(Substring(digits)), radix: 16)
        {
            return RGB(
                red: UInt8(value >> 16 & 0xff), green: UInt8(value >> 8 & 0xff),
                blue: UInt8(value & 0xff))
        }
        report(
            .error, "\(quoted(word)) is no colour: write # and six hexadecimal digits",
            at: word.place)
        return nil
    }

    /// Whether a text can be shown as it is; an error if not.
    mutating func isClean(_ word: ConfigurationWord, limit: Int) -> Bool {
        if word.text.isEmpty {
            report(.error, "this text is empty", at: word.place)
        } else if word.text.utf8.count > limit {
            report(.error, "this text is longer than \(limit) bytes", at: word.place)
        } else if CleanText.clean(word.text, limit: limit) != word.text {
            report(
                .error, "this text has characters that cannot be seen or change how it is read",
                at: word.place)
        } else {
            return true
        }
        return false
    }

    /// A pattern for text.
    mutating func readGlob(_ word: ConfigurationWord) -> Glob? {
        guard word.text.utf8.count <= CleanText.limit else {
            report(
                .error, "this pattern is longer than any text: \(CleanText.limit) bytes",
                at: word.place)
            return nil
        }
        return Glob(word.text)
    }

    /// The path of a unix socket: absolute, or below the runtime directory.
    mutating func readPath(_ word: ConfigurationWord) -> String? {
        let path = word.text
        if path.isEmpty || path.hasSuffix("/") {
            report(.error, "\(quoted(word)) is no path of a socket", at: word.place)
        } else if path.utf8.count > Self.pathLimit {
            report(
                .error, "the path of a socket has at most \(Self.pathLimit) bytes", at: word.place)
        } else if path.hasPrefix("~") || path.hasPrefix("$") {
            report(
                .error,
                "nothing is filled in here; a path is absolute, or below $XDG_RUNTIME_DIR/vm-bridge",
                at: word.place)
        } else if path.utf8.contains(0) {
            report(.error, "a path cannot contain a zero", at: word.place)
        } else {
            return path
        }
        return nil
    }

    /// Reads `source KIND [PLACE]`, also as one word "KIND:PLACE", and behind it `qmp PATH` for vhost-user-gpu.
    mutating func readSource(_ directive: ConfigurationDirective) -> String? {
        guard var words = parameters(directive, 1...4, in: .vm), let first = words.first else {
            return nil
        }
        var source = SourceWords(first.text)
        var kind = first
        kind.text = source.kind
        guard VMConfiguration.sourceKinds.contains(kind.text) else {
            reportChoice(kind, of: VMConfiguration.sourceKinds, what: "kind of source")
            return nil
        }
        words.removeFirst()
        var place = first
        place.text = source.place
        var isPlaced = first.text.contains(":")
        if let word = words.first, word.text != "qmp" {
            place = word
            isPlaced = true
            words.removeFirst()
        }
        var qmp: ConfigurationWord?
        if let text = source.qmp {
            qmp = first
            qmp?.text = text
        }
        if let word = words.first {
            guard word.text == "qmp", words.count == 2, kind.text == "vhost-user-gpu" else {
                report(
                    .error, "\(quoted(word)) is not expected: write source \(usage(of: kind.text))",
                    at: word.place)
                return nil
            }
            qmp = words[1]
        }
        source.place = ""
        source.qmp = nil
        if let qmp {
            guard let path = readPath(qmp) else { return nil }
            source.qmp = path
        }
        if !isPlaced, kind.text != "qemu", kind.text != "hyper-dmabuf" {
            return source.text
        } else if kind.text == "hyper-dmabuf" {
            guard isPlaced, let first = place.text.split(separator: "@").first,
                let domain = UInt16(first), domain > 0, isClean(place, limit: 255)
            else {
                report(
                    .error, "source hyper-dmabuf needs the number of the VM's domain, as in 3",
                    at: place.place)
                return nil
            }
            source.place = place.text
        } else if kind.text == "qemu-bus", !place.text.contains("/") {
            guard isClean(place, limit: 255) else { return nil }
            source.place = place.text
        } else if isPlaced {
            guard let path = readPath(place) else { return nil }
            source.place = path
        } else {
            report(.error, "source qemu needs the path of QEMU's QMP socket", at: kind.place)
            return nil
        }
        return source.text
    }

    private func usage(of kind: String) -> String {
        switch kind {
        case "vhost-user-gpu": "vhost-user-gpu [PATH] [qmp PATH]"
        case "qemu": "qemu PATH"
        case "qemu-bus": "qemu-bus [NAME|PATH]"
        case "hyper-dmabuf": "hyper-dmabuf DOMAIN[@NODE]"
        default: "\(kind) [PATH]"
        }
    }

    /// Reads `fullscreen [OUTPUT]`.
    mutating func readFullscreen(
        _ directive: ConfigurationDirective, in place: ConfigurationWords
    ) -> Fullscreen? {
        guard let words = parameters(directive, 0...1, in: place) else { return nil }
        guard let output = words.first else { return .anywhere }
        guard isClean(output, limit: 128) else { return nil }
        note(
            "Wayland lets a window name an output only for fullscreen, and the compositor may choose another; elsewhere windows go by the compositor's own rules on their app id, “vm-bridge.VM.…”",
            at: output.place)
        return .output(output.text)
    }

    /// Reads a template.
    mutating func readTemplate(_ word: ConfigurationWord) -> TextTemplate? {
        guard isClean(word, limit: CleanText.limit) else { return nil }
        switch TextTemplate.read(word.text) {
        case .success(let template): return template
        case .failure(let problem):
            // Escapes before it make the file's column unknown; the word's own is always true.
            report(.error, problem.message, at: word.place, suggestion: problem.suggestion)
            return nil
        }
    }
}

extension TextTemplate {
    /// Why a text is no template.
    public struct Problem: Error, Equatable {
        /// One sentence for people, without a full stop.
        public var message: String
        /// The place that may have been meant.
        public var suggestion: String?
    }

    /// Reads a template as it is written: "{title} – {vm}".
    public static func read(_ text: String) -> Result<TextTemplate, Problem> {
        var pieces: [Piece] = []
        var plain = ""
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            case "{" where rest.first == "{", "}" where rest.first == "}":
                rest.removeFirst()
                plain.unicodeScalars.append(scalar)
            case "}":
                return .failure(Problem(message: "“}” closes nothing; as text it is written }}"))
            case "{":
                guard let end = rest.firstIndex(of: "}") else {
                    return .failure(
                        Problem(message: "“{” is not closed; as text it is written {{"))
                }
                let name = String(rest[..<end])
                guard let place = Place(rawValue: name) else {
                    let names = Place.allCases.map(\.rawValue)
                    let listed = names.map { "{\($0)}" }.joined(separator: ", ")
                    return .failure(
                        Problem(
                            message:
                                "\(ConfigurationFileReader.quoted("{\(name)}")) is no place in a template: \(listed)",
                            suggestion: Spelling.nearest(to: name, of: names).map { "{\($0)}" }))
                }
                if !plain.isEmpty { pieces.append(.text(plain)) }
                plain = ""
                pieces.append(.place(place))
                rest = rest[rest.index(after: end)...]
            default: plain.unicodeScalars.append(scalar)
            }
        }
        if !plain.isEmpty { pieces.append(.text(plain)) }
        return .success(TextTemplate(pieces: pieces))
    }
}
