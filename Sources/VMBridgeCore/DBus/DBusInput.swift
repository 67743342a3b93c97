/// Bytes of a connection of D-Bus as they come, cut into lines and messages.
///
/// Memory is taken for what has come, not for what a message says of its length.
public struct DBusInput: Sendable {
    /// Bytes asked for while nothing larger is under way.
    private static let usual = 64 * 1024
    /// Of a large message, asked for at a time.
    private static let most = 1024 * 1024

    /// What has come and was not taken; whoever receives appends to it.
    public var bytes: [UInt8] = []
    /// Bytes before it were taken.
    private var head = 0

    /// Nothing yet.
    public init() {}

    /// Whether all that came was taken.
    public var isEmpty: Bool { head == bytes.count }

    /// How many bytes may be appended now: not beyond the end of a large message, which is then handed over uncopied.
    public var room: Int {
        guard bytes.count - head >= DBusHeader.prefix,
            let length = try? DBusHeader.length(bytes, at: head), length > Self.usual
        else { return Self.usual }
        return min(max(length - (bytes.count - head), 1), Self.most)
    }

    /// Takes a line without its end; nil while it has not come whole.
    ///
    /// - Throws: `malformed` for one that is no text, `tooManyBytes` for one that does not end.
    public mutating func nextLine() throws(Refusal) -> String? {
        let rest = bytes[head...]
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
            guard rest.count <= DBusAuthentication.lineLimit else {
                throw Refusal(.tooManyBytes, "A line of the greeting does not end.")
            }
            return nil
        }
        var line = rest[..<end]
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        guard line.count <= DBusAuthentication.lineLimit,
            let text = String(validating: line, as: UTF8.self)
        else { throw Refusal(.malformed, "A line of the greeting is no text.") }
        forget(end + 1 - head)
        return text
    }

    /// Takes a message; nil while it has not come whole.
    ///
    /// - Throws: what `DBusHeader.length` throws; then nothing that follows makes sense.
    public mutating func next() throws(Refusal) -> [UInt8]? {
        let count = bytes.count - head
        guard count >= DBusHeader.prefix else { return nil }
        let length = try DBusHeader.length(bytes, at: head)
        guard count >= length else {
            if head > 0 {
                bytes.removeFirst(head)
                head = 0
            }
            return nil
        }
        if head == 0, count == length, length > Self.usual {
            var message: [UInt8] = []
            swap(&message, &bytes)
            return message
        }
        let message = Array(bytes[head..<head + length])
        forget(length)
        return message
    }

    private mutating func forget(_ count: Int) {
        head += count
        guard isEmpty else { return }
        bytes.removeAll(keepingCapacity: bytes.capacity <= 2 * Self.usual)
        head = 0
    }
}
