import Descriptors
import VMBridgeCore
import Wayland

/// One wl_buffer of a guest's buffer. It serves one use at a time, so that `wl_buffer.release` says
/// which use it ends; a buffer that is committed again while held gets another image.
final class BufferImage: HotEventTarget {
    enum State {
        /// To be sent when the compositor takes requests again.
        case queued
        /// linux-dmabuf has not answered.
        case importing
        /// Free for the next use.
        case idle
        /// A use has it and is not committed.
        case reserved
        /// The compositor holds it.
        case committed
        /// The compositor holds it, and nobody waits for its release.
        case orphan
        /// There is no wl_buffer, and none will come.
        case dead
    }

    /// What says that the compositor is done with a commit.
    enum Release {
        /// `wl_buffer.release`, and the dma-buf's own fences.
        case message
        /// A point of our timeline; the message means nothing then.
        case point
        /// The object that was asked for with the commit; the message means nothing then.
        case object
    }

    private let books: PresenterBooks
    /// The buffer; nil when the image is of no use any more.
    private(set) var buffer: WaylandBuffer?
    var state = State.queued
    /// Whom it serves; while it is imported, whom it is for.
    var use: UseID?
    /// The window that it was committed to.
    var window: WaylandWindow?
    private(set) var wlBuffer: WlBuffer?
    private var params: ZwpLinuxBufferParamsV1?
    /// Why there is none, when it died of itself.
    var refusal: Refusal?
    /// Our memory behind it, when the guest's buffer is copied.
    private(set) var own: OwnPixels?
    /// What the guest's buffer is drawn into, when it is blitted.
    var target: BlitTarget?
    /// How the commit that it is in will be released.
    var release = Release.message
    /// The pending acquire fence of the use that has it.
    private var acquireFence = OwnedDescriptor.none
    private var timeline: ReleaseTimeline?
    private var releaseObject: ZwpLinuxBufferReleaseV1?

    init(_ buffer: WaylandBuffer, _ books: PresenterBooks) {
        self.buffer = buffer
        self.books = books
    }

    /// Whether linux-dmabuf owes nothing for it.
    var isAnswered: Bool { params == nil }

    /// Whether it shows pixels that were brought into other memory.
    var isCopy: Bool { own != nil || target != nil }

    /// Whether fences can go with it: an imported dma-buf.
    var carriesFences: Bool { !isCopy && buffer?.layout.memory == .dmaBuf && wlBuffer != nil }

    /// Takes the object that wl_shm has made at once.
    func took(_ made: WlBuffer) {
        made.setTarget(self)
        wlBuffer = made
        becomeAvailable()
    }

    /// Takes the object that wl_shm has made over memory of ours.
    func took(_ made: WlBuffer, over own: OwnPixels) {
        self.own = own
        took(made)
    }

    /// Takes the object that wl_shm has made over an output of the graphics worker, in place of a former one.
    ///
    /// - Parameter isReserved: the use that has it goes on with it, and is told nothing.
    func took(_ made: WlBuffer, isReserved: Bool) {
        if let wlBuffer {
            wlBuffer.setTarget(nil)
            books.later(.destroyBuffer(wlBuffer))
        }
        guard isReserved else { return took(made) }
        made.setTarget(self)
        wlBuffer = made
        state = .reserved
    }

    /// A commit that was never sent is passed over: its use ends.
    func withdraw() {
        guard let ended = use else { return }
        letGo()
        books.images.remove(ended.slot)
        books.tell(.released(ended))
    }

    /// Is to be sent again, in another way.
    func queueAnew() {
        state = .queued
        books.later(.importImage(self))
    }

    /// Waits for linux-dmabuf's answer.
    func awaits(_ params: ZwpLinuxBufferParamsV1) {
        params.setTarget(self)
        self.params = params
        state = .importing
    }

    private func becomeAvailable() {
        guard let use else {
            state = .idle
            return
        }
        state = .reserved
        books.tell(.imported(use))
    }

    // MARK: Fences

    /// Descriptors that it has beside its buffer's.
    var descriptors: Int { (acquireFence.isValid ? 1 : 0) + (timeline == nil ? 0 : 1) }

    /// Takes the fence that the next commit waits for.
    func setAcquireFence(_ fence: consuming OwnedDescriptor) { acquireFence = fence }

