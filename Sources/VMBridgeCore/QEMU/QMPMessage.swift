/// What QEMU says in one line of its machine protocol (QMP specification, "Server Greeting", "Responses", "Events").
public enum QMPMessage: Sendable, Equatable {
    /// Its first line.
    case greeting(QEMUVersion)
    /// A command was carried out; what it gives back.
    case success(id: UInt64, JSONValue)
    /// A command was not; the error's class and its sentence, both QEMU's words.
    case failure(id: UInt64, kind: String, sentence: String)
    /// Something happened.
    case event(name: String, data: JSONValue)

    /// Reads one line.
    ///
    /// - Parameter line: its bytes, without the line's end.
    /// - Throws: `malformed` for a line that is no message.
    public init(line: some Collection<UInt8>) throws(Refusal) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: line)
        } catch {
            throw Refusal(.malformed, "A line of QMP is no JSON, \(error).")
        }
        if let greeting = value["QMP"] {
            self = .greeting(try QEMUVersion(greeting: greeting))
        } else if let name = value["event"]?.text {
            self = .event(name: name, data: value["data"] ?? .object([]))
        } else if let answer = value["return"] {
            self = .success(id: try Self.identifier(value), answer)
        } else if let error = value["error"] {
            self = .failure(
                id: try Self.identifier(value), kind: error["class"]?.text ?? "",
                sentence: CleanText.clean(error["desc"]?.text ?? ""))
        } else {
            throw Refusal(
                .malformed, "A line of QMP is neither a greeting, an answer nor an event.")
        }
    }

    private static func identifier(_ value: JSONValue) throws(Refusal) -> UInt64 {
        guard let id = value["id"]?.count else {
            throw Refusal(.unknownObject, "An answer of QMP does not say to which command.")
        }
        return id
    }

    /// One command as a line, its end included.
    public static func command(
        _ name: String, arguments: [JSONMember] = [], id: UInt64
    ) -> String {
        var object = JSONObject()
        object.add("execute", name)
        if !arguments.isEmpty { object.add("arguments", .object(arguments)) }
        object.add("id", id)
        return object.text + "\n"
    }
}

/// Which QEMU it is.
public struct QEMUVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The first number.
    public var major: UInt64
    /// The second number.
    public var minor: UInt64
    /// The third number.
    public var micro: UInt64

    /// A version from its numbers.
    public init(major: UInt64, minor: UInt64, micro: UInt64) {
        self.major = major
        self.minor = minor
        self.micro = micro
    }

    /// The version in a greeting; what is missing there counts as 0.
    init(greeting: JSONValue) throws(Refusal) {
        guard let numbers = greeting["version"]?["qemu"], let major = numbers["major"]?.count else {
            throw Refusal(.notGreeted, "The greeting of QMP names no version.")
        }
        self.init(
            major: major, minor: numbers["minor"]?.count ?? 0, micro: numbers["micro"]?.count ?? 0)
    }

    /// "7.2.19".
    public var description: String { "\(major).\(minor).\(micro)" }

    /// Orders by age.
    public static func < (a: QEMUVersion, b: QEMUVersion) -> Bool {
        (a.major, a.minor, a.micro) < (b.major, b.minor, b.micro)
    }
}

/// Cuts a stream of bytes into lines of bounded length.
public struct LineCutter: Sendable {
    private var bytes: [UInt8] = []
    /// Bytes at the start that have no line end in them.
    private var searched = 0
    private let limit: Int

    /// - Parameter limit: bytes of the longest line, without its end.
    public init(limit: Int) { self.limit = limit }

    /// Takes what came.
    public mutating func append(_ more: some Collection<UInt8>) { bytes += more }

    /// The next whole line without its end, nor a carriage return before it; nil when none is there.
    ///
    /// - Throws: `truncated` for a line that is too long: the rest of the stream means nothing then.
    public mutating func next() throws(Refusal) -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: 0x0a) else {
            searched = bytes.count
            guard searched <= limit else {
                throw Refusal(.truncated, "A line has more than \(limit) bytes.")
            }
            return nil
        }
        guard end <= limit else {
            throw Refusal(.truncated, "A line has more than \(limit) bytes.")
        }
        var line = Array(bytes[..<end])
        if line.last == 0x0d { line.removeLast() }
        bytes.removeFirst(end + 1)
        searched = 0
        return line
    }
}
