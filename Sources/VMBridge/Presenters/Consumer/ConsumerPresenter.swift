import Descriptors
import VMBridgeCore

/// The presenting half of one VM towards one consumer: surfaces that a rule hands over instead of
/// showing them. Buffers go over once, frames by their keys; what the consumer gives back ends uses.
///
/// At most two frames of a surface are with the consumer. While it has these, does not read, or is above
/// its rate, the frame callback is withheld, so that the newest of what the guest sends next waits in
/// the surface's mailbox and the rest is superseded, as for a window that is not seen.
package final class ConsumerPresenter: Presenter {
    /// Frames of one surface that the consumer may have at a time.
    static var most: Int { 2 }

    private let endpoint: ConsumerEndpoint
    private let vmName: String
    private var windows: [SurfaceID: HandedWindow] = [:]
    /// The windows that the consumer knows, closing ones too, by their keys.
    private var announced: [UInt64: HandedWindow] = [:]
    private var buffers: [BufferID: HandedBuffer] = [:]
    private var fences: [UseID: HandedFence] = [:]
    private let releaseFences = DescriptorQueue()
    private let events = Gathered<PresenterEvent>(capacity: 16)
    private var bucket: TokenBucket
    private var rateTimer: TimerID?
    private var closingTimer: TimerID?
    private var serial: UInt32 = 0
    private var hasReleaseFences = false
    private(set) package var trouble: String?

    /// One VM's half of a consumer.
    package init(vmName: String, endpoint: ConsumerEndpoint) {
        self.vmName = vmName
        self.endpoint = endpoint
        bucket = TokenBucket(rate: endpoint.limits.baseRate, now: endpoint.loop.now())
        if !endpoint.isConnected { trouble = "it is not connected" }
        rateTimer = endpoint.loop.makeTimer { [unowned self] _ in self.giveCallbacks() }
        closingTimer = endpoint.loop.makeTimer { [unowned self] in self.takeBack($0) }
        endpoint.attach(self)
    }

    /// Who takes the frames.
    package var target: HandTarget { endpoint.target }
    package var isReady: Bool { endpoint.isConnected }
    package var name: String { endpoint.description }
    package var formats: [ImportableFormat] { [] }
    package var wantsReleaseFences = false

    /// Fences on their way to the consumer and back; its connection serves every VM and is nobody's.
    package var descriptors: Int { fences.count + releaseFences.count }

    // MARK: Buffers

    /// Whether a buffer was added.
    package func knows(_ id: BufferID) -> Bool { buffers[id] != nil }

    package func addBuffer(_ id: BufferID, _ memory: BufferMemory) {
        buffers[id] = HandedBuffer(memory)
    }

    package func forgetBuffer(_ id: BufferID) {
        guard let buffer = buffers.removeValue(forKey: id), buffer.key != 0 else { return }
        endpoint.say(.bufferDestroy(BufferKey(buffer.key)))
        endpoint.retireBuffer(bytes: buffer.memory.bytes)
    }

    package func memory(of buffer: BufferID) -> BufferMemory? { buffers[buffer]?.memory }

    package func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer {
        guard buffers[buffer] != nil else {
            return .refused(Refusal(.importFailed, "The buffer's memory is not known here."))
        }
        return isReady ? .ready : .pending
    }

    package func cancelImage(_ use: UseID) {
        fences[use] = nil
        for window in windows.values where window.pending?.use == use { window.pending = nil }
        // The consumer has it, and what it will say of it means nothing any more.
        for window in announced.values {
            guard let place = window.held.firstIndex(where: { $0.use == use }) else { continue }
            window.held[place].use = nil
            if window.isClosing, !window.isHeld { finish(window) }
            return
        }
    }

    /// Whether the consumer holds a use, or is about to get it.
    package func holds(_ use: UseID) -> Bool {
        windows.values.contains { $0.pending?.use == use }
            || announced.values.contains { $0.held.contains { $0.use == use } }
    }

    /// How long what the consumer holds is waited for at most, nanoseconds.
    package var patience: UInt64 { endpoint.limits.fenceLimit }

    package func importPath(of buffer: BufferID) -> String {
        guard let buffer = buffers[buffer] else { return "none" }
        switch buffer.memory.layout.memory {
        case .dmaBuf: return "dma-buf, handed over"
        case .memfd:
            return buffer.isReadOnly ? "memfd, handed over to be read" : "memfd, handed over"
        }
    }

    package func releasePath(of buffer: BufferID) -> String {
        hasReleaseFences ? "message, with a fence" : "message"
    }

    // MARK: Fences

    package func passesFence(of use: UseID) -> Bool { isReady && endpoint.takesFences }

    package func pass(_ fence: consuming OwnedDescriptor, with use: UseID) {
        fences[use] = HandedFence(fence)
    }

    package func takeReleaseFence() -> OwnedDescriptor { releaseFences.takeFirst() ?? .none }

    // MARK: Windows

    package func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        createWindow(id, properties, isGraphics: true)
    }

    /// Makes a surface of any content; the consumer hears of it with its first frame.
    package func createWindow(
        _ id: SurfaceID, _ properties: WindowProperties, isGraphics: Bool
    ) {
        windows[id] = HandedWindow(id, isGraphics: isGraphics, properties)
        setRate()
        serial &+= 1
        events.append(
            .configured(id, ConfigureRecord(size: .zero, states: 1 << 4), serial: serial))
    }

    package func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        guard let window = windows[id] else { return }
        window.properties = properties
        guard window.key != 0 else { return }
        window.isUpdateDue = true
        update(window)
    }

    package func acknowledge(_ id: SurfaceID, serial: UInt32) {}
    package func commitState(_ id: SurfaceID) {}

    package func commit(_ id: SurfaceID, _ frame: Frame) {
        guard let window = windows[id] else { return }
        window.owesCallback = true
        window.pending = frame
        write(window)
    }

    package func destroyWindow(_ id: SurfaceID) {
        guard let window = windows.removeValue(forKey: id) else { return }
        setRate()
        if let frame = window.pending {
            window.pending = nil
            fences[frame.use] = nil
            events.append(.released(frame.use))
        }
        guard window.key != 0 else { return events.append(.windowGone(id)) }
        endpoint.say(.surfaceDestroy(SurfaceKey(window.key)))
        window.isClosing = true
        window.owesCallback = false
        guard window.isHeld else { return finish(window) }
        window.deadline = endpoint.loop.now() + endpoint.limits.fenceLimit
        armClosing()
    }

    /// The consumer has given back all of a window that is gone, or its time is over.
    private func finish(_ window: HandedWindow) {
        announced[window.key] = nil
        endpoint.retireSurface(window.key)
        events.append(.windowGone(window.id))
    }

    private func armClosing() {
        guard let closingTimer else { return }
        var next = UInt64.max
        for window in announced.values where window.isClosing { next = min(next, window.deadline) }
        if next < .max { endpoint.loop.arm(closingTimer, at: next) }
    }

    /// Ends the uses of windows that are gone and whose consumer does not give them back.
    private func takeBack(_ now: UInt64) {
        for window in Array(announced.values) where window.isClosing && now >= window.deadline {
            for held in window.held {
                guard let use = held.use else { continue }
                endpoint.counters.overdue += 1
                events.append(.released(use))
            }
            window.held.removeAll()
            endpoint.warn("it kept frames of surface \(window.key), which is gone: taken back")
            finish(window)
        }
        armClosing()
    }

    // MARK: Writing

    /// Writes the committed frame, if the consumer reads, and what must come before it.
    private func write(_ window: HandedWindow) {
        guard endpoint.isOpen, let frame = window.pending else { return }
        do throws(Refusal) {
            try announce(window)
            let buffer = try announce(frame.buffer)
            window.pending = nil
            write(frame, buffer, window)
        } catch {
            window.pending = nil
            window.owesCallback = false
            fences[frame.use] = nil
            endpoint.counters.overBudget += 1
            events.append(.commitFailed(frame.use, error))
        }
        giveCallback(window)
    }

    private func write(_ frame: Frame, _ buffer: UInt64, _ window: HandedWindow) {
        let number = window.number(for: frame.sequence)
        let fence = fences.removeValue(forKey: frame.use)?.take() ?? .none
        var record = FrameRecord(
            surface: SurfaceKey(window.key), buffer: BufferKey(buffer),
            sequence: FrameSequence(number), acquire: fence.isValid ? .syncFile : .none)
        record.damage = frame.damage.clipped(to: frame.size)
        record.crop = frame.crop
        record.destination = frame.destination
        record.transform = frame.transform
        endpoint.counters.frames += 1
        if fence.isValid {
            endpoint.counters.fences += 1
            endpoint.say(.frame(record), descriptors: 1)
            endpoint.carry(fence)
        } else {
            endpoint.say(.frame(record))
        }
        window.held.append(HandedWindow.Held(number: number, buffer: buffer, use: frame.use))
        bucket.take(1, now: endpoint.loop.now())
    }

    private func announce(_ window: HandedWindow) throws(Refusal) {
        guard window.key == 0 else { return }
        guard let key = endpoint.announceSurface(of: self) else {
            // Who it is and what others hand to it is not the guest's to know.
            throw Refusal(.tooManySurfaces, "Its consumer has as many surfaces as it may.")
        }
        window.key = key
        announced[key] = window
        var metadata = Self.metadata(window.properties)
        metadata.originVM = vmName
        window.isUpdateDue = false
        endpoint.say(
            .surfaceCreate(
                SurfaceKey(key), .toplevel, isGraphics: window.isGraphics, metadata))
    }

    private func update(_ window: HandedWindow) {
        guard window.isUpdateDue, endpoint.isOpen else { return }
        window.isUpdateDue = false
        endpoint.say(
            .surfaceUpdate(SurfaceKey(window.key), Self.metadata(window.properties)))
    }

    private static func metadata(_ properties: WindowProperties) -> SurfaceMetadata {
        var metadata = SurfaceMetadata()
        metadata.title = properties.identity.title
        metadata.appID = properties.identity.appID
        if properties.minimumSize != .zero || properties.maximumSize != .zero {
            metadata.minimumSize = properties.minimumSize
            metadata.maximumSize = properties.maximumSize
        }
        metadata.opaqueRegion = properties.opaqueRegion
        return metadata
    }

    /// The buffer's key; its memory goes over the first time.
    private func announce(_ id: BufferID) throws(Refusal) -> UInt64 {
        guard let buffer = buffers[id] else {
            throw Refusal(.importFailed, "The buffer's memory is not known here.")
        }
        guard buffer.key == 0 else { return buffer.key }
        let memory = buffer.memory
        let copies = DescriptorQueue()
        var isReadOnly = memory.layout.memory == .memfd
        for number in memory.descriptorNumbers {
            let lent = OwnedDescriptor(owning: number)
            var copy = OwnedDescriptor.none
            if isReadOnly { copy = ReadOnlyMemory.reopened(number) }
            if !copy.isValid {
                isReadOnly = false
                copy = lent.duplicate()
            }
            _ = lent.release()
            guard copy.isValid else {
                throw Refusal(.importFailed, "This process has no descriptor left.")
            }
            copies.append(copy)
        }
        buffer.key = try endpoint.announceBuffer(bytes: memory.bytes)
        buffer.isReadOnly = isReadOnly
        if isReadOnly { endpoint.counters.readOnlyBuffers += 1 }
        endpoint.say(
            .bufferCreate(BufferKey(buffer.key), memory.layout), descriptors: copies.count)
        while let copy = copies.takeFirst() { endpoint.carry(copy) }
        return buffer.key
    }

    // MARK: Pace

    private func setRate() {
        let limits = endpoint.limits
        bucket.setRate(
            limits.baseRate + limits.ratePerSurface * windows.count, now: endpoint.loop.now())
    }

    /// Lets the machine commit its next frame, unless the consumer has enough.
    private func giveCallback(_ window: HandedWindow) {
        guard window.owesCallback, window.pending == nil, endpoint.isOpen,
            window.held.count < Self.most
        else { return }
        guard bucket.isOpen(now: endpoint.loop.now()) else {
            endpoint.counters.throttled += 1
            if let rateTimer, endpoint.loop.deadline(rateTimer) == nil {
                endpoint.loop.arm(rateTimer, after: max(bucket.delay(), 1_000_000))
            }
            return
        }
        window.owesCallback = false
        events.append(.frameCallback(window.id))
    }

    private func giveCallbacks() {
        for window in windows.values { giveCallback(window) }
    }

    /// The consumer reads again.
    func outputOpened() {
        for window in windows.values {
            if window.key != 0 { update(window) }
            write(window)
            giveCallback(window)
        }
    }

    // MARK: What the consumer answers

    /// A consumer is there: what there is to see is made anew.
    func consumerCame() {
        trouble = nil
        setRate()
        events.append(.ready)
    }

    /// It is gone, and so is all that it had.
    func consumerLost(_ why: String) {
        trouble = why
        // Windows that are gone already may belong to surfaces that are somewhere else by now.
        for window in announced.values where window.isClosing {
            for held in window.held {
                if let use = held.use { events.append(.released(use)) }
            }
            events.append(.windowGone(window.id))
        }
        windows.removeAll()
        announced.removeAll()
        fences.removeAll()
        for buffer in buffers.values {
            buffer.key = 0
            buffer.isReadOnly = false
        }
        hasReleaseFences = false
        events.append(.lost(why))
    }

    private func find(_ surface: SurfaceKey) throws(Refusal) -> HandedWindow {
        guard let window = announced[surface.value] else {
            throw Refusal(.unknownObject, "There is no surface \(surface).")
        }
        return window
    }

    /// The consumer gives a frame's buffer back, now or when the fence signals.
    func released(
        _ buffer: BufferKey, _ surface: SurfaceKey, _ sequence: FrameSequence,
        _ outcome: UseOutcome, fence: consuming OwnedDescriptor
    ) throws(Refusal) {
        let window = try find(surface)
        guard
            let place = window.held.firstIndex(where: {
                $0.number == sequence.value && $0.buffer == buffer.value
            })
        else {
            throw Refusal(
                .unknownObject,
                "Frame \(sequence) of surface \(surface) with buffer \(buffer) is not held.")
        }
        let held = window.held.remove(at: place)
        endpoint.counters.released += 1
        if let use = held.use {
            if fence.isValid {
                endpoint.counters.releaseFences += 1
                hasReleaseFences = true
                releaseFences.append(fence)
                events.append(.releasedWithFence(use))
            } else {
                events.append(.released(use))
            }
        }
        guard window.isClosing else { return giveCallback(window) }
        if !window.isHeld { finish(window) }
    }

    /// A frame was seen, by the consumer's word.
    func presented(_ surface: SurfaceKey, _ presented: PresentedRecord) throws(Refusal) {
        let window = try find(surface)
        guard let sequence = try window.told(presented.sequence), !window.isClosing else { return }
        // A time that has not come yet is none.
        let time = presented.time <= endpoint.loop.now() ? presented.time : 0
        events.append(
            .presented(
                window.id, sequence, time: time, refresh: presented.refresh,
                flags: presented.flags & 0xf))
    }

    /// A frame will never be seen.
    func discarded(_ surface: SurfaceKey, _ sequence: FrameSequence) throws(Refusal) {
        let window = try find(surface)
        guard let sequence = try window.told(sequence), !window.isClosing else { return }
        events.append(.discarded(window.id, sequence))
    }

    /// What the consumer would like the surface to be.
    func configured(_ surface: SurfaceKey, _ configure: ConfigureRecord) throws(Refusal) {
        let window = try find(surface)
        guard !window.isClosing else { return }
        var configure = configure
        // Whether a frame is owed is known here.
        configure.wantsFrame = false
        serial &+= 1
        events.append(.configured(window.id, configure, serial: serial))
    }

    /// The consumer would like the surface to go.
    func closeRequested(_ surface: SurfaceKey) throws(Refusal) {
        let window = try find(surface)
        if !window.isClosing { events.append(.closeRequested(window.id)) }
    }

    // MARK: Events

    /// Whether something waits to be taken.
    package var hasEvents: Bool { !events.isEmpty }

    package func takeEvents(_ body: (PresenterEvent) -> Void) { events.take(body) }

    package func flush() {}

    package func shutDown() {
        if let rateTimer { endpoint.loop.remove(rateTimer) }
        if let closingTimer { endpoint.loop.remove(closingTimer) }
        rateTimer = nil
        closingTimer = nil
        for key in announced.keys { endpoint.retireSurface(key) }
        for id in Array(buffers.keys) { forgetBuffer(id) }
        endpoint.detach(self)
        windows.removeAll()
        announced.removeAll()
        buffers.removeAll()
        fences.removeAll()
        releaseFences.removeAll()
        events.removeAll()
    }
}
