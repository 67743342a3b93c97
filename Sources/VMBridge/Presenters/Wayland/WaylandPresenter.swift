import Descriptors
import Glibc
import Logging
import VMBridgeCore
import Wayland

/// Shows one VM's surfaces as toplevels of a compositor, over a connection of the VM's own, so that a
/// protocol error costs this VM's windows and nobody else's.
///
/// Buffers outlive the compositor: when it comes back they are imported again as they are needed,
/// while windows are made anew by the session, which is told `lost` and `ready`.
///
/// While the compositor does not read, requests wait in order; nothing blocks. Belongs to the loop's
/// thread, and is held by the loop until `shutDown`.
package final class WaylandPresenter: HotEventTarget, Presenter {
    /// Bytes that a group of requests other than a window's takes at most.
    private static let groupBytes = 256

    /// Opens the socket; not of the frame path.
    private let open: () throws(WaylandConnectError) -> WaylandConnection
    private let vmName: String
    private let loop: EventLoop
    private let logger: Logger
    private var machine = CompositorMachine()
    private var naming = ConnectionNaming()
    private let books: PresenterBooks
    private let copies: CopyPath
    private let blits: BlitPath
    private let fences: FencePath
    private var connection: WaylandConnection?
    private var context: SecurityContext?
    /// Who answers at the other end; asked where the compositor itself listens.
    private var compositor: CompositorIdentity?
    private var registry: WaylandRegistry?
    private var globals: WaylandGlobals?
    private var registration: Registration?
    /// For whatever the connection waits for: the next attempt, or the compositor's answers.
    private var timer: TimerID?
    private let answerLimit: UInt64
    private var hook: HookID?
    private var binding: WlCallback?
    private var buffers = SlotObjects<WaylandBuffer>()
    private var windows = SlotObjects<WaylandWindow>()
    /// What ends the connection, or changes it for another, as soon as nothing of libwayland is under way.
    private var failure: (event: CompositorMachine.Event, why: String)? {
        didSet { hasFailed = failure != nil }
    }
    /// A flag, since every turn of the loop asks a number of times.
    private var hasFailed = false
    /// The socket takes nothing at the moment.
    private var isBlocked = false

    /// Connects, or begins to try.
    ///
    /// - Parameters:
    ///   - display: the compositor's socket; nil for what the environment says.
    ///   - vmName: the VM's name, for the log.
    ///   - loop: on which everything happens.
    ///   - logger: for what cannot be told to the session.
    ///   - fenceLimit: how long a dma-buf may stay busy that is to be copied, nanoseconds.
    ///   - graphics: of the worker that blits what can be neither imported nor copied; nil for none.
    ///   - blitsAlways: blits every dma-buf, for tests of just that.
    /// - Throws: when no compositor can ever be found that way. One that is merely not there yet is
    ///   waited for.
    package convenience init(
        display: String?, vmName: String, loop: EventLoop, logger: Logger,
        fenceLimit: UInt64 = VMLimits().fenceLimit, policy: FencePolicy = .auto,
        syncDevice: SyncDevice? = nil, graphics: GraphicsWorkerOptions? = nil,
        blitsAlways: Bool = false
    ) throws(WaylandConnectError) {
        try self.init(
            vmName: vmName, loop: loop, logger: logger, fenceLimit: fenceLimit, policy: policy,
            syncDevice: syncDevice, graphics: graphics, blitsAlways: blitsAlways
        ) { () throws(WaylandConnectError) in try WaylandConnection.connect(name: display) }
    }

    /// The same with another way to a connection.
    init(
        vmName: String, loop: EventLoop, logger: Logger,
        fenceLimit: UInt64 = VMLimits().fenceLimit, access: any BufferAccess = LinuxBufferAccess(),
        policy: FencePolicy = .auto, syncDevice: SyncDevice? = nil,
        graphics: GraphicsWorkerOptions? = nil,
        launcher: any GraphicsWorkerLauncher = ProgramLauncher(), blitsAlways: Bool = false,
        answerLimit: UInt64 = CompositorMachine.answerLimit,
        open: @escaping () throws(WaylandConnectError) -> WaylandConnection
    ) throws(WaylandConnectError) {
        self.open = open
        books = PresenterBooks(vmName: vmName)
        blits = BlitPath(books, loop, logger, graphics, launcher, isForced: blitsAlways)
        books.blits = blits
        copies = CopyPath(books, loop, logger, access, blits, limit: fenceLimit)
        fences = FencePath(policy, syncDevice, books, loop, logger)
        self.answerLimit = answerLimit
        self.vmName = vmName
        self.loop = loop
        self.logger = logger
        super.init()
        timer = loop.makeTimer(self)
        hook = loop.addHook(self)
        do throws(WaylandConnectError) {
            try openConnection()
            handle(.connected)
        } catch {
            guard case .unreachable = error else {
                shutDown()
                throw error
            }
            handle(.refused, why: error.description)
        }
    }

    // MARK: The connection's life

    /// Where the connection stands, for status and tests.
    var phase: CompositorMachine.Phase { machine.phase }
    /// Why there is no compositor, in words; nil while there is one or nothing went wrong yet.
    package private(set) var trouble: String?
    /// Groups of requests that wait for the compositor to read.
    package var waitingRequests: Int { books.waiting }

    /// Breaks a rule of the protocol on purpose: what a defect of ours would cost is tested by it.
    func provokeProtocolError() {
        guard let surface = globals?.compositor.createSurface() else { return }
        surface.setBufferScale(scale: -1)
        surface.destroy()
    }

    private func handle(_ event: CompositorMachine.Event, why: String = "") {
        let actions = machine.handle(event, now: loop.now())
        if !why.isEmpty { trouble = why }
        if actions.contains(.bind) { bind() }
        if actions.contains(.awaitArranged), let connection {
            if let timer { loop.arm(timer, after: limit) }
            awaitAnswer(connection)
        }
        if actions.contains(.enter) { enterContext() }
        if actions.contains(.tellReady) {
            trouble = nil
            if let timer { loop.disarm(timer) }
            naming.settled(isNamed: machine.isNamed, vmName, logger)
            books.tell(.ready)
        }
        if actions.contains(.logNameless) { naming.failed(why) }
        if actions.contains(.log) {
            let advice =
                event == .refused
                ? "; start it, or name its socket by --display or WAYLAND_DISPLAY" : ""
            logger.warning(
                "\(vmName): no windows for now: \(why)\(advice); trying again until it works")
        }
        if actions.contains(.clear) {
            tearDown()
            handle(.cleared)
        }
        if actions.contains(.tellLost) { books.tell(.lost(why)) }
        if actions.contains(.wait), let timer { loop.arm(timer, after: machine.delay) }
        if actions.contains(.connect) { connect() }
    }

    private func connect() {
        do throws(WaylandConnectError) {
            try openConnection()
        } catch {
            return handle(.refused, why: error.description)
        }
        handle(.connected)
    }

    private func openConnection() throws(WaylandConnectError) {
        let connection = try open()
        registration = try watch(connection)
        compositor = CompositorIdentity(peerOf: connection.fileDescriptor)
        self.connection = connection
    }

    /// Leaves the first connection for the one that bears the VM's name.
    private func enterContext() {
        guard let context else { return }
        leaveConnection()
        do throws(WaylandConnectError) {
            let connection = try WaylandConnection.connect(to: context.takeClient())
            registration = try watch(connection)
            self.connection = connection
        } catch {
            return handle(.failed, why: error.description)
        }
        bind()
    }

    /// Asks for a connection that bears the VM's name; false where there is none to be had.
    private func arrangeContext(_ registry: WaylandRegistry, _ connection: WaylandConnection)
        -> Bool
    {
        guard let manager = registry.bind(WpSecurityContextManagerV1.self) else {
            naming.failed("the compositor offers none")
            return false
        }
        defer { manager.destroy() }
        do throws(KernelError) {
            context = try SecurityContext(vmName, manager, registry)
        } catch {
            naming.failed("\(error)")
            return false
        }
        return true
    }

    private func watch(
        _ connection: WaylandConnection
    ) throws(WaylandConnectError) -> Registration {
        do throws(KernelError) {
            return try loop.register(connection.fileDescriptor, .read, self)
        } catch {
            throw .badDescriptor
        }
    }

    private func bind() {
        guard let connection else { return }
        if let timer { loop.arm(timer, after: limit) }
        registry = WaylandRegistry(connection)
        awaitAnswer(connection)
    }

    /// How long the compositor may take to answer; less where there is another way to it.
    private var limit: UInt64 {
        machine.isNamed || machine.phase == .arranging ? answerLimit / 2 : answerLimit
    }

    private func awaitAnswer(_ connection: WaylandConnection) {
        let callback = connection.sync()
        callback.setTarget(self)
        binding = callback
    }

    /// The first answer says that all globals are known, the second one that their formats are. In between
    /// there may be one that says that a connection with a name can be used, where it begins anew.
    override package func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) {
        guard sender == binding, let connection, let registry else { return }
        binding = nil
        if machine.phase == .arranging {
            failure = (.arranged, "")
        } else if let globals {
            globals.complete()
            fences.choose(globals, compositor: compositor)
            handle(.bound)
        } else if machine.wantsName, arrangeContext(registry, connection) {
            handle(.offered)
        } else if let globals = WaylandGlobals(registry, books, logger) {
            self.globals = globals
            context?.warnOfHidden(in: registry, logger)
            globals.outputs.onNamed = { [unowned self] in outputsChanged() }
            globals.seats.findWindow = { [unowned self] surface in
                windows.objects.first { $0.surface == surface && !$0.isCursor }
            }
            awaitAnswer(connection)
        } else {
            let why =
                WaylandGlobals.missing(in: registry) ?? "the compositor's globals are unusable"
            failure = (.unsuitable, why)
        }
    }

    private func fail(_ fallback: Int32) {
        guard !hasFailed else { return }
        failure = (.failed, "")
        // After EPIPE the compositor's reason may still lie in the socket.
        if fallback == EPIPE { receive() }
        failure = (.failed, Self.words(connection?.failure ?? .system(fallback)))
    }

    private static func words(_ failure: WaylandConnection.Failure) -> String {
        switch failure {
        case .protocolError(let interface, let object, let code):
            "protocol error \(code) of \(interface ?? "an object that is gone") (object \(object))"
        case .system(EPIPE), .system(ECONNRESET): "the compositor closed the connection"
        case .system(let code): "the connection failed: \(KernelError.text(of: code))"
        }
    }

    /// Ends a connection that has failed. Never while libwayland dispatches.
    private func endIfFailed() {
        guard hasFailed, let failure else { return }
        self.failure = nil
        handle(failure.event, why: failure.why)
    }

    private func tearDown() {
        copies.cancelAll()
        for window in windows.objects { window.tearDown() }
        windows.removeAll()
        for window in books.closing { window.tearDown() }
        for buffer in buffers.objects { buffer.compositorLost() }
        for image in books.abandoned { image.tearDown() }
        books.images.removeAll()
        while let operation = books.next {
            books.removeNext()
            discard(operation)
        }
        leaveConnection()
        context = nil
        failure = nil
        books.sweep()
    }

    private func leaveConnection() {
        binding?.destroyProxy()
        binding = nil
        globals?.tearDown()
        globals = nil
        registry = nil
        // Polite at an orderly end, of no effect on a lost connection.
        _ = connection?.flush()
        // Before the descriptor closes, so that the loop does not watch a stranger.
        if let registration { loop.remove(registration) }
        registration = nil
        connection = nil
        isBlocked = false
    }

    /// What waits for a connection that has ended: objects are freed, wishes forgotten.
    private func discard(_ operation: PresenterOperation) {
        switch operation {
        case .window(let window): window.isQueued = false
        case .importImage: break
        case .destroyBuffer(let object): object.destroy()
        case .destroyParams(let object): object.destroy()
        case .destroyPool(let object): object.destroy()
        case .destroyTimeline(let object): object.destroy()
        case .pong: _ = books.takePing()
        case .pointer(let pointer): pointer.isQueued = false
        }
    }

    package func shutDown() {
        handle(.end)
        if let timer { loop.remove(timer) }
        if let hook { loop.remove(hook) }
        timer = nil
        hook = nil
        copies.cancelAll()
        buffers.removeAll()
        blits.shutDown()
        books.forgetEvents()
    }

    // MARK: Presenter

    package var formats: [ImportableFormat] { isReady ? globals?.catalog.entries ?? [] : [] }
    package func formats(for surface: SurfaceID) -> [ImportableFormat]? {
        guard isReady, let globals else { return nil }
        return windows[surface.slot]?.preference?.formats(globals.catalog)
    }
    package var device: String? { books.device?.description }
    package var securityContext: SecurityContextStatus? {
        isReady ? naming.status : nil
    }
    package var isReady: Bool { machine.phase == .ready }
    package var name: String { "the compositor" }

    package var graphicsStatus: GraphicsWorkerStatus? { blits.status }

    package func takeEvents(_ body: (PresenterEvent) -> Void) {
        blits.settle()
        books.take(body)
    }

    package func flush() {
        drain()
        if let connection {
            switch connection.flush() {
            case .done: setBlocked(false)
            case .blocked: setBlocked(true)
            case .lost(let code): fail(code)
            }
        }
        endIfFailed()
        books.sweep()
    }

    // MARK: Buffers

    package func addBuffer(_ id: BufferID, _ memory: BufferMemory) {
        let buffer = WaylandBuffer(id, memory, books)
        buffers.set(id.slot, buffer)
        books.bufferBytes += memory.bytes
        guard isReady else { return }
        submit(.importImage(buffer.makeImage()))
    }

    package func forgetBuffer(_ id: BufferID) {
        if let buffer = buffers[id.slot] {
            buffer.dropImages()
            books.bufferBytes -= buffer.memory.bytes
        }
        buffers.remove(id.slot)
        drain()
    }

    package func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer {
        if let image = books.images[use.slot] {
            return image.state == .reserved ? .ready : .pending
        }
        guard let buffer = buffers[buffer.slot] else {
            return .refused(Refusal(.unknownObject, "The buffer is gone."))
        }
        if let refusal = buffer.refusal { return .refused(refusal) }
        guard isReady else {
            return .refused(Refusal(.importFailed, "There is no compositor at the moment."))
        }
        if let image = buffer.freeImage() { return reserve(image, use) }
        guard buffer.images.count < WaylandBuffer.mostImages else {
            return .refused(
                Refusal(.tooManyBuffers, "The compositor holds too many images of the buffer."))
        }
        let image = buffer.makeImage()
        submit(.importImage(image))
        if let refusal = buffer.refusal { return .refused(refusal) }
        if let refusal = image.refusal { return .refused(refusal) }
        return reserve(image, use)
    }

    private func reserve(_ image: BufferImage, _ use: UseID) -> ImageAnswer {
        image.use = use
        books.images.set(use.slot, image)
        guard image.state == .idle else { return .pending }
        image.state = .reserved
        return .ready
    }

    package func cancelImage(_ use: UseID) {
        guard let image = books.images[use.slot] else { return }
        books.images.remove(use.slot)
        copies.cancel(use)
        image.letGo()
    }

    package func memory(of buffer: BufferID) -> BufferMemory? { buffers[buffer.slot]?.memory }

    package func passesFence(of use: UseID) -> Bool {
        guard fences.passesPending, let image = books.images[use.slot] else { return false }
        return image.state == .reserved && image.carriesFences
    }

    package func pass(_ fence: consuming OwnedDescriptor, with use: UseID) {
        books.images[use.slot]?.setAcquireFence(fence)
    }

    package var wantsReleaseFences: Bool {
        get { fences.wantsReleaseFences }
        set { fences.wantsReleaseFences = newValue }
    }

    package func setFences(_ policy: FencePolicy, limit: UInt64) {
        copies.limit = limit
        guard policy != fences.policy else { return }
        fences.setPolicy(policy)
        guard isReady, let globals else { return }
        fences.choose(globals, compositor: compositor)
    }

    package var descriptors: Int {
        (connection == nil ? 0 : 1) + books.releaseFences.count
            + (globals?.seats.descriptors ?? 0)
            + buffers.objects.reduce(0) { $0 + $1.images.reduce(0) { $0 + $1.descriptors } }
    }

    package func takeReleaseFence() -> OwnedDescriptor { books.releaseFences.takeFirst() ?? .none }

    package func releasePath(of buffer: BufferID) -> String {
        guard let buffer = buffers[buffer.slot], buffer.layout.memory == .dmaBuf,
            !buffer.isCopied
        else { return "wl_buffer.release" }
        return fences.words
    }

    package func importPath(of buffer: BufferID) -> String {
        guard let buffer = buffers[buffer.slot] else { return "none: the buffer is gone" }
        if let refusal = buffer.refusal { return "none: \(refusal.sentence)" }
        if let copy = buffer.copy {
            return copy.plan.path + (buffer.importFailure.map { ": \($0.clause)" } ?? "")
        }
        if let blit = buffer.blit {
            let failure = buffer.importFailure.map { "\($0.clause); " } ?? ""
            return "blitted by EGL into wl_shm memory: \(failure)\(blit.why)"
        }
        return switch buffer.layout.memory {
        case .memfd: "wl_shm pool over the guest's memfd (no copy of ours)"
        case .dmaBuf: "linux-dmabuf (zero copy)"
        }
    }

    private func sendImport(_ image: BufferImage) {
        guard image.state == .queued, let buffer = image.buffer, let globals else { return }
        let layout = buffer.layout
        switch layout.memory {
        case .memfd:
            guard let format = globals.catalog.shmFormat(layout.format) else {
                return buffer.refuse(
                    image,
                    Refusal(
                        .importFailed,
                        "The compositor shows no \(layout.format) from shared memory."))
            }
            guard buffer.canPassDescriptors else { return lackDescriptors(image, buffer) }
            buffer.share(image, globals.shm, format: format)
        case .dmaBuf:
            if buffer.whyNotImported == nil {
                buffer.whyNotImported = Self.obstacle(layout, globals)
                if blits.isForced { buffer.whyNotImported = "It is not to be imported." }
            }
            if let why = buffer.whyNotImported {
                if !copies.importCopy(image, buffer, globals, because: why) {
                    lackDescriptors(image, buffer)
                }
                return
            }
            guard let dmabuf = globals.dmabuf else { return }
            guard buffer.canPassDescriptors else { return lackDescriptors(image, buffer) }
            buffer.importDmabuf(image, dmabuf)
        }
    }

    /// Why linux-dmabuf need not be asked, a sentence; nil when it is to be.
    private static func obstacle(_ layout: BufferLayout, _ globals: WaylandGlobals) -> String? {
        guard globals.dmabuf != nil else {
            return "The compositor has no linux-dmabuf (version 3 or later)."
        }
        guard globals.catalog.has(layout.format, layout.modifier) else {
            return
                "The compositor imports no \(layout.format) with modifier \(layout.modifier)."
        }
        return nil
    }

    /// Not the buffer's fault: only those who wait for this image are told.
    private func lackDescriptors(_ image: BufferImage, _ buffer: WaylandBuffer) {
        let why = "The bridge has no descriptor left to pass the buffer on."
        buffer.refuse(image, Refusal(.importFailed, why), onlyImage: true)
    }

    // MARK: Windows

    package func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        guard isReady, let globals else { return }
        let window = WaylandWindow(id, properties, books, globals, fences)
        windows.set(id.slot, window)
        if window.isCursor {
            globals.seats.addImage(window)
            books.tell(.configured(id, ConfigureRecord(size: .zero, states: 0), serial: 0))
        }
        submit(window)
    }

    package func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        guard let window = windows[id.slot] else { return }
        window.wantUpdate(properties)
        submit(window)
        if window.isCursor {
            globals?.seats.imageChanged()
            drain()
        }
    }

    package func shortfall(of id: SurfaceID) -> String? { windows[id.slot]?.shortfall }

    /// An output is there that windows may have waited for. Sent with the next batch, since libwayland is
    /// dispatching.
    private func outputsChanged() {
        for window in windows.objects where window.shortfall != nil {
            window.wantUpdate()
            guard !window.isQueued else { continue }
            window.isQueued = true
            books.later(.window(window))
        }
    }

    package func acknowledge(_ id: SurfaceID, serial: UInt32) {
        guard let window = windows[id.slot] else { return }
        // Sent with the commit that follows it, or at the end of the batch.
        window.wantAcknowledge(serial)
        submit(window)
    }

    package func commit(_ id: SurfaceID, _ frame: Frame) {
        guard let window = windows[id.slot], let image = books.images[frame.use.slot] else {
            return
        }
        window.history?.commit(frame.damage)
        if image.isCopy, !copies.update(image, for: frame, window) { return }
        window.wantCommit(frame, image)
        submit(window)
    }

    package func commitState(_ id: SurfaceID) {
        guard let window = windows[id.slot] else { return }
        window.wantCommitState()
        submit(window)
    }

    package func destroyWindow(_ id: SurfaceID) {
        guard let window = windows[id.slot] else { return }
        windows.remove(id.slot)
        globals?.seats.forget(window)
        copies.cancel(window)
        books.close(window)
        window.wantDestroy()
        submit(window)
    }

    package var keymap: KeymapRecord? { globals?.seats.keymap }

    package func copyKeymap() -> OwnedDescriptor { globals?.seats.copyKeymap() ?? .none }

    // MARK: Sending

    private func submit(_ window: WaylandWindow) {
        guard !window.isQueued else { return }
        window.isQueued = true
        submit(.window(window))
    }

    private func submit(_ operation: PresenterOperation) {
        books.later(operation)
        drain()
    }

    /// Sends what waits, in order, as long as there is room for a whole group.
    private func drain() {
        guard books.waiting > 0, !hasFailed, let connection else { return }
        while let operation = books.next {
            guard makeRoom(for: operation, connection) else { return }
            books.removeNext()
            perform(operation, connection)
        }
    }

    private func makeRoom(
        for operation: PresenterOperation, _ connection: WaylandConnection
    ) -> Bool {
        let outcome: WaylandConnection.FlushOutcome
        switch operation {
        case .window(let window):
            outcome = connection.reserve(
                bytes: window.pendingBytes, descriptors: window.pendingDescriptors)
        case .importImage(let image):
            outcome = connection.reserve(
                bytes: Self.groupBytes, descriptors: image.buffer?.descriptorsPerImport ?? 0)
        case .destroyBuffer, .destroyParams, .destroyPool, .destroyTimeline, .pong:
            outcome = connection.reserve(bytes: Self.groupBytes, descriptors: 0)
        case .pointer:
            // The arrow of ours, at most: a surface, a pool, a buffer and their requests.
            outcome = connection.reserve(bytes: Self.groupBytes * 2, descriptors: 1)
        }
        switch outcome {
        case .done: return true
        case .blocked: setBlocked(true)
        case .lost(let code): fail(code)
        }
        return false
    }

    private func perform(_ operation: PresenterOperation, _ connection: WaylandConnection) {
        switch operation {
        case .window(let window): window.perform(connection)
        case .importImage(let image): sendImport(image)
        case .destroyBuffer(let object): object.destroy()
        case .destroyParams(let object): object.destroy()
        case .destroyPool(let object): object.destroy()
        case .destroyTimeline(let object): object.destroy()
        case .pong:
            if let serial = books.takePing() { globals?.wmBase.pong(serial: serial) }
        case .pointer(let pointer): pointer.showImage()
        }
    }

    private func setBlocked(_ isBlocked: Bool) {
        guard isBlocked != self.isBlocked, let registration else { return }
        self.isBlocked = isBlocked
        do throws(KernelError) {
            try loop.setInterest(registration, isBlocked ? [.read, .write] : .read)
        } catch {
            failure = failure ?? (.failed, "its socket cannot be watched: \(error)")
        }
    }
}

