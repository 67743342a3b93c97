import Descriptors
import Glibc
import Logging
import Testing

@testable import VMBridge
@testable import VMBridgeCore

/// A session with its loop and presenter, and the producer's side of it in the same process: records
/// go in as decoded values, feedback comes out as a list.
final class LiveSession<P: Presenter> {
    let loop: EventLoop
    let presenter: P
    let session: VMSession<P>
    /// All feedback so far.
    private(set) var feedback: [BridgeRecord] = []
    private var nextBuffer: UInt64 = 1

    init(
        _ name: String = "alpha", limits: VMLimits = VMLimits(), loop: EventLoop? = nil,
        _ makePresenter: (EventLoop, Logger) throws -> P
    ) throws {
        let loop = try loop ?? EventLoop()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        self.loop = loop
        presenter = try makePresenter(loop, logger)
        session = VMSession(
            name: name, limits: limits, presenter: presenter, loop: loop,
            probe: try DescriptorProbe(), logger: logger)
    }

    // MARK: Producer

    /// Sends a record with its descriptors.
    func send(
        _ record: ProducerRecord, type: UInt16 = RecordType.frame, object: UInt64,
        _ descriptors: consuming DescriptorBundle = DescriptorBundle()
    ) {
        let header = RecordFrame(
            type: type, descriptorCount: descriptors.count, firstDescriptor: 0, start: 0, end: 0,
            object: object)
        session.receive(record, header, &descriptors)
    }

    /// Makes a toplevel.
    @discardableResult
    func makeSurface(
        _ key: UInt64 = 1, title: String = "test",
        _ change: (inout SurfaceMetadata) -> Void = { _ in }
    ) -> SurfaceKey {
        var metadata = SurfaceMetadata()
        metadata.title = title
        metadata.appID = "test.app"
        change(&metadata)
        let key = SurfaceKey(key)
        send(
            .surfaceCreate(key, .toplevel, isGraphics: true, metadata),
            type: RecordType.surfaceCreate, object: key.value)
        return key
    }

    /// Shares a picture in a sealed memfd, with rows and a start that a compositor must respect.
    func makeBuffer(
        _ picture: Picture, format: PixelFormat = .xrgb8888, offset: Int = 64, padding: Int = 32,
        isBottomUp: Bool = false
    ) throws -> BufferKey {
        let stride = picture.width * 4 + padding
        let size = offset + stride * picture.height
        let memory = try MemoryFile.create(size: UInt64(size))
        var mapped = try MappedMemory(memory.number, count: size, access: .readWrite)
        let stored = isBottomUp ? picture.transformed(.flipped180) : picture
        try mapped.withUnsafeMutableBytes {
            try stored.encode(
                format, into: [WritablePixelPlane($0, offset: offset, stride: stride)])
        }
        return makeBuffer(
            BufferLayout(
                size: Size(width: UInt32(picture.width), height: UInt32(picture.height)),
                format: FourCC(format.rawValue), modifier: .linear, memory: .memfd,
                isBottomUp: isBottomUp,
                planes: [
                    PlaneLayout(descriptor: 0, offset: UInt32(offset), stride: UInt32(stride))
                ]), memory)
    }

    /// Shares memory as it is.
    func makeBuffer(_ layout: BufferLayout, _ memory: consuming OwnedDescriptor) -> BufferKey {
        let key = BufferKey(nextBuffer)
        nextBuffer += 1
        var bundle = DescriptorBundle()
        let isKept = bundle.append(memory)
        #expect(isKept)
        send(
            .bufferCreate(key, layout), type: RecordType.bufferCreate, object: key.value, bundle)
        return key
    }

    /// Sends a frame.
    func show(
        _ buffer: BufferKey, on surface: SurfaceKey = SurfaceKey(1), _ sequence: UInt64,
        _ change: (inout FrameRecord) -> Void = { _ in }
    ) {
        var frame = FrameRecord(
            surface: surface, buffer: buffer, sequence: FrameSequence(sequence))
        change(&frame)
        send(.frame(frame), object: surface.value)
    }

    // MARK: Loop

    /// Takes what gathered, as the daemon does after each batch.
    func settle() {
        session.settle()
        session.takeFeedback { feedback.append($0) }
    }

    /// One turn of the loop.
    func turn(milliseconds: Int32 = 0) throws {
        settle()
        try loop.runOnce(milliseconds: milliseconds)
        settle()
    }

    /// Turns until the condition holds; whether it did within the time.
    func until(seconds: Double = 10, _ condition: () -> Bool) throws -> Bool {
        let end = MonotonicClock.now() + UInt64(seconds * 1e9)
        while !condition() {
            guard MonotonicClock.now() < end else { return false }
            try turn(milliseconds: 10)
        }
        return true
    }

    func forgetFeedback() { feedback.removeAll() }

    // MARK: Feedback

    /// Sequences released with an outcome, in order.
    func released(_ outcome: UseOutcome) -> [UInt64] {
        feedback.compactMap {
            guard case .released(_, _, let sequence, outcome) = $0 else { return nil }
            return sequence.value
        }
    }

    /// Sequences presented, in order.
    var presented: [UInt64] {
        feedback.compactMap {
            guard case .presented(_, let record) = $0 else { return nil }
            return record.sequence.value
        }
    }

    /// Everything refused.
    var refused: [RefusedRecord] {
        feedback.compactMap {
            guard case .refused(let record) = $0 else { return nil }
            return record
        }
    }

    /// Every configure.
    var configures: [ConfigureRecord] {
        feedback.compactMap {
            guard case .configure(_, let record) = $0 else { return nil }
            return record
        }
    }
}

extension LiveSession where P == WaylandPresenter {
    /// A session on a compositor's socket.
    convenience init(
        _ name: String = "alpha", display: String, loop: EventLoop? = nil
    ) throws {
        try self.init(name, loop: loop) {
            try WaylandPresenter(display: display, vmName: name, loop: $0, logger: $1)
        }
    }
}

/// A picture in which no two places look alike.
func noise(_ width: Int, _ height: Int, seed: UInt32 = 1) -> Picture {
    var picture = Picture(width: width, height: height)
    var state = seed &* 2_654_435_761 | 1
    for y in 0..<height {
        for x in 0..<width {
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            picture[x, y] = Colour(word: state | 0xff00_0000)
        }
    }
    return picture
}
