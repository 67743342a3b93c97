import VMBridgeCore

/// Bytes that a recording is read from.
package protocol RecordingBytes {
    /// How many.
    var size: UInt64 { get }
    /// Up to `count` of them from a place; fewer at the end.
    func bytes(at offset: UInt64, count: Int) -> [UInt8]
}

extension ReadableFile: RecordingBytes {}

/// A recording in memory.
package struct RecordingInMemory: RecordingBytes {
    private let all: [UInt8]
    /// Of these bytes.
    package init(_ all: [UInt8]) { self.all = all }
    package var size: UInt64 { UInt64(all.count) }
    package func bytes(at offset: UInt64, count: Int) -> [UInt8] {
        guard offset < size, count > 0 else { return [] }
        let start = Int(offset)
        return Array(all[start..<start + min(count, all.count - start)])
    }
}

/// What cannot be read as a recording, in a sentence.
package struct RecordingFault: Error, Equatable, CustomStringConvertible {
    package var description: String
    init(_ description: String) { self.description = description }
}

/// One chunk of a recording, checked.
package struct RecordingChunk: Sendable, Equatable {
    /// Where it begins in the file, and where the next one does.
    package var offset: UInt64
    package var next: UInt64
    /// Nanoseconds from the recording's start.
    package var time: UInt64
    /// Which chunk it is, from 0.
    package var number: UInt64
    /// What it holds.
    package var body: Body

    /// What a chunk holds.
    package enum Body: Sendable, Equatable {
        case about(vm: String)
        case received(bytes: [UInt8], descriptors: [RecordedDescriptor], broken: BrokenDatagram)
        case sent(bytes: [UInt8], descriptors: Int)
        case buffer(RecordedBuffer)
        case frame(RecordedFrame)
        case fence(SurfaceKey, FrameSequence)
        case dropped(datagrams: UInt64, pixels: UInt64)
        case end(RecordingEnd)
        case index
        /// Of a kind, or with a content, that this version does not know; passed over.
        case unknown(kind: UInt16)
    }
}

