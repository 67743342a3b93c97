import Descriptors
import VMBridgeCore

/// One buffer of the reference producer: memory that the bridge gets a descriptor of, or that it makes,
/// mapped here for drawing, and the frames that still use it.
final class ProducerBuffer {
    /// Its name on the wire.
    let key: BufferKey
    /// How its pixels lie in memory.
    private(set) var layout: BufferLayout
    /// Uses that have not been released: frames that were sent with it.
    private(set) var uses: [(surface: SurfaceKey, sequence: FrameSequence)] = []
    /// The frame that its pixels show.
    private(set) var shownFrame: UInt32?
    /// Fences of its releases that are pending.
    var releaseFences = 0
    /// A fence of ours is on the memory itself and has not ended.
    private(set) var isFenced = false
    /// That fence never ends.
    private(set) var isStuck = false
    private var descriptor = OwnedDescriptor.none
    /// None until the bridge has made it, when it does.
    private var memory: MappedMemory?

    /// Makes memory for a picture; what the bridge makes comes by ``take(_:_:)``.
    init(
        _ key: BufferKey, size: Size, format: PixelFormat, memory kind: ProducerMemory,
        device: ProducerDevice
    ) throws(ProducerFailure) {
        let planes: [(offset: Int, stride: Int)]
        let bytes: Int
        do throws(PictureError) {
            (planes, bytes) = try format.linearLayout(
                width: Int(size.width), height: Int(size.height))
        } catch { throw ProducerFailure("a buffer of \(size) cannot be laid out: \(error)") }
        self.key = key
        layout = BufferLayout(
            size: size, format: FourCC(format.rawValue), modifier: .linear, memory: kind.kind,
            planes: planes.map {
                PlaneLayout(descriptor: 0, offset: UInt32($0.offset), stride: UInt32($0.stride))
            })
        guard !kind.isHosts else { return }
        try map(try device.allocate(kind, bytes: bytes, rowBytes: planes[0].stride), bytes)
    }

    /// Whether there is memory to draw into.
    var hasMemory: Bool { descriptor.isValid }

    /// Takes memory that the bridge has made.
    ///
    /// - Parameter layout: as the bridge says; linear, and all planes in the one descriptor.
    func take(
        _ layout: BufferLayout, _ descriptor: consuming OwnedDescriptor
    ) throws(ProducerFailure) {
        guard !hasMemory, layout.size == self.layout.size, layout.format == self.layout.format,
            layout.modifier == .linear, layout.planes.count == self.layout.planes.count,
            layout.planes.allSatisfy({ $0.descriptor == 0 })
        else { throw ProducerFailure("the bridge made memory that was not asked for: \(layout)") }
        let end = layout.planes.indices.map {
            Int(layout.planes[$0].offset)
                + Int(layout.planes[$0].stride) * layout.rows(ofPlane: $0)
        }.max()
        try map(descriptor, end ?? 0)
        self.layout = layout
    }

    private func map(
        _ descriptor: consuming OwnedDescriptor, _ bytes: Int
    ) throws(ProducerFailure) {
        do throws(KernelError) {
            memory = try MappedMemory(descriptor.number, count: bytes, access: .readWrite)
        } catch { throw ProducerFailure("a buffer cannot be mapped for drawing: \(error)") }
        self.descriptor = descriptor
    }

    /// Whether every frame with it was released.
    var isGivenBack: Bool { uses.isEmpty }

    /// Whether it may be drawn again: given back, the fences of its releases signalled, and no fence of our own
    /// pending on the memory, for which the kernel would make us wait.
    var isFree: Bool {
        hasMemory && uses.isEmpty && releaseFences == 0 && (!isFenced || isStuck)
    }

    /// A descriptor of it to give away.
    func share() -> OwnedDescriptor { descriptor.duplicate() }

    /// A frame was sent with it.
    func begin(_ surface: SurfaceKey, _ sequence: FrameSequence) {
        uses.append((surface, sequence))
    }

    /// Whether a frame with it was not released yet.
    func isUsed(by surface: SurfaceKey, _ sequence: FrameSequence) -> Bool {
        uses.contains { $0 == (surface, sequence) }
    }

    /// A use was released; false when there is none such.
    func end(_ surface: SurfaceKey, _ sequence: FrameSequence) -> Bool {
        guard let index = uses.firstIndex(where: { $0 == (surface, sequence) }) else {
            return false
        }
        uses.remove(at: index)
        return true
    }

    /// Puts a write fence on the memory (DMA_BUF_IOCTL_IMPORT_SYNC_FILE), as a device that draws into it would.
    func attach(
        _ syncFile: consuming OwnedDescriptor, isStuck: Bool
    ) throws(ProducerFailure) {
        do throws(KernelError) {
            try LinuxKernelBuffers().importFence(
                syncFile.number, dmaBuf: descriptor.number, as: .write)
        } catch { throw ProducerFailure("a fence cannot be put on a buffer: \(error)") }
        isFenced = true
        self.isStuck = isStuck
    }

    /// The fence on the memory has ended.
    func fenceEnded() { isFenced = false }

    /// Writes the poison number all over it, as soon as it may be written.
    func overwrite(_ painter: ProducerPainter) throws(ProducerFailure) {
        shownFrame = nil
        try draw(RowsPattern.poison, painter)
        shownFrame = nil
    }

    /// Draws a frame. A dma-buf's caches are kept in step by telling the kernel (DMA_BUF_IOCTL_SYNC).
    func draw(_ frame: UInt32, _ painter: ProducerPainter) throws(ProducerFailure) {
        try synchronize(.begin(.write))
        do throws(PictureError) {
            try memory?.withPlanes(
                layout.planes.map { (offset: Int($0.offset), stride: Int($0.stride)) }
            ) { (planes) throws(PictureError) -> Void in
                try painter.draw(frame, over: shownFrame, into: planes)
            }
        } catch { throw ProducerFailure("a frame cannot be drawn: \(error)") }
        try synchronize(.end(.write))
        shownFrame = frame
    }

    private func synchronize(_ access: DMABufAccess) throws(ProducerFailure) {
        // The kernel would wait for a fence that never signals; what is lost is order that nobody needs here.
        guard layout.memory == .dmaBuf, !isStuck else { return }
        do throws(KernelError) {
            try LinuxKernelBuffers().synchronize(dmaBuf: descriptor.number, access)
        } catch { throw ProducerFailure("the CPU cannot draw into the dma-buf: \(error)") }
    }
}

/// A device that is missing or refuses, in words: what failed, where, what to do.
struct ProducerFailure: Error {
    var sentence: String
    init(_ sentence: String) { self.sentence = sentence }
}
