import Descriptors
import Glibc

/// Bytes of a message, lent: they must not leave the closure that they were given to.
struct DBusBytes {
    // UNSAFE: memory of the message; whoever reads it stays below the count.
    let memory: UnsafeRawBufferPointer
    /// How many there are.
    var count: Int { memory.count }
    /// A copy of the first ones.
    func copy(_ count: Int) -> [UInt8] { Array(memory.prefix(count)) }
}

/// A message of D-Bus: one that came, to be read once from front to back, or one of ours, to be filled.
///
/// Every read checks the type: a message of another shape gives nil, whatever its signature says.
final class DBusMessage {
    /// What a message is for (D-Bus specification, "Message format").
    enum Kind: UInt8 {
        case call = 1
        case reply = 2
        case error = 3
        case signal = 4
    }

    // UNSAFE: a reference of ours to the library's message, given back in deinit.
    let pointer: SDBusLibrary.Message
    private let library: SDBusLibrary

    /// Takes over a reference.
    init(owning pointer: SDBusLibrary.Message, _ library: SDBusLibrary) {
        self.pointer = pointer
        self.library = library
    }

    deinit { _ = library.messageUnref(pointer) }

    // MARK: Header

    var kind: Kind? {
        var type: UInt8 = 0
        return library.type(pointer, &type) >= 0 ? Kind(rawValue: type) : nil
    }
    var path: String { text(library.path) }
    var interface: String { text(library.interface) }
    var member: String { text(library.member) }
    var sender: String { text(library.sender) }
    /// The call that this answers; nil for what is no answer.
    var replyCookie: UInt64? {
        var cookie: UInt64 = 0
        return library.replyCookie(pointer, &cookie) >= 0 ? cookie : nil
    }
    var expectsReply: Bool { library.expectsReply(pointer) > 0 }
    /// An error's name and sentence.
    var errorText: String {
        // UNSAFE: sd_bus_error begins with two pointers to texts of the message.
        guard let error = library.error(pointer) else { return "" }
        let parts = (0..<2).map { index -> String in
            let text = error.load(
                fromByteOffset: index * MemoryLayout<SDBusLibrary.Text?>.stride,
                as: SDBusLibrary.Text?.self)
            return text.map { String(cString: $0) } ?? ""
        }
        return parts[1].isEmpty ? parts[0] : parts[1]
    }

    // UNSAFE: the header's texts live as long as the message and are copied at once.
    private func text(_ function: SDBusLibrary.Named) -> String {
        function(pointer).map { String(cString: $0) } ?? ""
    }

    /// Whether the body is of these types, all of it.
    func hasSignature(_ signature: String) -> Bool {
        library.hasSignature(pointer, signature) > 0
    }

    // MARK: Reading

    // UNSAFE: the library writes a value of the type's size (D-Bus types: 4 bytes for b, i, u, h; 8 for t, d; a pointer for s, o).
    private func read<Value>(_ type: Character, into value: inout Value) -> Bool {
        withUnsafeMutablePointer(to: &value) {
            library.readBasic(pointer, Self.code(type), UnsafeMutableRawPointer($0)) > 0
        }
    }

    private static func code(_ type: Character) -> CChar { CChar(type.asciiValue ?? 0) }

    func readU32() -> UInt32? {
        var value: UInt32 = 0
        return read("u", into: &value) ? value : nil
    }

    func readI32() -> Int32? {
        var value: Int32 = 0
        return read("i", into: &value) ? value : nil
    }

    func readU64() -> UInt64? {
        var value: UInt64 = 0
        return read("t", into: &value) ? value : nil
    }

    func readBool() -> Bool? {
        var value: Int32 = 0
        return read("b", into: &value) ? value != 0 : nil
    }

    func readText() -> String? {
        // UNSAFE: lent by the message, copied at once.
        var value: SDBusLibrary.Text?
        guard read("s", into: &value), let value else { return nil }
        return String(cString: value)
    }

