import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// What one image's blits are drawn into: memory that the worker made, shared with the compositor.
final class BlitTarget {
    private let books: PresenterBooks
    /// Of its memory, as far as it is foreseen.
    private let bytes: UInt64
    /// The worker's name for source and output; nil until there is one, and when its process has ended.
    fileprivate var pair: BlitPair?
    /// Held as long as the compositor may read it.
    fileprivate var output: BlitOutput?

    fileprivate init(_ bytes: UInt64, _ books: PresenterBooks) {
        self.bytes = bytes
        self.books = books
        books.copyBytes += bytes
    }

    deinit { books.copyBytes -= bytes }
}

/// The very last way to show a dma-buf, when neither the compositor nor the processor takes it: at each
/// commit the graphics worker draws the whole picture by EGL into memory that the compositor knows as a
/// wl_shm pool. The commit follows the worker's answer; nothing blocks.
///
/// The worker bounds the time of each request (``GraphicsWorkerOptions``: 200 ms for a blit), so a commit
/// that waits here goes on or fails. A worker that has ended is started by the next commit, which then waits
/// for a new output.
final class BlitPath {
    /// A commit whose picture is being drawn.
    private struct Wait {
        let image: BufferImage
        let frame: Frame
        let window: WaylandWindow
        /// The blit; nil while a new output is made.
        var request: GraphicsRequest?
    }

    /// Whether it is taken for every dma-buf, whatever else could be done: for tests.
    let isForced: Bool
    private let books: PresenterBooks
    private let loop: EventLoop
    private let logger: Logger
    private let options: GraphicsWorkerOptions?
    private let launcher: any GraphicsWorkerLauncher
    private var worker: GraphicsWorker?
    /// Images whose output is being made.
    private var opening: [GraphicsRequest: BufferImage] = [:]
    private var waits: [Wait] = []

    /// - Parameter options: of the worker, started on demand; nil where there is no program for it.
    init(
        _ books: PresenterBooks, _ loop: EventLoop, _ logger: Logger,
        _ options: GraphicsWorkerOptions?, _ launcher: any GraphicsWorkerLauncher, isForced: Bool
    ) {
        self.books = books
        self.loop = loop
        self.logger = logger
        self.options = options
        self.launcher = launcher
        self.isForced = isForced
    }

    /// How the worker fares; nil when none was ever needed.
    var status: GraphicsWorkerStatus? { worker?.status }
    /// Whether the worker has answered.
    var hasEvents: Bool { worker?.hasEvents ?? false }
    /// Commits that wait for a picture.
    var waiting: Int { waits.count }

    // MARK: Import

    /// Takes a buffer that nothing else can show.
    ///
    /// - Parameters:
    ///   - why: what is wrong with copying, half a sentence.
    ///   - refusal: the answer when this cannot be done either.
    func choose(
        _ image: BufferImage, _ buffer: WaylandBuffer, because why: String, _ refusal: Refusal
    ) {
        guard options != nil else { return buffer.refuse(image, refusal) }
        buffer.blit = (why, refusal)
        open(image, buffer)
        guard buffer.refusal == nil, !books.hasToldOfBlits else { return }
        books.hasToldOfBlits = true
        logger.warning(
            "\(books.vmName): \(buffer.whyNotImported ?? "A dma-buf cannot be imported.") It cannot be copied either: \(why). EGL draws each frame into shared memory instead, in a process of its own: that costs a copy of the whole picture"
        )
    }

    /// Gives an image of a chosen buffer its output, or shares the output that came.
    func importImage(_ image: BufferImage, _ buffer: WaylandBuffer, _ shm: WlShm, _ format: UInt32?)
    {
        guard image.target?.pair != nil else { return open(image, buffer) }
        guard let memory = image.target?.output?.memfd, let plane = memory.layout.planes.first,
            let format
        else { return fail(image, "its output cannot be shared") }
        let size = memory.layout.size
        let end = UInt64(plane.offset) + UInt64(plane.stride) * UInt64(size.height)
        guard end <= UInt64(Int32.max) else { return fail(image, "its output is too large") }
        let lent = OwnedDescriptor(owning: memory.descriptor(ofPlane: 0))
        guard lent.canBePassed() else {
            _ = lent.release()
            return fail(image, "the bridge has no descriptor left to pass it on", onlyImage: true)
        }
        let pool = shm.createPool(fd: lent, size: Int32(clamping: end))
        _ = lent.release()
        let made = pool.createBuffer(
            offset: Int32(clamping: plane.offset), width: Int32(clamping: size.width),
            height: Int32(clamping: size.height), stride: Int32(clamping: plane.stride),
            format: WlShm.Format(rawValue: format))
        pool.destroy()
        buffer.imported()
        if let index = waits.firstIndex(where: { $0.image === image }) {
            // Opening has drawn the picture already.
            image.took(made, isReserved: true)
            send(waits.remove(at: index))
        } else {
            image.took(made, isReserved: false)
        }
    }

    private func open(_ image: BufferImage, _ buffer: WaylandBuffer) {
        if image.target == nil {
            let size = buffer.layout.size
            let bytes = UInt64(size.width) * 4 * UInt64(size.height)
            guard books.copyBytes + bytes <= CopyPath.mostTimes * books.bufferBytes else {
                let why = "the VM's copies take as much memory as they may"
                return fail(image, why, onlyImage: true)
            }
            image.target = BlitTarget(bytes, books)
        }
        let worker: GraphicsWorker
        do throws(KernelError) {
            worker = try start()
        } catch { return fail(image, "there is no worker for it (\(error))", onlyImage: true) }
        image.state = .importing
        // The window turns what lies bottom up, as with every other way.
        opening[worker.open(buffer.memory, asStored: true)] = image
    }

