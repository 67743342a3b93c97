import Descriptors
import Logging
import VMBridgeCore

/// One VM's GPU: listens for the VMM's vhost-user-gpu device, one connection at a time, and shows each scanout of the guest as a
/// window.
package final class VhostUserGPUSource<P: Presenter>: VMSource<P>, VhostUserDevice {
    private let path: String
    private let logger: Logger
    private let reaper: DescriptorReaper
    private let signal: EventSignal
    private var listener: SocketListener
    private var listening: Registration?
    private var listenTimer: TimerID?
    private var deadlineTimer: TimerID?
    private var link: VhostUserLink?
    private var generation: UInt64 = 0
    private var device = VirtioGPUDevice()
    private let buffers: GuestBuffers<P>
    private var actions: [VirtioGPUDevice.Action] = []
    private var isPerforming = false
    private var isPacedTold = false
    private var windows: Set<SurfaceKey> = []
    /// Called when a front end has gone.
    package var onDisconnect: (() -> Void)?
    /// Where input and requests to shut down go; nil for nowhere.
    private let seat: GuestSeat?

    /// Bytes copied, or their worth, in one turn of the loop, so that no VM keeps it for itself.
    private static var workInTurn: UInt64 { 64 << 20 }
    /// Queue 0 has commands, queue 1 those of the pointer's image.
    private static var rings: Int { 2 }

    /// Listens for the VM's front end.
    ///
    /// - Parameters:
    ///   - path: of the socket; made with mode 0600.
    ///   - qmp: of the VMM's QMP socket, for input; nil for none.
    ///   - maker: makes dma-bufs over the guest's pages.
    package convenience init(
        path: String, qmp: String?, session: VMSession<P>, reaper: DescriptorReaper,
        maker: UdmabufMaker = UdmabufMaker()
    ) throws(KernelError) {
        try self.init(
            listener: try SocketListener(.stream, path: path, backlog: 4), path: path, qmp: qmp,
            session: session, reaper: reaper, maker: maker)
    }

    /// The same with a socket that listens already.
    package convenience init(
        adopting descriptor: consuming OwnedDescriptor, qmp: String?, session: VMSession<P>,
        reaper: DescriptorReaper
    ) throws(KernelError) {
        try self.init(
            listener: try SocketListener(.stream, adopting: descriptor), path: "the passed socket",
            qmp: qmp, session: session, reaper: reaper, maker: UdmabufMaker())
    }

    private init(
        listener: consuming SocketListener, path: String, qmp: String?, session: VMSession<P>,
        reaper: DescriptorReaper, maker: UdmabufMaker
    ) throws(KernelError) {
        self.path = path
        self.listener = listener
        self.reaper = reaper
        seat = qmp.map { GuestSeat(path: $0, loop: session.loop, reaper: reaper) }
        logger = session.logger
        signal = try EventSignal()
        buffers = GuestBuffers(session: session, maker: maker)
        super.init(session: session)
        session.tellsFrameCallbacks = true
        listening = try loop.register(self.listener.number, .read) { [unowned self] _ in
            self.accept()
        }
        listenTimer = loop.makeTimer { [unowned self] _ in
            if let listening = self.listening { _ = try? self.loop.setInterest(listening, .read) }
        }
        deadlineTimer = loop.makeTimer { [unowned self] now in
            self.device.tick(now: now, &self.actions)
            self.performAll()
        }
    }

    /// Whether a front end is connected.
    override package var isConnected: Bool { link != nil }
    /// Which connection it is, from 1; 0 before the first.
    override package var connectionNumber: UInt64 { generation }

    /// What the guest lacks, in words.
    override package var words: String? {
        var words: [String] = []
        switch seat {
        case nil: words.append("no input, since no QMP socket is named")
        case let seat? where !seat.isReady: words.append("no input, since QMP is not connected")
        case _?: break
        }
        if let reason = buffers.copyReason { words.append("frames are copied: \(reason)") }
        if let broken = link?.broken, !broken.isEmpty {
            words.append("a broken queue waits for the guest's driver to begin anew")
        }
        return words.isEmpty ? nil : words.joined(separator: "; ")
    }

    /// Descriptors that are open for the VM.
    override package var descriptors: DescriptorHoldings {
        var held = session.descriptors
        held.sockets += 1 + (link?.descriptors ?? 0) + (seat?.descriptors ?? 0)
        return held
    }

    // MARK: Connections

    private func accept() {
        for _ in 0..<4 {
            switch listener.accept() {
            case .accepted(let descriptor): take(descriptor)
            case .wouldBlock: return
            case .turnedAway:
                session.tell(.warning, "out of descriptors, a front end was turned away")
            case .exhausted(let code): return pauseListening(code)
            case .failed(let code): return pauseListening(code)
            }
        }
    }

    /// A listener left readable would spin the loop.
    private func pauseListening(_ code: Int32) {
        logger.error(
            "\(session.name): cannot accept: \(KernelError.text(of: code)); trying again in a second"
        )
        if let listening { _ = try? loop.setInterest(listening, []) }
        if let listenTimer { loop.arm(listenTimer, after: 1_000_000_000) }
    }

    private func take(_ descriptor: consuming OwnedDescriptor) {
        // A VMM that was started again may connect before the loop tells of the former one's end.
        if link?.hasHungUp == true { disconnect("it closed the connection") }
        guard link == nil else {
            return session.tell(
                .warning, "a second front end was turned away: \(path) serves one at a time")
        }
        let machine = VhostUserMachine(
            deviceFeatures: VirtioGPU.edidFeature | VirtioGPU.blobFeature, rings: Self.rings,
            configuration: VirtioGPU.configuration(scanouts: 1))
        do throws(KernelError) {
            link = try VhostUserLink(
                descriptor, machine: machine, rings: Self.rings, device: self, loop: loop,
                probe: session.probe, reaper: reaper, signal: signal)
        } catch {
            return logger.error("\(session.name): cannot watch the front end: \(error)")
        }
        generation += 1
        session.tap?.connected(generation: generation)
        session.tell(.info, "front end connected (generation \(generation))")
        session.wantsInput = seat != nil
        if seat == nil {
            session.tell(
                .notice,
                "no input: start QEMU with -qmp unix:PATH,server=on,wait=off -device virtio-keyboard-pci -device virtio-tablet-pci and add “,qmp=PATH” to the source"
            )
        }
    }

    /// Takes a connection that somebody else has made, as if its front end had connected here.
    package func adopt(_ connection: consuming OwnedDescriptor) { take(connection) }

    private func disconnect(_ why: String) {
        guard let link else { return }
        // Windows go with the session's producer; nothing of this has to be performed.
        device.reset(&actions)
        actions.removeAll()
        link.shutDown()
        self.link = nil
        buffers.removeAll()
        windows.removeAll()
        session.producerLeft()
        session.tap?.disconnected()
        session.tell(.info, "front end gone: \(why)")
        onDisconnect?()
    }

    // MARK: The device

    var mayGoOn: Bool { buffers.work < Self.workInTurn }

    func take(_ request: [UInt8], ring: Int, token: UInt64, memory: MemoryMap) {
        device.receive(
            request, isCursorQueue: ring == 1, token: token, memory: memory, now: loop.now(),
            &actions)
        performAll()
    }

    func willStop(ring: Int) {
        guard ring == 0 else { return }
        device.answerAll(&actions)
        performAll()
    }

    func reset() {
        device.reset(&actions)
        performAll()
    }

    func refused(_ refusal: Refusal, about what: String) {
        session.countRefused(refusal, about: what)
    }

    /// Does what the device has decided, and what comes of that.
    private func performAll() {
        guard !isPerforming else { return }
        isPerforming = true
        defer { isPerforming = false }
        while !actions.isEmpty {
            let todo = actions
            actions.removeAll(keepingCapacity: true)
            for action in todo { perform(action) }
            for (surface, sequence, outcome) in buffers.takeEnded() {
                device.released(surface, sequence, outcome, &actions)
            }
        }
    }

    private func perform(_ action: VirtioGPUDevice.Action) {
        switch action {
        case .answer(let token, let bytes): link?.complete(token, bytes)
        case .createBuffer(let key, let layout, let ranges):
            if let ram = link?.ram { buffers.create(key, layout, ranges, ram) }
        case .destroyBuffer(let key): buffers.destroy(key)
        case .createWindow(let key, let scanout):
            var metadata = SurfaceMetadata()
            metadata.title = "screen \(scanout + 1)"
            metadata.appID = "screen\(scanout + 1)"
            session.receive(
                .surfaceCreate(key, .toplevel, isGraphics: true, metadata), at: loop.now())
            windows.insert(key)
            session.describe(key, pacing: pacing)
        case .createCursor(let key, let parent, let x, let y):
            var metadata = SurfaceMetadata()
            metadata.title = "pointer"
            metadata.parent = parent
            metadata.hotSpot = HotSpot(x: x, y: y)
            session.receive(
                .surfaceCreate(key, .cursor, isGraphics: true, metadata), at: loop.now())
        case .moveHotSpot(let key, let x, let y):
            var metadata = SurfaceMetadata()
            metadata.hotSpot = HotSpot(x: x, y: y)
            session.receive(.surfaceUpdate(key, metadata), at: loop.now())
        case .destroySurface(let key):
            windows.remove(key)
            buffers.forget(key)
            session.receive(.surfaceDestroy(key), at: loop.now())
        case .show(let key, let changed, let frames):
            buffers.show(key, changed, frames, at: loop.now())
        case .refused(let what, let object, let refusal):
            session.countRefused(refusal, about: what, object: object)
        }
    }

    private var pacing: String {
        device.isPaced ? "answers to fenced flushes" : "none: the guest waits for no frame"
    }

    // MARK: Feedback

    /// Takes the session's feedback, and answers the guest. Called after each batch.
    override package func settle() {
        super.settle()
        seat?.settle { session.tell(.notice, $0) }
        // What comes of feedback is settled at once: the next batch may be long in coming.
        for _ in 0..<4 where takeFeedback() { session.settle() }
        if device.isPaced != isPacedTold {
            isPacedTold = device.isPaced
            for window in windows { session.describe(window, pacing: pacing) }
        }
        link?.notify()
        link?.flush()
        if let deadlineTimer {
            if let deadline = device.nextDeadline {
                loop.arm(deadlineTimer, at: deadline)
            } else {
                loop.disarm(deadlineTimer)
            }
        }
        buffers.work = 0
        if let why = link?.endReason { disconnect(why) }
    }

    /// Whether there was any.
    private func takeFeedback() -> Bool {
        var records: [BridgeRecord] = []
        session.takeFeedback { record in
            records.append(record)
            // A keymap is of no use to a VMM.
            for _ in 0..<record.descriptors { _ = session.feedbackDescriptors.takeFirst() }
        }
        for record in records { take(record) }
        var hasCallbacks = false
        session.takeFrameCallbacks { surface, sequence in
            hasCallbacks = true
            buffers.passed(surface, sequence)
            device.frameCallback(surface, sequence, &actions)
        }
        performAll()
        if buffers.hasReadyFrames {
            // What the guest flushed meanwhile is newer than what waits, whose pages it may be drawing on.
            link?.look()
            buffers.showWaiting(at: loop.now())
            performAll()
        }
        return !records.isEmpty || hasCallbacks
    }

    private func take(_ record: BridgeRecord) {
        switch record {
        case .released(let buffer, let surface, let sequence, let outcome),
            .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            buffers.released(buffer)
            buffers.passed(surface, sequence)
            device.released(surface, sequence, outcome, &actions)
        case .discarded(let surface, let sequence):
            buffers.passed(surface, sequence)
            device.discarded(surface, sequence, &actions)
        case .configure(let surface, let configure):
            device.configured(surface, configure.size)
            if configure.wantsFrame { device.wantsFrame(surface, &actions) }
        case .close(let surface): closeRequested(surface)
        case .input(let surface, let input):
            if let (left, desktop) = device.place(of: surface) {
                seat?.send(input.event, left: left, desktop: desktop)
            }
        default: break
        }
    }

    private func closeRequested(_ surface: SurfaceKey) {
        if seat?.powerDown() == true {
            return session.tell(
                .info,
                "the window of surface \(surface) is to close: the guest is asked to shut down")
        }
        session.tell(
            .notice,
            "the window of surface \(surface) is to close, and nobody can ask the guest to shut down: add “,qmp=PATH” of QEMU's QMP socket to the source"
        )
    }

    /// Closes the sockets and ends the session.
    override package func shutDown() {
        disconnect("the bridge ends")
        if let listening { loop.remove(listening) }
        listening = nil
        if let listenTimer { loop.remove(listenTimer) }
        if let deadlineTimer { loop.remove(deadlineTimer) }
        seat?.shutDown()
        super.shutDown()
        session.tap?.shutDown()
    }
}