// MARK: - Loop

extension WaylandPresenter: EventHandler, TimerHandler, LoopHook {
    package func ready(_ registration: Registration, _ readiness: Readiness) {
        if readiness.contains(.writable) { flush() }
        guard registration == self.registration else { return }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { receive() }
        endIfFailed()
        books.sweep()
    }

    /// Reads what the socket has, once, and dispatches it.
    private func receive() {
        guard let connection else { return }
        while !connection.prepareRead() {
            if case .lost(let code) = connection.dispatchPending() { return fail(code) }
        }
        let read = connection.readEvents()
        let dispatched = connection.dispatchPending()
        if case .lost(let code) = dispatched { return fail(code) }
        if case .lost(let code) = read { fail(code) }
    }

    package func timerFired(_ timer: TimerID, now: UInt64) {
        guard machine.phase == .binding || machine.phase == .arranging else {
            return handle(.retry)
        }
        let limit = limit / 1_000_000
        handle(
            .silent, why: "the compositor took the connection and gave no answer for \(limit) ms")
    }

    /// Nothing waits for the next batch that was asked for or came outside of one or after it was
    /// settled: the first requests of all, the end of what a producer had whose connection ended
    /// while it was being answered, events of settling, a failure.
    package func loopWillWait() -> Bool {
        if let connection, !isBlocked, connection.pendingBytes > 0 || books.waiting > 0 { flush() }
        endIfFailed()
        return books.hasEvents || blits.hasEvents
    }
}
