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

    init(_ buffer: WaylandBuffer, _ books: PresenterBooks) {
        self.buffer = buffer
        self.books = books
    }

    /// Whether linux-dmabuf owes nothing for it.
    var isAnswered: Bool { params == nil }

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

    /// The use is over as far as the session is concerned.
    func letGo() {
        use = nil
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
        window = nil
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
        let ended = use
        window = nil
        guard state == .committed || state == .orphan else { return }
        state = .idle
        use = nil
        guard let ended else { return }
        books.images.remove(ended.slot)
        books.tell(.released(ended))
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
