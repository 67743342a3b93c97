import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// The last but one way to show a dma-buf: what changed is copied, at the commit, into memory of ours that the
/// compositor knows as a wl_shm pool.
///
/// Acquire fences have signalled by then. Implicit fences of the dma-buf may still be pending, and the
/// kernel would wait for them when reading begins: such a commit is kept back and the dma-buf watched in
/// the loop, up to the fence limit. Nothing blocks.
final class CopyPath {
    /// Our copies of a VM's buffers take at most so many times what the buffers themselves take: an
    /// image for each use, four bytes for a pixel of one and a half.
    static let mostTimes: UInt64 = 4

    /// A commit whose dma-buf is busy.
    fileprivate final class Wait: EventHandler, TimerHandler {
        unowned let path: CopyPath
        let image: BufferImage
        let frame: Frame
        let window: WaylandWindow
        var registration: Registration?
        var timer: TimerID?
        var watched = OwnedDescriptor.none

        init(_ path: CopyPath, _ image: BufferImage, _ frame: Frame, _ window: WaylandWindow) {
            self.path = path
            self.image = image
            self.frame = frame
            self.window = window
        }

        func ready(_ registration: Registration, _ readiness: Readiness) { path.retry(self) }
        func timerFired(_ timer: TimerID, now: UInt64) { path.timeOut(self) }
    }

    private let books: PresenterBooks
    private let loop: EventLoop
    private let logger: Logger
    private let access: any BufferAccess
    private let blits: BlitPath
    var limit: UInt64
    private var waits: [Wait] = []

    /// - Parameters:
    ///   - blits: takes what cannot be copied.
    ///   - limit: how long a dma-buf may stay busy, nanoseconds.
    init(
        _ books: PresenterBooks, _ loop: EventLoop, _ logger: Logger, _ access: any BufferAccess,
        _ blits: BlitPath, limit: UInt64
    ) {
        self.books = books
        self.loop = loop
        self.logger = logger
        self.access = access
        self.blits = blits
        self.limit = limit
    }

    /// Commits that wait for a dma-buf.
    var waiting: Int { waits.count }

    // MARK: Import

    /// Gives an image memory of ours, leaves it to blits, or refuses the buffer with all reasons.
    ///
    /// - Parameter why: what is wrong with importing, a sentence.
    /// - Returns: false when there is no descriptor left for it.
    func importCopy(
        _ image: BufferImage, _ buffer: WaylandBuffer, _ globals: WaylandGlobals,
        because why: String
    ) -> Bool {
        guard buffer.blit == nil else {
            let hasAlpha = PixelFormatInfo.of(buffer.layout.format)?.hasAlpha == true
            let format = globals.catalog.shmFormat(hasAlpha ? .argb8888 : .xrgb8888)
            blits.importImage(image, buffer, globals.shm, format)
            return true
        }
        do throws(Refusal) {
            let plan = try plan(buffer, globals.catalog)
            guard books.copyBytes + UInt64(plan.bytes) <= Self.mostTimes * books.bufferBytes else {
                let reason = "the VM's copies take as much memory as they may"
                buffer.refuse(image, Self.refusal(why, reason), onlyImage: true)
                return true
            }
            return share(image, plan, globals.shm, buffer)
        } catch {
            blits.choose(
                image, buffer, because: error.sentence, Self.refusal(why, error.sentence))
            return true
        }
    }

    private static func refusal(_ why: String, _ reason: String) -> Refusal {
        Refusal(.importFailed, "\(why) It cannot be copied either: \(reason).")
    }

    private func plan(
        _ buffer: WaylandBuffer, _ catalog: FormatCatalog
    ) throws(Refusal) -> CopyPlan {
        if let copy = buffer.copy { return copy.plan }
        guard !blits.isForced else { throw Refusal(.importFailed, "a test wants it blitted") }
        let plan = try CopyPlan(buffer.layout, catalog)
        do throws(KernelError) {
            buffer.copy = (plan, try GuestPixels(buffer.memory))
        } catch {
            throw Refusal(.importFailed, "the CPU cannot read it (\(error))")
        }
        tell(buffer)
        return plan
    }

    private func share(
        _ image: BufferImage, _ plan: CopyPlan, _ shm: WlShm, _ buffer: WaylandBuffer
    ) -> Bool {
        do throws(KernelError) {
            let memory = try OwnPixels.makeMemory(plan)
            // libwayland duplicates it, and loses the connection when it cannot.
            let spare = memory.duplicate()
            guard spare.isValid else { return false }
            let own = try OwnPixels(memory.number, plan, books)
            _ = consume spare
            let pool = shm.createPool(fd: memory, size: Int32(clamping: plan.bytes))
            let made = pool.createBuffer(
                offset: 0, width: Int32(clamping: plan.layout.size.width),
                height: Int32(clamping: plan.layout.size.height),
                stride: Int32(clamping: plan.stride),
                format: WlShm.Format(rawValue: plan.shmFormat))
            // The wl_buffer keeps what it needs of it.
            pool.destroy()
            buffer.imported()
            image.took(made, over: own)
            return true
        } catch {
            return false
        }
    }

