import CLinux

/// What a registration waits for.
public struct Interest: OptionSet, Sendable {
    /// The epoll bits.
    public let rawValue: UInt32
    /// From epoll bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Something to read, or a connection to accept.
    public static let read = Interest(rawValue: VMB_EPOLLIN)
    /// Room to write.
    public static let write = Interest(rawValue: VMB_EPOLLOUT)
    /// Told once for each change and not until it is taken away: for an eventfd that nobody reads.
    package static let edge = Interest(rawValue: VMB_EPOLLET)
}

/// What a descriptor is ready for. Errors and hang-ups are told whatever the interest.
public struct Readiness: OptionSet, Sendable {
    /// The epoll bits.
    public let rawValue: UInt32
    /// From epoll bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Something to read, or the end of it.
    public static let readable = Readiness(rawValue: VMB_EPOLLIN)
    /// Room to write.
    public static let writable = Readiness(rawValue: VMB_EPOLLOUT)
    /// An error is pending on the descriptor.
    public static let error = Readiness(rawValue: VMB_EPOLLERR)
    /// The other side is gone; what it sent may still be readable.
    public static let hangUp = Readiness(rawValue: VMB_EPOLLHUP)
}

/// One descriptor's registration with a loop. Stays different from all later ones in the same slot.
public struct Registration: Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32
}

/// One timer of a loop. Stays different from all later ones in the same slot.
public struct TimerID: Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32
}

/// Is told that a descriptor is ready. The loop holds it strongly until the registration is removed.
public protocol EventHandler: AnyObject {
    /// The descriptor of `registration` is ready. Level-triggered: told again until it is not.
    ///
    /// Do a bounded amount of work; whoever else is ready comes next.
    func ready(_ registration: Registration, _ readiness: Readiness)
}

/// Is told that a timer's time has come. The loop holds it strongly until the timer is removed.
public protocol TimerHandler: AnyObject {
    /// `timer` was due at or before `now` (nanoseconds, CLOCK_MONOTONIC). It is disarmed and may be armed again.
    func timerFired(_ timer: TimerID, now: UInt64)
}

/// Is told of signals, on the loop and not in a signal handler.
public protocol SignalHandler: AnyObject {
    /// Signal `number` arrived from the process `sender` (0: the kernel).
    func signalArrived(_ number: Int32, sender: Int32)
}

/// Is told that ``LoopWaker/wake()`` was called, from whatever thread; several calls may be told once.
public protocol WakeHandler: AnyObject {
    /// Look at what the other thread left.
    func woken()
}

/// Runs around every wait of the loop, in the order of registration.
public protocol LoopHook: AnyObject {
    /// Before every wait: write out what is buffered, get ready to read (`wl_display_prepare_read`).
    /// True if there is work already and the loop must only look, not wait.
    func loopWillWait() -> Bool
    /// After every batch of events, also an empty one.
    func loopDidDeliver()
}

extension LoopHook {
    /// Nothing to do, and the loop may wait.
    public func loopWillWait() -> Bool { false }
    /// Nothing to do.
    public func loopDidDeliver() {}
}

/// One hook's registration with a loop.
public struct HookID: Hashable, Sendable { let number: UInt32 }

/// The clock that every time in the loop refers to.
public enum MonotonicClock {
    /// Nanoseconds of CLOCK_MONOTONIC.
    public static func now() -> UInt64 { vmb_monotonic_nanoseconds() }
}
