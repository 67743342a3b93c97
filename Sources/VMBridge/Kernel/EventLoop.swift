import CLinux
import Descriptors
import Glibc

/// The one loop of the daemon: descriptors, timers, signals and wake-ups on one thread.
///
/// Level-triggered epoll. Everything but ``waker`` belongs to the thread that runs it. No event allocates: handlers are objects
/// stored at registration, events carry a slot number and its generation, so an event that was fetched for a registration
/// removed meanwhile reaches nobody.
public final class EventLoop {
    private struct Slot {
        var handler: (any EventHandler)?
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        var interest: Interest = []
    }

    // Slot numbers of our own descriptors, above every index of `slots`.
    private enum Own {
        static let timer = UInt32.max
        static let signal = UInt32.max - 1
        static let wake = UInt32.max - 2
    }

    private static let batch = 64

    private let epoll: OwnedDescriptor
    private let timerDescriptor: OwnedDescriptor
    private var signalDescriptor = OwnedDescriptor.none
    /// Wakes this loop from other threads.
    public let waker: LoopWaker

    private let events: UnsafeMutablePointer<vmb_epoll_event>
    private var slots: ContiguousArray<Slot> = []
    private var free: ContiguousArray<UInt32> = []
    private var timers = TimerHeap()
    // What the timerfd is set to; 0 is disarmed.
    private var programmed: UInt64 = 0
    // While timers fire: the time they are judged by. A timer armed meanwhile comes after it, so firing ends.
    private var firing: UInt64 = 0
    private var hooks: ContiguousArray<(id: HookID, hook: any LoopHook)> = []
    private var wakeHandlers: ContiguousArray<(id: HookID, handler: any WakeHandler)> = []
    private var nextHook: UInt32 = 0
    private var signalHandler: (any SignalHandler)?
    private var previousSignals: UInt64?
    private var stopping = false
    /// Events that came for a registration already removed. A number that grows steadily means that a descriptor was closed
    /// before its registration was removed, while a copy of it lives on elsewhere.
    public private(set) var staleEvents = 0

    /// A loop with its own epoll, timer and wake-up descriptors.
    public init() throws(KernelError) {
        let epoll = OwnedDescriptor(owning: try check(vmb_epoll_create(), "epoll_create1"))
        let timer = OwnedDescriptor(owning: try check(vmb_timerfd(), "timerfd_create"))
        let waker = LoopWaker(try EventFile.make())
        for (number, slot) in [(timer.number, Own.timer), (waker.number, Own.wake)] {
            let event = Self.event(.read, slot: slot, generation: 0)
            try check(
                vmb_epoll_control(epoll.number, VMB_EPOLL_ADD, number, event), "epoll_ctl")
        }
        self.epoll = epoll
        self.timerDescriptor = timer
        self.waker = waker
        // UNSAFE: the kernel fills this array during the wait; it lives exactly as long as the loop.
        self.events = .allocate(capacity: Self.batch)
        events.initialize(repeating: vmb_epoll_event(), count: Self.batch)
    }

