import Descriptors
import Glibc
import VMBridgeCore

/// Where an answer to a call goes.
struct DBusReturn {
    let serial: UInt32
    let destination: String
    let isWanted: Bool
}

/// A message that came, to be read once from front to back. It owns its bytes and its descriptors.
///
/// Every read checks the type: a message of another shape gives nil, whatever its signature says.
final class DBusMessage {
    /// What a message is for.
    typealias Kind = DBusHeader.Kind

    private let bytes: [UInt8]
    private let header: DBusHeader
    private var cursor: DBusCursor
    private var descriptors: DescriptorBundle

    /// - Parameters:
    ///   - bytes: all of it.
    ///   - descriptors: as many as the header says.
    init(_ bytes: [UInt8], _ header: DBusHeader, _ descriptors: consuming DescriptorBundle) {
        self.bytes = bytes
        self.header = header
        self.descriptors = descriptors
        cursor = DBusCursor(bytes, header)
    }

    // MARK: Header

    var kind: Kind? { header.kind }
    var path: String { header.path }
    var interface: String { header.interface }
    var member: String { header.member }
    var sender: String { header.sender }
    /// The call that this answers; nil for what is no answer.
    var replySerial: UInt32? { header.replySerial }
    /// Where this call's answer goes.
    var returnAddress: DBusReturn {
        DBusReturn(
            serial: header.serial, destination: header.sender,
            isWanted: header.kind == .call && !header.wantsNoAnswer)
    }
    /// An error's sentence, or its name where it has none.
    var errorText: String {
        var cursor = DBusCursor(bytes, header)
        let sentence = cursor.text() ?? ""
        return sentence.isEmpty ? header.error : sentence
    }

    /// Whether the body is of these types, all of it.
    func hasSignature(_ signature: String) -> Bool {
        header.signature.elementsEqual(signature.utf8)
    }

    // MARK: Reading

    func readU32() -> UInt32? { cursor.number("u") }

    func readI32() -> Int32? {
        cursor.number("i", UInt32.self).map { Int32(bitPattern: $0) }
    }

    func readU64() -> UInt64? { cursor.number("t") }

    /// Numbers other than 0 and 1 are none.
    func readBool() -> Bool? {
        guard let value = cursor.number("b", UInt32.self), value <= 1 else { return nil }
        return value == 1
    }

    func readText() -> String? { cursor.text() }

    /// Hands a descriptor over; nil the second time.
    func readDescriptor() -> OwnedDescriptor? {
        guard let index = cursor.number("h", UInt32.self) else { return nil }
        return descriptors.take(Int(index))
    }

    /// An array of bytes; they stay where they are.
    func readBytes() -> ArraySlice<UInt8>? { cursor.bytes().map { bytes[$0] } }

    /// An array of numbers; nil when there are more than a limit.
    func readU32s(limit: Int) -> [UInt32]? {
        guard enter("a", "u") else { return nil }
        var numbers: [UInt32] = []
        while !isAtEnd {
            guard numbers.count < limit, let next = readU32() else { return nil }
            numbers.append(next)
        }
        return exit() ? numbers : nil
    }

    /// Hands descriptors over; nil when there are more than a limit, or one cannot be had.
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

    /// Enters an array ("a"), variant ("v"), structure ("r") or entry of a dictionary ("e").
    func enter(_ type: Character, _ contents: String) -> Bool {
        cursor.enter(type, Array(contents.utf8))
    }

    @discardableResult
    func exit() -> Bool { cursor.exit() }

    /// Passes over values of these types.
    func skip(_ types: String) -> Bool { cursor.skip(Array(types.utf8)) }

    /// Whether the container that was entered has no more.
    var isAtEnd: Bool { cursor.isAtEnd }

    /// The variants of a dictionary from texts, by name. What the closure leaves unread ends it.
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
}

/// The body of a message of ours, as it is filled.
final class DBusBody {
    private(set) var writer = DBusBodyWriter()
    /// Descriptors that go with it.
    let descriptors = DescriptorQueue()

    func append(_ value: UInt32) { writer.append("u", value) }
    func append(_ value: UInt16) { writer.append("q", value) }
    func append(_ value: Int32) { writer.append("i", UInt32(bitPattern: value)) }
    func append(_ value: UInt64) { writer.append("t", value) }
    func append(_ value: Double) { writer.append("d", value.bitPattern) }
    func append(_ value: Bool) { writer.append("b", UInt32(value ? 1 : 0)) }
    func append(_ text: String) { writer.append(text) }
    func append(bytes: [UInt8]) { writer.append(bytes: bytes) }

    /// The descriptor stays the caller's: a copy of it is sent. What cannot be copied leads to a message that its
    /// receiver refuses.
    func append(descriptor: Int32) {
        writer.append("h", UInt32(descriptors.count))
        let copy = OwnedDescriptor(owning: fcntl(descriptor, F_DUPFD_CLOEXEC, 0))
        if copy.isValid { descriptors.append(copy) }
    }

    /// An array ("a"), variant ("v"), structure ("r") or entry of a dictionary ("e") of these types.
    func append(_ type: Character, _ contents: String, _ body: () -> Void) {
        writer.begin(type, Array(contents.utf8))
        body()
        writer.end()
    }
}
