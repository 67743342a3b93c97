/// Where one VM's connection to its compositor stands: pure, one event in, actions out.
///
/// A compositor that comes back is met with all windows anew; one that keeps failing is tried ever
/// more rarely, so that a VM whose windows provoke protocol errors cannot keep the host busy.
struct CompositorMachine {
    enum Phase: CaseIterable, Sendable {
        /// About to connect.
        case connecting
        /// Connected; globals and formats are being collected.
        case binding
        /// Windows can be made.
        case ready
        /// Gone; what is left of it has to be cleared away.
        case lost
        /// Waiting for the next attempt.
        case backOff
        /// Nothing is wanted any more.
        case ended
    }

    enum Event: CaseIterable, Sendable {
        /// There is a socket.
        case connected
        /// There is none.
        case refused
        /// Globals and formats are complete.
        case bound
        /// The compositor lacks something without which no window can be shown.
        case unsuitable
        /// The connection ended in an error.
        case failed
        /// The time for the answers to `bind` is over.
        case silent
        /// Everything of the lost connection is destroyed.
        case cleared
        /// The time to wait is over.
        case retry
        /// The presenter ends.
        case end
    }

    /// What to do, in the order of the members.
    struct Actions: OptionSet, Sendable {
        let rawValue: UInt8
        /// Open the socket and answer `connected` or `refused`.
        static let connect = Actions(rawValue: 1)
        /// Ask for the globals, and say `silent` when `answerLimit` is over and they are not there.
        static let bind = Actions(rawValue: 2)
        /// Tell the session that windows can be made.
        static let tellReady = Actions(rawValue: 4)
        /// Destroy every object and the connection, then say `cleared`.
        static let clear = Actions(rawValue: 8)
        /// Tell the session that the consumer is lost.
        static let tellLost = Actions(rawValue: 16)
        /// Write the failure to the log: it is the first since the compositor was last there.
        static let log = Actions(rawValue: 32)
        /// Say `retry` after `delay`.
        static let wait = Actions(rawValue: 64)
    }

    /// First time to wait, nanoseconds.
    static let firstDelay: UInt64 = 100_000_000
    /// Longest time to wait for a compositor, nanoseconds.
    static let longestDelay: UInt64 = 5_000_000_000
    /// How long globals and formats may take, nanoseconds.
    static let answerLimit: UInt64 = 10_000_000_000
    /// Time to wait when the compositor is of no use or does not answer, nanoseconds.
    static let unsuitableDelay: UInt64 = 30_000_000_000
    /// A compositor that lasted so long is trusted again, nanoseconds.
    static let trustedAfter: UInt64 = 10_000_000_000

    private(set) var phase = Phase.connecting
    /// How long to wait now, nanoseconds.
    private(set) var delay = CompositorMachine.firstDelay
    private var nextDelay = CompositorMachine.firstDelay
    private var readySince: UInt64 = 0
    private var hasReported = false

    /// Takes an event; one that means nothing in the current phase changes nothing.
    ///
    /// - Parameters:
    ///   - event: what happened.
    ///   - now: nanoseconds of a monotonic clock.
    mutating func handle(_ event: Event, now: UInt64) -> Actions {
        switch (phase, event) {
        case (.ended, _): return []
        case (.binding, .end), (.ready, .end), (.lost, .end):
            phase = .ended
            return .clear
        case (_, .end):
            phase = .ended
            return []
        case (.connecting, .connected):
            phase = .binding
            return .bind
        case (.connecting, .refused):
            return report().union(backOff())
        case (.binding, .bound):
            phase = .ready
            readySince = now
            hasReported = false
            return .tellReady
        case (.binding, .unsuitable), (.binding, .silent):
            phase = .lost
            nextDelay = Self.unsuitableDelay
            return report().union(.clear)
        case (.binding, .failed):
            phase = .lost
            return report().union(.clear)
        case (.ready, .failed):
            phase = .lost
            hasReported = true
            if now >= readySince + Self.trustedAfter { nextDelay = Self.firstDelay }
            return [.clear, .tellLost]
        case (.lost, .cleared):
            return backOff()
        case (.backOff, .retry):
            phase = .connecting
            return .connect
        case (.connecting, _), (.binding, _), (.ready, _), (.lost, _), (.backOff, _):
            return []
        }
    }

    private mutating func backOff() -> Actions {
        phase = .backOff
        delay = nextDelay
        nextDelay =
            delay >= Self.longestDelay ? Self.longestDelay : min(delay * 2, Self.longestDelay)
        return .wait
    }

    private mutating func report() -> Actions {
        defer { hasReported = true }
        return hasReported ? [] : .log
    }
}
