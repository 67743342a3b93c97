import VMBridgeCore

/// Keeps the service manager informed of a bridge: ready, what it does, reloads, signs of life, the end.
///
/// Signs of life come from a timer of the loop that everything runs on, so one that is stuck is found out. The status is looked at
/// with each sign of life and a second after something has happened, and sent when it has changed: an idle bridge wakes for the
/// watchdog alone, one without a watchdog not at all.
public final class ServiceReporter {
    private let notifier: ServiceNotifier
    private let watch: Watch

    /// What the loop calls.
    private final class Watch: LoopHook, TimerHandler {
        private let notifier: ServiceNotifier
        private let loop: EventLoop
        private let line: () -> String
        private var beat: TimerID?
        private var look: TimerID?
        private var hook: HookID?
        private var told: String
        /// The look is due in a second or less.
        private var isLooking = false
        /// A timer of ours fired in this batch: the look is at its end, when whatever else came has been dealt with.
        private var looksNow = false

        static let lookInterval: UInt64 = 1_000_000_000

        init(_ notifier: ServiceNotifier, _ loop: EventLoop, _ line: @escaping () -> String) {
            self.notifier = notifier
            self.loop = loop
            self.line = line
            told = line()
            notifier.ready(told)
            hook = loop.addHook(self)
            look = loop.makeTimer(self)
            if let interval = notifier.beatInterval {
                let timer = loop.makeTimer(self)
                loop.arm(timer, after: interval)
                beat = timer
                notifier.beat()
            }
        }

        func timerFired(_ timer: TimerID, now: UInt64) {
            looksNow = true
            if timer == beat, let interval = notifier.beatInterval {
                notifier.beat()
                loop.arm(timer, after: interval)
            } else {
                isLooking = false
            }
        }

        func loopDidDeliver() {
            if looksNow {
                looksNow = false
                let line = line()
                if line != told { notifier.status(line) }
                told = line
            } else if !isLooking, let look {
                isLooking = true
                loop.arm(look, after: Self.lookInterval)
            }
        }

        /// After a reload: all is well again, and so it stands.
        func reloaded() {
            told = line()
            notifier.ready(told)
        }

        func end() {
            if let beat { loop.remove(beat) }
            if let look { loop.remove(look) }
            if let hook { loop.remove(hook) }
        }
    }

    /// Tells that the bridge is ready and goes on telling: make it when all sockets listen.
    ///
    /// - Parameters:
    ///   - notifier: the way to the manager.
    ///   - loop: the bridge's, for timers.
    ///   - status: how its VMs are; asked about once a second at most.
    public init(
        _ notifier: ServiceNotifier, loop: EventLoop, status: @escaping () -> [VMStatus]
    ) {
        self.notifier = notifier
        watch = Watch(notifier, loop) { ServiceReporter.line(status()) }
    }

    /// Tells that a reload begins, does it, and tells that it is done.
    public func whileReloading(_ reload: () -> Void) {
        notifier.reloading()
        reload()
        watch.reloaded()
    }

    /// Tells that the end has begun, and is silent from then on.
    public func ending() {
        notifier.stopping()
        watch.end()
    }

    /// "2 VMs, 1 connected, 3 surfaces", and which VMs have nothing to show on.
    static func line(_ status: [VMStatus]) -> String {
        let connected = status.count { $0.isConnected }
        let surfaces = status.reduce(0) { $0 + $1.surfaces.count { !$0.isGone } }
        let waiting = status.filter { !$0.isPresenting }.map(\.name)
        var line =
            "\(count(status.count, "VM")), \(connected) connected, \(count(surfaces, "surface"))"
        if !waiting.isEmpty {
            line += "; no windows for now: " + waiting.prefix(4).joined(separator: ", ")
            if waiting.count > 4 { line += " and \(waiting.count - 4) more" }
        }
        return line
    }

    private static func count(_ number: Int, _ word: String) -> String {
        "\(number) \(word)\(number == 1 ? "" : "s")"
    }
}
