/// Any JSON value (RFC 8259). Objects keep the order of their members.
public enum JSONValue: Sendable, Equatable {
    /// `null`.
    case null
    /// `true` or `false`.
    case boolean(Bool)
    /// A whole number that is not negative, written without point and exponent.
    case unsigned(UInt64)
    /// A whole number below zero, written without point and exponent.
    case negative(Int64)
    /// Any other number; never infinite and never "not a number".
    case number(Double)
    /// A text.
    case string(String)
    /// Values in order.
    case array([JSONValue])
    /// Members in order, no name twice.
    case object([JSONMember])

    /// The member of an object; nil for another value or when there is none of that name.
    public subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The text of a string.
    public var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// A number that is not negative and whole.
    public var count: UInt64? {
        if case .unsigned(let number) = self { number } else { nil }
    }

    /// Any number, exact or nearly so.
    public var real: Double? {
        switch self {
        case .unsigned(let number): Double(number)
        case .negative(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    /// `true` or `false`.
    public var truth: Bool? {
        if case .boolean(let value) = self { value } else { nil }
    }

    /// The values of an array; none for another value.
    public var elements: [JSONValue] {
        if case .array(let elements) = self { elements } else { [] }
    }

    /// The members of an object; none for another value.
    public var members: [JSONMember] {
        if case .object(let members) = self { members } else { [] }
    }

    /// What kind of value it is, in words for a sentence.
    public var kind: String {
        switch self {
        case .null: "null"
        case .boolean: "true or false"
        case .unsigned, .negative, .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A name and its value in an object.
public struct JSONMember: Sendable, Equatable {
    /// The name, unescaped.
    public var name: String
    /// The value.
    public var value: JSONValue

    /// A member from its parts.
    public init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }
}

// MARK: Writing

extension JSONValue {
    /// The value on one line, without spaces; valid UTF-8 without line ends.
    public var line: String {
        var line = ""
        write(to: &line)
        return line
    }

    /// Writes the value at the end of a text.
    public func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .boolean(let value): text += value ? "true" : "false"
        case .unsigned(let number): text += String(number)
        case .negative(let number): text += String(number)
        case .number(let number): text += number.isFinite ? "\(number)" : "null"
        case .string(let string): Self.write(string, to: &text)
        case .array(let elements):
            text += "["
            for index in elements.indices {
                if index > 0 { text += "," }
                elements[index].write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for index in members.indices {
                if index > 0 { text += "," }
                Self.write(members[index].name, to: &text)
                text += ":"
                members[index].value.write(to: &text)
            }
            text += "}"
        }
    }

    private static func write(_ string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case let other where other.value < 0x20:
                let digits = String(other.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
