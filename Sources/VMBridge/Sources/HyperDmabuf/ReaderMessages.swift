import VMBridgeCore

/// The words between the bridge and the process that reads hyper_dmabuf's queue: datagrams on a socket pair,
/// little-endian. A header as that of the graphics worker's words, then the kind's own:
///
/// | at | what |
/// |---|---|
/// | 0 | u16 kind; the reader's have bit 15 |
/// | 2 | u16 number of descriptors that come with it |
/// | 4 | u32 length of the datagram |
/// | 8 | u64 the request's number; an answer repeats it |
enum ReaderProtocol {
    static let version: UInt32 = 1
    static let headerBytes = 16
    /// Records of one read, and a header.
    static let maximumBytes = 65_536
    /// Room for records at first, and the most that the reader makes of it.
    static let firstRoom = 8192
    static let lastRoom = maximumBytes - headerBytes

    enum Kind: UInt16 {
        /// Ask the exporter for a dma-buf: an id.
        case open = 1
        /// What the driver knows of a buffer: an id.
        case ask = 2
        /// The same with its private data: an id.
        case describe = 3

        /// u32 version, 0: the reader runs. Number 0.
        case ready = 0x8000
        /// What one read gave, untouched. Number 0.
        case records = 0x8001
        /// There was a record, and somebody else took it. Number 0.
        case stolen = 0x8002
        /// Facts, and for `open` a descriptor, for `describe` private data behind them.
        case answer = 0x8003
        /// u32 errno, 0: the driver refused.
        case refused = 0x8004
        /// u32 why, u32 errno: the reader ends. Number 0.
        case ended = 0x8005
    }
}

/// What the bridge asks for.
package enum ReaderRequest: Hashable, Sendable {
    /// A dma-buf of the buffer, and the facts of before.
    case open(HyperBufferID)
    /// The facts.
    case ask(HyperBufferID)
    /// The facts and the private data.
    case describe(HyperBufferID)

    /// The buffer.
    package var id: HyperBufferID {
        switch self {
        case .open(let id), .ask(let id), .describe(let id): id
        }
    }

    fileprivate var kind: ReaderProtocol.Kind {
        switch self {
        case .open: .open
        case .ask: .ask
        case .describe: .describe
        }
    }
}

/// The driver's answers about a buffer, as they came.
package struct RawFacts: Hashable, Sendable {
    package var type: UInt64 = 0
    package var exporter: UInt64 = 0
    package var size: UInt64 = 0
    package var unexported: UInt64 = 0

    package init() {}

    /// Judged.
    func facts(of id: HyperBufferID) throws(Refusal) -> HyperBufferFacts {
        try HyperBufferFacts(
            of: id, type: type, exporter: exporter, size: size, unexported: unexported)
    }
}

/// Why a reader ends.
package enum ReaderEnd: UInt32, Sendable {
    /// There is no such node, or it is another device.
    case noNode = 1
    /// Another reader has it.
    case taken = 2
    /// CAP_DAC_OVERRIDE is missing.
    case noRight = 3
    /// The node went away.
    case nodeGone = 4
    /// A record does not fit into the largest room.
    case stuck = 5
    /// Something else failed.
    case failed = 6
}

/// What the reader says.
package enum ReaderWord: Equatable, Sendable {
    case ready(version: UInt32)
    /// Where the records stand in the datagram.
    case records(Range<Int>)
    case stolen
    /// Facts, and where the private data stand.
    case answer(RawFacts, Range<Int>)
    case refused(Int32)
    case ended(ReaderEnd, Int32)
}

