import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] recordings as files")
struct RecordingFileTests {
    @Test("what is written is read again, pixels included")
    func roundTrip() throws {
        let bytes = try RecordingSample.bytes()
        let source = RecordingInMemory(bytes)
        let reader = try RecordingReader(source)
        #expect(reader.about == RecordingSample.about)
        let chunks = try RecordingSample.chunks(bytes)
        #expect(chunks.map(\.number) == Array(0..<UInt64(chunks.count)))
        #expect(chunks.map(\.time) == chunks.map(\.time).sorted())
        #expect(chunks.last?.body == .index)
        #expect(chunks.dropLast().last?.body == .end(.disconnected))
        let frames = chunks.compactMap { chunk -> RecordedFrame? in
            if case .frame(let frame) = chunk.body { frame } else { nil }
        }
        #expect(frames.map(\.sequence.value) == [1, 2, 3])
        for frame in frames {
            let region = try #require(frame.regions.first)
            #expect(region.length == 128 && frame.state == .there)
            #expect(frame.readEnded >= frame.readBegan)
            #expect(
                source.bytes(at: region.position, count: 128)
                    == [UInt8](repeating: 0x40, count: 128))
        }
        guard case .received(_, let descriptors, .none) = chunks[3].body else {
            Issue.record("\(chunks[3])")
            return
        }
        #expect(
            descriptors == [
                RecordedDescriptor(
                    kind: .memfd, access: .readWrite, size: 128, seals: [.shrink, .grow])
            ])
        guard case .buffer(let buffer) = chunks[4].body else {
            Issue.record("\(chunks[4])")
            return
        }
        #expect(buffer.layout == RecordingSample.layout && buffer.bytes == 128)
    }

    @Test("frames are found by time and by number, with the file's index and with one made anew")
    func index() throws {
        let bytes = try RecordingSample.bytes()
        let reader = try RecordingReader(RecordingInMemory(bytes))
        let stored = reader.index()
        #expect(!stored.isRebuilt)
        let rebuilt = reader.rebuiltIndex()
        #expect(rebuilt.isRebuilt)
        #expect(stored.entries == rebuilt.entries)
        #expect(stored.chunks == rebuilt.chunks)
        for index in [stored, rebuilt] {
            for sequence in UInt64(1)...3 {
                let chunk = reader.frame(SurfaceKey(7), FrameSequence(sequence), index)
                guard case .frame(let frame)? = chunk?.body else {
                    Issue.record("no frame \(sequence)")
                    continue
                }
                #expect(frame.sequence.value == sequence)
            }
            #expect(reader.frame(SurfaceKey(7), FrameSequence(4), index) == nil)
            #expect(reader.frame(SurfaceKey(8), FrameSequence(1), index) == nil)
            let time = try #require(reader.frame(SurfaceKey(7), FrameSequence(2), index)).time
            #expect(try #require(reader.header(at: reader.place(of: time, index))).time <= time)
            #expect(reader.place(of: 0, index) == reader.first)
        }
    }

    @Test("cut off anywhere, a recording is read up to its last whole chunk")
    func cutOff() throws {
        let bytes = try RecordingSample.bytes()
        let whole = try RecordingSample.chunks(bytes)
        let first = whole[1].offset
        for length in stride(from: Int(first), to: bytes.count, by: 1) {
            let cut = Array(bytes.prefix(length))
            let chunks = try RecordingSample.chunks(cut)
            let expected = whole.prefix { $0.next <= UInt64(length) }
            #expect(chunks == Array(expected), "at \(length)")
            let index = try RecordingReader(RecordingInMemory(cut)).index()
            #expect(index.isRebuilt)
            #expect(index.end == expected.last { $0.body != .index }?.next, "at \(length)")
        }
        for length in 0..<Int(first) {
            #expect(throws: RecordingFault.self) {
                _ = try RecordingReader(RecordingInMemory(Array(bytes.prefix(length))))
            }
        }
    }

    @Test("a limit ends a recording in order, whatever it is")
    func limit() throws {
        let whole = try RecordingSample.bytes()
        for limit in stride(from: 400, to: whole.count, by: 40) {
            let status = Guarded(RecordingStatus())
            let bytes = try RecordingSample.bytes(limit: UInt64(limit), status: status)
            #expect(bytes.count <= limit, "\(limit)")
            let reader = try RecordingReader(RecordingInMemory(bytes))
            #expect(!reader.index().isRebuilt)
            let chunks = try RecordingSample.chunks(bytes)
            #expect(chunks.dropLast().last?.body == .end(.limit), "\(limit)")
            #expect(status.with { $0.ended } == "the size limit was reached")
        }
    }

    @Test("a full disk ends a recording, which says so and is read as far as it came")
    func diskFull() throws {
        for room in [0, 100, 300, 1000, 2000] {
            let status = Guarded(RecordingStatus())
            let bytes = try RecordingSample.bytes(room: room, status: status)
            #expect(bytes.count <= room)
            #expect(status.with { $0.ended }?.contains("ENOSPC") == true)
            if room >= 300 {
                #expect(try RecordingReader(RecordingInMemory(bytes)).index().isRebuilt)
            }
        }
    }

    @Test("an index stays small, and so do its gaps")
    func thinning() {
        var builder = RecordingIndex.Builder()
        let count = RecordingFormat.maximumEntries * 5
        for number in 1...count {
            builder.add(
                offset: UInt64(number) * 8, time: UInt64(number), surface: 1,
                sequence: UInt64(number))
            #expect(builder.entries.count < RecordingFormat.maximumEntries)
        }
        #expect(builder.entries.count > RecordingFormat.maximumEntries / 4)
        let gaps = zip(builder.entries, builder.entries.dropFirst()).map { $1.time - $0.time }
        #expect(gaps.allSatisfy { $0 <= 16 })
    }

    @Test("a file of another kind or version is refused in a sentence")
    func foreign() throws {
        let bytes = try RecordingSample.bytes()
        var newer = bytes
        newer[8] = 2
        let fault = #expect(throws: RecordingFault.self) {
            _ = try RecordingReader(RecordingInMemory(newer))
        }
        #expect(fault?.description.contains("another version") == true)
        #expect(throws: RecordingFault.self) {
            _ = try RecordingReader(RecordingInMemory([UInt8](repeating: 0, count: 4096)))
        }
        #expect(throws: KernelError.self) { _ = try ReadableFile(path: "/dev/null") }
    }

    @Test("pixels that cannot be read are said to be so, and why")
    func unreadable() throws {
        let status = Guarded(RecordingStatus())
        let output = RecordedBytes()
        let writer = RecordingWriter(
            output, RecordingSample.about, limit: .max / 2, status: status)
        var tiled = RecordingSample.layout
        tiled.modifier = Modifier(0x0100_0000_0000_0001)
        tiled.memory = .dmaBuf
        var bundle = DescriptorBundle()
        _ = bundle.append(try Make.memfd(Size(width: 8, height: 4)))
        let memory = BufferMemory(layout: tiled, bytes: 128, from: &bundle, 0..<1)
        writer.perform(.buffer(1, SharedMemory(memory: memory), time: 1))
        writer.perform(.frame(RecordingSample.frame(1), time: 2))
        // One whose buffer the queue did not take.
        var other = RecordingSample.frame(2)
        other.buffer = 99
        writer.perform(.frame(other, time: 3))
        writer.perform(.frame(RecordingSample.frame(3, .notWanted), time: 4))
        writer.flush()
        let states = try RecordingSample.chunks(output.bytes).compactMap { chunk -> PixelState? in
            if case .frame(let frame) = chunk.body { frame.state } else { nil }
        }
        #expect(states == [.notLinear, .dropped, .notWanted])
        #expect(status.with { $0.unreadable } == 1)
    }
}

