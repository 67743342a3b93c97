/// What is to be said about a place in a configuration file.
public struct Diagnostic: Sendable, Equatable, CustomStringConvertible {
    /// How much it matters.
    public enum Severity: String, Sendable {
        /// The file cannot be used.
        case error
        /// It can, but surely not as it was meant.
        case warning
        /// Nothing is wrong; something is worth knowing.
        case note
    }

    /// The file's name as it was given.
    public var file: String
    /// From 1.
    public var line: Int
    /// From 1, in Unicode scalars; a tab is one.
    public var column: Int
    /// How much it matters.
    public var severity: Severity
    /// One sentence for people, without a full stop.
    public var message: String
    /// The word that may have been meant.
    public var suggestion: String?

    /// Says something about a place.
    public init(
        file: String, line: Int, column: Int, severity: Severity, message: String,
        suggestion: String? = nil
    ) {
        self.file = file
        self.line = line
        self.column = column
        self.severity = severity
        self.message = message
        self.suggestion = suggestion
    }

    /// "file:line:column: error: message (did you mean “…”?)".
    public var description: String {
        let question = suggestion.map { " (did you mean “\($0)”?)" } ?? ""
        return "\(file):\(line):\(column): \(severity.rawValue): \(message)\(question)"
    }
}