    private func start() throws(KernelError) -> GraphicsWorker {
        let device = books.device?.number
        if let worker {
            if let device { worker.setDevice(device) }
            return worker
        }
        var options = options ?? GraphicsWorkerOptions()
        if let device { options.device = device }
        let made = try GraphicsWorker(loop: loop, options: options, launcher: launcher)
        worker = made
        return made
    }

    /// There is no output for an image: a commit that waits for it fails, or the image itself.
    ///
    /// - Parameter onlyImage: it is not the buffer's fault.
    private func fail(_ image: BufferImage, _ reason: String, onlyImage: Bool = false) {
        image.target?.output = nil
        dropPair(of: image)
        let sentence = image.buffer?.blit?.refusal.sentence ?? "The dma-buf cannot be imported."
        let refusal = Refusal(
            .importFailed, "\(sentence) EGL does not draw it either: \(reason).")
        if let index = waits.firstIndex(where: { $0.image === image }) {
            let wait = waits.remove(at: index)
            // For another use; its next commit asks for an output anew.
            image.state = .reserved
            books.tell(.commitFailed(wait.frame.use, refusal))
        } else {
            image.buffer?.refuse(image, refusal, onlyImage: onlyImage)
        }
    }

    // MARK: Commits

    /// Asks for a frame's picture; the commit follows by itself, or the frame fails. A commit of the same
    /// window that still waits is passed over.
    func begin(_ image: BufferImage, _ frame: Frame, _ window: WaylandWindow) {
        for (index, wait) in waits.enumerated().reversed() where wait.window === window {
            waits.remove(at: index)
            wait.image.withdraw()
        }
        guard let pair = image.target?.pair, let worker else {
            waits.append(Wait(image: image, frame: frame, window: window))
            return reopen(image)
        }
        let request = worker.blit(pair)
        waits.append(Wait(image: image, frame: frame, window: window, request: request))
    }

    private func reopen(_ image: BufferImage) {
        image.target?.pair = nil
        guard let buffer = image.buffer else { return fail(image, "its buffer is gone") }
        open(image, buffer)
    }

    private func send(_ wait: Wait) {
        books.tell(.copied(wait.window.id, bytes: wait.image.buffer?.memory.pixelBytes ?? 0))
        wait.window.wantCommit(wait.frame, wait.image)
        guard !wait.window.isQueued else { return }
        wait.window.isQueued = true
        books.later(.window(wait.window))
    }

    // MARK: The worker's answers

    /// Takes what the worker said. Not while libwayland dispatches.
    func settle() {
        guard let worker, worker.hasEvents else { return }
        worker.takeEvents { handle($0) }
    }

    private func handle(_ event: GraphicsEvent) {
        switch event {
        case .allocated: break
        case .opened(let request, let pair, let output): opened(request, pair, output)
        case .blitted(let request, _):
            guard let index = waits.firstIndex(where: { $0.request == request }) else { return }
            send(waits.remove(at: index))
        case .refused(let request, let refusal): refused(request, refusal)
        }
    }

    private func opened(_ request: GraphicsRequest, _ pair: BlitPair, _ output: BlitOutput) {
        guard let image = opening.removeValue(forKey: request), image.state == .importing,
            let target = image.target
        else {
            worker?.drop(pair)
            return
        }
        target.pair = pair
        target.output = output
        // Requests to the compositor wait for their turn.
        image.queueAnew()
    }

    private func refused(_ request: GraphicsRequest, _ refusal: GraphicsRefusal) {
        let reason = Self.clause(refusal)
        if let image = opening.removeValue(forKey: request) {
            guard image.state == .importing else { return }
            return fail(image, reason, onlyImage: Self.isPassing(refusal.reason))
        }
        guard let index = waits.firstIndex(where: { $0.request == request }) else { return }
        let image = waits[index].image
        switch refusal.reason {
        case .pairGone:
            waits[index].request = nil
            reopen(image)
        case .crashed, .timedOut, .malformed:
            // Its process is gone, and the pair with it.
            image.target?.pair = nil
            fallthrough
        default:
            let use = waits.remove(at: index).frame.use
            books.tell(
                .commitFailed(
                    use, Refusal(.importFailed, "EGL did not draw the frame: \(reason).")))
        }
    }

    /// Whether the buffer may do better another time.
    private static func isPassing(_ reason: GraphicsReason) -> Bool {
        switch reason {
        case .tooManyStarts, .queueFull, .pairGone, .shutDown: true
        default: false
        }
    }

    /// The worker's sentence as the end of another one.
    private static func clause(_ refusal: GraphicsRefusal) -> String {
        var words = refusal.sentence
        while words.hasSuffix(".") { words.removeLast() }
        return words.isEmpty ? "\(refusal.reason)" : words
    }

    // MARK: Ends

    /// The image is destroyed: what it was drawn into is of no use any longer.
    func dropPair(of image: BufferImage) {
        if let pair = image.target?.pair { worker?.drop(pair) }
        image.target?.pair = nil
    }

    /// Nobody waits for that use any longer.
    func cancel(_ use: UseID) { waits.removeAll { $0.frame.use == use } }

    /// The window is taken away.
    func cancel(_ window: WaylandWindow) { waits.removeAll { $0.window === window } }

    /// The compositor is gone; what waited is committed anew when it returns.
    func cancelAll() { waits.removeAll() }

    /// Ends the worker.
    func shutDown() {
        waits.removeAll()
        opening.removeAll()
        worker?.shutDown()
    }
}