    /// Hands it over; no descriptor when the content is complete.
    func takeAcquireFence() -> OwnedDescriptor {
        guard acquireFence.isValid else { return .none }
        var fence = OwnedDescriptor.none
        swap(&fence, &acquireFence)
        return fence
    }

    /// Its timeline of releases.
    func makeReleaseTimeline(
        _ manager: WpLinuxDrmSyncobjManagerV1, _ device: SyncDevice, _ loop: EventLoop
    ) throws(KernelError) -> ReleaseTimeline {
        if let timeline { return timeline }
        let made = try ReleaseTimeline(self, manager, device, loop)
        timeline = made
        return made
    }

    /// Its next release is told by that object.
    func expectRelease(_ object: ZwpLinuxBufferReleaseV1) {
        releaseObject?.destroyProxy()
        object.setTarget(self)
        releaseObject = object
        release = .object
    }

    /// The point of its release has signalled, or has a fence.
    func pointCame(_ fence: consuming OwnedDescriptor) {
        guard release == .point else { return }
        ended(fence)
    }

    /// The compositor is done with it, but for a fence that may still be pending.
    private func ended(_ fence: consuming OwnedDescriptor) {
        let ended = use
        window = nil
        guard state == .committed || state == .orphan else { return }
        state = .idle
        use = nil
        guard let ended else { return }
        books.images.remove(ended.slot)
        // A fence that ended with an error is nothing to wait for either.
        if fence.isValid, (try? FenceStatus.of(fence.number)) == .pending {
            books.tellReleased(ended, fence)
        } else {
            books.tell(.released(ended))
        }
    }

    /// The use is over as far as the session is concerned.
    func letGo() {
        use = nil
        acquireFence = .none
        switch state {
        case .reserved:
            state = .idle
            window = nil
        case .committed:
            state = .orphan
            window = nil
        case .queued, .importing, .idle, .orphan, .dead: break
        }
    }

    /// Destroys the wl_buffer. An import that is not answered is waited for: its answer makes an
    /// object that only then can be destroyed.
    func destroy() {
        guard state != .dead else { return }
        if let wlBuffer {
            wlBuffer.setTarget(nil)
            books.later(.destroyBuffer(wlBuffer))
        }
        wlBuffer = nil
        own = nil
        books.blits?.dropPair(of: self)
        target = nil
        window = nil
        acquireFence = .none
        if let timeline {
            timeline.end()
            books.later(.destroyTimeline(timeline.shared))
        }
        timeline = nil
        releaseObject?.destroyProxy()
        releaseObject = nil
        state = .dead
        buffer = nil
        if params != nil { books.abandon(self) }
        books.retire(self)
    }

    /// The connection ends: no answer will come any more.
    func tearDown() {
        if let params { answered(params) }
        destroy()
    }

    // MARK: Events

    override func wlBufferRelease(_ sender: WlBuffer) {
        guard release == .message else { return }
        if carriesFences, let memory = buffer?.memory {
            ended(FencePath.leftover(memory))
        } else {
            ended(.none)
        }
    }

    override func zwpLinuxBufferReleaseV1FencedRelease(
        _ sender: ZwpLinuxBufferReleaseV1, fence: consuming OwnedDescriptor
    ) {
        guard sender == releaseObject else { return }
        releaseObject = nil
        ended(fence)
    }

    override func zwpLinuxBufferReleaseV1ImmediateRelease(_ sender: ZwpLinuxBufferReleaseV1) {
        guard sender == releaseObject else { return }
        releaseObject = nil
        ended(.none)
    }

    override func zwpLinuxBufferParamsV1Created(_ sender: ZwpLinuxBufferParamsV1, buffer: WlBuffer)
    {
        answered(sender)
        guard state == .importing else {
            books.later(.destroyBuffer(buffer))
            return
        }
        took(buffer)
        self.buffer?.imported()
    }

    override func zwpLinuxBufferParamsV1Failed(_ sender: ZwpLinuxBufferParamsV1) {
        answered(sender)
        guard state == .importing else { return }
        buffer?.failed(self)
    }

    private func answered(_ sender: ZwpLinuxBufferParamsV1) {
        sender.setTarget(nil)
        books.later(.destroyParams(sender))
        params = nil
    }
}