/// Numbers into bytes.
enum ReaderWriter {
    private static func put<Number: FixedWidthInteger>(_ number: Number, _ bytes: inout [UInt8]) {
        for byte in 0..<(Number.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Number(byte * 8)))
        }
    }

    private static func header(
        _ kind: ReaderProtocol.Kind, _ number: UInt64, _ descriptors: Int, _ length: Int
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ReaderProtocol.headerBytes + length)
        put(kind.rawValue, &bytes)
        put(UInt16(truncatingIfNeeded: descriptors), &bytes)
        put(UInt32(truncatingIfNeeded: ReaderProtocol.headerBytes + length), &bytes)
        put(number, &bytes)
        return bytes
    }

    static func bytes(_ request: ReaderRequest, number: UInt64) -> [UInt8] {
        var bytes = header(request.kind, number, 0, HyperBufferID.bytes)
        request.id.put(to: &bytes)
        return bytes
    }

    static func ready() -> [UInt8] {
        var bytes = header(.ready, 0, 0, 8)
        put(ReaderProtocol.version, &bytes)
        put(UInt32(0), &bytes)
        return bytes
    }

    /// - Parameter room: records at its beginning.
    static func records(_ room: [UInt8], count: Int) -> [UInt8] {
        header(.records, 0, 0, count) + room.prefix(count)
    }

    static func stolen() -> [UInt8] { header(.stolen, 0, 0, 0) }

    static func answer(
        _ facts: RawFacts, number: UInt64, descriptors: Int, privateData: [UInt8] = []
    ) -> [UInt8] {
        var bytes = header(.answer, number, descriptors, 32 + privateData.count)
        for word in [facts.type, facts.exporter, facts.size, facts.unexported] {
            put(word, &bytes)
        }
        return bytes + privateData
    }

    static func refused(_ code: Int32, number: UInt64) -> [UInt8] {
        var bytes = header(.refused, number, 0, 8)
        put(UInt32(bitPattern: code), &bytes)
        put(UInt32(0), &bytes)
        return bytes
    }

    static func ended(_ why: ReaderEnd, _ code: Int32) -> [UInt8] {
        var bytes = header(.ended, 0, 0, 8)
        put(why.rawValue, &bytes)
        put(UInt32(bitPattern: code), &bytes)
        return bytes
    }
}

/// Bytes from the other side into values; nil for whatever is not exactly what the protocol says.
enum ReaderDecoder {
    private struct Header {
        var kind: ReaderProtocol.Kind
        var descriptors: Int
        var number: UInt64
    }

    private static func number<Number: FixedWidthInteger>(
        _: Number.Type, _ bytes: [UInt8], _ at: Int
    ) -> Number {
        var number: Number = 0
        for byte in 0..<(Number.bitWidth / 8) {
            number |= Number(truncatingIfNeeded: bytes[at + byte]) << Number(byte * 8)
        }
        return number
    }

    private static func header(_ bytes: [UInt8], _ count: Int) -> Header? {
        guard count >= ReaderProtocol.headerBytes, count <= bytes.count,
            let kind = ReaderProtocol.Kind(rawValue: number(UInt16.self, bytes, 0)),
            number(UInt32.self, bytes, 4) == UInt32(count)
        else { return nil }
        return Header(
            kind: kind, descriptors: Int(number(UInt16.self, bytes, 2)),
            number: number(UInt64.self, bytes, 8))
    }

    /// A request and its number: the first `count` of the bytes are a datagram.
    static func request(
        _ bytes: [UInt8], count: Int
    ) -> (request: ReaderRequest, number: UInt64)? {
        guard let header = header(bytes, count), header.descriptors == 0,
            count == ReaderProtocol.headerBytes + HyperBufferID.bytes
        else { return nil }
        let id = HyperBufferID(bytes.span, at: ReaderProtocol.headerBytes)
        switch header.kind {
        case .open: return (.open(id), header.number)
        case .ask: return (.ask(id), header.number)
        case .describe: return (.describe(id), header.number)
        default: return nil
        }
    }

    /// What the reader says, the number it answers, and how many descriptors must have come with it.
    static func word(
        _ bytes: [UInt8], count: Int
    ) -> (word: ReaderWord, number: UInt64, descriptors: Int)? {
        guard let header = header(bytes, count) else { return nil }
        let body = ReaderProtocol.headerBytes
        let left = count - body
        let word: ReaderWord
        switch header.kind {
        case .ready where left == 8: word = .ready(version: number(UInt32.self, bytes, body))
        case .records: word = .records(body..<count)
        case .stolen where left == 0: word = .stolen
        case .answer where left >= 32 && left <= 32 + HyperEvent.maximumPrivateBytes:
            var facts = RawFacts()
            facts.type = number(UInt64.self, bytes, body)
            facts.exporter = number(UInt64.self, bytes, body + 8)
            facts.size = number(UInt64.self, bytes, body + 16)
            facts.unexported = number(UInt64.self, bytes, body + 24)
            word = .answer(facts, (body + 32)..<count)
        case .refused where left == 8:
            word = .refused(Int32(bitPattern: number(UInt32.self, bytes, body)))
        case .ended where left == 8:
            guard let why = ReaderEnd(rawValue: number(UInt32.self, bytes, body)) else {
                return nil
            }
            word = .ended(why, Int32(bitPattern: number(UInt32.self, bytes, body + 4)))
        default: return nil
        }
        guard header.descriptors == 0 || header.kind == .answer && header.descriptors == 1 else {
            return nil
        }
        return (word, header.number, header.descriptors)
    }
}
