import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("log of frames [kernel]") struct FrameLogTests {
    private func lines(_ directory: String) throws -> [Substring] {
        let file = try ReadableFile(path: directory + "/frames.log")
        return String(decoding: file.bytes(at: 0, count: Int(file.size)), as: UTF8.self)
            .split(separator: "\n")
    }

    private func line(_ prefix: String, _ picture: Picture) -> String {
        var checksum = PixelChecksum()
        checksum.add(picture)
        let digits = String(checksum.value, radix: 16)
        return "\(prefix) \(picture.width)x\(picture.height) "
            + String(repeating: "0", count: 8 - digits.count) + digits
    }

    private func memory(
        _ descriptor: consuming OwnedDescriptor
    ) -> BufferMemory {
        var bundle = DescriptorBundle()
        _ = bundle.append(descriptor)
        return BufferMemory(
            layout: Make.layout(), bytes: 64 * 32 * 4, isUnsealed: true, from: &bundle, 0..<1)
    }

    private var frame: Frame {
        makeFrame(
            use(0), BufferID(SlotIndex(index: 0, generation: 0)), 7,
            size: Size(width: 64, height: 32))
    }

    @Test("each commit's pixels are told as they were then: whole, cropped, turned")
    func session() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-frames-")
        defer { TemporaryDirectory.remove(directory) }
        let capture = try HeadlessCapture(directory: directory, logsFrames: true)
        let pattern = try TestPattern(
            width: 64, height: 32, format: .xrgb8888, seed: 3, label: "frames")
        let file = try Make.memfd()
        var mapped = try MappedMemory(file.number, count: 64 * 32 * 4, access: .readWrite)
        let harness = try SessionHarness(capture: capture)
        let producer = try TestProducer(harness.path)
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [file.number])
        producer.send(Make.surface(1, title: "A"))
        var expected: [String] = []
        for number in UInt64(1)...3 {
            try mapped.withUnsafeMutableBytes { bytes in
                let planes = try WritablePixelPlane.linear(bytes, .xrgb8888, width: 64, height: 32)
                try pattern.draw(frame: UInt32(number), into: planes)
            }
            var picture = try pattern.picture(frame: UInt32(number))
            var record = FrameRecord(
                surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(number))
            if number > 1 {
                record.crop = Rectangle(x: 8, y: 4, width: 31, height: 16)
                picture = picture.cropped(to: PixelRect(x: 8, y: 4, width: 31, height: 16))
            }
            if number > 2 {
                record.transform = try #require(Transform(rawValue: 1))
                picture = picture.transformed(try #require(PictureTransform(rawValue: 1)).inverse)
            }
            // Scaling is the compositor's: the pixels are told before it.
            record.destination = number > 1 ? Size(width: 100, height: 50) : nil
            producer.send(.frame(record))
            #expect(
                try harness.turn { harness.session.status.first?.counters.presented == number })
            expected.append(line("vm 0 \(number)", picture))
        }
        #expect(try lines(directory).map(String.init) == expected)
    }

    @Test("nothing is read when that was not asked for")
    func silent() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-frames-")
        defer { TemporaryDirectory.remove(directory) }
        _ = try HeadlessCapture(directory: directory)
        #expect(throws: KernelError.self) { try lines(directory) }
    }

    @Test("a memfd that may shrink is read, not mapped: gone bytes are an error and no signal")
    func shrinking() throws {
        let file = try MemoryFile.create(size: 64 * 32 * 4, seals: [.seal])
        let number = file.number
        let memory = memory(file)
        let whole = try memory.checksum(of: frame)
        var black = PixelChecksum()
        black.add(Picture(width: 64, height: 32))
        #expect(whole.crc32 == black.value)
        #expect(try memory.picture(of: frame).width == 64)
        #expect(ftruncate(number, 4096) == 0)
        #expect(throws: KernelError.self) { try memory.checksum(of: frame) }
        #expect(throws: KernelError.self) { try memory.picture(of: frame) }
    }

    @Test("what cannot be read has a hyphen and the reason")
    func unreadable() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-frames-")
        defer { TemporaryDirectory.remove(directory) }
        let capture = try HeadlessCapture(directory: directory, logsFrames: true)
        let short = try MemoryFile.create(size: 4096, seals: [.seal])
        capture.logFrame(
            vm: "a b", frame, memory(short), slot: SlotIndex(index: 3, generation: 9))
        let line = try #require(try lines(directory).first)
        #expect(line.hasPrefix("a_b 3 7 64x32 - pread"))
    }
}