    deinit {
        if let previousSignals { _ = vmb_signal_set_mask(previousSignals) }
        events.deallocate()
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    public func now() -> UInt64 { MonotonicClock.now() }

    // MARK: descriptors

    /// Watches `descriptor`, which stays the caller's. **Remove the registration before closing it**: epoll watches the open file,
    /// which lives on in every copy, also one that a peer holds.
    ///
    /// `EPERM` for regular files and directories, `EEXIST` for a descriptor that is registered already.
    public func register(
        _ descriptor: Int32, _ interest: Interest, _ handler: any EventHandler
    ) throws(KernelError) -> Registration {
        let slot = free.popLast() ?? UInt32(slots.count)
        if Int(slot) == slots.count { slots.append(Slot()) }
        let generation = slots[Int(slot)].generation
        do throws(KernelError) {
            try control(.add, descriptor, interest, slot, generation)
        } catch {
            free.append(slot)
            throw error
        }
        slots[Int(slot)] = Slot(
            handler: handler, descriptor: descriptor, generation: generation, interest: interest)
        return Registration(slot: slot, generation: generation)
    }

    /// The same with a closure, stored once.
    public func register(
        _ descriptor: Int32, _ interest: Interest, _ body: @escaping (Readiness) -> Void
    ) throws(KernelError) -> Registration {
        try register(descriptor, interest, ClosureHandler(ready: body))
    }

    /// Changes what is waited for; one call to the kernel, none if nothing changes. Without any interest the descriptor is not watched at
    /// all, so that a peer's hang-up does not spin a paused loop.
    public func setInterest(
        _ registration: Registration, _ interest: Interest
    ) throws(KernelError) {
        guard let index = index(registration) else { return }
        let old = slots[index].interest
        guard interest != old else { return }
        let operation: Operation = interest.isEmpty ? .delete : old.isEmpty ? .add : .modify
        try control(
            operation, slots[index].descriptor, interest, registration.slot,
            registration.generation)
        slots[index].interest = interest
    }

    /// What `registration` waits for; nil once it is removed.
    public func interest(_ registration: Registration) -> Interest? {
        index(registration).map { slots[$0].interest }
    }

    /// Ends a registration; its handler is never called again, also not for events already fetched. A second call does nothing.
    public func remove(_ registration: Registration) {
        guard let index = index(registration) else { return }
        if !slots[index].interest.isEmpty {
            // Fails only if the descriptor was closed before; there is nothing left to undo then.
            _ = vmb_epoll_control(
                epoll.number, VMB_EPOLL_DELETE, slots[index].descriptor, vmb_epoll_event())
        }
        // The handler must outlive the change of `slots`: its deinit may come back here.
        let handler = slots[index].handler.take()
        slots[index].descriptor = -1
        slots[index].interest = []
        slots[index].generation &+= 1
        free.append(registration.slot)
        withExtendedLifetime(handler) {}
    }

    // MARK: timers

    /// A timer, not armed yet.
    public func makeTimer(_ handler: any TimerHandler) -> TimerID { timers.add(handler) }

    /// The same with a closure, stored once; it is given the time.
    public func makeTimer(_ body: @escaping (UInt64) -> Void) -> TimerID {
        timers.add(ClosureHandler(fired: body))
    }

    /// Fires `timer` once at `deadline` (nanoseconds, CLOCK_MONOTONIC), instead of when it was armed for before. A past deadline
    /// fires soon, never from inside this call.
    public func arm(_ timer: TimerID, at deadline: UInt64) {
        timers.arm(timer, at: max(deadline, firing + 1))
    }

    /// Fires `timer` once, `nanoseconds` from now.
    public func arm(_ timer: TimerID, after nanoseconds: UInt64) {
        let (deadline, overflow) = now().addingReportingOverflow(nanoseconds)
        arm(timer, at: overflow ? .max : deadline)
    }

    /// The timer does not fire unless it is armed again.
    public func disarm(_ timer: TimerID) { timers.disarm(timer) }

    /// When `timer` fires; nil when it is not armed.
    public func deadline(_ timer: TimerID) -> UInt64? { timers.deadline(timer) }

    /// Ends a timer; its handler is never called again.
    public func remove(_ timer: TimerID) {
        let handler = timers.remove(timer)
        withExtendedLifetime(handler) {}
    }

    // MARK: signals, wake-ups, hooks

    /// Blocks `signals` for the calling thread and those that it starts later, and tells `handler` of them instead. Once per loop, before
    /// any other thread starts. The mask is put back when the loop goes.
    public func watchSignals(
        _ signals: [Int32], _ handler: any SignalHandler
    ) throws(KernelError) {
        guard signalHandler == nil else { throw KernelError("signalfd", EEXIST) }
        var mask: UInt64 = 0
        for number in signals {
            guard (1...64).contains(number) else { throw KernelError("signalfd", EINVAL) }
            mask |= 1 << UInt64(number - 1)
        }
        let descriptor = OwnedDescriptor(owning: try check(vmb_signalfd(mask), "signalfd"))
        let event = Self.event(.read, slot: Own.signal, generation: 0)
        try check(
            vmb_epoll_control(epoll.number, VMB_EPOLL_ADD, descriptor.number, event), "epoll_ctl")
        var previous: UInt64 = 0
        try check(vmb_signal_block(mask, &previous), "pthread_sigmask")
        signalDescriptor = descriptor
        signalHandler = handler
        previousSignals = previous
    }

    /// Calls `handler` on the loop after ``LoopWaker/wake()``.
    @discardableResult
    public func addWakeHandler(_ handler: any WakeHandler) -> HookID {
        let id = makeHookID()
        wakeHandlers.append((id, handler))
        return id
    }

    /// Calls `hook` around every wait. Not to be removed and added in the frame path: registered once.
    @discardableResult
    public func addHook(_ hook: any LoopHook) -> HookID {
        let id = makeHookID()
        hooks.append((id, hook))
        return id
    }

    /// Ends a hook's or wake handler's registration. During a round of hooks, one that follows may be passed over in that round.
    public func remove(_ id: HookID) {
        hooks.removeAll { $0.id == id }
        wakeHandlers.removeAll { $0.id == id }
    }

    private func makeHookID() -> HookID {
        nextHook += 1
        return HookID(number: nextHook)
    }

    // MARK: running

    /// Waits and delivers until ``stop()``.
    public func run() throws(KernelError) {
        stopping = false
        while !stopping { try runOnce() }
    }

    /// Ends ``run()`` after the current batch. On the loop's thread only; another thread wakes a handler that calls it.
    public func stop() { stopping = true }

    /// Waits once, at most `milliseconds` (-1: until something happens, 0: not at all), and delivers what came.
    ///
    /// Returns the number of events that came (our own descriptors' included).
    @discardableResult
    public func runOnce(milliseconds: Int32 = -1) throws(KernelError) -> Int {
        var patience = milliseconds
        var hook = 0
        while hook < hooks.count {
            if hooks[hook].hook.loopWillWait() { patience = 0 }
            hook += 1
        }
        if stopping { patience = 0 }
        try programTimer()
        let answer = vmb_epoll_wait(epoll.number, events, Int32(Self.batch), patience)
        // A signal outside our set interrupts the wait: an empty batch.
        let count = answer == -EINTR ? 0 : Int(try check(answer, "epoll_wait"))
        for index in 0..<count { deliver(events[index]) }
        hook = 0
        while hook < hooks.count {
            hooks[hook].hook.loopDidDeliver()
            hook += 1
        }
        return count
    }

    private func deliver(_ event: vmb_epoll_event) {
        switch event.slot {
        case Own.timer: fireTimers()
        case Own.signal: readSignals()
        case Own.wake: wakeUp()
        default:
            let index = Int(event.slot)
            guard index < slots.count, slots[index].generation == event.generation,
                let handler = slots[index].handler
            else {
                staleEvents += 1
                return
            }
            // An earlier handler of this batch may have taken interest away.
            let interest = slots[index].interest
            let told = event.events & (interest.rawValue | VMB_EPOLLERR | VMB_EPOLLHUP)
            guard told != 0, !interest.isEmpty else { return }
            handler.ready(
                Registration(slot: event.slot, generation: event.generation),
                Readiness(rawValue: told))
        }
    }

    private func programTimer() throws(KernelError) {
        let earliest = timers.earliest ?? 0
        guard earliest != programmed else { return }
        try check(vmb_timerfd_set(timerDescriptor.number, earliest), "timerfd_settime")
        programmed = earliest
    }

    private func fireTimers() {
        var expirations: UInt64 = 0
        _ = withUnsafeMutableBytes(of: &expirations) {
            read(timerDescriptor.number, $0.baseAddress, $0.count)
        }
        programmed = 0
        let now = now()
        firing = now
        while let (timer, handler) = timers.popDue(now) {
            handler.timerFired(timer, now: now)
        }
        firing = 0
    }

    private func readSignals() {
        var number: Int32 = 0
        var sender: Int32 = 0
        while vmb_signalfd_read(signalDescriptor.number, &number, &sender) > 0 {
            signalHandler?.signalArrived(number, sender: sender)
        }
    }

    private func wakeUp() {
        waker.drain()
        var index = 0
        while index < wakeHandlers.count {
            wakeHandlers[index].handler.woken()
            index += 1
        }
    }

    // MARK: epoll

    private enum Operation: Int32 {
        case add = 1
        case delete
        case modify
    }

    private func control(
        _ operation: Operation, _ descriptor: Int32, _ interest: Interest, _ slot: UInt32,
        _ generation: UInt32
    ) throws(KernelError) {
        // Adding without interest would still report hang-ups.
        if operation == .add, interest.isEmpty { return }
        let event = Self.event(interest, slot: slot, generation: generation)
        try check(
            vmb_epoll_control(epoll.number, operation.rawValue, descriptor, event), "epoll_ctl")
    }

    private static func event(
        _ interest: Interest, slot: UInt32, generation: UInt32
    ) -> vmb_epoll_event {
        var event = vmb_epoll_event()
        event.events = interest.rawValue
        event.slot = slot
        event.generation = generation
        return event
    }

    private func index(_ registration: Registration) -> Int? {
        let index = Int(registration.slot)
        guard index < slots.count, slots[index].generation == registration.generation,
            slots[index].handler != nil
        else { return nil }
        return index
    }
}

/// Lets a closure be a handler.
private final class ClosureHandler: EventHandler, TimerHandler {
    private let ready: ((Readiness) -> Void)?
    private let fired: ((UInt64) -> Void)?

    init(ready: ((Readiness) -> Void)? = nil, fired: ((UInt64) -> Void)? = nil) {
        self.ready = ready
        self.fired = fired
    }

    func ready(_ registration: Registration, _ readiness: Readiness) { ready?(readiness) }
    func timerFired(_ timer: TimerID, now: UInt64) { fired?(now) }
}
