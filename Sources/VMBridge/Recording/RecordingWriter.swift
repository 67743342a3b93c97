import Descriptors
import VMBridgeCore

/// Where a recording goes: a file, or what a test puts in its place.
package protocol RecordingOutput {
    /// Appends bytes; after a failure part of them may be there.
    func write(_ bytes: [UInt8]) throws(KernelError)
}

extension AppendingFile: RecordingOutput {}

/// A buffer's memory, lent to the thread that reads its pixels. Nothing of it changes after it was made, and its descriptors close
/// with the last reference, on whichever thread that is.
struct SharedMemory: @unchecked Sendable {
    // UNSAFE (@unchecked): `BufferMemory` is not written after its initialiser.
    let memory: BufferMemory
}

/// A descriptor on its way to another thread.
final class KeptDescriptor: @unchecked Sendable {
    // UNSAFE (@unchecked): never changed.
    let descriptor: OwnedDescriptor
    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
}

/// What the loop tells the thread that writes a recording. Times are of CLOCK_MONOTONIC.
enum RecordingJob: Sendable {
    case received([UInt8], [KeptDescriptor?], BrokenDatagram, time: UInt64)
    case sent([UInt8], descriptors: Int, time: UInt64)
    case buffer(UInt64, SharedMemory, time: UInt64)
    case forget(UInt64)
    case frame(RecordedFrame, time: UInt64)
    case fence(SurfaceKey, FrameSequence, time: UInt64)
    case dropped(datagrams: UInt64, pixels: UInt64, time: UInt64)
    case end(RecordingEnd, time: UInt64)
}

/// How a recording fares.
public struct RecordingStatus: Sendable, Equatable {
    /// The file; nil while it is not made.
    public var file: String?
    /// Bytes in it.
    public var bytes: UInt64 = 0
    /// Chunks in it.
    public var chunks: UInt64 = 0
    /// Datagrams that are missing, since the disk could not follow.
    public var droppedDatagrams: UInt64 = 0
    /// Frames whose pixels are missing for the same reason.
    public var droppedPixels: UInt64 = 0
    /// Frames whose pixels could not be read: not linear, not mappable, busy.
    public var unreadable: UInt64 = 0
    /// It takes no more: why, in words. Nil while it does.
    public var ended: String?
}

/// Writes one recording, on a thread of its own.
final class RecordingWriter {
    private let output: any RecordingOutput
    private let about: RecordingAbout
    private let limit: UInt64
    private let status: Guarded<RecordingStatus>
    private let probe: DescriptorProbe?
    private let access: any BufferAccess
    private var buffers: [UInt64: SharedMemory] = [:]
    private var index = RecordingIndex.Builder()
    private var gathered: [UInt8] = []
    private var pixels: [UInt8] = []
    /// Bytes so far, with those that are gathered.
    private(set) var offset: UInt64 = 0
    private var chunks: UInt64 = 0
    private(set) var isOver = false

    /// Gathered bytes above which they are written.
    private static var flushSize: Int { 64 * 1024 }

    /// Begins a recording.
    ///
    /// - Parameter limit: of its bytes.
    init(
        _ output: any RecordingOutput, _ about: RecordingAbout, limit: UInt64,
        status: Guarded<RecordingStatus>, access: any BufferAccess = LinuxBufferAccess()
    ) {
        self.output = output
        self.about = about
        self.limit = limit
        self.status = status
        self.access = access
        probe = try? DescriptorProbe()
        gathered = RecordingEncoding.begin(about)
        offset = UInt64(gathered.count)
        append(.about, RecordingEncoding.about(about), time: about.start)
    }

    /// Does what the loop said; nothing after the end.
    func perform(_ job: RecordingJob) {
        guard !isOver else { return }
        switch job {
        case .received(let bytes, let descriptors, let broken, let time):
            let facts = descriptors.map(look)
            append(
                .received, flags: broken.rawValue, RecordingEncoding.received(bytes, facts),
                time: time)
        case .sent(let bytes, let descriptors, let time):
            append(.sent, RecordingEncoding.sent(bytes, descriptors: descriptors), time: time)
        case .buffer(let number, let shared, let time):
            buffers[number] = shared
            let buffer = RecordedBuffer(
                number: number, layout: shared.memory.layout, bytes: shared.memory.bytes)
            append(.buffer, RecordingEncoding.buffer(buffer), time: time)
        case .forget(let number): buffers[number] = nil
        case .frame(let frame, let time): record(frame, time)
        case .fence(let surface, let sequence, let time):
            append(.fence, RecordingEncoding.pair(surface.value, sequence.value), time: time)
        case .dropped(let datagrams, let pixels, let time):
            append(.dropped, RecordingEncoding.pair(datagrams, pixels), time: time)
        case .end(let reason, let time): end(reason, time: time)
        }
    }

    /// Writes what has gathered.
    func flush() {
        guard !gathered.isEmpty, !isOver else { return }
        write(gathered)
        gathered.removeAll(keepingCapacity: true)
        let (offset, chunks) = (offset, chunks)
        if !isOver {
            status.with {
                $0.bytes = offset
                $0.chunks = chunks
            }
        }
    }

