/// Builds one JSON object as a line of text: for logs and reports, where a library would bring
/// Foundation into the daemon.
package struct JSONObject: Sendable {
    private var body = ""

    /// An empty object.
    package init() {}

    /// The object on one line.
    package var text: String { "{\(body)}" }

    /// Adds a member with a text.
    package mutating func add(_ name: String, _ value: String) {
        addRaw(name, "\"\(Self.escaped(value))\"")
    }

    /// Adds a member with a number.
    package mutating func add(_ name: String, _ value: UInt64) { addRaw(name, "\(value)") }

    /// Adds a member with a number, rounded to three digits behind the point.
    package mutating func add(_ name: String, _ value: Double) {
        addRaw(name, "\((value * 1000).rounded() / 1000)")
    }

    /// Adds a member that is true or false.
    package mutating func add(_ name: String, _ value: Bool) { addRaw(name, "\(value)") }

    /// Adds a member that is an object.
    package mutating func add(_ name: String, _ value: JSONObject) { addRaw(name, value.text) }

    /// Adds a member that is an array of objects.
    package mutating func add(_ name: String, _ values: [JSONObject]) {
        addRaw(name, "[\(values.map(\.text).joined(separator: ","))]")
    }

    private mutating func addRaw(_ name: String, _ value: String) {
        if !body.isEmpty { body += "," }
        body += "\"\(Self.escaped(name))\":\(value)"
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case let other where other.value < 0x20:
                let digits = String(other.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
