import Descriptors
import Glibc
import VMBridgeCore

/// Looks over the reference producer's shoulder; who misbehaves on purpose does.
protocol ProducerObserver: AnyObject {
    /// A record came. True when it concerns the observer alone.
    func producerReceived(_ record: BridgeRecord) -> Bool
    /// The socket takes datagrams again.
    func producerIsWritable()
}

/// The reference producer of source-v1: connects, greets, creates windows and buffers, sends frames at
/// a steady rate and listens to what becomes of them. What a guest's driver does, and no more.
///
/// Everything happens on the loop that it is given. Its life: connecting → greeting → running →
/// settling (all frames are sent) → leaving (the windows are destroyed) → ended.
package final class Producer: ProducerConnectionDelegate {
    private enum Phase {
        case idle
        case connecting
        case greeting
        case running
        case settling
        case leaving
        case ended
    }

    private enum PendingFence {
        case syncFile(ProducerDevice.Fence)
        case message(SurfaceKey, FrameSequence)
    }

    /// What it was told to do.
    package let options: ProducerOptions
    /// What became of its frames so far.
    package private(set) var summary = ProducerSummary()
    /// The bridge's answer to the greeting.
    package private(set) var welcome: Welcome?
    /// How the run ended; nil while it lasts.
    package private(set) var end: ProducerEnd?
    /// Called once, when the run has ended.
    package var onEnd: (() -> Void)?
    weak var observer: (any ProducerObserver)?
    let loop: EventLoop
    private(set) var connection: ProducerConnection?
    private(set) var surfaces: [ProducerSurface] = []
    let device = ProducerDevice()
    private let log: (String) -> Void
    private var phase = Phase.idle
    private var fences: [(deadline: UInt64, fence: PendingFence)] = []
    private var deadline: UInt64 = 0
    private var nextTick: UInt64 = 0
    private var timer: TimerID?
    private var patience: TimerID?
    private var fenceTimer: TimerID?

    /// How long the bridge may take to greet, to settle the last frames and to give buffers back.
    private static let answerLimit: UInt64 = 3_000_000_000
    private static let retry: UInt64 = 50_000_000

    /// A producer that does nothing yet.
    ///
    /// - Parameters:
    ///   - loop: runs it.
    ///   - log: takes a line for each event when the options ask for them, and every complaint.
    package init(
        options: ProducerOptions, loop: EventLoop, log: @escaping (String) -> Void = { _ in }
    ) {
        self.options = options
        self.loop = loop
        self.log = log
        timer = loop.makeTimer { [unowned self] now in self.timerFired(now) }
        patience = loop.makeTimer { [unowned self] _ in self.patienceEnded() }
        fenceTimer = loop.makeTimer { [unowned self] now in self.signalFences(now) }
    }

    // MARK: Beginning

    /// Makes the buffers, then connects. ``end`` may be there when this returns.
    package func start() {
        guard phase == .idle else { return }
        phase = .connecting
        do throws(ProducerFailure) {
            for index in 0..<options.surfaces { surfaces.append(try makeSurface(index)) }
        } catch {
            return finish(.deviceMissing(error.sentence))
        }
        deadline = loop.now() + options.connectPatience
        connect()
    }

    private func makeSurface(_ index: Int) throws(ProducerFailure) -> ProducerSurface {
        let size =
            options.size
            ?? options.picture.map { Size(width: UInt32($0.width), height: UInt32($0.height)) }
            ?? Size(width: 640, height: 480)
        let title = options.surfaces == 1 ? options.title : "\(options.title) \(index + 1)"
        let painter: ProducerPainter
        do throws(PictureError) {
            painter = try ProducerPainter(
                size: size, format: options.format, picture: options.picture,
                seed: options.seed &+ UInt32(index), label: title)
        } catch { throw ProducerFailure("a picture of \(size) cannot be drawn: \(error)") }
        var buffers: [ProducerBuffer] = []
        for number in 0..<options.buffers {
            buffers.append(
                try ProducerBuffer(
                    BufferKey(UInt64(index * options.buffers + number + 1)), size: size,
                    format: options.format, memory: options.memory, device: device))
        }
        return ProducerSurface(
            SurfaceKey(UInt64(index + 1)), title: title, painter: painter, buffers: buffers)
    }

    private func connect() {
        do throws(KernelError) {
            connection = try ProducerConnection(
                path: options.socketPath, loop: loop, delegate: self)
        } catch {
            let isTransient = [ENOENT, ECONNREFUSED, EAGAIN].contains(error.code)
            if isTransient, loop.now() < deadline { return arm(timer, after: Self.retry) }
            return finish(
                .notConnected("cannot reach a bridge: \(error); start vm-bridge run, or use --wait")
            )
        }
        phase = .greeting
        connection?.send(.hello(producer: "vm-bridge produce"))
        connection?.flush()
        arm(patience, after: Self.answerLimit)
    }

    private func begin(_ welcome: Welcome) {
        guard phase == .greeting, let connection else { return }
        self.welcome = welcome
        disarm(patience)
        tell("welcome: VM \(welcome.vmName), connection \(welcome.generation)")
        for surface in surfaces {
            var metadata = SurfaceMetadata()
            metadata.title = surface.title
            metadata.appID = options.appID
            connection.send(.surfaceCreate(surface.key, .toplevel, isGraphics: true, metadata))
            for buffer in surface.buffers {
                connection.send(.bufferCreate(buffer.key, buffer.layout), buffer.share())
            }
        }
        phase = .running
        nextTick = loop.now()
        tick(nextTick)
    }

    // MARK: Frames

    private func timerFired(_ now: UInt64) {
        switch phase {
        case .connecting: connect()
        case .running: tick(now)
        // The time to linger is over.
        case .settling: leave()
        case .idle, .greeting, .leaving, .ended: break
        }
        connection?.flush()
    }

    /// One beat of the rate: a frame for every window that has a free buffer.
    private func tick(_ now: UInt64) {
        for surface in surfaces where !surface.isGone && hasFramesLeft(surface) {
            if !sendNext(surface) { summary.skipped += 1 }
            guard phase == .running else { return }
        }
        guard surfaces.contains(where: { !$0.isGone && hasFramesLeft($0) }) else {
            return settle()
        }
        let period = UInt64(1e9 / options.rate)
        nextTick += period
        // After a stop (a debugger, a suspended machine) go on from now.
        if nextTick + period < now { nextTick = now }
        if let timer { loop.arm(timer, at: nextTick) }
    }

    private func hasFramesLeft(_ surface: ProducerSurface) -> Bool {
        guard let frames = options.frames else { return true }
        return surface.last.value < frames
    }

    /// Draws and sends a frame; false when every buffer is held.
    private func sendNext(_ surface: ProducerSurface) -> Bool {
        do throws(ProducerFailure) {
            guard let frame = try surface.drawNext() else { return false }
            try send(frame.record)
        } catch {
            finish(.deviceMissing(error.sentence))
        }
        return true
    }

    private func send(_ drawn: FrameRecord) throws(ProducerFailure) {
        guard let connection else { return }
        var record = drawn
        record.acquire = options.fence.kind
        record.crop = options.crop
        record.destination = options.destination
        record.transform = options.transform
        switch options.fence {
        case .none, .never: connection.send(.frame(record))
        case .message:
            connection.send(.frame(record))
            signalLater(.message(record.surface, record.sequence))
        case .syncFile:
            let new = try device.makeFence()
            let fence = new.fence
            // Without a delay the content is complete when the frame is sent, as with `none`.
            if options.fenceDelay == 0 { device.signal(fence) }
            connection.send(.frame(record), new.takeSyncFile())
            if options.fenceDelay != 0 {
                // The delay is from the frame to its fence, so the frame goes first.
                connection.flush()
                signalLater(.syncFile(fence))
            }
        }
        summary.sent += 1
    }

    private func signalLater(_ fence: PendingFence) {
        let delay: UInt64
        switch (fence, options.fenceDelay) {
        case (_, .some(let wanted)): delay = wanted
        case (.message, nil): return
        // It has ended by itself then; what carried it can carry another.
        case (.syncFile, nil): delay = 11_000_000_000
        }
        // The delay is the same for all, so the list is in order of time.
        fences.append((loop.now() + delay, fence))
        if fences.count == 1, let fenceTimer { loop.arm(fenceTimer, at: fences[0].deadline) }
    }

    private func signalFences(_ now: UInt64) {
        while let next = fences.first, next.deadline <= now {
            fences.removeFirst()
            switch next.fence {
            case .syncFile(let fence): device.signal(fence)
            case .message(let surface, let sequence):
                // A frame that was superseded meanwhile needs no word any more.
                guard isInUse(surface, sequence) else { continue }
                connection?.send(.fenceSignal(surface, sequence, isError: false))
            }
        }
        if let next = fences.first, let fenceTimer { loop.arm(fenceTimer, at: next.deadline) }
        connection?.flush()
    }

    private func isInUse(_ key: SurfaceKey, _ sequence: FrameSequence) -> Bool {
        surfaces.contains { surface in
            surface.buffers.contains { $0.uses.contains { $0 == (key, sequence) } }
        }
    }

    // MARK: What the bridge says

    func connectionReceived(_ record: BridgeRecord) {
        if let observer, observer.producerReceived(record) { return }
        switch record {
        case .welcome(let welcome): begin(welcome)
        case .formatsChanged(let formats): tell("formats changed: \(formats.count) entries")
        case .released(let buffer, let surface, let sequence, let outcome),
            .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            released(buffer, surface, sequence, outcome)
        case .allocated: break
        case .configure(let key, let configure): configured(key, configure)
        case .close(let key):
            tell("surface \(key): close")
            if let surface = find(key) { destroy(surface) }
        case .presented(let key, let presented):
            summary.count(presented)
            let latency = ProducerSummary.milliseconds(presented.latency)
            tell(
                "surface \(key): frame \(presented.sequence) presented"
                    + (presented.time == 0 ? "" : " after \(latency) ms"))
            settled(key, presented.sequence)
        case .discarded(let key, let sequence):
            summary.discarded += 1
            tell("surface \(key): frame \(sequence) discarded")
            settled(key, sequence)
        case .refused(let refused): self.refused(refused)
        }
        goOn()
    }

    private func released(
        _ key: BufferKey, _ surfaceKey: SurfaceKey, _ sequence: FrameSequence,
        _ outcome: UseOutcome
    ) {
        for surface in surfaces {
            guard let buffer = surface.buffers.first(where: { $0.key == key }),
                buffer.end(surfaceKey, sequence)
            else { continue }
            summary.count(outcome)
            tell("surface \(surfaceKey): frame \(sequence) released, \(outcome)")
            if outcome != .shown { settled(surfaceKey, sequence) }
            if surface.owesFrame, phase == .running || phase == .settling {
                _ = sendNext(surface)
            }
            return
        }
        complain("buffer \(key) released, which frame \(sequence) does not use")
    }

    private func configured(_ key: SurfaceKey, _ configure: ConfigureRecord) {
        tell(
            "surface \(key): configure \(configure.size), states 0x"
                + String(configure.states, radix: 16)
                + (configure.wantsFrame ? ", wants a frame" : "")
        )
        // This producer keeps its size: the window is told what a buffer has, not the other way round.
        guard configure.wantsFrame, phase == .running || phase == .settling, let surface = find(key)
        else { return }
        if sendNext(surface) { return }
        guard let frame = surface.repeatLast() else {
            surface.owesFrame = true
            return
        }
        do throws(ProducerFailure) {
            try send(frame.record)
        } catch { finish(.deviceMissing(error.sentence)) }
    }

    private func refused(_ refused: RefusedRecord) {
        let refusal = refused.refusal
        guard refused.type != 0 else { return finish(.refused(refusal)) }
        // A frame that ended on its own just before its fence's record came needs no complaint.
        if refused.type == RecordType.fenceSignal, refusal.reason == .unknownObject { return }
        complain(
            "\(RecordType.name(refused.type)) \(refused.object) refused, \(refusal.reason.word): "
                + refusal.sentence)
        switch refused.type {
        case RecordType.frame: settled(SurfaceKey(refused.object), refused.sequence)
        case RecordType.surfaceCreate: find(SurfaceKey(refused.object))?.isGone = true
        case RecordType.bufferCreate:
            for surface in surfaces {
                surface.buffers.removeAll { $0.key.value == refused.object }
                if surface.buffers.isEmpty { surface.isGone = true }
            }
        default: break
        }
        let isHopeless = surfaces.allSatisfy { $0.isGone }
        if isHopeless, phase == .running || phase == .settling { finish(.refused(refusal)) }
    }

    func connectionIsWritable() { observer?.producerIsWritable() }

    func connectionEnded(_ why: String) { finish(.disconnected(why)) }

    private func settled(_ key: SurfaceKey, _ sequence: FrameSequence) {
        guard let surface = find(key), surface.last == sequence else { return }
        surface.isLastSettled = true
    }

    private func find(_ key: SurfaceKey) -> ProducerSurface? {
        surfaces.first { $0.key == key && !$0.isGone }
    }

    // MARK: Ending

    private func settle() {
        phase = .settling
        let fenceTime = options.fence == .none ? 0 : options.fenceDelay ?? 0
        arm(patience, after: Self.answerLimit + fenceTime)
        goOn()
    }

    /// Looks whether what the present phase waits for has come.
    private func goOn() {
        switch phase {
        case .settling:
            guard surfaces.allSatisfy({ $0.isGone || $0.isLastSettled }) else { return }
            lingerOrLeave()
        case .leaving:
            guard surfaces.allSatisfy(\.isFree) else { return }
            for buffer in surfaces.flatMap(\.buffers) {
                connection?.send(.bufferDestroy(buffer.key))
            }
            connection?.flush()
            finish(.done)
        case .idle, .connecting, .greeting, .running, .ended: break
        }
    }

    private func lingerOrLeave() {
        disarm(patience)
        if options.holds { return }
        guard options.linger > 0 else { return leave() }
        if let timer, loop.deadline(timer) == nil { loop.arm(timer, after: options.linger) }
    }

    private func patienceEnded() {
        switch phase {
        case .greeting: finish(.disconnected("the bridge did not answer the greeting"))
        case .settling: lingerOrLeave()
        case .leaving:
            complain("the bridge did not give every buffer back")
            finish(.done)
        case .idle, .connecting, .running, .ended: break
        }
        connection?.flush()
    }

    /// Destroys the windows and ends once every buffer is given back; at once when asked again.
    package func stop() {
        switch phase {
        case .running, .settling:
            leave()
            connection?.flush()
        case .idle, .connecting, .greeting, .leaving: finish(.done)
        case .ended: break
        }
    }

    private func leave() {
        phase = .leaving
        disarm(timer)
        arm(patience, after: Self.answerLimit)
        for surface in surfaces where !surface.isGone {
            surface.isGone = true
            connection?.send(.surfaceDestroy(surface.key))
        }
        goOn()
    }

    /// The window was closed: the producer's answer is to destroy its surface.
    private func destroy(_ surface: ProducerSurface) {
        surface.isGone = true
        connection?.send(.surfaceDestroy(surface.key))
        if surfaces.allSatisfy(\.isGone), phase == .running || phase == .settling { leave() }
    }

    private func finish(_ end: ProducerEnd) {
        guard self.end == nil else { return }
        self.end = end
        phase = .ended
        connection?.close()
        for timer in [timer, patience, fenceTimer].compactMap({ $0 }) { loop.remove(timer) }
        (timer, patience, fenceTimer) = (nil, nil, nil)
        onEnd?()
    }

    private func arm(_ timer: TimerID?, after time: UInt64) {
        if let timer { loop.arm(timer, after: time) }
    }

    private func disarm(_ timer: TimerID?) {
        if let timer { loop.disarm(timer) }
    }

    private func tell(_ line: @autoclosure () -> String) {
        if options.isVerbose { log(line()) }
    }

    func complain(_ line: String) { log(line) }
}
