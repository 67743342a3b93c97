/// A place in a text, both from 1; columns count Unicode scalars.
struct TextPlace: Sendable, Hashable, Comparable {
    var line: Int
    var column: Int

    static func < (one: TextPlace, other: TextPlace) -> Bool {
        (one.line, one.column) < (other.line, other.column)
    }
}

/// A word of a configuration file and where it begins.
struct ConfigurationWord: Sendable, Hashable {
    var text: String
    var place: TextPlace
    /// Whether it was written in quotes: then it is nobody's keyword or comment.
    var isQuoted = false
}

/// A line of a configuration file: a name, parameters, and a block of further ones.
struct ConfigurationDirective: Sendable {
    var name: ConfigurationWord
    var parameters: [ConfigurationWord] = []
    /// Nil without braces.
    var block: [ConfigurationDirective]?
    /// Whether all lines of the block could be read.
    var isComplete = true
}

/// Reads the directive form "scfg": one directive a line, words apart by blanks; "quoted" words with
/// backslash escapes, 'quoted' words without; a `{` that ends its line opens a block that a `}` on a
/// line of its own closes; a line that begins with `#` is a comment.
///
/// Total: every text gives directives and problems. A line with a problem is left out; its block is
/// still read. Depth, problems and (by the caller) size are bounded; nothing recurses.
struct ConfigurationSyntax {
    /// Blocks within blocks at most; the language needs three.
    static let depthLimit = 8
    /// Where reading gives up.
    static let problemLimit = 50

    /// What the text says.
    private(set) var directives: [ConfigurationDirective] = []
    /// What is wrong with it, in the text's order.
    private(set) var problems: [(place: TextPlace, message: String)] = []

    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var here = TextPlace(line: 1, column: 1)
    /// The directives whose blocks are open, outermost first, and what each block holds so far.
    private var open: [(owner: ConfigurationDirective?, place: TextPlace)] = []
    private var levels: [[ConfigurationDirective]] = [[]]
    private var hasGivenUp = false

    /// Reads a text.
    init(_ text: String) {
        scalars = Array(text.unicodeScalars)
        // A mark that some editors put in front of everything.
        if scalars.first == "\u{feff}" { index = 1 }
        while !hasGivenUp, index < scalars.count { readLine() }
        if let unclosed = open.last, !hasGivenUp {
            complain("the block that begins here is not closed", at: unclosed.place)
        }
        while !open.isEmpty { closeBlock() }
        directives = levels[0]
    }

    private mutating func complain(_ message: String, at place: TextPlace) {
        problems.append((place, message))
        if problems.count >= Self.problemLimit { hasGivenUp = true }
    }

    // MARK: Characters

    /// The next character of this line; nil at its end.
    private var next: Unicode.Scalar? {
        guard index < scalars.count, scalars[index] != "\n" else { return nil }
        if scalars[index] == "\r", index + 1 == scalars.count || scalars[index + 1] == "\n" {
            return nil
        }
        return scalars[index]
    }

    private mutating func advance() {
        guard index < scalars.count else { return }
        if scalars[index] == "\n" {
            here = TextPlace(line: here.line + 1, column: 1)
        } else {
            here.column += 1
        }
        index += 1
    }

    private mutating func skipBlanks() {
        while let scalar = next, scalar == " " || scalar == "\t" { advance() }
    }

    /// Goes to the line's end; says whether the line opens a block.
    private mutating func skipRest() -> Bool {
        var opens = false
        while let scalar = next {
            if scalar == "{" {
                opens = true
            } else if scalar != " ", scalar != "\t" {
                opens = false
            }
            advance()
        }
        return opens
    }

    // MARK: Lines

    private mutating func readLine() {
        skipBlanks()
        switch next {
        case nil: break
        case "#": _ = skipRest()
        case "}":
            let place = here
            advance()
            skipBlanks()
            if open.isEmpty {
                complain("there is no block to close here", at: place)
                _ = skipRest()
            } else {
                closeBlock()
                guard next != nil else { break }
                complain("nothing can follow “}” on its line", at: here)
                if skipRest() { openBlock(nil, at: place) }
            }
        default: readDirective()
        }
        // The line's end, of one character or two.
        while index < scalars.count, next == nil {
            let isLineEnd = scalars[index] == "\n"
            advance()
            if isLineEnd { break }
        }
    }

