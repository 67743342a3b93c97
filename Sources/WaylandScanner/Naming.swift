/// Swift names for protocol names.
enum Naming {
    /// `wl_surface` → `WlSurface`.
    static func type(_ name: String) -> String {
        name.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// `damage_buffer` → `damageBuffer`, without quoting.
    static func member(_ name: String) -> String {
        let upper = type(name)
        let lower = upper.prefix(1).lowercased() + upper.dropFirst()
        return lower.first?.isNumber == true ? "_" + lower : lower
    }

    /// A member name that may stand in a declaration: keywords get back quotes.
    static func declared(_ name: String) -> String {
        let member = member(name)
        return keywords.contains(member) ? "`\(member)`" : member
    }

    /// Nested types that would hide something of the language get another name.
    static func enumeration(_ name: String) -> String {
        switch name {
        case "error": "ErrorCode"
        case "type": "Kind"
        case "event": "EventValue"
        default: type(name)
        }
    }

    /// Where an argument's enumeration lives: `wl_output.transform` → `WlOutput.Transform`.
    static func enumeration(_ reference: String, in interface: String) -> String {
        let parts = reference.split(separator: ".")
        if parts.count == 2 {
            return type(String(parts[0])) + "." + enumeration(String(parts[1]))
        }
        return type(interface) + "." + enumeration(reference)
    }

    private static let keywords: Set<String> = [
        "as", "break", "case", "catch", "class", "continue", "default", "defer", "do", "else",
        "enum", "extension", "false", "for", "func", "if", "import", "in", "init", "inout",
        "internal", "is", "let", "nil", "operator", "private", "protocol", "public", "repeat",
        "rethrows", "return", "self", "static", "struct", "subscript", "super", "switch", "throw",
        "throws", "true", "try", "typealias", "var", "where", "while",
    ]
}
