import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// Takes what a recording writes, up to a size.
final class RecordedBytes: RecordingOutput {
    private(set) var bytes: [UInt8] = []
    private let room: Int

    init(room: Int = .max) { self.room = room }

    func write(_ more: [UInt8]) throws(KernelError) {
        guard bytes.count + more.count <= room else {
            bytes += more.prefix(room - bytes.count)
            throw KernelError("write", 28)  // ENOSPC
        }
        bytes += more
    }
}

/// A small recording made by hand, with each kind of chunk.
enum RecordingSample {
    static let about = RecordingAbout(
        vm: "sample", generation: 3, content: .whole, start: 1_000_000, date: 5)
    static let layout = Make.layout(Size(width: 8, height: 4))

    /// Memory of the sample's buffer, filled with a number.
    static func memory(_ fill: UInt8) throws -> BufferMemory {
        let memfd = try Make.memfd(Size(width: 8, height: 4))
        try MemoryFile.write([UInt8](repeating: fill, count: 128), to: memfd.number, at: 0)
        var bundle = DescriptorBundle()
        _ = bundle.append(memfd)
        return BufferMemory(layout: layout, bytes: 128, from: &bundle, 0..<1)
    }

    static func frame(_ sequence: UInt64, _ state: PixelState = .there) -> RecordedFrame {
        RecordedFrame(
            surface: SurfaceKey(7), sequence: FrameSequence(sequence), buffer: 1, state: state)
    }

    /// What a producer sends to show three frames, and what the bridge answers, each with its time.
    static func jobs() throws -> [RecordingJob] {
        var jobs: [RecordingJob] = []
        var time: UInt64 = 1_000_000
        func receive(_ records: ProducerRecord..., descriptors: Int = 0) throws {
            var writer = RecordWriter()
            for record in records {
                if case .bufferCreate = record {
                    writer.append(record, descriptors: descriptors)
                } else {
                    writer.append(record)
                }
            }
            var kept: [KeptDescriptor?] = []
            for _ in 0..<descriptors {
                kept.append(KeptDescriptor(try Make.memfd(Size(width: 8, height: 4))))
            }
            time += 1_000_000
            jobs.append(.received(writer.bytes, kept, .none, time: time))
        }
        func answer(_ records: BridgeRecord...) {
            var writer = RecordWriter()
            for record in records { writer.append(record) }
            time += 1_000_000
            jobs.append(.sent(writer.bytes, descriptors: 0, time: time))
        }
        try receive(.hello(producer: "sample"))
        try receive(Make.surface(7, title: "sample"))
        try receive(.bufferCreate(BufferKey(1), layout), descriptors: 1)
        jobs.append(.buffer(1, SharedMemory(memory: try memory(0x40)), time: time))
        for sequence in UInt64(1)...3 {
            try receive(Make.frame(7, 1, sequence, .message))
            try receive(.fenceSignal(SurfaceKey(7), FrameSequence(sequence), isError: false))
            jobs.append(.fence(SurfaceKey(7), FrameSequence(sequence), time: time))
            jobs.append(.frame(frame(sequence), time: time))
            answer(
                .presented(
                    SurfaceKey(7),
                    PresentedRecord(
                        sequence: FrameSequence(sequence), time: time, latency: 1, refresh: 0,
                        flags: 0)))
        }
        jobs.append(.dropped(datagrams: 2, pixels: 1, time: time))
        answer(
            .refused(
                RefusedRecord(
                    type: RecordType.frame, object: 7, sequence: FrameSequence(9),
                    refusal: Refusal(.badSequence, "It was not above."))))
        jobs.append(.end(.disconnected, time: time + 1))
        return jobs
    }

    /// The bytes of that recording.
    static func bytes(
        limit: UInt64 = .max / 2, room: Int = .max,
        status: Guarded<RecordingStatus> = Guarded(RecordingStatus())
    ) throws -> [UInt8] {
        let output = RecordedBytes(room: room)
        let writer = RecordingWriter(output, about, limit: limit, status: status)
        for job in try jobs() { writer.perform(job) }
        writer.flush()
        return output.bytes
    }

    /// All chunks, by going from one to the next.
    static func chunks(_ bytes: [UInt8]) throws -> [RecordingChunk] {
        let reader = try RecordingReader(RecordingInMemory(bytes))
        var chunks: [RecordingChunk] = []
        var offset = reader.first
        while let chunk = reader.chunk(at: offset) {
            chunks.append(chunk)
            offset = chunk.next
        }
        return chunks
    }
}