    private func look(_ kept: KeptDescriptor?) -> RecordedDescriptor {
        guard let kept, let facts = try? probe?.facts(of: kept.descriptor.number) else {
            return RecordedDescriptor(kind: nil, access: .neither, size: 0, seals: [])
        }
        return RecordedDescriptor(
            kind: RecordedDescriptor.Kind(facts.kind), access: facts.accessMode, size: facts.size,
            seals: facts.seals)
    }

    // MARK: Pixels

    private func record(_ told: RecordedFrame, _ time: UInt64) {
        var frame = told
        pixels.removeAll(keepingCapacity: true)
        if frame.state == .there {
            frame.readBegan = since(MonotonicClock.now())
            frame.state = read(frame.buffer, &frame.regions)
            frame.readEnded = since(MonotonicClock.now())
            if frame.state != .there {
                frame.regions = []
                pixels.removeAll(keepingCapacity: true)
                if frame.state != .dropped { status.with { $0.unreadable += 1 } }
            }
        }
        append(
            .frame, RecordingEncoding.frame(frame), time: time,
            frame: (frame.surface.value, frame.sequence.value), tail: pixels)
        // What one large frame took is not kept for small ones.
        if pixels.capacity > 64 << 20 { pixels = [] }
    }

    /// Copies the pixels first and writes them later: the copy is quick, and the guest may draw anew soon.
    private func read(_ number: UInt64, _ regions: inout [RecordedRegion]) -> PixelState {
        guard let memory = buffers[number]?.memory else { return .dropped }
        let layout = memory.layout
        guard layout.modifier == .linear, layout.planes.count <= RecordingFormat.maximumRegions
        else { return .notLinear }
        guard memory.pixelBytes <= UInt64(RecordingFormat.maximumPixels) else { return .tooLarge }
        for (index, plane) in layout.planes.enumerated() {
            let descriptor = memory.descriptor(ofPlane: index)
            let start = Int(plane.offset)
            let length = Int(plane.stride) * layout.rows(ofPlane: index)
            let isDMABuf = layout.memory == .dmaBuf
            if isDMABuf, access.isBusy(descriptor) { return .busy }
            // Validated: the rows end inside the memory, and it cannot shrink.
            guard let mapped = try? MappedMemory(descriptor, count: start + length) else {
                return .unreadable
            }
            if isDMABuf {
                guard (try? access.begin(descriptor)) != nil else { return .unreadable }
            }
            mapped.append(start..<start + length, to: &pixels)
            if isDMABuf { access.end(descriptor) }
            regions.append(
                RecordedRegion(
                    descriptor: plane.descriptor, offset: UInt64(start), length: UInt64(length)))
        }
        return .there
    }

    // MARK: Chunks

    private func since(_ time: UInt64) -> UInt64 { time > about.start ? time - about.start : 0 }

    private func append(
        _ kind: ChunkKind, flags: UInt16 = 0, _ payload: [UInt8], time: UInt64,
        frame: (surface: UInt64, sequence: UInt64) = (0, 0), tail: [UInt8] = []
    ) {
        guard !isOver else { return }
        let length = payload.count + tail.count
        let whole = UInt64(RecordingFormat.chunkHeaderBytes + (length + 7) / 8 * 8)
        // What is still to come at the end fits too.
        let reserve = UInt64(
            (index.entries.count + 2) * RecordingFormat.entryBytes + RecordingFormat.trailerBytes
                + 4 * RecordingFormat.chunkHeaderBytes)
        guard kind == .end || offset + whole + reserve <= limit else {
            return end(.limit, time: time)
        }
        index.add(
            offset: offset, time: since(time), surface: frame.surface, sequence: frame.sequence)
        put(kind, flags: flags, payload, time: since(time), tail: tail)
    }

    private func put(
        _ kind: ChunkKind, flags: UInt16 = 0, _ payload: [UInt8], time: UInt64, tail: [UInt8] = []
    ) {
        let length = payload.count + tail.count
        gathered += RecordingEncoding.header(
            kind, flags: flags, length: length, time: time, number: chunks)
        gathered += payload
        if tail.count > Self.flushSize {
            write(gathered)
            gathered.removeAll(keepingCapacity: true)
            write(tail)
        } else {
            gathered += tail
        }
        let padding = (8 - length % 8) % 8
        gathered.append(contentsOf: repeatElement(0, count: padding))
        offset += UInt64(RecordingFormat.chunkHeaderBytes + length + padding)
        chunks += 1
        if gathered.count > Self.flushSize { flush() }
    }

    private func end(_ reason: RecordingEnd, time: UInt64) {
        guard !isOver else { return }
        var payload: [UInt8] = []
        payload.append32(reason.rawValue)
        payload.append32(0)
        append(.end, payload, time: time)
        let place = offset
        let count = chunks
        put(.index, RecordingEncoding.index(index.entries), time: since(time))
        gathered += RecordingEncoding.trailer(index: place, chunks: count)
        offset += UInt64(RecordingFormat.trailerBytes)
        flush()
        close(reason.word)
    }

    private func write(_ bytes: [UInt8]) {
        guard !isOver else { return }
        do throws(KernelError) {
            try output.write(bytes)
        } catch {
            close("\(error)")
        }
    }

    private func close(_ why: String) {
        guard !isOver else { return }
        isOver = true
        buffers.removeAll()
        status.with { $0.ended = why }
    }
}
