import Descriptors
import VMBridgeCore

/// What a device behind a vhost-user connection is told.
protocol VhostUserDevice: AnyObject {
    /// Whether more work may be done in this turn of the loop.
    var mayGoOn: Bool { get }
    /// A request came; it is answered by `VhostUserLink.complete`, at once or later.
    func take(_ request: [UInt8], ring: Int, token: UInt64, memory: MemoryMap)
    /// The ring is about to be stopped: what waits is to be answered now.
    func willStop(ring: Int)
    /// The guest begins anew: everything that it made goes.
    func reset()
    /// Something of the guest's was refused.
    func refused(_ refusal: Refusal, about what: String)
}

/// One connection of a vhost-user front end: its messages, the guest's memory, and the rings. Belongs to the loop's thread.
///
/// It never ends by itself: `endReason` says that it should, and its owner looks after each batch.
final class VhostUserLink {
    private final class Ring {
        var queue: Virtqueue?
        var kick = OwnedDescriptor.none
        var call = OwnedDescriptor.none
        var error = OwnedDescriptor.none
        var registration: Registration?
        var hasMore = false
    }

    private var socket: VhostUserSocket
    private var machine: VhostUserMachine
    private var bundle: DescriptorBundle
    private let loop: EventLoop
    private let probe: DescriptorProbe
    private let reaper: DescriptorReaper
    private let signal: EventSignal
    private unowned let device: any VhostUserDevice
    private let rings: [Ring]
    private var display = OwnedDescriptor.none
    private var registration: Registration?
    private var again: TimerID?
    private var inFlight: [UInt64: (ring: Int, chain: DescriptorChain)] = [:]
    private var lastToken: UInt64 = 0
    private var isWriting = false
    private var actions: [VhostUserMachine.Action] = []
    /// The guest's memory; nil before a table came.
    private(set) var ram: GuestRAM?
    /// Why the connection is to be ended; nil while it is to go on.
    private(set) var endReason: String?
    /// Rings that make no sense, by number.
    private(set) var broken: Set<Int> = []

    /// Messages taken in one turn of the loop.
    private static var messagesInTurn: Int { 32 }
    /// Requests taken of one ring in one turn of the loop.
    private static var requestsInTurn: Int { 64 }

    /// Watches an accepted connection.
    init(
        _ descriptor: consuming OwnedDescriptor, machine: VhostUserMachine, rings: Int,
        device: any VhostUserDevice, loop: EventLoop, probe: DescriptorProbe,
        reaper: DescriptorReaper, signal: EventSignal
    ) throws(KernelError) {
        self.machine = machine
        self.rings = (0..<rings).map { _ in Ring() }
        self.device = device
        self.loop = loop
        self.probe = probe
        self.reaper = reaper
        self.signal = signal
        bundle = DescriptorBundle(reaper: reaper)
        socket = VhostUserSocket(descriptor, reaper: reaper)
        registration = try loop.register(socket.number, .read) { [unowned self] in
            self.ready($0)
        }
        again = loop.makeTimer { [unowned self] _ in self.serveOn() }
    }

    /// Gives everything back. The device was reset before.
    func shutDown() {
        for ring in rings { setKick(ring, .none) }
        if let registration { loop.remove(registration) }
        registration = nil
        if let again { loop.remove(again) }
        again = nil
        bundle.reset()
        inFlight.removeAll()
        ram = nil
        reaper.close(display.takeOut())
    }

    /// Descriptors that are open for it.
    var descriptors: Int {
        var count = 1 + (display.isValid ? 1 : 0) + (ram?.descriptors ?? 0)
        for ring in rings {
            if ring.kick.isValid { count += 1 }
            if ring.call.isValid { count += 1 }
            if ring.error.isValid { count += 1 }
        }
        return count
    }

    /// Whether the front end has closed its end, which the loop may not have told yet.
    var hasHungUp: Bool { socket.hasHungUp }

    /// Whether a ring is served.
    func isServed(_ ring: Int) -> Bool { rings[ring].queue != nil }

    // MARK: Messages

