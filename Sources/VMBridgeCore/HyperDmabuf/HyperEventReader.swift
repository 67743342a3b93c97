/// One record of the driver's event queue (hyper_dmabuf.h, `hyper_dmabuf_event_hdr`): where it stands in
/// the bytes that were read.
public struct HyperEvent: Sendable, Equatable {
    /// Bytes of its header.
    public static let headerBytes = 24
    /// The one type there is: a buffer is there, or has new content.
    public static let newImport: UInt32 = 0x10000
    /// The most private data that an honest exporter's driver sends.
    public static let maximumPrivateBytes = 192

    /// The buffer.
    public var id: HyperBufferID
    /// Offset of the private data.
    public var start: Int
    /// Bytes of private data.
    public var count: Int

    /// A record's place.
    public init(id: HyperBufferID, start: Int, count: Int) {
        self.id = id
        self.start = start
        self.count = count
    }
}

/// Walks the records that one read of the queue gave. Total: ends with the bytes or with a refusal.
public struct HyperEventReader: Sendable {
    private var position = 0

    /// Starts before the first record.
    public init() {}

    /// The next record; nil after the last one.
    ///
    /// - Throws: `malformed` when the sizes do not fit, and what is left of the bytes means nothing then;
    ///   `unsupported` for another type, and `badValue` for an id that names nothing or more private data
    ///   than the driver allows, and the walk goes on behind it.
    public mutating func next(in bytes: borrowing Span<UInt8>) throws(Refusal) -> HyperEvent? {
        let left = bytes.count - position
        guard left > 0 else { return nil }
        guard left >= HyperEvent.headerBytes else {
            position = bytes.count
            throw Refusal(.malformed, "\(left) bytes are left of a read: a record's header has 24.")
        }
        let type = bytes.u32(position)
        let id = HyperBufferID(bytes, at: position + 4)
        let size = Int32(bitPattern: bytes.u32(position + 20))
        guard size >= 0, Int(size) <= left - HyperEvent.headerBytes else {
            position = bytes.count
            throw Refusal(
                .malformed,
                "A record claims \(size) bytes of private data, \(left - HyperEvent.headerBytes) are there."
            )
        }
        let event = HyperEvent(id: id, start: position + HyperEvent.headerBytes, count: Int(size))
        position = event.start + event.count
        guard type == HyperEvent.newImport else {
            throw Refusal(
                .unsupported, "An event of type 0x\(String(type, radix: 16)) is not known.")
        }
        guard !id.isNone else { throw Refusal(.badValue, "A record names no buffer.") }
        guard event.count <= HyperEvent.maximumPrivateBytes else {
            throw Refusal(
                .badValue,
                "Buffer \(id) comes with \(event.count) bytes of private data: the driver's limit is 192, so memory of this kernel is in them."
            )
        }
        return event
    }
}
