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
        /// The compositor was asked for a connection that bears the VM's name.
        case arranging
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
        /// It offers connections that bear a name, and one was asked for.
        case offered
        /// That connection can be used.
        case arranged
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
        let rawValue: UInt16
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
        /// Say `arranged` when the compositor has handled all so far, `silent` if that takes too long.
        static let awaitArranged = Actions(rawValue: 128)
        /// Leave the connection for the one that was arranged.
        static let enter = Actions(rawValue: 256)
        /// Write to the log that the next connection bears no name, and why.
        static let logNameless = Actions(rawValue: 512)
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
    /// The connection bears the VM's name.
    private(set) var isNamed = false
    /// A name was tried with this compositor and came to nothing: it must not cost the windows.
    private var isNamelessByFailure = false
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
        case (.arranging, .end):
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
        case (.binding, .offered) where wantsName:
            phase = .arranging
            return .awaitArranged
        case (.arranging, .arranged):
            phase = .binding
            isNamed = true
            return .enter
        case (.arranging, .failed), (.arranging, .silent):
            return giveUpName()
        case (.binding, .unsuitable) where isNamed, (.binding, .silent) where isNamed,
            (.binding, .failed) where isNamed:
            return giveUpName()
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
            // Whoever comes back may be another.
            isNamed = false
            isNamelessByFailure = false
            if now >= readySince + Self.trustedAfter { nextDelay = Self.firstDelay }
            return [.clear, .tellLost]
        case (.lost, .cleared) where isNamed:
            // The compositor is there: it is met again at once, without a name.
            isNamed = false
            phase = .connecting
            return .connect
        case (.lost, .cleared):
            return backOff()
        case (.backOff, .retry):
            phase = .connecting
            return .connect
        case (.connecting, _), (.binding, _), (.arranging, _), (.ready, _), (.lost, _),
            (.backOff, _):
            return []
        }
    }

    /// Whether a connection that bears the VM's name is to be asked for, where it is offered.
    var wantsName: Bool { phase == .binding && !isNamed && !isNamelessByFailure }

    private mutating func giveUpName() -> Actions {
        phase = .lost
        // Until it is cleared away: what then follows goes by it.
        isNamed = true
        isNamelessByFailure = true
        return [.logNameless, .clear]
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