    private mutating func readDirective() {
        let start = here
        var words: [ConfigurationWord] = []
        var isBroken = false
        var opens = false
        skipBlanks()
        while let scalar = next {
            if scalar == "{" {
                let place = here
                advance()
                skipBlanks()
                if next == nil {
                    opens = true
                    if words.isEmpty {
                        complain("a block needs a name in front of “{”", at: place)
                        isBroken = true
                    }
                } else {
                    complain(
                        "“{” opens a block and ends its line; braces that are text go in quotes",
                        at: place)
                    isBroken = true
                    opens = skipRest()
                }
                break
            }
            guard let word = readWord() else {
                isBroken = true
                opens = skipRest()
                break
            }
            words.append(word)
            skipBlanks()
        }
        if isBroken, !open.isEmpty { open[open.count - 1].owner?.isComplete = false }
        var directive: ConfigurationDirective?
        if !isBroken, let name = words.first {
            directive = ConfigurationDirective(name: name, parameters: Array(words.dropFirst()))
        }
        if opens {
            openBlock(directive, at: start)
        } else if let directive {
            levels[levels.count - 1].append(directive)
        }
    }

    private mutating func openBlock(_ owner: ConfigurationDirective?, at place: TextPlace) {
        guard open.count < Self.depthLimit else {
            complain("blocks are at most \(Self.depthLimit) deep", at: place)
            hasGivenUp = true
            return
        }
        open.append((owner, place))
        levels.append([])
    }

    private mutating func closeBlock() {
        guard let (owner, _) = open.popLast(), let inside = levels.popLast() else { return }
        guard var owner else { return }
        owner.block = inside
        levels[levels.count - 1].append(owner)
    }

    // MARK: Words

    /// Reads a word; nil, with a problem told, when there is none.
    private mutating func readWord() -> ConfigurationWord? {
        let place = here
        switch next {
        case "\"", "'": return readQuoted(place)
        default: break
        }
        var text = ""
        while let scalar = next, scalar != " ", scalar != "\t" {
            switch scalar {
            case "\"", "'":
                complain("a quote begins a word; as text it needs a backslash before it", at: here)
                return nil
            case "{":
                complain(
                    "a blank must stand before “{”; braces that are text go in quotes", at: here)
                return nil
            case "}":
                complain("“}” has a line of its own; braces that are text go in quotes", at: here)
                return nil
            case "\\":
                advance()
                guard let escaped = allowed() else { return nil }
                text.unicodeScalars.append(escaped)
            default:
                guard let scalar = allowed() else { return nil }
                text.unicodeScalars.append(scalar)
            }
            advance()
        }
        return ConfigurationWord(text: text, place: place)
    }

    private mutating func readQuoted(_ place: TextPlace) -> ConfigurationWord? {
        let quote = next
        var text = ""
        advance()
        while next != quote {
            if quote == "\"", next == "\\" { advance() }
            guard next != nil else {
                complain("the quote that begins here is not closed on its line", at: place)
                return nil
            }
            guard let scalar = allowed() else { return nil }
            text.unicodeScalars.append(scalar)
            advance()
        }
        advance()
        if let scalar = next, scalar != " ", scalar != "\t" {
            complain("a blank must follow a closing quote", at: here)
            return nil
        }
        return ConfigurationWord(text: text, place: place, isQuoted: true)
    }

    /// The next character, if it may stand in a word.
    private mutating func allowed() -> Unicode.Scalar? {
        guard let scalar = next else {
            complain("a backslash cannot end a line: a directive has one line", at: here)
            return nil
        }
        guard scalar.value >= 0x20 || scalar == "\t", scalar.value != 0x7f else {
            let digits = String(scalar.value, radix: 16, uppercase: true)
            let padded = String(repeating: "0", count: 4 - digits.count) + digits
            complain("the control character U+\(padded) cannot stand in a file", at: here)
            return nil
        }
        return scalar
    }
}