    private func tell(_ buffer: WaylandBuffer) {
        guard !books.hasToldOfCopying else { return }
        books.hasToldOfCopying = true
        logger.warning(
            "\(books.vmName): \(buffer.whyNotImported ?? "A dma-buf cannot be imported.") What changes in each frame is copied into shared memory instead: that costs processor time, and memory as large as the buffers"
        )
    }

    // MARK: Commits

    /// Brings an image up to date for a frame.
    ///
    /// - Returns: whether it is; if not, the commit follows by itself, or the frame fails.
    func update(_ image: BufferImage, for frame: Frame, _ window: WaylandWindow) -> Bool {
        if window.history == nil {
            books.histories += 1
            window.history = DamageHistory(window: books.histories)
        }
        image.window = window
        guard let busy = busy(image) else { return read(image, frame, window) }
        let wait = Wait(self, image, frame, window)
        waits.append(wait)
        let timer = loop.makeTimer(wait)
        wait.timer = timer
        loop.arm(timer, after: limit)
        watch(wait, busy)
        return false
    }

    /// The descriptor of a plane that is still written into.
    private func busy(_ image: BufferImage) -> Int32? {
        if let copy = image.buffer?.copy {
            return copy.guest.descriptors.first { access.isBusy($0) }
        }
        return image.buffer?.memory.descriptorNumbers.first { access.isBusy($0) }
    }

    private func read(_ image: BufferImage, _ frame: Frame, _ window: WaylandWindow) -> Bool {
        if image.target != nil {
            blits.begin(image, frame, window)
            return false
        }
        guard let guest = image.buffer?.copy?.guest, let own = image.own,
            let history = window.history
        else { return false }
        var begun = 0
        defer { for index in 0..<begun { access.end(guest.descriptors[index]) } }
        do throws(KernelError) {
            for descriptor in guest.descriptors {
                try access.begin(descriptor)
                begun += 1
            }
        } catch {
            fail(frame.use, Refusal(.importFailed, "The dma-buf cannot be read: \(error)"))
            return false
        }
        books.tell(.copied(window.id, bytes: own.update(from: guest, for: window.id, history)))
        return true
    }

    private func fail(_ use: UseID, _ why: Refusal) { books.tell(.commitFailed(use, why)) }

    // MARK: Waiting

    private func watch(_ wait: Wait, _ busy: Int32) {
        unwatch(wait)
        let watched = access.watchable(busy)
        do throws(KernelError) {
            wait.registration = try loop.register(watched.number, .read, wait)
        } catch {
            end(wait)
            let why = "The dma-buf is still written into and cannot be watched: \(error)"
            return fail(wait.frame.use, Refusal(.importFailed, why))
        }
        wait.watched = watched
    }

    private func unwatch(_ wait: Wait) {
        if let registration = wait.registration { loop.remove(registration) }
        wait.registration = nil
        wait.watched = .none
    }

    private func end(_ wait: Wait) {
        unwatch(wait)
        if let timer = wait.timer { loop.remove(timer) }
        wait.timer = nil
        waits.removeAll { $0 === wait }
    }

    private func retry(_ wait: Wait) {
        guard wait.timer != nil else { return }
        if let busy = busy(wait.image) { return watch(wait, busy) }
        end(wait)
        guard read(wait.image, wait.frame, wait.window) else { return }
        wait.window.wantCommit(wait.frame, wait.image)
        guard !wait.window.isQueued else { return }
        wait.window.isQueued = true
        books.later(.window(wait.window))
    }

    private func timeOut(_ wait: Wait) {
        end(wait)
        fail(
            wait.frame.use,
            Refusal(
                .fenceTimeout,
                "The dma-buf's own fences did not signal within \(limit / 1_000_000) ms."))
    }

    /// Nobody waits for that use any longer.
    func cancel(_ use: UseID) {
        for wait in waits where wait.frame.use == use { end(wait) }
        blits.cancel(use)
    }

    /// The window is taken away.
    func cancel(_ window: WaylandWindow) {
        for wait in waits where wait.window === window { end(wait) }
        blits.cancel(window)
    }

    /// The compositor is gone; what waited is committed anew when it returns.
    func cancelAll() {
        for wait in waits { end(wait) }
        blits.cancelAll()
    }
}
