import VMBridgeCore

/// Bytes from the other side into values; nil for whatever is not exactly what the protocol says.
/// Both sides read what they are sent as if it came from an enemy: a driver with a guest's buffer in
/// it may have written anything.
struct WorkerReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private var kind: WorkerProtocol.Kind
    /// The request that it is, or answers.
    let number: UInt64
    /// Descriptors that belong to it.
    let descriptors: Int

    private init?(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
        kind = .ready
        guard bytes.count >= WorkerProtocol.headerBytes else { return nil }
        var start = bytes.startIndex
        func take<Number: FixedWidthInteger>(_: Number.Type) -> Number {
            var number: Number = 0
            for byte in 0..<(Number.bitWidth / 8) {
                number |= Number(truncatingIfNeeded: bytes[start + byte]) << Number(byte * 8)
            }
            start += Number.bitWidth / 8
            return number
        }
        guard let kind = WorkerProtocol.Kind(rawValue: take(UInt16.self)) else { return nil }
        descriptors = Int(take(UInt16.self))
        guard take(UInt32.self) == UInt32(bytes.count) else { return nil }
        number = take(UInt64.self)
        self.kind = kind
        position = start
    }

    private var isAtEnd: Bool { position == bytes.endIndex }

    private mutating func u32() -> UInt32? {
        guard bytes.endIndex - position >= 4 else { return nil }
        defer { position += 4 }
        return (0..<4).reduce(0) { $0 | UInt32(bytes[position + $1]) << UInt32($1 * 8) }
    }

    private mutating func u64() -> UInt64? {
        guard let low = u32(), let high = u32() else { return nil }
        return UInt64(low) | UInt64(high) << 32
    }

    private mutating func zero() -> Bool { u32() == 0 }

    private mutating func layout() -> BufferLayout? {
        guard let width = u32(), let height = u32(), let fourcc = u32(), let flags = u32(),
            let modifier = u64(), let count = u32(), zero(), (1...4).contains(count), flags < 4
        else { return nil }
        var planes: [PlaneLayout] = []
        for index in 0..<4 as Range<UInt32> {
            guard let descriptor = u32(), let offset = u32(), let stride = u32(), zero() else {
                return nil
            }
            if index < count {
                guard Int(descriptor) < descriptors else { return nil }
                planes.append(PlaneLayout(descriptor: descriptor, offset: offset, stride: stride))
            } else if descriptor != 0 || offset != 0 || stride != 0 {
                return nil
            }
        }
        return BufferLayout(
            size: Size(width: width, height: height), format: FourCC(fourcc),
            modifier: Modifier(modifier), memory: flags & 2 == 0 ? .dmaBuf : .memfd,
            isBottomUp: flags & 1 != 0, planes: planes)
    }

    private mutating func allocation() -> AllocationRequest? {
        guard let width = u32(), let height = u32(), let fourcc = u32(), let flags = u32(),
            let count = u32(), zero(), flags < 2, count <= AllocationRequest.maximumModifiers
        else { return nil }
        var modifiers: [Modifier] = []
        for _ in 0..<count {
            guard let modifier = u64() else { return nil }
            modifiers.append(Modifier(modifier))
        }
        return AllocationRequest(
            size: Size(width: width, height: height), format: FourCC(fourcc),
            modifiers: modifiers, isContiguous: flags == 1)
    }

    /// A request, its number, and how many descriptors must have come with it.
    static func request(
        _ bytes: ArraySlice<UInt8>
    ) -> (request: WorkerRequest, number: UInt64, descriptors: Int)? {
        guard var reader = WorkerReader(bytes) else { return nil }
        let request: WorkerRequest
        switch reader.kind {
        case .allocate:
            guard reader.descriptors == 0, let wanted = reader.allocation() else { return nil }
            request = .allocate(wanted)
        case .open:
            guard (1...4).contains(reader.descriptors), let layout = reader.layout() else {
                return nil
            }
            request = .open(layout)
        case .blit, .drop:
            guard reader.descriptors == 0, let pair = reader.u32(), reader.zero() else {
                return nil
            }
            request = reader.kind == .blit ? .blit(pair) : .drop(pair)
        default: return nil
        }
        guard reader.isAtEnd else { return nil }
        return (request, reader.number, reader.descriptors)
    }

    /// An answer, the number it answers, and how many descriptors must have come with it.
    static func answer(
        _ bytes: ArraySlice<UInt8>
    ) -> (answer: WorkerAnswer, number: UInt64, descriptors: Int)? {
        guard var reader = WorkerReader(bytes) else { return nil }
        let answer: WorkerAnswer
        switch reader.kind {
        case .ready:
            guard reader.descriptors == 0, let version = reader.u32(), reader.zero() else {
                return nil
            }
            answer = .ready(version: version)
        case .allocated:
            guard (1...4).contains(reader.descriptors), let layout = reader.layout(),
                let word = reader.u32(), let allocator = MemoryAllocator(rawValue: word),
                reader.zero()
            else { return nil }
            answer = .allocated(layout, allocator)
        case .opened:
            guard let layout = reader.layout(), let pair = reader.u32(), let bits = reader.u32()
            else { return nil }
            let parts = OutputParts(rawValue: bits)
            guard parts.isSubset(of: .all), parts.count > 0, parts.count == reader.descriptors
            else { return nil }
            answer = .opened(layout, pair: pair, parts)
        case .done:
            guard reader.descriptors == 0, let nanoseconds = reader.u64() else { return nil }
            answer = .done(nanoseconds: nanoseconds)
        case .refused:
            guard reader.descriptors == 0, let word = reader.u32(), word < 16,
                let reason = GraphicsReason(rawValue: word), let length = reader.u32(),
                length <= WorkerProtocol.maximumText,
                reader.bytes.endIndex - reader.position == Int(length)
            else { return nil }
            let text = String(decoding: reader.bytes[reader.position...], as: UTF8.self)
            return (.refused(reason, CleanText.clean(text)), reader.number, 0)
        default: return nil
        }
        guard reader.isAtEnd else { return nil }
        return (answer, reader.number, reader.descriptors)
    }
}
