/// Builds one JSON object, member by member: for logs and reports, where a library would bring
/// Foundation into the daemon.
public struct JSONObject: Sendable, Equatable {
    /// The members so far, in order.
    public private(set) var members: [JSONMember] = []

    /// An empty object.
    public init() {}

    /// The object as a value.
    public var value: JSONValue { .object(members) }

    /// The object on one line.
    public var text: String { value.line }

    /// Adds a member; the name must be new.
    public mutating func add(_ name: String, _ value: JSONValue) {
        members.append(JSONMember(name, value))
    }

    /// Adds a member with a text.
    public mutating func add(_ name: String, _ value: String) { add(name, .string(value)) }

    /// Adds a member with a number.
    public mutating func add(_ name: String, _ value: UInt64) { add(name, .unsigned(value)) }

    /// Adds a member with a number, rounded to three digits behind the point.
    public mutating func add(_ name: String, _ value: Double) {
        add(name, .number((value * 1000).rounded() / 1000))
    }

    /// Adds a member that is true or false.
    public mutating func add(_ name: String, _ value: Bool) { add(name, .boolean(value)) }

    /// Adds a member that is an object.
    public mutating func add(_ name: String, _ value: JSONObject) { add(name, value.value) }

    /// Adds a member that is an array of objects.
    public mutating func add(_ name: String, _ values: [JSONObject]) {
        add(name, .array(values.map(\.value)))
    }
}
