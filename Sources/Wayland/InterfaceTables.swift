import CWayland

/// libwayland's description of every interface, made once at first use and never freed.
///
/// The tables refer to each other by address, in cycles and across protocols, so all of them lie in
/// one block and are referred to by number while it is being filled. The C symbols of the same name
/// are not used: Swift imports a C constant as a value, whose address is that of a copy.
package enum InterfaceTables {
    /// The block; `count` tables.
    nonisolated(unsafe) private static let pool: UnsafeMutablePointer<wl_interface> = {
        var builder = InterfaceTableBuilder(capacity: count)
        fill(&builder)
        return builder.finish()
    }()

    /// The table of an interface, for libwayland. Lives as long as the process.
    package static func table(_ number: Int) -> UnsafePointer<wl_interface> {
        precondition(number >= 0 && number < count, "no such interface")
        return UnsafePointer(pool + number)
    }

    /// How many interfaces there are.
    package static var interfaceCount: Int { count }

    /// The C string with an interface's name. Lives as long as the process.
    static func name(of number: Int) -> UnsafePointer<CChar>? { table(number).pointee.name }
}

/// Fills the tables; used by generated code only.
struct InterfaceTableBuilder {
    private let pool: UnsafeMutablePointer<wl_interface>
    private let capacity: Int
    private var next = 0
    private var name: StaticString = ""
    private var version: Int32 = 0
    private var requests: [wl_message] = []
    private var events: [wl_message] = []

    init(capacity: Int) {
        self.capacity = capacity
        pool = .allocate(capacity: capacity)
        pool.initialize(repeating: wl_interface(), count: capacity)
    }

    mutating func begin(_ name: StaticString, version: Int32) {
        self.name = name
        self.version = version
    }

    mutating func request(_ name: StaticString, _ signature: StaticString, _ types: Int...) {
        requests.append(message(name, signature, types))
    }

    mutating func event(_ name: StaticString, _ signature: StaticString, _ types: Int...) {
        events.append(message(name, signature, types))
    }

    mutating func end() {
        precondition(next < capacity)
        pool[next] = wl_interface(
            name: Self.characters(name), version: version,
            method_count: Int32(requests.count), methods: Self.kept(requests),
            event_count: Int32(events.count), events: Self.kept(events))
        next += 1
        requests = []
        events = []
    }

    func finish() -> UnsafeMutablePointer<wl_interface> {
        precondition(next == capacity, "the generated tables are incomplete")
        return pool
    }

    private func message(_ name: StaticString, _ signature: StaticString, _ types: [Int])
        -> wl_message
    {
        let pointers = UnsafeMutablePointer<UnsafePointer<wl_interface>?>.allocate(
            capacity: max(types.count, 1))
        pointers.initialize(repeating: nil, count: max(types.count, 1))
        for (index, type) in types.enumerated() where type >= 0 {
            pointers[index] = UnsafePointer(pool + type)
        }
        return wl_message(
            name: Self.characters(name), signature: Self.characters(signature), types: pointers)
    }

    private static func kept(_ messages: [wl_message]) -> UnsafePointer<wl_message>? {
        guard !messages.isEmpty else { return nil }
        let copy = UnsafeMutablePointer<wl_message>.allocate(capacity: messages.count)
        copy.initialize(from: messages, count: messages.count)
        return UnsafePointer(copy)
    }

    /// A static string's bytes end with NUL and live as long as the process.
    private static func characters(_ string: StaticString) -> UnsafePointer<CChar> {
        UnsafeRawPointer(string.utf8Start).assumingMemoryBound(to: CChar.self)
    }
}
