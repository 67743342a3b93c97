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
/// Everything happens on the loop that it is given. Its life: connecting → greeting → (allocating, when the
/// bridge makes the buffers →) running → settling (all frames are sent) → leaving (the windows are destroyed) →
/// ended.
package final class Producer: ProducerConnectionDelegate {
    private enum Phase {
        case idle
        case connecting
        case greeting
        case allocating
        case running
        case settling
        case leaving
        case ended
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
    /// Of the surfaces, in their order; none when they have the host's.
    private var cursors: [ProducerSurface] = []
    let fences: ProducerFences
    var device: ProducerDevice { fences.device }
    private let releases: ProducerReleases
    private let log: (String) -> Void
    private var phase = Phase.idle
    private var deadline: UInt64 = 0
    private var nextTick: UInt64 = 0
    private var timer: TimerID?
    private var patience: TimerID?

    /// How long the bridge may take to greet, to settle the last frames and to give buffers back.
    private static let answerLimit: UInt64 = 3_000_000_000
    private static let retry: UInt64 = 50_000_000
    /// How long the bridge may take to make the buffers: its helper has to start and to ask drivers.
    private static let allocationLimit: UInt64 = 30_000_000_000

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
        if options.wantsInput { summary.input = [:] }
        fences = ProducerFences(loop: loop)
        releases = ProducerReleases(loop: loop)
        timer = loop.makeTimer { [unowned self] now in self.timerFired(now) }
        patience = loop.makeTimer { [unowned self] _ in self.patienceEnded() }
        fences.onEnd = { [unowned self] in self.fenceEnds($0) }
        fences.onMemoryFree = { [unowned self] in self.gaveBack($0.buffer, $0.surface) }
        fences.onBatch = { [unowned self] in self.connection?.flush() }
    }

    // MARK: Beginning

    /// Makes the buffers, then connects. ``end`` may be there when this returns.
    package func start() {
        guard phase == .idle else { return }
        phase = .connecting
        do throws(ProducerFailure) {
            try checkFences()
            for index in 0..<options.surfaces { surfaces.append(try makeSurface(index)) }
            if let cursor = options.cursor { try makeCursors(cursor) }
        } catch {
            return finish(.deviceMissing(error.sentence))
        }
        deadline = loop.now() + options.connectPatience
        connect()
    }

    /// Before anything is sent: the devices that the wanted fences need.
    private func checkFences() throws(ProducerFailure) {
        let kinds = options.usedFences
        guard kinds.contains(where: \.needsDevice) else { return }
        let maker = device.fenceMaker
        for kind in kinds where kind.needsTestDevice && maker != TestDevice.driver {
            throw ProducerFailure(
                "a fence of kind \(kind.rawValue) is made by the module vmbtest alone, which is not there"
            )
        }
        tell("fences are made by \(maker ?? "nobody")")
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
                size: size, format: options.format, pattern: options.pattern,
                picture: options.picture, seed: options.seed &+ UInt32(index), label: title)
        } catch { throw ProducerFailure("a picture of \(size) cannot be drawn: \(error)") }
        var buffers: [ProducerBuffer] = []
        for number in 0..<options.buffers {
            buffers.append(
                try ProducerBuffer(
                    BufferKey(UInt64(index * options.buffers + number + 1)), size: size,
                    format: options.format, memory: options.memory, device: device))
        }
        return ProducerSurface(
            SurfaceKey(UInt64(index + 1)), index: index, title: title, painter: painter,
            buffers: buffers)
    }

    private func makeCursors(_ cursor: ProducerCursor) throws(ProducerFailure) {
        // Above all other keys.
        let first = UInt64(options.surfaces * (options.buffers + 1) + 1)
        for surface in surfaces {
            cursors.append(
                try cursor.surface(on: surface, key: first + UInt64(surface.index), device: device))
        }
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
        connection?.send(
            .hello(
                producer: "vm-bridge produce", takesFences: options.release == .fence,
                wantsInput: options.wantsInput))
        connection?.flush()
        arm(patience, after: Self.answerLimit)
    }

    private func begin(_ welcome: Welcome) {
        guard phase == .greeting, let connection else { return }
        self.welcome = welcome
        disarm(patience)
        tell(
            "welcome: VM \(welcome.vmName), connection \(welcome.generation), acquire kinds 0x"
                + String(welcome.acquireKinds, radix: 16) + ", release kinds 0x"
                + String(welcome.releaseKinds, radix: 16))
        for surface in surfaces {
            var metadata = SurfaceMetadata()
            metadata.title = surface.title
            metadata.appID = options.appID
            connection.send(.surfaceCreate(surface.key, .toplevel, isGraphics: true, metadata))
            for buffer in surface.buffers { introduce(buffer, connection) }
        }
        for cursor in cursors { introduce(cursor, connection) }
        phase = .allocating
        arm(patience, after: Self.allocationLimit)
        beginFrames()
    }

    private func introduce(_ buffer: ProducerBuffer, _ connection: ProducerConnection) {
        guard options.memory.isHosts else {
            return connection.send(.bufferCreate(buffer.key, buffer.layout), buffer.share())
        }
        let wish = BufferWish(
            size: buffer.layout.size, format: buffer.layout.format,
            isContiguous: options.memory == .hostContiguous)
        connection.send(.bufferAllocate(buffer.key, wish))
    }

    /// A cursor, and its picture when it has one.
    private func introduce(_ cursor: ProducerSurface, _ connection: ProducerConnection) {
        var metadata = SurfaceMetadata()
        metadata.parent = surfaces[cursor.index].key
        if !cursor.buffers.isEmpty { metadata.hotSpot = ProducerCursor.hotSpot }
        connection.send(.surfaceCreate(cursor.key, .cursor, isGraphics: true, metadata))
        for buffer in cursor.buffers {
            connection.send(.bufferCreate(buffer.key, buffer.layout), buffer.share())
        }
        show(cursor)
    }

    /// Sends a cursor's picture, also while the bridge holds it.
    private func show(_ cursor: ProducerSurface) {
        if let again = cursor.repeatLast() {
            connection?.send(.frame(again.record))
            return
        }
        do throws(ProducerFailure) {
            guard let frame = try cursor.drawNext(.none) else { return }
            connection?.send(.frame(frame.record))
        } catch { finish(.deviceMissing(error.sentence)) }
    }

    /// Memory that the bridge made.
    private func allocated(
        _ key: BufferKey, _ layout: BufferLayout, by allocator: UInt32,
        _ descriptor: consuming OwnedDescriptor
    ) {
        guard let buffer = surfaces.lazy.flatMap(\.buffers).first(where: { $0.key == key }) else {
            return complain("buffer \(key) allocated, which nobody asked for")
        }
        do throws(ProducerFailure) {
            try buffer.take(layout, descriptor)
        } catch { return finish(.deviceMissing(error.sentence)) }
        let maker = MemoryAllocator(rawValue: allocator)?.word ?? "allocator \(allocator)"
        tell("buffer \(key): made by the bridge, \(maker), stride \(layout.planes[0].stride)")
    }

    /// The first frames, once every buffer has its memory.
    private func beginFrames() {
        guard phase == .allocating,
            surfaces.allSatisfy({ $0.isGone || $0.buffers.allSatisfy(\.hasMemory) })
        else { return }
        disarm(patience)
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
        case .idle, .greeting, .allocating, .leaving, .ended: break
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
        let kind = options.fence(
            surface: surface.index, FrameSequence(surface.last.value + 1))
        do throws(ProducerFailure) {
            guard let frame = try surface.drawNext(kind) else { return false }
            try send(frame.record, frame.buffer, surface)
        } catch {
            finish(.deviceMissing(error.sentence))
        }
        return true
    }

    private func send(
        _ drawn: FrameRecord, _ buffer: ProducerBuffer, _ surface: ProducerSurface
    ) throws(ProducerFailure) {
        guard let connection else { return }
        let kind = options.fence(surface: surface.index, drawn.sequence)
        var record = drawn
        record.acquire = kind.kind
        record.crop = options.crop
        record.destination = options.destination
        record.transform = options.transform
        var note = FrameNote(kind: kind)
        let now = loop.now()
        var made = try fences.make(kind, surface, buffer)
        // Without a delay the content is complete when the frame is sent, as with `none`.
        if kind.kind != .message, options.fenceDelay == 0, let end = made.end {
            made.end = nil
            fences.perform(end)
            if kind.kind == .implicit { buffer.fenceEnded() }
            if !kind.endsBadly { summary.countSignal(&note, at: now) }
        } else if kind == .signalled {
            summary.countSignal(&note, at: now)
        }
        record.acquirePoint = made.point
        surface.note(drawn.sequence, note)
        summary.countSent(kind)
        let end = made.end
        if made.descriptor.isValid {
            connection.send(.frame(record), made.takeDescriptor())
        } else {
            connection.send(.frame(record))
        }
        guard let end else { return }
        // The delay is from the frame to its fence, so the frame goes first.
        if options.fenceDelay != 0 { connection.flush() }
        fences.schedule(end, drawn, surface, buffer, kind, after: options.fenceDelay)
    }

    /// A fence's time has come: the kernel's is ended next, the other kind here.
    private func fenceEnds(_ waiting: ProducerFences.Waiting) {
        if case .message = waiting.end {
            // A frame that was superseded meanwhile needs no word any more.
            guard waiting.buffer.isUsed(by: waiting.surface.key, waiting.sequence) else { return }
            connection?.send(
                .fenceSignal(waiting.surface.key, waiting.sequence, isError: false))
        }
        guard !waiting.kind.endsBadly else { return }
        let now = loop.now()
        waiting.surface.withNote(waiting.sequence) { summary.countSignal(&$0, at: now) }
    }

    // MARK: What the bridge says

    func connectionReceived(_ record: BridgeRecord, _ descriptor: consuming OwnedDescriptor) {
        if let observer, observer.producerReceived(record) { return }
        switch record {
        case .welcome(let welcome): begin(welcome)
        case .formatsChanged(let formats): tell("formats changed: \(formats.count) entries")
        case .surfaceFormats(let key, let formats):
            tell("surface \(key): formats preferred: \(formats.count) entries")
        case .released(let buffer, let surface, let sequence, let outcome),
            .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            released(buffer, surface, sequence, outcome, descriptor)
        case .allocated(let key, let layout, let allocator):
            allocated(key, layout, by: allocator, descriptor)
        case .configure(let key, let configure): configured(key, configure)
        case .close(let key):
            tell("surface \(key): close")
            if let surface = find(key) { destroy(surface) }
        case .presented(let key, let presented):
            find(key, orGone: true)?.withNote(presented.sequence) {
                summary.countPresented(presented, &$0)
            }
            let latency = ProducerSummary.milliseconds(presented.latency)
            tell(
                "surface \(key): frame \(presented.sequence) presented"
                    + (presented.time == 0 ? "" : " after \(latency) ms"))
            settled(key, presented.sequence)
        case .discarded(let key, let sequence):
            find(key, orGone: true)?.withNote(sequence) { summary.countDiscarded(&$0) }
            tell("surface \(key): frame \(sequence) discarded")
            settled(key, sequence)
        case .targets(let targets): tell("\(targets.count) consumers may be handed to")
        case .input(let key, let input):
            summary.count(input.event)
            log(ProducerInput.line(key, input.event))
        case .keymap(let keymap): log(ProducerInput.line(keymap))
        case .refused(let refused): self.refused(refused)
        }
        goOn()
    }

    private func released(
        _ key: BufferKey, _ surfaceKey: SurfaceKey, _ sequence: FrameSequence,
        _ outcome: UseOutcome, _ fence: consuming OwnedDescriptor
    ) {
        for surface in surfaces + cursors {
            guard let buffer = surface.buffers.first(where: { $0.key == key }),
                buffer.end(surfaceKey, sequence)
            else { continue }
            let now = loop.now()
            surface.withNote(sequence) { summary.countReleased(outcome, &$0, at: now) }
            let hasFence = fence.isValid
            tell(
                "surface \(surfaceKey): frame \(sequence) released, \(outcome)"
                    + (hasFence ? ", with a fence" : ""))
            if outcome != .shown { settled(surfaceKey, sequence) }
            if hasFence { wait(for: fence, buffer, surface) }
            gaveBack(buffer, surface)
            return
        }
        complain("buffer \(key) released, which frame \(sequence) does not use")
    }

    /// A buffer may be written only when the fence has signalled that its release came with.
    private func wait(
        for fence: consuming OwnedDescriptor, _ buffer: ProducerBuffer, _ surface: ProducerSurface
    ) {
        summary.releaseFences += 1
        do throws(KernelError) {
            let isPending = try releases.wait(for: fence) { [unowned self] time in
                buffer.releaseFences -= 1
                summary.releaseWaits.add(time)
                gaveBack(buffer, surface)
                connection?.flush()
            }
            guard isPending else { return }
            buffer.releaseFences += 1
            summary.pendingReleaseFences += 1
        } catch { complain("the fence of a release is none: \(error)") }
    }

    /// A buffer may be free again.
    private func gaveBack(_ buffer: ProducerBuffer, _ surface: ProducerSurface) {
        guard buffer.isFree else { return }
        if options.overwrites {
            do throws(ProducerFailure) {
                try buffer.overwrite(surface.painter)
            } catch { return finish(.deviceMissing(error.sentence)) }
            summary.overwritten += 1
        }
        if surface.owesFrame, !surface.isGone, phase == .running || phase == .settling {
            _ = sendNext(surface)
        }
    }

    private func configured(_ key: SurfaceKey, _ configure: ConfigureRecord) {
        tell(
            "surface \(key): configure \(configure.size), states 0x"
                + String(configure.states, radix: 16)
                + (configure.wantsFrame ? ", wants a frame" : "")
        )
        // This producer keeps its size: the window is told what a buffer has, not the other way round.
        if configure.wantsFrame, let cursor = cursors.first(where: { $0.key == key && !$0.isGone })
        {
            return show(cursor)
        }
        guard configure.wantsFrame, phase == .running || phase == .settling, let surface = find(key)
        else { return }
        if sendNext(surface) { return }
        guard let frame = surface.repeatLast() else {
            surface.owesFrame = true
            return
        }
        do throws(ProducerFailure) {
            try send(frame.record, frame.buffer, surface)
        } catch { finish(.deviceMissing(error.sentence)) }
    }

    private func refused(_ refused: RefusedRecord) {
        let refusal = refused.refusal
        guard refused.type != 0 else { return finish(.refused(refusal)) }
        // A frame that ended on its own just before its fence's record came needs no complaint.
        if refused.type == RecordType.fenceSignal, refusal.reason == .unknownObject { return }
        summary.countRefusal(refusal.reason)
        complain(
            "\(RecordType.name(refused.type)) \(refused.object) refused, \(refusal.reason.word): "
                + refusal.sentence)
        switch refused.type {
        case RecordType.frame: settled(SurfaceKey(refused.object), refused.sequence)
        case RecordType.surfaceCreate:
            find(SurfaceKey(refused.object))?.isGone = true
            cursors.first { $0.key.value == refused.object }?.isGone = true
        case RecordType.bufferCreate, RecordType.bufferAllocate:
            for surface in surfaces {
                surface.buffers.removeAll { $0.key.value == refused.object }
                if surface.buffers.isEmpty { surface.isGone = true }
            }
        default: break
        }
        let isHopeless = surfaces.allSatisfy { $0.isGone }
        if isHopeless, [.allocating, .running, .settling].contains(phase) {
            finish(.refused(refusal))
        }
    }

    func connectionIsWritable() { observer?.producerIsWritable() }

    func connectionEnded(_ why: String) { finish(.disconnected(why)) }

    private func settled(_ key: SurfaceKey, _ sequence: FrameSequence) {
        guard let surface = find(key), surface.last == sequence else { return }
        surface.isLastSettled = true
    }

    private func find(_ key: SurfaceKey, orGone: Bool = false) -> ProducerSurface? {
        surfaces.first { $0.key == key && (orGone || !$0.isGone) }
    }

    // MARK: Ending

    private func settle() {
        phase = .settling
        arm(patience, after: Self.answerLimit + fenceTime)
        goOn()
    }

    /// How long the bridge may take over the fences of the last frames.
    private var fenceTime: UInt64 {
        let kinds = options.usedFences
        let limit = welcome?.limits.fenceLimit ?? 0
        if kinds == [.none] { return 0 }
        return kinds.contains { $0.fate == .never }
            ? limit : min(options.fenceDelay ?? limit, limit)
    }

    /// Looks whether what the present phase waits for has come.
    private func goOn() {
        switch phase {
        case .allocating: beginFrames()
        case .settling:
            guard surfaces.allSatisfy({ $0.isGone || $0.isLastSettled }) else { return }
            lingerOrLeave()
        case .leaving:
            guard surfaces.allSatisfy(\.isGivenBack), cursors.allSatisfy(\.isGivenBack) else {
                return
            }
            for buffer in (surfaces + cursors).flatMap(\.buffers) {
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
        case .allocating: finish(.disconnected("the bridge did not make the buffers in time"))
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
        case .allocating, .running, .settling:
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
        for surface in cursors + surfaces where !surface.isGone {
            surface.isGone = true
            connection?.send(.surfaceDestroy(surface.key))
        }
        goOn()
    }

    /// The window was closed: the producer's answer is to destroy its surface.
    private func destroy(_ surface: ProducerSurface) {
        surface.isGone = true
        for cursor in cursors where cursor.index == surface.index && !cursor.isGone {
            cursor.isGone = true
            connection?.send(.surfaceDestroy(cursor.key))
        }
        connection?.send(.surfaceDestroy(surface.key))
        if surfaces.allSatisfy(\.isGone), [.allocating, .running, .settling].contains(phase) {
            leave()
        }
    }

    private func finish(_ end: ProducerEnd) {
        guard self.end == nil else { return }
        self.end = end
        phase = .ended
        connection?.close()
        for timer in [timer, patience].compactMap({ $0 }) { loop.remove(timer) }
        (timer, patience) = (nil, nil)
        fences.shutDown()
        releases.shutDown()
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
