import Glibc

/// What a service manager says in the environment of a program that it starts: sd_listen_fds(3), sd_notify(3) and
/// sd_watchdog_enabled(3). Texts as they are; whoever uses one checks it.
public struct ServiceEnvironment: Sendable, Equatable {
    /// The process that the descriptors are meant for.
    public var listenProcess: String?
    /// How many there are, from descriptor 3 on.
    public var listenCount: String?
    /// Their names, with colons between.
    public var listenNames: String?
    /// The socket that takes notes on how the service fares.
    public var notifySocket: String?
    /// After how many microseconds of silence the manager acts.
    public var watchdogMicroseconds: String?
    /// The process that the watchdog is meant for; without it any.
    public var watchdogProcess: String?

    /// Nothing: nobody manages the program.
    public init() {}

    /// Reads the variables and removes them, so that programs that we start do not take them for theirs. Once, before any thread
    /// starts: removing a variable is not safe beside others that read it.
    public static func take() -> ServiceEnvironment {
        var environment = ServiceEnvironment()
        environment.listenProcess = take("LISTEN_PID")
        environment.listenCount = take("LISTEN_FDS")
        environment.listenNames = take("LISTEN_FDNAMES")
        environment.notifySocket = take("NOTIFY_SOCKET")
        environment.watchdogMicroseconds = take("WATCHDOG_USEC")
        environment.watchdogProcess = take("WATCHDOG_PID")
        // A second way of newer managers to say whom the descriptors are meant for; the first is always there.
        _ = take("LISTEN_PIDFDID")
        return environment
    }

    private static func take(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        unsetenv(name)
        return text
    }

    /// A whole number as managers write it, digits alone; nil for anything else.
    static func number<Number: FixedWidthInteger>(_ text: String?, as type: Number.Type) -> Number?
    {
        guard let text, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Number(text)
    }
}
