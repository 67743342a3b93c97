/// Reads a message's body from front to back, by its signature.
///
/// Every read checks the type: what is of another one gives nil, whatever was expected.
public struct DBusCursor: Sendable {
    private struct Frame {
        let types: [UInt8]
        /// Of the types, which comes next.
        var next = 0
        /// Where an array ends; nil for what is none.
        var end: Int?
    }

    private var reader: DBusReader
    private var frames: [Frame]

    /// - Parameter bytes: the whole message, whose header it is.
    public init(_ bytes: [UInt8], _ header: DBusHeader) {
        reader = DBusReader(bytes, header.body, isBigEndian: header.isBigEndian)
        frames = [Frame(types: header.signature)]
    }

    /// Whether the container that was entered, or the body, has no more.
    public var isAtEnd: Bool {
        guard let frame = frames.last else { return true }
        return frame.end.map { reader.position >= $0 } ?? (frame.next >= frame.types.count)
    }

    private func comesNext(_ types: [UInt8]) -> Bool {
        guard let frame = frames.last, !isAtEnd else { return false }
        return frame.types[frame.next...].starts(with: types)
    }

    private mutating func advance(_ count: Int) {
        guard let last = frames.indices.last, frames[last].end == nil else { return }
        frames[last].next += count
    }

    private mutating func read<Value>(
        _ types: [UInt8], _ body: (inout DBusReader) -> Value?
    ) -> Value? {
        guard comesNext(types) else { return nil }
        var reader = reader
        guard let value = body(&reader), reader.position <= limit else { return nil }
        self.reader = reader
        advance(types.count)
        return value
    }

    /// Where the innermost array ends.
    private var limit: Int { frames.last { $0.end != nil }?.end ?? reader.end }

    /// A number of the type, which has the value's size.
    public mutating func number<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Character, _: Value.Type = Value.self
    ) -> Value? {
        guard let type = type.asciiValue, DBusType.size(type) == Value.bitWidth / 8 else {
            return nil
        }
        return read([type]) { $0.integer(Value.self) }
    }

    /// A string.
    public mutating func text() -> String? { read([UInt8(ascii: "s")]) { $0.text() } }

    /// An array of bytes.
    ///
    /// - Returns: where it lies in the message.
    public mutating func bytes() -> Range<Int>? {
        read([UInt8(ascii: "a"), UInt8(ascii: "y")]) { reader in
            guard let end = reader.array(of: UInt8(ascii: "y")) else { return nil }
            return reader.take(end - reader.position)
        }
    }

    /// Enters an array ("a"), variant ("v"), structure ("r") or entry of a dictionary ("e") with these contents.
    public mutating func enter(_ type: Character, _ contents: [UInt8]) -> Bool {
        guard DBusType.isValid(contents) || type == "a" else { return false }
        var frame = Frame(types: contents)
        switch type {
        case "a":
            let types = [UInt8(ascii: "a")] + contents
            guard let first = contents.first, DBusType.length(types, at: 0) == types.count,
                let end = read(types, { $0.array(of: first) }), end <= limit
            else { return false }
            frame.end = end
        case "v":
            guard DBusType.length(contents, at: 0) == contents.count,
                read([UInt8(ascii: "v")], { $0.signature() == contents ? true : nil }) != nil
            else { return false }
        default:
            let (first, last) =
                type == "r"
                ? (UInt8(ascii: "("), UInt8(ascii: ")")) : (UInt8(ascii: "{"), UInt8(ascii: "}"))
            guard read([first] + contents + [last], { $0.align(8) ? true : nil }) != nil else {
                return false
            }
        }
        guard frames.count < DBusType.depthLimit else { return false }
        frames.append(frame)
        return true
    }

    /// Leaves what was entered last, of which all must have been read.
    public mutating func exit() -> Bool {
        guard frames.count > 1, isAtEnd else { return false }
        frames.removeLast()
        return true
    }

    /// Passes over values of these types.
    public mutating func skip(_ types: [UInt8]) -> Bool {
        var index = 0
        while index < types.count {
            guard let length = DBusType.length(types, at: index) else { return false }
            let type = Array(types[index..<index + length])
            guard read(type, { $0.skip(type) ? true : nil }) != nil else { return false }
            index += length
        }
        return true
    }
}
