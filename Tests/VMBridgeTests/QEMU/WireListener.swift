import Descriptors
import VMBridgeCore

@testable import VMBridge

/// A call of D-Bus in bytes, little-endian (D-Bus specification, "Marshaling" and "Message format").
struct WireCall {
    /// A value of a body.
    enum Value {
        /// Types u, i, h, b.
        case word(UInt32)
        /// Type t.
        case long(UInt64)
        /// Type ay.
        case bytes([UInt8])
        /// Types au and ah.
        case words([UInt32])
    }

    let interface: String
    let member: String
    let signature: String
    let values: [Value]
    /// How many descriptors its header says.
    var descriptors: UInt32 = 0

    /// - Returns: its bytes, and where its body begins in them.
    func bytes(serial: UInt32, path: String = ListenerMessages.path) -> (bytes: [UInt8], body: Int)
    {
        var body: [UInt8] = []
        for value in values { Self.append(value, to: &body) }
        var fields: [UInt8] = []
        func field(_ code: UInt8, _ type: String, _ write: (inout [UInt8]) -> Void) {
            Self.pad(&fields, 8)
            fields += [code, UInt8(type.utf8.count)] + Array(type.utf8) + [0]
            write(&fields)
        }
        func text(_ text: String, _ fields: inout [UInt8]) {
            Self.append(.word(UInt32(text.utf8.count)), to: &fields)
            fields += Array(text.utf8) + [0]
        }
        field(1, "o") { text(path, &$0) }
        field(2, "s") { text(interface, &$0) }
        field(3, "s") { text(member, &$0) }
        if !signature.isEmpty {
            field(8, "g") { $0 += [UInt8(signature.utf8.count)] + Array(signature.utf8) + [0] }
        }
        if descriptors > 0 { field(9, "u") { Self.append(.word(descriptors), to: &$0) } }
        var message: [UInt8] = [0x6c, 1, 0, 1]
        for word in [UInt32(body.count), serial, UInt32(fields.count)] {
            Self.append(.word(word), to: &message)
        }
        message += fields
        Self.pad(&message, 8)
        return (message + body, message.count)
    }

    private static func pad(_ bytes: inout [UInt8], _ alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }

    private static func append(_ value: Value, to bytes: inout [UInt8]) {
        switch value {
        case .word(let word):
            pad(&bytes, 4)
            for shift in stride(from: 0, to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        case .long(let long):
            pad(&bytes, 8)
            append(.word(UInt32(truncatingIfNeeded: long)), to: &bytes)
            append(.word(UInt32(truncatingIfNeeded: long >> 32)), to: &bytes)
        case .bytes(let list):
            append(.word(UInt32(list.count)), to: &bytes)
            bytes += list
        case .words(let list):
            append(.word(UInt32(list.count * 4)), to: &bytes)
            for word in list { append(.word(word), to: &bytes) }
        }
    }
}

/// QEMU's end of a listener's connection without a library: it may send any bytes.
final class WireListener {
    private var socket: StreamSocket?
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var outputDescriptor: Int32?
    private var chunk = [UInt8](repeating: 0, count: 65_536)
    private var none = DescriptorBundle()
    private var authentication = DBusAuthentication(.server)
    private var hasAuthenticated = false
    /// Answers that came, and how many of them are errors.
    private(set) var answers = 0
    private(set) var errors = 0
    /// Serials of the answered calls.
    private(set) var answered: Set<UInt32> = []

    init(_ descriptor: consuming OwnedDescriptor) { socket = StreamSocket(descriptor) }

    /// Whether the bridge has hung up.
    var isClosed: Bool { socket == nil }
    /// Whether all that was to be sent is with the kernel.
    var isSent: Bool { output.isEmpty }

    /// Puts bytes behind those that are waiting. The descriptor is lent until they are sent.
    func send(_ bytes: [UInt8], descriptor: Int32? = nil) {
        output += bytes
        outputDescriptor = descriptor ?? outputDescriptor
    }

    /// Writes and reads what can be.
    func poll() {
        if hasAuthenticated { write() }
        while let result = socket?.receive(into: &chunk, descriptors: &none) {
            switch result {
            case .bytes(let count): input += chunk[..<count]
            case .wouldBlock: return take()
            case .closed, .failed: return socket = nil
            }
        }
    }

    private func write() {
        guard !output.isEmpty else { return }
        switch socket?.send(output, from: 0, descriptor: outputDescriptor) ?? .closed {
        case .sent(let count):
            output.removeFirst(count)
            outputDescriptor = nil
        case .wouldBlock: break
        case .closed, .failed: socket = nil
        }
    }

    private func take() {
        while !hasAuthenticated, let end = input.firstIndex(of: 0x0a) {
            let line = String(decoding: input[..<end].dropLast(), as: UTF8.self)
            input.removeFirst(end + 1)
            switch try? authentication.take(line) {
            case .words(let words): say(words)
            case .done: hasAuthenticated = true
            case nil: return socket = nil
            }
        }
        guard hasAuthenticated else { return }
        while let length = answerLength, input.count >= length {
            answers += 1
            if input[1] == 3 { errors += 1 }
            if let serial = replySerial { answered.insert(serial) }
            input.removeFirst(length)
        }
    }

    private func say(_ words: String) {
        let bytes = Array(words.utf8)
        guard case .sent(bytes.count) = socket?.send(bytes, from: 0) ?? .closed else {
            return socket = nil
        }
    }

    private func word(_ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(input[offset + $1]) << (8 * UInt32($1)) }
    }

    private var answerLength: Int? {
        guard input.count >= 16 else { return nil }
        return 16 + (Int(word(12)) + 7) / 8 * 8 + Int(word(4))
    }

    /// Of the header's fields, which are texts and signatures but for this one.
    private var replySerial: UInt32? {
        var offset = 16
        let end = 16 + Int(word(12))
        while offset + 8 <= end {
            let type = input[offset + 2]
            if input[offset] == 5 { return word(offset + 4) }
            switch type {
            case UInt8(ascii: "u"): offset += 8
            case UInt8(ascii: "g"): offset += 4 + Int(input[offset + 4]) + 2
            default: offset += 8 + Int(word(offset + 4)) + 1
            }
            offset = (offset + 7) / 8 * 8
        }
        return nil
    }
}
