import Descriptors
import Glibc
import VMBridgeCore

/// One console of a QEMU: its listener's connection, its surface and its input.
///
/// What its machine decides is done here.
final class QEMUConsole<P: Presenter>: DBusHandler {
    /// QEMU's number of it.
    let id: UInt32
    /// Its window's surface.
    let surface: SurfaceKey
    private let session: VMSession<P>
    private let loop: EventLoop
    private let reaper: DescriptorReaper
    private var connection: DBusConnection?
    private var machine: QEMUConsoleMachine
    private var canvas: CanvasPixels?
    private var buffers: [BufferKey: CanvasBuffer] = [:]
    private var putOff: [QEMUCallID: DBusReturn] = [:]
    private var lastCall: UInt64 = 0
    private var timer: TimerID?
    private var pacing = QEMUPath.none
    private var hasToldLoss = false
    private let cursor: QEMUCursor<P>
    /// What the window's title is made of.
    private let title: String
    /// The listener's connection ended, and why.
    private(set) var failure: String?
    /// How its picture came last.
    private(set) var path = QEMUPath.none
    /// Whether QEMU has called it.
    private(set) var wasHeard = false

    /// A console that is not registered yet.
    ///
    /// - Parameters:
    ///   - socket: our end of the listener's connection.
    ///   - title: of its window.
    init(
        id: UInt32, socket: consuming OwnedDescriptor, title: String, session: VMSession<P>,
        reaper: DescriptorReaper
    ) throws(KernelError) {
        self.id = id
        self.title = title
        self.session = session
        self.reaper = reaper
        loop = session.loop
        let base = UInt64(id) + 1
        surface = SurfaceKey(base)
        // Numbers of consoles have 32 bits: keys of different ones are never the same.
        machine = QEMUConsoleMachine(firstKey: base << 30)
        cursor = QEMUCursor(
            session: session, parent: surface, key: SurfaceKey(base | 1 << 40),
            firstBuffer: base << 30 | 1 << 29)
        timer = loop.makeTimer { [unowned self] now in self.timeCame(now) }
        connection = try DBusConnection(
            socket: socket, loop: loop, reaper: reaper, handler: self)
    }

    /// Size of the guest's picture; zero without one.
    var size: Size { machine.size }
    /// How many pictures QEMU told updates of and never sent.
    var lostPictures: UInt64 { machine.lostPictures }

    /// Ends it; its surface goes.
    func close() {
        connection?.close()
        connection = nil
        putOff.removeAll()
        if let timer { loop.remove(timer) }
        timer = nil
        perform(machine.switchOff(), nil, now: loop.now())
    }

    // MARK: Calls

    func dbusReady(_ connection: DBusConnection) {}

    func dbusClosed(_ why: String, _ connection: DBusConnection) {
        failure = why
    }

