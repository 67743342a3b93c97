import VMBridgeCore

/// Finds the pixels of a frame that is about to be replayed: they stand behind it in the recording, where it was handed on. Each
/// chunk is looked at once, and as much is kept as frames that were under way at a time.
struct ReplayAhead<Bytes: RecordingBytes> {
    private let reader: RecordingReader<Bytes>
    private var offset: UInt64
    private var newest: [SurfaceKey: FrameSequence] = [:]
    private var found: [Name: RecordedFrame] = [:]

    private struct Name: Hashable {
        var surface: SurfaceKey
        var sequence: FrameSequence
    }

    /// How far ahead is looked, nanoseconds of the recording: longer than a frame is held for a fence as a rule.
    private static var window: UInt64 { 10_000_000_000 }
    private static var most: Int { 4096 }

    init(_ reader: RecordingReader<Bytes>) {
        self.reader = reader
        offset = reader.first
    }

    /// What was recorded of a frame when it was handed on; nil when it never was.
    ///
    /// - Parameter chunk: the one that brings the frame.
    mutating func take(
        _ surface: SurfaceKey, _ sequence: FrameSequence, after chunk: RecordingChunk
    ) -> RecordedFrame? {
        let name = Name(surface: surface, sequence: sequence)
        if let known = found.removeValue(forKey: name) { return known }
        if offset < chunk.offset { offset = chunk.offset }
        // Frames of a surface are handed on in their order: a newer one means that this one was not.
        while newest[surface].map({ $0 < sequence }) ?? true, found.count < Self.most,
            newest.count < Self.most, let header = reader.header(at: offset),
            header.kind != .index, header.time <= chunk.time + Self.window
        {
            if header.kind == .frame, let next = reader.chunk(at: offset),
                case .frame(let frame) = next.body
            {
                newest[frame.surface] = frame.sequence
                found[Name(surface: frame.surface, sequence: frame.sequence)] = frame
            }
            offset = header.next
        }
        return found.removeValue(forKey: name)
    }

    /// What was found of a surface that is gone is of no use any more, and its name may be given again.
    mutating func forget(_ surface: SurfaceKey) {
        newest[surface] = nil
    }

    /// Frames that are over are not asked for any more.
    mutating func reached(_ frame: RecordedFrame) {
        found[Name(surface: frame.surface, sequence: frame.sequence)] = nil
    }
}
