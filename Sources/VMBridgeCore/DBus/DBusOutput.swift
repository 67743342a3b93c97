/// Messages that wait to be written, and which of them descriptors go with.
public struct DBusOutput: Sendable {
    private struct Mark {
        var start: Int
        let count: Int
    }

    /// The bytes; those before `next` are sent.
    public private(set) var bytes: [UInt8] = []
    private var head = 0
    private var marks: [Mark] = []

    /// Nothing waits.
    public init() {}

    /// Bytes that wait.
    public var count: Int { bytes.count - head }

    /// Puts a message behind the others.
    ///
    /// - Parameter descriptors: how many go with it.
    public mutating func append(_ message: [UInt8], descriptors: Int = 0) {
        if descriptors > 0 { marks.append(Mark(start: bytes.count, count: descriptors)) }
        bytes += message
    }

    /// What one call may send: descriptors go with their message's first byte, and with none of another message.
    public var next: (range: Range<Int>, descriptors: Int) {
        guard let first = marks.first else { return (head..<bytes.count, 0) }
        guard first.start == head else { return (head..<first.start, 0) }
        return (head..<(marks.count > 1 ? marks[1].start : bytes.count), first.count)
    }

    /// So many bytes of `next` are with the kernel, with its descriptors.
    ///
    /// - Returns: how many descriptors that were.
    public mutating func sent(_ count: Int) -> Int {
        guard count > 0 else { return 0 }
        let descriptors = next.descriptors
        if descriptors > 0 { marks.removeFirst() }
        head += count
        if head == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.capacity <= 64 * 1024)
            head = 0
        } else if head >= 64 * 1024 {
            bytes.removeFirst(head)
            for index in marks.indices { marks[index].start -= head }
            head = 0
        }
        return descriptors
    }
}