    func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection) {
        guard message.kind == .call else { return }
        wasHeard = true
        if ListenerMessages.answerStandard(message, connection) { return }
        var bundle = DescriptorBundle(reaper: reaper)
        do throws(Refusal) {
            try take(message, connection, &bundle)
        } catch {
            session.countRefused(
                error, about: "QEMU's call \(CleanText.identifier(message.member)) for console",
                object: UInt64(id))
            connection.refuse(message, EINVAL)
        }
        bundle.reset()
    }

    private func take(
        _ message: DBusMessage, _ connection: DBusConnection, _ bundle: inout DescriptorBundle
    ) throws(Refusal) {
        let now = loop.now()
        let (called, bytes) = try ListenerMessages.read(message, &bundle)
        switch called {
        case .scanout, .update, .cursorDefine:
            try takeBytes(called, bytes, now)
            connection.answer(message)
        case .mouseSet(let isShown):
            cursor.set(isShown: isShown)
            connection.answer(message)
        case .disable, .updateMap, .updateDMABUF, .scanoutMap, .scanoutDMABUF:
            try take(called, message, connection, &bundle, now)
        }
    }

    private func takeBytes(
        _ call: QEMUListenerCall, _ bytes: ArraySlice<UInt8>, _ now: UInt64
    ) throws(Refusal) {
        if case .cursorDefine(let width, let height, let hotX, let hotY, _) = call {
            try cursor.define(width: width, height: height, hotX: hotX, hotY: hotY, bytes)
            return
        }
        var none = DescriptorBundle()
        // Such a picture is in no descriptor: there is nothing to be looked at.
        let result = try machine.take(call, id: nextCall(), now: now) { $0 }
        perform(result.actions, bytes, &none, now: now)
    }

    private func take(
        _ call: QEMUListenerCall, _ message: DBusMessage, _ connection: DBusConnection,
        _ bundle: inout DescriptorBundle, _ now: UInt64
    ) throws(Refusal) {
        let memory = try names(of: bundle)
        let id = nextCall()
        let result = try machine.take(call, memory: memory, id: id, now: now) {
            (layout) throws(Refusal) in
            let exporters = (0..<bundle.count).map { index in
                bundle.number(at: index).flatMap { DescriptorProbe.exporter(of: $0) }
            }
            let known = QEMUDMABUF.known(layout, exporters: exporters)
            _ = try session.check(known, bundle, 0..<bundle.count)
            return known
        }
        if result.isAnswered {
            connection.answer(message)
        } else {
            putOff[id] = message.returnAddress
        }
        perform(result.actions, nil, &bundle, now: now)
        tellLoss()
    }

    private func tellLoss() {
        guard machine.lostPictures > 0, !hasToldLoss else { return }
        hasToldLoss = true
        session.tell(
            .warning,
            "QEMU takes back pictures of console \(id) before it has sent them, as 10.0 does: what is shown stays behind. QEMU 11 does not, nor does one without gl=on"
        )
    }

    private func nextCall() -> QEMUCallID {
        lastCall += 1
        return QEMUCallID(lastCall)
    }

    /// Which files the descriptors are of.
    private func names(
        of bundle: borrowing DescriptorBundle
    ) throws(Refusal) -> [QEMUMemoryName] {
        var names: [QEMUMemoryName] = []
        for index in 0..<bundle.count {
            guard let number = bundle.number(at: index),
                let facts = try? session.probe.facts(of: number)
            else {
                throw Refusal(.badDescriptor, "A descriptor of QEMU's cannot be looked at.")
            }
            names.append(
                QEMUMemoryName(device: facts.identity.device, inode: facts.identity.inode))
        }
        return names
    }

    /// QEMU says how large the guest's picture is.
    func announce(_ size: Size) {
        perform(machine.announce(size), nil, now: loop.now())
    }

    // MARK: Feedback

    /// Called after each batch, once feedback was taken: shows what changed.
    func settle() {
        let now = loop.now()
        perform(machine.settle(now: now), nil, now: now)
        arm()
    }

    func frameCallback(_ sequence: FrameSequence) {
        perform(machine.frameCallback(sequence), nil, now: loop.now())
    }

    func released(_ buffer: BufferKey, _ sequence: FrameSequence, _ outcome: UseOutcome) {
        perform(machine.released(buffer, sequence, outcome), nil, now: loop.now())
    }

    func discarded(_ sequence: FrameSequence) {
        perform(machine.discarded(sequence), nil, now: loop.now())
    }

    /// Whether a buffer is one of its own.
    func owns(_ buffer: BufferKey) -> Bool { buffer.value >> 30 == UInt64(id) + 1 }
    /// Whether a surface is one of its own.
    func owns(_ key: SurfaceKey) -> Bool { key == surface || key == cursor.key }

    func bufferRefused(_ buffer: BufferKey) {
        buffers[buffer] = nil
        machine.bufferRefused(buffer)
    }

    func wantsFrame() {
        let now = loop.now()
        perform(machine.wantsFrame(now: now), nil, now: now)
    }

    private func timeCame(_ now: UInt64) {
        perform(machine.timeCame(now: now), nil, now: now)
        arm()
    }

    private func arm() {
        guard let timer else { return }
        if let deadline = machine.deadline {
            loop.arm(timer, at: deadline)
        } else {
            loop.disarm(timer)
        }
    }

    // MARK: Actions

    private func perform(_ actions: [QEMUConsoleAction], _ bytes: ArraySlice<UInt8>?, now: UInt64) {
        guard !actions.isEmpty else { return }
        var none = DescriptorBundle()
        perform(actions, bytes, &none, now: now)
    }

    private func perform(
        _ actions: [QEMUConsoleAction], _ bytes: ArraySlice<UInt8>?,
        _ bundle: inout DescriptorBundle,
        now: UInt64
    ) {
        for action in actions {
            switch action {
            case .createSurface: createSurface()
            case .destroySurface:
                cursor.leave()
                session.receive(.surfaceDestroy(surface))
                pacing = .none
            case .makeCanvas(let picture):
                canvas = CanvasPixels(picture)
                if canvas == nil {
                    session.countRefused(
                        Refusal(
                            .tooManyBytes, "There is no memory for a picture of \(picture.size)."),
                        about: "picture of console", object: UInt64(id))
                }
            case .growCanvas(let picture): canvas = canvas?.grown(to: picture)
            case .dropCanvas: canvas = nil
            case .write(let copy):
                guard let bytes, let canvas else { continue }
                session.countCopied(canvas.write(copy, from: bytes), of: surface)
            case .createCanvasBuffer(let key, let layout): createCanvasBuffer(key, layout)
            case .fill(let key, let damage):
                guard let canvas, let buffer = buffers[key] else { continue }
                session.countCopied(
                    canvas.fill(buffer, damage, size: machine.size), of: surface)
            case .createBuffer(let key, let layout):
                session.receive(.bufferCreate(key, layout), descriptors: &bundle, at: now)
                session.describe(
                    key,
                    origin: layout.memory == .memfd
                        ? "QEMU's shared memory" : "dma-buf from QEMU")
            case .destroyBuffer(let key):
                buffers[key] = nil
                session.receive(.bufferDestroy(key))
            case .frame(let key, let sequence, let damage, let crop, let waits):
                var record = FrameRecord(
                    surface: surface, buffer: key, sequence: sequence,
                    acquire: waits && takesImplicit ? .implicit : .none)
                record.damage = damage
                record.crop = crop
                session.receive(.frame(record), at: now)
                describe()
            case .answer(let call):
                if let caller = putOff.removeValue(forKey: call) { connection?.answer(caller) }
            }
        }
    }

    /// Whether this kernel and compositor wait for a dma-buf's own fences.
    private var takesImplicit: Bool {
        session.acquireKinds & 1 << AcquireKind.implicit.rawValue != 0
    }

    private func createSurface() {
        var metadata = SurfaceMetadata()
        metadata.title = title
        metadata.appID = "qemu"
        metadata.consumerTag = "console-\(id)"
        session.receive(.surfaceCreate(surface, .toplevel, isGraphics: true, metadata))
        cursor.enter()
    }

    private func createCanvasBuffer(_ key: BufferKey, _ layout: BufferLayout) {
        let size = UInt64(layout.planes[0].stride) * UInt64(layout.size.height)
        do throws(KernelError) {
            let buffer = try CanvasBuffer(size: size, stride: Int(layout.planes[0].stride))
            buffers[key] = buffer
            var bundle = DescriptorBundle()
            _ = bundle.append(buffer.takeDescriptor())
            session.receive(.bufferCreate(key, layout), descriptors: &bundle)
            session.describe(key, origin: "copied from QEMU's messages")
        } catch {
            session.countRefused(
                Refusal(.tooManyBytes, "There is no memory for a buffer: \(error)."),
                about: "buffer", object: key.value)
        }
    }

    private func describe() {
        path = machine.path
        guard path != pacing else { return }
        pacing = path
        let words =
            switch path {
            case .none: "none"
            case .bytes, .map: "none: QEMU waits for nobody here"
            case .dmaBuf:
                "the guest waits for the frame callback, at most \(QEMUConsoleMachine.answerLimit / 1_000_000) ms"
            }
        session.describe(surface, pacing: words)
    }
}
