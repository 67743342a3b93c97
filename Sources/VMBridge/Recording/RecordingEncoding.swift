import VMBridgeCore

/// Writes what `RecordingDecoding` reads.
enum RecordingEncoding {
    /// The file's first bytes and its first chunk.
    static func begin(_ about: RecordingAbout) -> [UInt8] {
        var bytes = RecordingFormat.magic
        bytes.append32(RecordingFormat.version)
        bytes.append32(UInt32(RecordingFormat.fileHeaderBytes))
        bytes.append64(about.start)
        bytes.append64(about.date)
        bytes.append64(about.generation)
        bytes.append32(about.content.number)
        bytes.append(
            contentsOf: repeatElement(0, count: RecordingFormat.fileHeaderBytes - bytes.count))
        return bytes
    }

    /// A chunk's header.
    static func header(
        _ kind: ChunkKind, flags: UInt16 = 0, length: Int, time: UInt64, number: UInt64
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(RecordingFormat.chunkHeaderBytes)
        bytes.append32(RecordingFormat.chunkMark)
        bytes.append16(kind.rawValue)
        bytes.append16(flags)
        bytes.append64(UInt64(length))
        bytes.append64(time)
        bytes.append64(number)
        return bytes
    }

    static func about(_ about: RecordingAbout) -> [UInt8] {
        var bytes: [UInt8] = []
        let name = Array(about.vm.utf8)
        bytes.append32(UInt32(name.count))
        bytes.append32(0)
        bytes += name
        return bytes
    }

    static func received(_ datagram: [UInt8], _ descriptors: [RecordedDescriptor]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(
            8 + descriptors.count * RecordingFormat.descriptorBytes + datagram.count)
        bytes.append32(UInt32(datagram.count))
        bytes.append32(UInt32(descriptors.count))
        for descriptor in descriptors {
            bytes.append32(descriptor.kind?.rawValue ?? 0)
            bytes.append32(UInt32(descriptor.access.rawValue))
            bytes.append64(descriptor.size)
            bytes.append32(descriptor.seals.rawValue)
            bytes.append32(0)
            bytes.append64(0)
        }
        bytes += datagram
        return bytes
    }

    static func sent(_ datagram: [UInt8], descriptors: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 + datagram.count)
        bytes.append32(UInt32(datagram.count))
        bytes.append32(UInt32(descriptors))
        bytes += datagram
        return bytes
    }

    static func buffer(_ buffer: RecordedBuffer) -> [UInt8] {
        var bytes: [UInt8] = []
        let layout = buffer.layout
        bytes.append64(buffer.number)
        bytes.append64(buffer.bytes)
        bytes.append32(layout.size.width)
        bytes.append32(layout.size.height)
        bytes.append32(layout.format.rawValue)
        bytes.append32(layout.isBottomUp ? 1 : 0)
        bytes.append64(layout.modifier.rawValue)
        bytes.append32(layout.memory.rawValue)
        bytes.append32(UInt32(layout.planes.count))
        for plane in layout.planes.prefix(4) {
            bytes.append32(plane.descriptor)
            bytes.append32(plane.offset)
            bytes.append32(plane.stride)
            bytes.append32(0)
        }
        return bytes
    }

    /// Everything of a frame's chunk but the pixels, which follow region by region.
    static func frame(_ frame: RecordedFrame) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append64(frame.surface.value)
        bytes.append64(frame.sequence.value)
        bytes.append64(frame.buffer)
        bytes.append64(frame.readBegan)
        bytes.append64(frame.readEnded)
        bytes.append32(frame.state.rawValue)
        bytes.append32(UInt32(frame.regions.count))
        for region in frame.regions {
            bytes.append32(region.descriptor)
            bytes.append32(0)
            bytes.append64(region.offset)
            bytes.append64(region.length)
        }
        return bytes
    }

    static func pair(_ first: UInt64, _ second: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append64(first)
        bytes.append64(second)
        return bytes
    }

    static func index(_ entries: [RecordingIndex.Entry]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.count * RecordingFormat.entryBytes)
        for entry in entries {
            bytes.append64(entry.offset)
            bytes.append64(entry.time)
            bytes.append64(entry.surface)
            bytes.append64(entry.sequence)
            bytes.append64(0)
        }
        return bytes
    }

    static func trailer(index: UInt64, chunks: UInt64) -> [UInt8] {
        var bytes = RecordingFormat.trailerMagic
        bytes.append64(index)
        bytes.append64(chunks)
        bytes.append64(0)
        return bytes
    }
}

extension [UInt8] {
    mutating func append16(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    mutating func append32(_ value: UInt32) {
        append16(UInt16(truncatingIfNeeded: value))
        append16(UInt16(truncatingIfNeeded: value >> 16))
    }

    mutating func append64(_ value: UInt64) {
        append32(UInt32(truncatingIfNeeded: value))
        append32(UInt32(truncatingIfNeeded: value >> 32))
    }

    /// A number at a place; nil when it does not lie inside.
    func number16(_ offset: Int) -> UInt16? {
        guard offset >= 0, offset <= count - 2 else { return nil }
        return UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
    }

    func number32(_ offset: Int) -> UInt32? {
        guard let low = number16(offset), let high = number16(offset + 2) else { return nil }
        return UInt32(low) | UInt32(high) << 16
    }

    func number64(_ offset: Int) -> UInt64? {
        guard let low = number32(offset), let high = number32(offset + 4) else { return nil }
        return UInt64(low) | UInt64(high) << 32
    }

    /// Puts a number over what is there; nothing when it does not lie inside.
    mutating func put(_ value: UInt16, at offset: Int) {
        guard offset >= 0, offset <= count - 2 else { return }
        self[offset] = UInt8(truncatingIfNeeded: value)
        self[offset + 1] = UInt8(truncatingIfNeeded: value >> 8)
    }

    mutating func put(_ value: UInt32, at offset: Int) {
        guard offset >= 0, offset <= count - 4 else { return }
        put(UInt16(truncatingIfNeeded: value), at: offset)
        put(UInt16(truncatingIfNeeded: value >> 16), at: offset + 2)
    }
}