@Suite("[kernel] the queue to a writer")
struct BoundedQueueTests {
    @Test("takes up to its limit, gives in order, and ends")
    func order() {
        let queue = BoundedQueue<Int>(limit: 100)
        #expect(queue.take(waits: false) == nil)
        for number in 1...10 { #expect(queue.append(number, cost: 10)) }
        #expect(!queue.append(11, cost: 1))
        #expect(queue.append(11, cost: 0))
        #expect(queue.take(waits: true) == 1)
        #expect(!queue.append(12, cost: 10, within: 50))
        #expect(queue.append(12, cost: 10))
        queue.close()
        #expect(!queue.append(13, cost: 0))
        var rest: [Int] = []
        while let next = queue.take(waits: true) { rest.append(next) }
        #expect(rest == Array(2...12))
    }

    @Test("a waiting thread gets what comes, all of it")
    func threads() throws {
        let queue = BoundedQueue<Int>(limit: .max)
        let sum = Guarded(0)
        try BackgroundThread.start {
            while let next = queue.take(waits: true) { sum.with { $0 += next } }
            queue.markDone()
        }
        for number in 1...20_000 { _ = queue.append(number, cost: 1) }
        queue.close()
        #expect(queue.waitUntilDone(milliseconds: 10_000))
        #expect(sum.with { $0 } == 20_000 * 20_001 / 2)
    }
}

@Suite("[kernel] a recorder beside the loop")
struct RecorderTests {
    private func recorder(
        _ directory: String, _ change: (inout RecordingSettings) -> Void = { _ in }
    )
        -> Recorder
    {
        var settings = RecordingSettings(directory: directory)
        settings.content = .whole
        change(&settings)
        return Recorder(
            settings, vm: "vm", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func chunks(_ path: String) throws -> [RecordingChunk.Body] {
        let reader = try RecordingReader(try ReadableFile(path: path))
        var offset = reader.first
        var all: [RecordingChunk.Body] = []
        while let chunk = reader.chunk(at: offset) {
            all.append(chunk.body)
            offset = chunk.next
        }
        return all
    }

    @Test(
        "each connection has a file of its own, that nobody else may read, and none is written over"
    )
    func files() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-record-")
        defer { TemporaryDirectory.remove(directory) }
        var paths: [String] = []
        for _ in 0..<2 {
            let recorder = recorder(directory)
            for generation in UInt64(1)...2 {
                recorder.connected(generation: generation)
                recorder.receivedBroken(.tooLong, time: 5)
                recorder.disconnected()
                // Still writing, perhaps: the loop waits only at the end of all.
                #expect(recorder.status != nil)
            }
            recorder.shutDown()
            paths.append(try #require(recorder.status?.file))
        }
        #expect(paths == ["\(directory)/vm-2.vmbrec", "\(directory)/vm-2.1.vmbrec"])
        for path in paths {
            #expect(
                try chunks(path) == [
                    .about(vm: "vm"),
                    .received(bytes: [], descriptors: [], broken: .tooLong),
                    .end(.disconnected), .index,
                ])
            var facts = stat()
            #expect(stat(path, &facts) == 0 && facts.st_mode & 0o777 == 0o600)
        }
    }

    @Test("all files of a VM share the limit: who connects again and again does not fill the disk")
    func sharedLimit() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-record-")
        defer { TemporaryDirectory.remove(directory) }
        let recorder = recorder(directory) { $0.limit = 20_000 }
        let bytes = [UInt8](repeating: 7, count: 3000)
        let bundle = DescriptorBundle()
        var total: UInt64 = 0
        for generation in UInt64(1)...20 {
            recorder.connected(generation: generation)
            recorder.received(bytes, count: bytes.count, bundle, time: MonotonicClock.now())
            recorder.disconnected()
            // So that each one knows what the one before took.
            recorder.shutDown()
            let status = try #require(recorder.status)
            guard let file = status.file else {
                #expect(status.ended == "the size limit was reached")
                continue
            }
            total += try ReadableFile(path: file).size
        }
        #expect(total <= 20_000)
        #expect(total > 15_000)
        #expect(recorder.status?.file == nil)
    }

