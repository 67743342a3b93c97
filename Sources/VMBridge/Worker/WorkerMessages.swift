import VMBridgeCore

/// The words between the bridge and its graphics worker: datagrams on a socket pair, little-endian.
///
/// | at | what |
/// |---|---|
/// | 0 | u16 kind; answers have bit 15 |
/// | 2 | u16 number of descriptors that come with it |
/// | 4 | u32 length of the datagram |
/// | 8 | u64 the request's number; an answer repeats it |
/// | 16 | the kind's own, below |
///
/// A layout is 96 bytes: u32 width, height, fourcc, flags (bit 0 bottom-up, bit 1 memfd); u64 modifier;
/// u32 planes, 0; then four times u32 descriptor, offset, stride, 0.
enum WorkerProtocol {
    static let version: UInt32 = 1
    static let headerBytes = 16
    static let maximumBytes = 1024
    /// A sentence is cut here.
    static let maximumText = 240
    static let layoutBytes = 96

    enum Kind: UInt16 {
        /// u32 width, height, fourcc, flags (bit 0 contiguous), u32 number of modifiers, 0; u64 each.
        case allocate = 1
        /// A layout and its descriptors.
        case open = 2
        /// u32 pair, 0.
        case blit = 3
        /// u32 pair, 0.
        case drop = 4

        /// u32 version, 0: the worker runs. Number 0.
        case ready = 0x8000
        /// A layout, u32 allocator, 0, and the descriptors.
        case allocated = 0x8001
        /// A layout, u32 pair, parts (``OutputParts``): the dma-buf first, then the memfd.
        case opened = 0x8002
        /// u64 nanoseconds: of a blit or a drop.
        case done = 0x8003
        /// u32 reason, u32 length of the text, the text (UTF-8).
        case refused = 0x800f
    }
}

/// What an output consists of.
struct OutputParts: OptionSet, Hashable, Sendable {
    let rawValue: UInt32
    static let dmaBuf = OutputParts(rawValue: 1)
    static let memfd = OutputParts(rawValue: 2)
    static let readBack = OutputParts(rawValue: 4)
    static let all: OutputParts = [.dmaBuf, .memfd, .readBack]

    /// How many descriptors come.
    var count: Int { (contains(.dmaBuf) ? 1 : 0) + (contains(.memfd) ? 1 : 0) }
}

/// What the bridge says.
enum WorkerRequest: Hashable, Sendable {
    case allocate(AllocationRequest)
    case open(BufferLayout)
    case blit(UInt32)
    case drop(UInt32)
}

/// What the worker says.
enum WorkerAnswer: Hashable, Sendable {
    case ready(version: UInt32)
    case allocated(BufferLayout, MemoryAllocator)
    case opened(BufferLayout, pair: UInt32, OutputParts)
    case done(nanoseconds: UInt64)
    case refused(GraphicsReason, String)
}

/// Numbers into bytes.
struct WorkerWriter {
    private(set) var bytes: [UInt8] = []

    private init(_ kind: WorkerProtocol.Kind, number: UInt64, descriptors: Int) {
        put(UInt32(kind.rawValue) | UInt32(descriptors) << 16)
        put(0 as UInt32)
        put(number)
    }

    private mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        for byte in 0..<(Number.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Number(byte * 8)))
        }
    }

    private mutating func put(_ layout: BufferLayout) {
        put(layout.size.width)
        put(layout.size.height)
        put(layout.format.rawValue)
        put((layout.isBottomUp ? 1 : 0) | (layout.memory == .memfd ? 2 : 0) as UInt32)
        put(layout.modifier.rawValue)
        put(UInt32(layout.planes.count))
        put(0 as UInt32)
        for index in 0..<4 {
            let plane = index < layout.planes.count ? layout.planes[index] : nil
            put(plane?.descriptor ?? 0)
            put(plane?.offset ?? 0)
            put(plane?.stride ?? 0)
            put(0 as UInt32)
        }
    }

    private func finished() -> [UInt8] {
        var bytes = bytes
        for byte in 0..<4 { bytes[4 + byte] = UInt8(truncatingIfNeeded: bytes.count >> (byte * 8)) }
        return bytes
    }

    /// A request's datagram.
    static func bytes(_ request: WorkerRequest, number: UInt64, descriptors: Int) -> [UInt8] {
        var writer: WorkerWriter
        switch request {
        case .allocate(let wanted):
            writer = WorkerWriter(.allocate, number: number, descriptors: descriptors)
            writer.put(wanted.size.width)
            writer.put(wanted.size.height)
            writer.put(wanted.format.rawValue)
            writer.put((wanted.isContiguous ? 1 : 0) as UInt32)
            let modifiers = wanted.modifiers.prefix(AllocationRequest.maximumModifiers)
            writer.put(UInt32(modifiers.count))
            writer.put(0 as UInt32)
            for modifier in modifiers { writer.put(modifier.rawValue) }
        case .open(let layout):
            writer = WorkerWriter(.open, number: number, descriptors: descriptors)
            writer.put(layout)
        case .blit(let pair), .drop(let pair):
            var kind = WorkerProtocol.Kind.blit
            if case .drop = request { kind = .drop }
            writer = WorkerWriter(kind, number: number, descriptors: descriptors)
            writer.put(pair)
            writer.put(0 as UInt32)
        }
        return writer.finished()
    }

    /// An answer's datagram.
    static func bytes(_ answer: WorkerAnswer, number: UInt64, descriptors: Int = 0) -> [UInt8] {
        var writer: WorkerWriter
        switch answer {
        case .ready(let version):
            writer = WorkerWriter(.ready, number: number, descriptors: descriptors)
            writer.put(version)
            writer.put(0 as UInt32)
        case .allocated(let layout, let allocator):
            writer = WorkerWriter(.allocated, number: number, descriptors: descriptors)
            writer.put(layout)
            writer.put(allocator.rawValue)
            writer.put(0 as UInt32)
        case .opened(let layout, let pair, let parts):
            writer = WorkerWriter(.opened, number: number, descriptors: descriptors)
            writer.put(layout)
            writer.put(pair)
            writer.put(parts.rawValue)
        case .done(let nanoseconds):
            writer = WorkerWriter(.done, number: number, descriptors: descriptors)
            writer.put(nanoseconds)
        case .refused(let reason, let sentence):
            writer = WorkerWriter(.refused, number: number, descriptors: descriptors)
            let text = Array(sentence.utf8.prefix(WorkerProtocol.maximumText))
            writer.put(reason.rawValue)
            writer.put(UInt32(text.count))
            writer.bytes.append(contentsOf: text)
        }
        return writer.finished()
    }
}
