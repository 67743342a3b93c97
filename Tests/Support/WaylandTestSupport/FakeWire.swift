import CWayland
import Wayland

/// A message argument as the fake compositor sees it.
package enum FakeArgument: Equatable {
    case int(Int32)
    case uint(UInt32)
    /// 24.8, times 256.
    case fixed(Int32)
    case string(String?)
    case array([UInt8])
    /// An object's number, 0 for none.
    case object(UInt32)
    case newID(UInt32)
    /// In received messages: a number that the compositor owns. In sent ones: lent.
    case descriptor(Int32)
}

/// Reads and writes the wire by libwayland's signatures, in code of its own.
struct FakeWire {
    /// The letters of a signature, without versions and marks of nullable arguments.
    static func letters(_ signature: UnsafePointer<CChar>) -> [Character] {
        String(cString: signature).filter { $0.isLetter }
    }

    static func encode(
        object: UInt32, opcode: Int, _ arguments: [FakeArgument]
    ) -> (bytes: [UInt8], descriptors: [Int32]) {
        var body: [UInt8] = []
        var descriptors: [Int32] = []
        for argument in arguments {
            switch argument {
            case .int(let value), .fixed(let value): append(UInt32(bitPattern: value), to: &body)
            case .uint(let value), .object(let value), .newID(let value): append(value, to: &body)
            case .string(nil): append(0, to: &body)
            case .string(let text?): append(Array(text.utf8) + [0], to: &body)
            case .array(let bytes): append(bytes, to: &body)
            case .descriptor(let number): descriptors.append(number)
            }
        }
        var bytes: [UInt8] = []
        append(object, to: &bytes)
        append(UInt32(body.count + 8) << 16 | UInt32(opcode), to: &bytes)
        return (bytes + body, descriptors)
    }

    /// Nil when the body does not have what the signature says.
    static func decode(
        _ body: ArraySlice<UInt8>, _ letters: [Character], descriptors: inout [Int32]
    ) -> [FakeArgument]? {
        var rest = body
        var result: [FakeArgument] = []
        for letter in letters {
            if letter == "h" {
                guard !descriptors.isEmpty else { return nil }
                result.append(.descriptor(descriptors.removeFirst()))
                continue
            }
            guard let value = word(&rest) else { return nil }
            switch letter {
            case "i": result.append(.int(Int32(bitPattern: value)))
            case "f": result.append(.fixed(Int32(bitPattern: value)))
            case "o": result.append(.object(value))
            case "n": result.append(.newID(value))
            case "s", "a":
                let padded = (Int(value) + 3) & ~3
                guard rest.count >= padded else { return nil }
                let bytes = Array(rest.prefix(Int(value)))
                rest = rest.dropFirst(padded)
                if letter == "a" {
                    result.append(.array(bytes))
                } else {
                    let text = String(decoding: bytes.dropLast(), as: UTF8.self)
                    result.append(.string(bytes.isEmpty ? nil : text))
                }
            default: result.append(.uint(value))
            }
        }
        return rest.isEmpty ? result : nil
    }

    static func word(_ rest: inout ArraySlice<UInt8>) -> UInt32? {
        guard rest.count >= 4 else { return nil }
        let value = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        rest = rest.dropFirst(4)
        return value
    }

    private static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    private static func append(_ content: [UInt8], to bytes: inout [UInt8]) {
        append(UInt32(content.count), to: &bytes)
        bytes += content
        while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
    }
}