/// Reads a recording: total, whatever the bytes are, and with a bounded amount of memory.
package struct RecordingReader<Bytes: RecordingBytes> {
    /// What it is a recording of.
    package private(set) var about: RecordingAbout
    /// The file.
    package let source: Bytes

    /// Looks at the beginning of a file.
    ///
    /// - Throws: `RecordingFault` when it is no recording of version 1.
    package init(_ source: Bytes) throws(RecordingFault) {
        self.source = source
        let head = source.bytes(at: 0, count: RecordingFormat.fileHeaderBytes)
        guard head.count == RecordingFormat.fileHeaderBytes,
            Array(head.prefix(8)) == RecordingFormat.magic
        else { throw RecordingFault("it is no recording of vm-bridge") }
        guard let version = head.number32(8), version == RecordingFormat.version,
            head.number32(12) == UInt32(RecordingFormat.fileHeaderBytes)
        else {
            throw RecordingFault(
                "it is a recording of another version: this program reads version \(RecordingFormat.version)"
            )
        }
        guard let start = head.number64(16), let date = head.number64(24),
            let generation = head.number64(32),
            let content = head.number32(40).flatMap(RecordedContent.init(number:))
        else { throw RecordingFault("the header of the file is damaged") }
        about = RecordingAbout(
            vm: "", generation: generation, content: content, start: start, date: date)
        guard case .about(let vm)? = chunk(at: UInt64(RecordingFormat.fileHeaderBytes))?.body
        else { throw RecordingFault("it holds nothing: not even its first chunk is whole") }
        about.vm = vm
    }

    /// Where the first chunk begins.
    package var first: UInt64 { UInt64(RecordingFormat.fileHeaderBytes) }

    /// The chunk that begins at a place; nil when no whole one does.
    package func chunk(at offset: UInt64) -> RecordingChunk? {
        guard let header = header(at: offset) else { return nil }
        let start = offset + UInt64(RecordingFormat.chunkHeaderBytes)
        let body: RecordingChunk.Body
        switch header.kind {
        case .frame: body = frame(at: start, header.length) ?? .unknown(kind: header.number)
        case .index: body = .index
        case nil: body = .unknown(kind: header.number)
        case let kind?:
            guard header.length <= UInt64(RecordingFormat.maximumSmallPayload) else {
                return nil
            }
            let payload = source.bytes(at: start, count: Int(header.length))
            guard payload.count == Int(header.length) else { return nil }
            body =
                RecordingDecoding.body(kind, payload, flags: header.flags)
                ?? .unknown(kind: header.number)
        }
        return RecordingChunk(
            offset: offset, next: header.next, time: header.time, number: header.ordinal, body: body
        )
    }

    struct Header {
        var kind: ChunkKind?
        var number: UInt16
        var flags: UInt16
        var length: UInt64
        var time: UInt64
        var ordinal: UInt64
        var next: UInt64
    }

    func header(at offset: UInt64) -> Header? {
        let size = UInt64(RecordingFormat.chunkHeaderBytes)
        guard offset >= first, offset % 8 == 0, source.size >= size, offset <= source.size - size
        else { return nil }
        let bytes = source.bytes(at: offset, count: Int(size))
        guard bytes.number32(0) == RecordingFormat.chunkMark, let number = bytes.number16(4),
            let flags = bytes.number16(6), let length = bytes.number64(8),
            let time = bytes.number64(16), let ordinal = bytes.number64(24)
        else { return nil }
        // First against the file's end, so that nothing below can overflow.
        guard length <= source.size else { return nil }
        let next = offset + size + (length + 7) / 8 * 8
        guard next <= source.size else { return nil }
        return Header(
            kind: ChunkKind(rawValue: number), number: number, flags: flags, length: length,
            time: time, ordinal: ordinal, next: next)
    }

    private func frame(at start: UInt64, _ length: UInt64) -> RecordingChunk.Body? {
        let most = 48 + RecordingFormat.maximumRegions * RecordingFormat.regionBytes
        let head = source.bytes(at: start, count: Int(min(length, UInt64(most))))
        return RecordingDecoding.frame(head, at: start, length: length).map { .frame($0) }
    }

    // MARK: Index

    /// Where chunks stand: what the file says of it when it can be believed, else found by going through all headers.
    package func index() -> RecordingIndex {
        storedIndex() ?? rebuiltIndex()
    }

    private func storedIndex() -> RecordingIndex? {
        let size = UInt64(RecordingFormat.trailerBytes)
        guard source.size > size + first else { return nil }
        let trailer = source.bytes(at: source.size - size, count: Int(size))
        guard Array(trailer.prefix(8)) == RecordingFormat.trailerMagic,
            let place = trailer.number64(8), let chunks = trailer.number64(16),
            let header = header(at: place), header.kind == .index,
            header.next == source.size - size,
            header.length % UInt64(RecordingFormat.entryBytes) == 0,
            header.length <= UInt64(RecordingFormat.maximumEntries * RecordingFormat.entryBytes)
        else { return nil }
        let start = place + UInt64(RecordingFormat.chunkHeaderBytes)
        let bytes = source.bytes(at: start, count: Int(header.length))
        guard bytes.count == Int(header.length) else { return nil }
        var entries: [RecordingIndex.Entry] = []
        var last: UInt64 = 0
        for position in stride(from: 0, to: bytes.count, by: RecordingFormat.entryBytes) {
            guard let offset = bytes.number64(position), let time = bytes.number64(position + 8),
                let surface = bytes.number64(position + 16),
                let sequence = bytes.number64(position + 24), offset > last, offset < place
            else { return nil }
            last = offset
            entries.append(
                RecordingIndex.Entry(
                    offset: offset, time: time, surface: surface, sequence: sequence))
        }
        return RecordingIndex(entries: entries, chunks: chunks, isRebuilt: false, end: place)
    }

    /// Goes through all headers, as is done when the file was cut off.
    package func rebuiltIndex() -> RecordingIndex {
        var builder = RecordingIndex.Builder()
        var offset = first
        var chunks: UInt64 = 0
        while let header = header(at: offset) {
            if header.kind == .index { break }
            var surface: UInt64 = 0
            var sequence: UInt64 = 0
            if header.kind == .frame {
                let bytes = source.bytes(
                    at: offset + UInt64(RecordingFormat.chunkHeaderBytes), count: 16)
                surface = bytes.number64(0) ?? 0
                sequence = bytes.number64(8) ?? 0
            }
            builder.add(
                offset: offset, time: header.time, surface: surface, sequence: sequence)
            chunks += 1
            offset = header.next
        }
        return RecordingIndex(
            entries: builder.entries, chunks: chunks, isRebuilt: true, end: offset)
    }

    /// Where to begin reading to see everything from a time on: at or a little before the first such chunk.
    package func place(of time: UInt64, _ index: RecordingIndex) -> UInt64 {
        let entry = index.entries.last { $0.time < time }
        return entry.map(\.offset).flatMap { header(at: $0) == nil ? nil : $0 } ?? first
    }

    /// The frame of a surface, looked for from the nearest place that the index knows.
    package func frame(
        _ surface: SurfaceKey, _ sequence: FrameSequence, _ index: RecordingIndex
    ) -> RecordingChunk? {
        let near = index.entries.last {
            $0.surface == surface.value && $0.sequence <= sequence.value
        }
        var offset = near.map(\.offset) ?? first
        while let header = header(at: offset), header.kind != .index {
            if header.kind == .frame, let chunk = chunk(at: offset),
                case .frame(let frame) = chunk.body, frame.surface == surface,
                frame.sequence >= sequence
            {
                return frame.sequence == sequence ? chunk : nil
            }
            offset = header.next
        }
        return nil
    }
}

/// Where some of the chunks of a recording stand, by time and, for frames, by surface and sequence.
package struct RecordingIndex: Sendable, Equatable {
    /// One of them.
    package struct Entry: Sendable, Equatable {
        /// Where it begins in the file.
        package var offset: UInt64
        /// Nanoseconds from the recording's start.
        package var time: UInt64
        /// Of a frame its surface and sequence; else 0.
        package var surface: UInt64 = 0
        package var sequence: UInt64 = 0
    }

    /// In the order of the file.
    package var entries: [Entry]
    /// Chunks of the file, the index apart.
    package var chunks: UInt64
    /// The file does not have it, or not whole.
    package var isRebuilt: Bool
    /// Where the last whole chunk ends.
    package var end: UInt64

    /// Gathers entries in bounded memory: all frames, and of the others every 16th; above the limit every second one goes and only every second
    /// one comes.
    struct Builder {
        private(set) var entries: [Entry] = []
        private var step: UInt64 = 1
        private var frames: UInt64 = 0
        private var others: UInt64 = 0

        mutating func add(offset: UInt64, time: UInt64, surface: UInt64, sequence: UInt64) {
            if sequence > 0 {
                frames += 1
                guard frames % step == 0 else { return }
            } else {
                others += 1
                guard (others - 1) % (16 * step) == 0 else { return }
            }
            entries.append(
                Entry(offset: offset, time: time, surface: surface, sequence: sequence))
            guard entries.count >= RecordingFormat.maximumEntries else { return }
            step *= 2
            entries = entries.indices.filter { $0 % 2 == 0 }.map { entries[$0] }
        }
    }
}