    /// A descriptor of our own: the message only lends its one.
    func readDescriptor() -> OwnedDescriptor? {
        var value: Int32 = -1
        guard read("h", into: &value), value >= 0 else { return nil }
        let own = fcntl(value, F_DUPFD_CLOEXEC, 0)
        return own >= 0 ? OwnedDescriptor(owning: own) : nil
    }

    /// Lends an array of bytes for the closure.
    func readBytes<Result>(_ body: (DBusBytes) -> Result) -> Result? {
        // UNSAFE: memory of the message, which lives longer than the closure.
        var start: UnsafeRawPointer?
        var count = 0
        guard library.readArray(pointer, Self.code("y"), &start, &count) >= 0 else { return nil }
        return body(DBusBytes(memory: UnsafeRawBufferPointer(start: start, count: count)))
    }

    /// An array of numbers; nil when there are more than a limit.
    func readU32s(limit: Int) -> [UInt32]? {
        readArray("u", limit: limit) { self.readU32() }
    }

    func readTexts(limit: Int) -> [String]? {
        readArray("s", limit: limit) { self.readText() }
    }

    /// Descriptors of our own; nil when there are more than a limit, or one cannot be had.
    func readDescriptors(limit: Int, _ body: (consuming OwnedDescriptor) -> Void) -> Int? {
        guard enter("a", "h") else { return nil }
        var count = 0
        while !isAtEnd {
            guard count < limit, let descriptor = readDescriptor() else { return nil }
            body(descriptor)
            count += 1
        }
        return exit() ? count : nil
    }

    private func readArray<Element>(
        _ type: String, limit: Int, _ element: () -> Element?
    ) -> [Element]? {
        guard enter("a", type) else { return nil }
        var elements: [Element] = []
        while !isAtEnd {
            guard elements.count < limit, let next = element() else { return nil }
            elements.append(next)
        }
        return exit() ? elements : nil
    }

    /// Enters an array ("a"), variant ("v"), structure ("r") or entry of a dictionary ("e").
    func enter(_ type: Character, _ contents: String) -> Bool {
        library.enterContainer(pointer, Self.code(type), contents) > 0
    }

    @discardableResult
    func exit() -> Bool { library.exitContainer(pointer) >= 0 }

    /// Passes over values of these types.
    func skip(_ types: String) -> Bool { library.skip(pointer, types) > 0 }

    /// Whether the container that was entered has no more.
    var isAtEnd: Bool { library.atEnd(pointer, 0) != 0 }

    /// The variants of a dictionary from texts, by name.
    func readProperties(_ body: (String, DBusMessage) -> Void) -> Bool {
        guard enter("a", "{sv}") else { return false }
        var count = 0
        while !isAtEnd {
            guard count < 64, enter("e", "sv"), let name = readText() else { return false }
            count += 1
            body(name, self)
            guard exit() else { return false }
        }
        return exit()
    }

    // MARK: Writing

    // UNSAFE: the library copies the value during the call.
    private func append<Value>(_ type: Character, value: Value) {
        _ = withUnsafePointer(to: value) {
            library.appendBasic(pointer, Self.code(type), UnsafeRawPointer($0))
        }
    }

    func append(_ value: UInt32) { append("u", value: value) }
    func append(_ value: UInt16) { append("q", value: value) }
    func append(_ value: Int32) { append("i", value: value) }
    func append(_ value: UInt64) { append("t", value: value) }
    func append(_ value: Double) { append("d", value: value) }
    func append(_ value: Bool) { append("b", value: Int32(value ? 1 : 0)) }
    /// The descriptor stays the caller's. **Only on a connection that is ready**: the library waits for it otherwise.
    func append(descriptor: Int32) { append("h", value: descriptor) }

    func append(_ text: String) {
        _ = text.withCString { library.appendBasic(pointer, Self.code("s"), UnsafeRawPointer($0)) }
    }

    func append(bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes {
            library.appendArray(pointer, Self.code("y"), $0.baseAddress, $0.count)
        }
    }

    func append(_ type: Character, _ contents: String, _ body: () -> Void) {
        guard library.openContainer(pointer, Self.code(type), contents) >= 0 else { return }
        body()
        _ = library.closeContainer(pointer)
    }
}