    private func ready(_ readiness: Readiness) {
        guard endReason == nil else { return }
        if readiness.contains(.writable) { flush() }
        guard !readiness.isDisjoint(with: [.readable, .hangUp, .error]) else { return }
        for _ in 0..<Self.messagesInTurn where endReason == nil {
            switch socket.receive(&bundle) {
            case .message(let header):
                take(header)
                bundle.reset()
            case .wouldBlock: return
            case .ended(let why): endReason = why
            case .broken(let refusal):
                device.refused(refusal, about: "message")
                endReason = refusal.sentence
            }
        }
    }

    private func take(_ header: VhostUserHeader) {
        actions.removeAll(keepingCapacity: true)
        do throws(Refusal) {
            try machine.receive(header, socket.payload, descriptors: bundle.count, &actions)
            let todo = actions
            for action in todo { try perform(action) }
        } catch {
            let name = VhostUserRequest.name(header.request)
            device.refused(error, about: name)
            // Who asked for an answer is told before the end.
            if header.needsReply, let request = VhostUserRequest(rawValue: header.request) {
                _ = socket.queue(VhostUserHeader.reply(request, 1))
                _ = socket.flush()
            }
            endReason = "\(name) was refused: \(error.sentence)"
        }
    }

    private func perform(_ action: VhostUserMachine.Action) throws(Refusal) {
        switch action {
        case .reply(let bytes): try send(bytes)
        case .acknowledge(let request): try send(VhostUserHeader.reply(request, 0))
        case .replyBase(let ring): try send(machine.baseReply(ring: ring, base: nil))
        case .setMemory(let map): ram = try GuestRAM(map, &bundle, probe: probe)
        case .setKick(let ring, let index):
            try setKick(rings[ring], index.map(eventFile) ?? .none)
        case .setCall(let ring, let index):
            rings[ring].call = try index.map(eventFile) ?? .none
        case .setError(let ring, let index):
            rings[ring].error = try index.map(eventFile) ?? .none
        case .start(let ring, let layout, let base, let features):
            try start(ring, layout, base, features)
        case .stop(let ring): stop(ring)
        case .takeDisplaySocket(let index):
            // Nothing is said on it: our windows are the display. Closed, QEMU would complain.
            reaper.close(display.takeOut())
            if let socket = bundle.take(index) { display = socket }
        case .reset: device.reset()
        }
    }

    private func send(_ bytes: [UInt8]) throws(Refusal) {
        guard socket.queue(bytes) else {
            throw Refusal(.tooManyBytes, "The front end does not read its answers.")
        }
    }

    /// Sends what waits; called after each batch.
    func flush() {
        guard endReason == nil else { return }
        if let why = socket.flush() { endReason = why }
        guard let registration, isWriting != socket.hasOutput else { return }
        isWriting = socket.hasOutput
        _ = try? loop.setInterest(registration, isWriting ? [.read, .write] : .read)
    }

    /// Takes a descriptor that can only be an eventfd, timerfd or the like; asking it whether it is ready never waits then.
    private func eventFile(_ index: Int) throws(Refusal) -> OwnedDescriptor {
        guard let number = bundle.number(at: index), let facts = try? probe.facts(of: number),
            facts.kind == .other(.anonymous), let descriptor = bundle.take(index)
        else { throw Refusal(.badDescriptor, "A ring's descriptor is no eventfd.") }
        return descriptor
    }

    // MARK: Rings

    private func setKick(_ ring: Ring, _ kick: consuming OwnedDescriptor) {
        if let registration = ring.registration { loop.remove(registration) }
        ring.registration = nil
        ring.kick = kick
        guard ring.kick.isValid else { return }
        // Told once for each kick: nobody here reads it, which could wait.
        ring.registration = try? loop.register(ring.kick.number, [.read, .edge]) {
            [unowned self, unowned ring] _ in
            ring.hasMore = true
            self.serveOn()
        }
        if ring.registration == nil { endReason = "its kick cannot be watched" }
    }

    private func start(
        _ number: Int, _ layout: VirtqueueLayout, _ base: UInt16, _ features: VirtioFeatures
    ) throws(Refusal) {
        guard let ram else { return }
        if rings[number].queue != nil {
            rings[number].queue?.layout = layout
        } else {
            // A paused guest goes on where it was; one that was reset begins with its first request.
            if number == 0, base == 0 { device.reset() }
            guard let queue = Virtqueue(layout, base: base, features: features, memory: ram) else {
                throw Refusal(.badLayout, "Ring \(number) does not lie in the guest's memory.")
            }
            rings[number].queue = queue
            broken.remove(number)
        }
        rings[number].hasMore = true
        armAgain()
    }

