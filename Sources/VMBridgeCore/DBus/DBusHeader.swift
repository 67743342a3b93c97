/// What a message is at most.
public enum DBusLimits {
    /// Bytes of an array (D-Bus specification, "Valid Signatures": 64 MiB).
    public static let array: UInt32 = 1 << 26
    /// Bytes of a body: the largest array, and numbers beside it. The specification allows 128 MiB; QEMU sends one
    /// picture a message.
    public static let body: UInt32 = array + 4096
    /// Bytes of a string: names, labels and sentences. Whoever cleans one looks at all of it.
    public static let text: UInt32 = 16 * 1024
    /// Bytes of the header's fields: names and paths, of 255 bytes each as a rule.
    public static let fields: UInt32 = 16 * 1024
}

/// A message's header (D-Bus specification, "Message Format").
public struct DBusHeader: Equatable, Sendable {
    /// What a message is for.
    public enum Kind: UInt8, Sendable {
        case call = 1
        case reply = 2
        case error = 3
        case signal = 4
    }

    /// Bytes that say how long a message is.
    public static let prefix = 16

    /// Nil for a kind that is to be passed over.
    public var kind: Kind?
    /// How its numbers are written.
    public var isBigEndian = false
    /// The sender wants no answer.
    public var wantsNoAnswer = false
    /// The sender's number of the message, not 0.
    public var serial: UInt32 = 0
    /// The object that is called, or that signals; empty for answers.
    public var path = ""
    /// May be empty in calls.
    public var interface = ""
    /// The method or signal; empty for answers.
    public var member = ""
    /// An error's name.
    public var error = ""
    /// The call that this answers.
    public var replySerial: UInt32?
    /// A name on the bus; empty for the peer.
    public var destination = ""
    /// Who sent it, in the word of the bus; empty from a peer. Not written by `bytes`.
    public var sender = ""
    /// Types of the body.
    public var signature: [UInt8] = []
    /// Descriptors that came with it.
    public var descriptors: UInt32 = 0
    /// Where the body lies.
    public private(set) var body = 0..<0

    /// A call without a body.
    public init() {}

    /// How long the message is that begins at an index of the bytes, of which a prefix must be there.
    ///
    /// - Throws: `malformed` for what is no message, `tooManyBytes` for a longer one than is ever needed.
    public static func length(_ bytes: [UInt8], at index: Int = 0) throws(Refusal) -> Int {
        var reader = try reader(bytes, index..<index + prefix)
        guard reader.integer(UInt8.self) != 0, reader.take(1) != nil,
            reader.integer(UInt8.self) == 1,
            let body = reader.integer(UInt32.self), reader.integer(UInt32.self) != 0,
            let fields = reader.integer(UInt32.self)
        else { throw Refusal(.malformed, "A message of D-Bus begins in another way.") }
        guard body <= DBusLimits.body, fields <= DBusLimits.fields else {
            throw Refusal(
                .tooManyBytes,
                "A message has \(fields) bytes of header fields and \(body) of body: at most \(DBusLimits.fields) and \(DBusLimits.body) are taken."
            )
        }
        return prefix + (Int(fields) + 7) / 8 * 8 + Int(body)
    }

    /// A reader behind the first byte, which says how numbers are written.
    private static func reader(
        _ bytes: [UInt8], _ range: Range<Int>
    ) throws(Refusal) -> DBusReader {
        guard range.upperBound <= bytes.count,
            bytes[range.lowerBound] == UInt8(ascii: "l")
                || bytes[range.lowerBound] == UInt8(ascii: "B")
        else { throw Refusal(.malformed, "A message of D-Bus begins in another way.") }
        let isBigEndian = bytes[range.lowerBound] == UInt8(ascii: "B")
        return DBusReader(
            bytes, range.dropFirst(), origin: range.lowerBound, isBigEndian: isBigEndian)
    }

