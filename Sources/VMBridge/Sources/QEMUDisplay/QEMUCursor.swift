import Descriptors
import VMBridgeCore

/// The pointer's picture over one console. It always comes as pixels.
final class QEMUCursor<P: Presenter> {
    /// Longest side of a pointer's picture, pixels.
    static var limit: Int32 { 512 }

    /// Its surface.
    let key: SurfaceKey
    private let session: VMSession<P>
    private let parent: SurfaceKey
    private var nextBuffer: UInt64
    private var shown: BufferKey?
    private var sequence: UInt64 = 0
    private var picture: (size: Size, hotSpot: HotSpot, pixels: [UInt8])?
    private var isShown = true
    private var hasParent = false
    private var hasSurface = false

    init(session: VMSession<P>, parent: SurfaceKey, key: SurfaceKey, firstBuffer: UInt64) {
        self.session = session
        self.parent = parent
        self.key = key
        nextBuffer = firstBuffer
    }

    /// The console's surface is there.
    func enter() {
        hasParent = true
        apply()
    }

    /// It goes.
    func leave() {
        removeSurface()
        hasParent = false
    }

    /// Whether the guest shows a pointer at all.
    func set(isShown: Bool) {
        guard isShown != self.isShown else { return }
        self.isShown = isShown
        apply()
    }

    /// Another picture.
    func define(
        width: Int32, height: Int32, hotX: Int32, hotY: Int32, _ bytes: ArraySlice<UInt8>
    ) throws(Refusal) {
        guard (1...Self.limit).contains(width), (1...Self.limit).contains(height) else {
            throw Refusal(
                .badValue,
                "A pointer of \(width)x\(height) pixels: each side has 1 to \(Self.limit).")
        }
        guard (0...width).contains(hotX), (0...height).contains(hotY) else {
            throw Refusal(.badValue, "A pointer's point at \(hotX),\(hotY) is outside of it.")
        }
        let count = Int(width) * Int(height) * 4
        guard bytes.count >= count else {
            throw Refusal(
                .badLayout, "A pointer of \(count) bytes came with \(bytes.count).")
        }
        picture = (
            Size(width: UInt32(width), height: UInt32(height)),
            HotSpot(x: UInt32(hotX), y: UInt32(hotY)), Array(bytes.prefix(count))
        )
        apply()
    }

    private func apply() {
        guard hasParent else { return }
        guard isShown else {
            // A surface without a frame hides the pointer.
            if shown != nil { removeSurface() }
            return makeSurface(HotSpot(x: 0, y: 0))
        }
        guard let picture else { return removeSurface() }
        if hasSurface {
            var metadata = SurfaceMetadata()
            metadata.hotSpot = picture.hotSpot
            session.receive(.surfaceUpdate(key, metadata))
        } else {
            makeSurface(picture.hotSpot)
        }
        show(picture.size, picture.pixels)
    }

    private func makeSurface(_ hotSpot: HotSpot) {
        guard !hasSurface else { return }
        hasSurface = true
        var metadata = SurfaceMetadata()
        metadata.parent = parent
        metadata.hotSpot = hotSpot
        session.receive(.surfaceCreate(key, .cursor, isGraphics: true, metadata))
    }

    private func removeSurface() {
        guard hasSurface else { return }
        hasSurface = false
        session.receive(.surfaceDestroy(key))
        destroyBuffer()
        sequence = 0
    }

    private func destroyBuffer() {
        if let shown { session.receive(.bufferDestroy(shown)) }
        shown = nil
    }

    private func show(_ size: Size, _ pixels: [UInt8]) {
        guard let memory = try? CanvasBuffer(pixels, stride: Int(size.width) * 4) else { return }
        let former = shown
        let buffer = BufferKey(nextBuffer)
        nextBuffer += 1
        let layout = BufferLayout(
            size: size, format: .argb8888, modifier: .linear, memory: .memfd,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: size.width * 4)])
        var bundle = DescriptorBundle()
        _ = bundle.append(memory.takeDescriptor())
        session.receive(.bufferCreate(buffer, layout), descriptors: &bundle)
        sequence += 1
        session.receive(
            .frame(
                FrameRecord(surface: key, buffer: buffer, sequence: FrameSequence(sequence))))
        shown = buffer
        if let former { session.receive(.bufferDestroy(former)) }
    }
}
