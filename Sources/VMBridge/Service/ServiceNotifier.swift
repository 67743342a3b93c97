import CLinux
import Glibc
import Logging

/// Tells the service manager how the program fares, by datagrams to `NOTIFY_SOCKET` (sd_notify(3)).
///
/// Never waits: what the manager does not take at once is lost, which costs at worst a line of status or one beat of the watchdog,
/// and a note that decides something (ready, stopping) is the first or the last of a few. The first loss is logged.
public final class ServiceNotifier {
    /// Nanoseconds between two signs of life; nil when the manager has no watchdog for us.
    public let beatInterval: UInt64?
    private let socket: DatagramSocket
    private let name: SocketName
    private let logger: Logger
    private var hasToldOfLoss = false

    /// Half of what the manager waits, and never busier than a thousand times a second.
    private static func interval(_ environment: ServiceEnvironment, process: Int32) -> UInt64? {
        guard
            let limit = ServiceEnvironment.number(
                environment.watchdogMicroseconds, as: UInt64.self), limit > 0
        else { return nil }
        if let meant = environment.watchdogProcess {
            // For another process; the same variable on the way to us.
            guard ServiceEnvironment.number(meant, as: Int32.self) == process else { return nil }
        }
        let (nanoseconds, overflow) = limit.multipliedReportingOverflow(by: 500)
        return max(overflow ? UInt64.max / 2 : nanoseconds, 1_000_000)
    }

    /// Gets ready to tell; nil when nobody wants to know, or not by a unix socket.
    ///
    /// - Parameters:
    ///   - environment: what the manager said.
    ///   - process: our own number.
    ///   - logger: for what is wrong with it.
    public init?(_ environment: ServiceEnvironment, process: Int32 = getpid(), logger: Logger) {
        guard let text = environment.notifySocket else { return nil }
        guard let name = SocketName(text) else {
            logger.warning(
                "NOTIFY_SOCKET names no unix socket: the service manager is told nothing")
            return nil
        }
        do throws(KernelError) {
            socket = try DatagramSocket()
        } catch {
            logger.warning("the service manager is told nothing: \(error)")
            return nil
        }
        self.name = name
        self.logger = logger
        beatInterval = Self.interval(environment, process: process)
    }

    /// Everything that others may rely on is there; also ends a reload.
    public func ready(_ status: String) { send("READY=1\nSTATUS=\(Self.line(status))") }

    /// How things are, in one line.
    public func status(_ text: String) { send("STATUS=\(Self.line(text))") }

    /// The configuration is being read again; `ready` says that it is done.
    public func reloading() {
        send("RELOADING=1\nMONOTONIC_USEC=\(MonotonicClock.now() / 1000)")
    }

    /// The end has begun.
    public func stopping() { send("STOPPING=1\nSTATUS=Ending") }

    /// A sign of life.
    public func beat() { send("WATCHDOG=1") }

    /// A line break would begin another note.
    private static func line(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }))
    }

    private func send(_ text: String) {
        let result = socket.send(Array(text.utf8), to: name)
        guard result != .sent, !hasToldOfLoss else { return }
        hasToldOfLoss = true
        let why =
            switch result {
            case .sent, .closed: "nobody listens on \(name)"
            case .wouldBlock: "its queue is full"
            case .failed(let code): KernelError.text(of: code)
            }
        logger.warning("the service manager does not take our notes: \(why)")
    }
}