    /// Reads a whole message's header.
    ///
    /// - Throws: `malformed`, and what `length` throws.
    public init(_ bytes: [UInt8]) throws(Refusal) {
        guard bytes.count >= Self.prefix, try Self.length(bytes) == bytes.count else {
            throw Refusal(.malformed, "A message of D-Bus has another length than it says.")
        }
        isBigEndian = bytes[0] == UInt8(ascii: "B")
        kind = Kind(rawValue: bytes[1])
        wantsNoAnswer = bytes[2] & 1 != 0
        var reader = DBusReader(bytes, 4..<bytes.count, isBigEndian: isBigEndian)
        guard let bodyLength = reader.integer(UInt32.self),
            let serial = reader.integer(UInt32.self), let fields = reader.integer(UInt32.self)
        else { throw Refusal(.malformed, "A message of D-Bus is too short.") }
        self.serial = serial
        body = bytes.count - Int(bodyLength)..<bytes.count
        try readFields(
            DBusReader(
                bytes, Self.prefix..<Self.prefix + Int(fields), isBigEndian: isBigEndian))
        guard isComplete, signature.isEmpty == body.isEmpty else {
            throw Refusal(.malformed, "A message of D-Bus lacks what its kind must have.")
        }
    }

    private mutating func readFields(_ fields: DBusReader) throws(Refusal) {
        var reader = fields
        while reader.position < reader.end {
            guard reader.align(8), let code = reader.integer(UInt8.self), code != 0,
                let types = reader.signature(), types.count > 0,
                DBusType.length(types, at: 0) == types.count,
                readField(code, types, &reader)
            else {
                throw Refusal(.malformed, "A message of D-Bus has a field that cannot be read.")
            }
        }
    }

    private mutating func readField(
        _ code: UInt8, _ types: [UInt8], _ reader: inout DBusReader
    ) -> Bool {
        func text(_ type: Character) -> String? {
            types == [type.asciiValue ?? 0] ? reader.text() : nil
        }
        func number() -> UInt32? {
            types == [UInt8(ascii: "u")] ? reader.integer(UInt32.self) : nil
        }
        switch code {
        case 1: return store(text("o"), in: &path)
        case 2: return store(text("s"), in: &interface)
        case 3: return store(text("s"), in: &member)
        case 4: return store(text("s"), in: &error)
        case 5:
            replySerial = number()
            return replySerial != nil
        case 6: return store(text("s"), in: &destination)
        case 7: return store(text("s"), in: &sender)
        case 8:
            return store(types == [UInt8(ascii: "g")] ? reader.signature() : nil, in: &signature)
        case 9: return store(number(), in: &descriptors)
        // What a later version of the specification has.
        default: return reader.skip(types)
        }
    }

    private func store<Value>(_ value: Value?, in place: inout Value) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private var isComplete: Bool {
        switch kind {
        case .call: !path.isEmpty && !member.isEmpty
        case .reply: replySerial != nil
        case .error: replySerial != nil && !error.isEmpty
        case .signal: !path.isEmpty && !interface.isEmpty && !member.isEmpty
        case nil: true
        }
    }

    /// The bytes of a message with this header, little-endian; those of the body follow.
    ///
    /// - Parameter count: bytes of the body.
    public func bytes(bodyCount count: Int) -> [UInt8] {
        var fields = DBusWriter()
        func field(_ code: UInt8, _ type: Character, _ write: (inout DBusWriter) -> Void) {
            fields.align(8)
            fields.append(code)
            fields.appendSignature([type.asciiValue ?? 0])
            write(&fields)
        }
        if !path.isEmpty { field(1, "o") { $0.append(path) } }
        if !interface.isEmpty { field(2, "s") { $0.append(interface) } }
        if !member.isEmpty { field(3, "s") { $0.append(member) } }
        if !error.isEmpty { field(4, "s") { $0.append(error) } }
        if let replySerial { field(5, "u") { $0.append(replySerial) } }
        if !destination.isEmpty { field(6, "s") { $0.append(destination) } }
        if !signature.isEmpty { field(8, "g") { $0.appendSignature(signature) } }
        if descriptors > 0 { field(9, "u") { $0.append(descriptors) } }
        var header = DBusWriter()
        header.append(UInt8(ascii: "l"))
        header.append(kind?.rawValue ?? 0)
        header.append(UInt8(wantsNoAnswer ? 1 : 0))
        header.append(1 as UInt8)
        for word in [UInt32(count), serial, UInt32(fields.bytes.count)] { header.append(word) }
        header.append(raw: fields.bytes)
        header.align(8)
        return header.bytes
    }
}