    private func stop(_ number: Int) {
        device.willStop(ring: number)
        notify()
        if let queue = rings[number].queue {
            machine.ringStopped(number, base: queue.nextAvailable)
        }
        forget(number)
    }

    private func forget(_ number: Int) {
        rings[number].queue = nil
        rings[number].hasMore = false
        inFlight = inFlight.filter { $0.value.ring != number }
    }

    private func armAgain() {
        if let again { loop.arm(again, after: 0) }
    }

    /// Serves the rings that may have requests, a bounded number of them; the rest in the next turn.
    private func serveOn() {
        for number in rings.indices where rings[number].hasMore && endReason == nil {
            serve(number)
        }
        if rings.contains(where: \.hasMore) { armAgain() }
    }

    /// Looks for requests that were not told of yet.
    func look() {
        for number in rings.indices where rings[number].queue != nil {
            rings[number].hasMore = true
        }
        serveOn()
    }

    private func serve(_ number: Int) {
        let ring = rings[number]
        for _ in 0..<Self.requestsInTurn {
            // Looked at each time anew: handling a request may stop the ring.
            guard device.mayGoOn else { return }
            guard let ram, ring.queue != nil else {
                ring.hasMore = false
                return
            }
            switch ring.queue?.next(in: ram) ?? .none {
            case .none:
                guard ring.queue?.askForNext(in: ram) == true else {
                    ring.hasMore = false
                    return
                }
            case .chain(let chain): take(chain, number, ram)
            case .refused(let head, let refusal):
                device.refused(refusal, about: "request of ring \(number)")
                if ring.queue?.complete(head, written: 0, in: ram) != true {
                    breakRing(number, Refusal(.badLayout, "It does not lie in memory."))
                }
            case .broken(let refusal): breakRing(number, refusal)
            }
        }
    }

    private func take(_ chain: DescriptorChain, _ number: Int, _ ram: GuestRAM) {
        lastToken += 1
        inFlight[lastToken] = (number, chain)
        guard let request = chain.gather(from: ram) else {
            device.refused(
                Refusal(.badLayout, "A request does not lie in the guest's memory."),
                about: "request of ring \(number)")
            return complete(lastToken, [])
        }
        device.take(request, ring: number, token: lastToken, memory: ram.map)
    }

    /// Answers a request, once; one whose ring was stopped meanwhile is forgotten already.
    func complete(_ token: UInt64, _ answer: [UInt8]) {
        guard let (number, chain) = inFlight.removeValue(forKey: token), let ram else { return }
        var written = chain.scatter(answer, to: ram)
        if written == nil {
            device.refused(
                Refusal(.badLayout, "An answer's place does not lie in the guest's memory."),
                about: "request of ring \(number)")
            written = 0
        }
        if rings[number].queue?.complete(chain.head, written: written ?? 0, in: ram) == false {
            breakRing(number, Refusal(.badLayout, "It does not lie in memory."))
        }
    }

    /// Such a ring is let alone until the guest's driver sets it up anew.
    private func breakRing(_ number: Int, _ refusal: Refusal) {
        guard rings[number].queue != nil else { return }
        device.refused(refusal, about: "ring \(number)")
        machine.ringBroke(number)
        broken.insert(number)
        forget(number)
        let error = rings[number].error.number
        if error >= 0 { try? signal.signal(error) }
    }

    /// Tells the guest of answers, where it wants to be told; called after each batch.
    func notify() {
        guard let ram else { return }
        for number in rings.indices {
            guard rings[number].queue?.wantsNotification(in: ram) == true else { continue }
            let call = rings[number].call.number
            guard call >= 0 else { continue }
            do throws(KernelError) {
                try signal.signal(call)
            } catch {
                endReason = "its call descriptor cannot be signalled: \(error)"
            }
        }
    }
}

extension OwnedDescriptor {
    /// Hands the descriptor over and leaves none.
    fileprivate mutating func takeOut() -> OwnedDescriptor {
        let taken = self
        self = .none
        return taken
    }
}
