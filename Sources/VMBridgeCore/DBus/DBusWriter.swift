/// Writes values of D-Bus, little-endian, aligned to the start of its bytes (D-Bus specification, "Marshaling").
public struct DBusWriter: Sendable {
    /// What was written.
    public private(set) var bytes: [UInt8] = []

    /// Nothing written yet.
    public init() {}

    mutating func align(_ alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }

    /// A number: y, q, u, t by its size.
    public mutating func append<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) {
        let size = Value.bitWidth / 8
        align(size)
        for index in 0..<size { bytes.append(UInt8(truncatingIfNeeded: value >> Value(8 * index))) }
    }

    /// A string or an object's path.
    public mutating func append(_ text: String) {
        append(UInt32(text.utf8.count))
        bytes += text.utf8
        bytes.append(0)
    }

    mutating func appendSignature(_ types: [UInt8]) {
        append(UInt8(truncatingIfNeeded: types.count))
        bytes += types
        bytes.append(0)
    }

    mutating func append(raw: [UInt8]) { bytes += raw }

    /// An array of bytes.
    public mutating func append(array: [UInt8]) {
        append(UInt32(array.count))
        bytes += array
    }

    /// Begins an array.
    ///
    /// - Returns: what `endArray` wants.
    mutating func beginArray(of element: UInt8) -> (length: Int, first: Int) {
        append(0 as UInt32)
        let length = bytes.count - 4
        align(DBusType.alignment(element) ?? 1)
        return (length, bytes.count)
    }

    mutating func endArray(_ array: (length: Int, first: Int)) {
        let count = UInt32(bytes.count - array.first)
        for index in 0..<4 {
            bytes[array.length + index] = UInt8(truncatingIfNeeded: count >> UInt32(8 * index))
        }
    }
}

/// A message's body as it is written: values with their types.
public struct DBusBodyWriter: Sendable {
    private enum Container {
        case array(length: Int, first: Int)
        case other
    }

    private var writer = DBusWriter()
    private var open: [Container] = []
    /// Types of what was written outside of containers.
    public private(set) var signature: [UInt8] = []
    /// What was written.
    public var bytes: [UInt8] { writer.bytes }

    /// An empty body.
    public init() {}

    private mutating func note(_ types: [UInt8]) { if open.isEmpty { signature += types } }

    /// A number of the type.
    public mutating func append<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Character, _ value: Value
    ) {
        note([type.asciiValue ?? 0])
        writer.append(value)
    }

    /// A string.
    public mutating func append(_ text: String) {
        note([UInt8(ascii: "s")])
        writer.append(text)
    }

    /// An array of bytes.
    public mutating func append(bytes: [UInt8]) {
        note(Array("ay".utf8))
        writer.append(array: bytes)
    }

    /// Begins an array ("a"), variant ("v"), structure ("r") or entry of a dictionary ("e") with these contents.
    public mutating func begin(_ type: Character, _ contents: [UInt8]) {
        switch type {
        case "a":
            note([UInt8(ascii: "a")] + contents)
            let (length, first) = writer.beginArray(of: contents.first ?? 0)
            open.append(.array(length: length, first: first))
        case "v":
            note([UInt8(ascii: "v")])
            writer.appendSignature(contents)
            open.append(.other)
        default:
            note([UInt8(ascii: "(")] + contents + [UInt8(ascii: ")")])
            writer.align(8)
            open.append(.other)
        }
    }

    /// Ends what was begun last.
    public mutating func end() {
        if case .array(let length, let first)? = open.popLast() {
            writer.endArray((length, first))
        }
    }
}