    @Test("of sampled pixels each surface's first frame is there, and every 30th")
    func sampled() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-record-")
        defer { TemporaryDirectory.remove(directory) }
        let recorder = recorder(directory) { $0.content = .sampled }
        recorder.connected(generation: 1)
        let memory = try RecordingSample.memory(1)
        for sequence in UInt64(1)...61 {
            for surface in UInt64(1)...2 {
                recorder.committed(
                    SurfaceKey(surface), FrameSequence(sequence),
                    BufferID(SlotIndex(index: 0, generation: 0)), memory, time: sequence)
            }
        }
        recorder.disconnected()
        recorder.shutDown()
        let path = try #require(recorder.status?.file)
        var there: [UInt64: [UInt64]] = [:]
        var buffers = 0
        for body in try chunks(path) {
            switch body {
            case .frame(let frame) where frame.state == .there:
                there[frame.surface.value, default: []].append(frame.sequence.value)
            case .frame(let frame): #expect(frame.state == .notWanted)
            case .buffer: buffers += 1
            default: break
            }
        }
        #expect(there == [1: [1, 31, 61], 2: [1, 31, 61]])
        #expect(buffers == 1)
    }

    @Test("a directory that cannot be made is told and costs nothing but the recording")
    func nowhere() throws {
        let recorder = recorder("/proc/nowhere")
        recorder.connected(generation: 1)
        for _ in 0..<1000 { recorder.receivedBroken(.tooLong, time: 5) }
        recorder.shutDown()
        let status = try #require(recorder.status)
        #expect(status.file == nil)
        #expect(status.ended != nil)
    }

    @Test("when the writer does not follow, datagrams and pixels are left out, counted and marked")
    func dropped() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-record-")
        defer { TemporaryDirectory.remove(directory) }
        let recorder = recorder(directory)
        recorder.connected(generation: 1)
        let large = [UInt8](repeating: 1, count: SourceProtocol.maximumDatagram)
        let bundle = DescriptorBundle()
        let memory = try RecordingSample.memory(1)
        // More than any disk takes in so short a time.
        for sequence in UInt64(1)...3000 {
            recorder.received(large, count: large.count, bundle, time: MonotonicClock.now())
            recorder.committed(
                SurfaceKey(1), FrameSequence(sequence),
                BufferID(SlotIndex(index: 0, generation: 0)), memory, time: MonotonicClock.now())
        }
        recorder.disconnected()
        recorder.shutDown()
        let status = try #require(recorder.status)
        #expect(status.droppedDatagrams > 0)
        #expect(status.ended == "the connection ended")
        let all = try chunks(try #require(status.file))
        var marked: (datagrams: UInt64, pixels: UInt64) = (0, 0)
        var received: UInt64 = 0
        for body in all {
            switch body {
            case .dropped(let datagrams, let pixels):
                marked.datagrams += datagrams
                marked.pixels += pixels
            case .received(let bytes, _, _):
                #expect(bytes.count == large.count)
                received += 1
            default: break
            }
        }
        #expect(marked.datagrams == status.droppedDatagrams)
        #expect(marked.pixels == status.droppedPixels)
        // What was not dropped is there; a frame's chunk counts as a datagram when it is dropped.
        #expect(received + marked.datagrams >= 3000)
        #expect(received < 3000)
    }
}
