import Descriptors
import VMBridgeCore
import Wayland

/// A guest's buffer as the presenter keeps it: its memory, which outlives the compositor, and its
/// images, which do not.
final class WaylandBuffer {
    /// Most images at a time: the ledger's limit of uses, and as many again that the compositor may
    /// still hold of windows that were taken away.
    static let mostImages = 16

    let id: BufferID
    let memory: BufferMemory
    private let books: PresenterBooks
    private(set) var images: ContiguousArray<BufferImage> = []
    /// Why it cannot be imported into the present compositor.
    private(set) var refusal: Refusal?
    private var hasBeenImported = false
    /// Why linux-dmabuf does not show it, a sentence: it is copied instead, or refused.
    var whyNotImported: String?
    /// The compositor's answer, when it was asked and refused.
    private(set) var importFailure: ImportFailure?
    /// How it is copied, once it is.
    var copy: (plan: CopyPlan, guest: GuestPixels)?
    /// Why it can only be blitted, half a sentence, and the answer when that fails too; nil when it is not.
    var blit: (why: String, refusal: Refusal)?
    /// Over the memfd, for all its images.
    private var pool: WlShmPool?
    /// No pixel of it is translucent.
    let isOpaque: Bool

    init(_ id: BufferID, _ memory: BufferMemory, _ books: PresenterBooks) {
        self.id = id
        self.memory = memory
        self.books = books
        isOpaque = PixelFormatInfo.of(memory.layout.format)?.hasAlpha == false
    }

    var layout: BufferLayout { memory.layout }

    /// Whether its pixels are brought into other memory.
    var isCopied: Bool { copy != nil || blit != nil }

    /// Descriptors that one import passes.
    var descriptorsPerImport: Int {
        // Our own memory's, when it is copied.
        if whyNotImported != nil { return 1 }
        return layout.memory == .dmaBuf ? layout.planes.count : pool == nil ? 1 : 0
    }

    /// An image that nobody has, or one on its way that nobody waits for; nil when there is none.
    func freeImage() -> BufferImage? {
        for image in images where image.state == .idle { return image }
        for image in images where image.use == nil {
            if image.state == .importing || image.state == .queued { return image }
        }
        return nil
    }

    /// Another image, to be imported.
    func makeImage() -> BufferImage {
        let image = BufferImage(self, books)
        images.append(image)
        return image
    }

    /// Takes an image out that will not be used again.
    func drop(_ image: BufferImage) {
        if let use = image.use { books.images.remove(use.slot) }
        image.use = nil
        image.destroy()
        images.removeAll { $0 === image }
    }

    /// The compositor took it.
    func imported() { hasBeenImported = true }

    /// linux-dmabuf does not take it: the next way is tried.
    func failed(_ image: BufferImage) {
        let failure =
            importFailure
            ?? ImportFailure(
                exporter: DescriptorProbe.exporter(of: memory.descriptor(ofPlane: 0)),
                device: books.device)
        importFailure = failure
        whyNotImported = failure.sentence(about: layout)
        image.queueAnew()
    }

    /// An image cannot be had: whoever waits is told, and the buffer is refused if it never worked.
    ///
    /// - Parameter onlyImage: it is not the buffer's fault.
    func refuse(_ image: BufferImage, _ why: Refusal, onlyImage: Bool = false) {
        let use = image.use
        image.refusal = why
        drop(image)
        if !hasBeenImported, !onlyImage, refusal == nil {
            refusal = why
            books.tell(.bufferRefused(id, why))
        }
        if let use { books.tell(.importFailed(use, why)) }
    }

    /// Destroys all images; their uses are forgotten.
    func dropImages() {
        for image in images {
            if let use = image.use { books.images.remove(use.slot) }
            image.use = nil
            image.destroy()
        }
        images.removeAll()
        if let pool { books.later(.destroyPool(pool)) }
        pool = nil
    }

    /// The compositor is gone: all that it had of the buffer is, too.
    func compositorLost() {
        for image in images { image.tearDown() }
        dropImages()
        refusal = nil
        whyNotImported = nil
        importFailure = nil
        copy = nil
        blit = nil
        hasBeenImported = false
    }

    // MARK: Requests

    /// Whether the descriptors of an import can be duplicated now. libwayland does that for each, and
    /// loses the connection when it cannot.
    var canPassDescriptors: Bool {
        var copies = DescriptorBundle()
        for index in 0..<descriptorsPerImport {
            let lent = OwnedDescriptor(owning: memory.descriptor(ofPlane: index))
            let isKept = copies.append(lent.duplicate())
            _ = lent.release()
            if !isKept { return false }
        }
        return true
    }

    /// Makes an image of a memfd: in a pool straight over it, no byte is copied by us.
    func share(_ image: BufferImage, _ shm: WlShm, format: UInt32) {
        // Validated: one plane, which ends within 2 GiB and within the memfd.
        guard let plane = layout.planes.first else { return }
        let made = makePool(shm, plane).createBuffer(
            offset: Int32(clamping: plane.offset), width: Int32(clamping: layout.size.width),
            height: Int32(clamping: layout.size.height), stride: Int32(clamping: plane.stride),
            format: WlShm.Format(rawValue: format))
        hasBeenImported = true
        image.took(made)
    }

    private func makePool(_ shm: WlShm, _ plane: PlaneLayout) -> WlShmPool {
        if let pool { return pool }
        let end = UInt64(plane.offset) + UInt64(plane.stride) * UInt64(layout.size.height)
        let lent = OwnedDescriptor(owning: memory.descriptor(ofPlane: 0))
        let made = shm.createPool(fd: lent, size: Int32(clamping: end))
        _ = lent.release()
        pool = made
        return made
    }

    /// Asks for an image of dma-bufs; the answer comes as an event.
    func importDmabuf(_ image: BufferImage, _ dmabuf: ZwpLinuxDmabufV1) {
        let params = dmabuf.createParams()
        let modifier = layout.modifier.rawValue
        for (index, plane) in layout.planes.enumerated() {
            let lent = OwnedDescriptor(owning: memory.descriptor(ofPlane: index))
            params.add(
                fd: lent, planeIdx: UInt32(index), offset: plane.offset, stride: plane.stride,
                modifierHi: UInt32(modifier >> 32), modifierLo: UInt32(truncatingIfNeeded: modifier)
            )
            _ = lent.release()
        }
        image.awaits(params)
        // Never create_immed: a failing import may kill the connection then.
        params.create(
            width: Int32(clamping: layout.size.width), height: Int32(clamping: layout.size.height),
            format: layout.format.rawValue, flags: [])
    }
}
