/// Why a text is no JSON.
public struct JSONError: Error, Equatable, CustomStringConvertible {
    /// Byte at which it was seen, from 0.
    public var offset: Int
    /// One sentence for people.
    public var sentence: String

    /// "at byte 12: a comma or } is missing".
    public var description: String { "at byte \(offset): \(sentence)" }
}

extension JSONValue {
    /// Containers that may stand in each other.
    public static let depthLimit = 32

    /// Reads one JSON value (RFC 8259), with white space around it and nothing else.
    ///
    /// Strict: UTF-8 must be valid, escaped surrogates must come in pairs, no name stands twice in an
    /// object, numbers must fit into a double. Takes time in proportion to the text, and at most
    /// `depthLimit` calls into each other.
    public init(parsing text: some Collection<UInt8>) throws(JSONError) {
        var parser = JSONParser(bytes: Array(text))
        self = try parser.document()
    }

    /// The same for a text in memory.
    public init(parsing text: String) throws(JSONError) { try self.init(parsing: text.utf8) }
}

/// One pass over the bytes of a text.
private struct JSONParser {
    let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try self.value()
        skipSpace()
        guard position == bytes.count else { throw error("there is more after the value") }
        return value
    }

    // MARK: Bytes

    private func error(_ sentence: String, at offset: Int? = nil) -> JSONError {
        JSONError(offset: offset ?? position, sentence: sentence)
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || (0x09...0x0a).contains(byte) || byte == 0x0d {
            position += 1
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    // MARK: Values

    private mutating func value() throws(JSONError) -> JSONValue {
        skipSpace()
        guard let first = next else { throw error("a value is missing") }
        switch first {
        case UInt8(ascii: "{"):
            return try nested { (parser) throws(JSONError) in try parser.object() }
        case UInt8(ascii: "["):
            return try nested { (parser) throws(JSONError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "t"): return try word("true", .boolean(true))
        case UInt8(ascii: "f"): return try word("false", .boolean(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: throw error("no value begins like this")
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(JSONError) -> JSONValue
    ) throws(JSONError) -> JSONValue {
        guard depth < JSONValue.depthLimit else {
            throw error("more than \(JSONValue.depthLimit) arrays and objects stand in each other")
        }
        depth += 1
        position += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else {
            throw error("no value begins like this")
        }
        position += word.utf8.count
        return value
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value())
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw error("a comma or ] is missing") }
        }
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        var members: [JSONMember] = []
        var names: Set<String> = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            let start = position
            guard next == UInt8(ascii: "\"") else { throw error("a member's name is missing") }
            let name = try string()
            guard names.insert(name).inserted else {
                throw error("a name stands twice in one object", at: start)
            }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw error("a colon is missing") }
            members.append(JSONMember(name, try value()))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw error("a comma or } is missing") }
        }
    }

    // MARK: Numbers

    private mutating func digits() throws(JSONError) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            position += 1
        }
        guard position > start else { throw error("a digit is missing") }
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        let isNegative = take(UInt8(ascii: "-"))
        let first = position
        try digits()
        guard bytes[first] != UInt8(ascii: "0") || position == first + 1 else {
            throw error("a number does not begin with 0", at: first)
        }
        var isWhole = true
        if take(UInt8(ascii: ".")) {
            isWhole = false
            try digits()
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isWhole = false
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, !isNegative, let number = UInt64(text) { return .unsigned(number) }
        if isWhole, isNegative, let number = Int64(text), number < 0 { return .negative(number) }
        guard let number = Double(text), number.isFinite else {
            throw error("the number is too large", at: start)
        }
        return .number(number)
    }

    // MARK: Strings

    private mutating func string() throws(JSONError) -> String {
        let start = position
        position += 1
        var raw: [UInt8] = []
        while true {
            guard let byte = next else { throw error("a string does not end", at: start) }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: raw, as: UTF8.self) else {
                    throw error("a string is not valid UTF-8", at: start)
                }
                return string
            case UInt8(ascii: "\\"): raw.append(contentsOf: try escape().utf8)
            case 0..<0x20: throw error("a control character in a string", at: position - 1)
            default: raw.append(byte)
            }
        }
    }

    private mutating func escape() throws(JSONError) -> String {
        let start = position - 1
        guard let byte = next else { throw error("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return String(Character(try codePoint(start)))
        default: throw error("there is no such escape", at: start)
        }
    }

    /// The scalar of `\uXXXX`, or of two of them that make a pair (RFC 8259 §7).
    private mutating func codePoint(_ start: Int) throws(JSONError) -> Unicode.Scalar {
        var code = try fourDigits(start)
        if (0xd800..<0xdc00).contains(code) {
            guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
                throw error("half a surrogate pair", at: start)
            }
            let low = try fourDigits(start)
            guard (0xdc00..<0xe000).contains(low) else {
                throw error("half a surrogate pair", at: start)
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else {
            throw error("half a surrogate pair", at: start)
        }
        return scalar
    }

    private mutating func fourDigits(_ start: Int) throws(JSONError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("four hexadecimal digits are missing", at: start)
            }
            position += 1
            code = code << 4 | UInt32(digit)
        }
        return code
    }
}
