import VMBridgeCore

/// Reads what `RecordingEncoding` writes, from bytes that anybody may have made.
enum RecordingDecoding {
    /// A chunk without pixels; nil when its payload is not what its kind says.
    static func body(_ kind: ChunkKind, _ payload: [UInt8], flags: UInt16) -> RecordingChunk.Body? {
        switch kind {
        case .about:
            guard let count = payload.number32(0), count <= 4096, payload.count >= 8 + Int(count)
            else { return nil }
            let name = String(decoding: payload[8..<8 + Int(count)], as: UTF8.self)
            return .about(vm: CleanText.clean(name))
        case .received: return received(payload, flags)
        case .sent:
            guard let count = payload.number32(0), let descriptors = payload.number32(4),
                count <= SourceProtocol.maximumDatagram, descriptors <= 4096,
                payload.count == 8 + Int(count)
            else { return nil }
            return .sent(bytes: Array(payload[8...]), descriptors: Int(descriptors))
        case .buffer: return buffer(payload).map { .buffer($0) }
        case .fence:
            guard let surface = payload.number64(0), let sequence = payload.number64(8) else {
                return nil
            }
            return .fence(SurfaceKey(surface), FrameSequence(sequence))
        case .dropped:
            guard let datagrams = payload.number64(0), let pixels = payload.number64(8) else {
                return nil
            }
            return .dropped(datagrams: datagrams, pixels: pixels)
        case .end:
            guard let reason = payload.number32(0).flatMap(RecordingEnd.init(rawValue:)) else {
                return nil
            }
            return .end(reason)
        case .frame, .index: return nil
        }
    }

    private static func received(_ payload: [UInt8], _ flags: UInt16) -> RecordingChunk.Body? {
        guard let broken = BrokenDatagram(rawValue: flags), let count = payload.number32(0),
            let descriptors = payload.number32(4), count <= SourceProtocol.maximumDatagram,
            descriptors <= SourceProtocol.maximumDescriptors
        else { return nil }
        let start = 8 + Int(descriptors) * RecordingFormat.descriptorBytes
        guard payload.count == start + Int(count) else { return nil }
        var all: [RecordedDescriptor] = []
        for index in 0..<Int(descriptors) {
            let at = 8 + index * RecordingFormat.descriptorBytes
            guard let kind = payload.number32(at), let access = payload.number32(at + 4),
                let size = payload.number64(at + 8), let seals = payload.number32(at + 16)
            else { return nil }
            all.append(
                RecordedDescriptor(
                    kind: RecordedDescriptor.Kind(rawValue: kind),
                    access: DescriptorFacts.AccessMode(rawValue: Int32(truncatingIfNeeded: access))
                        ?? .neither,
                    size: size, seals: Seals(rawValue: seals)))
        }
        return .received(bytes: Array(payload[start...]), descriptors: all, broken: broken)
    }

    private static func buffer(_ payload: [UInt8]) -> RecordedBuffer? {
        guard let number = payload.number64(0), let bytes = payload.number64(8),
            let width = payload.number32(16), let height = payload.number32(20),
            let format = payload.number32(24), let flags = payload.number32(28),
            let modifier = payload.number64(32),
            let memory = payload.number32(40).flatMap(MemoryKind.init(rawValue:)),
            let planes = payload.number32(44), planes <= 4, payload.count == 48 + Int(planes) * 16
        else { return nil }
        var layout = BufferLayout(
            size: Size(width: width, height: height), format: FourCC(format),
            modifier: Modifier(modifier), memory: memory, isBottomUp: flags & 1 == 1, planes: [])
        for index in 0..<Int(planes) {
            let at = 48 + index * 16
            guard let descriptor = payload.number32(at), let offset = payload.number32(at + 4),
                let stride = payload.number32(at + 8)
            else { return nil }
            layout.planes.append(
                PlaneLayout(descriptor: descriptor, offset: offset, stride: stride))
        }
        return RecordedBuffer(number: number, layout: layout, bytes: bytes)
    }

    /// A frame; its pixels stay in the file.
    ///
    /// - Parameters:
    ///   - head: the first bytes of the payload.
    ///   - start: where the payload begins in the file.
    ///   - length: bytes of the payload, which all lie in the file.
    static func frame(_ head: [UInt8], at start: UInt64, length: UInt64) -> RecordedFrame? {
        guard let surface = head.number64(0), let sequence = head.number64(8),
            let buffer = head.number64(16), let began = head.number64(24),
            let ended = head.number64(32),
            let state = head.number32(40).flatMap(PixelState.init(rawValue:)),
            let count = head.number32(44), count <= RecordingFormat.maximumRegions
        else { return nil }
        var frame = RecordedFrame(
            surface: SurfaceKey(surface), sequence: FrameSequence(sequence), buffer: buffer,
            state: state, readBegan: began, readEnded: ended)
        var place = UInt64(48 + Int(count) * RecordingFormat.regionBytes)
        for index in 0..<Int(count) {
            let at = 48 + index * RecordingFormat.regionBytes
            guard let descriptor = head.number32(at), let offset = head.number64(at + 8),
                let bytes = head.number64(at + 16), bytes <= UInt64(RecordingFormat.maximumPixels),
                offset <= UInt64(Int64.max) - bytes, place + bytes <= length
            else { return nil }
            frame.regions.append(
                RecordedRegion(
                    descriptor: descriptor, offset: offset, length: bytes, position: start + place))
            place += bytes
        }
        guard place == length, state == .there || count == 0 else { return nil }
        return frame
    }
}
