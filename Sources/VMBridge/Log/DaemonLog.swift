import Glibc
import Logging

/// Where a daemon's log lines go: to the journal when standard error is it, else to standard error.
public enum DaemonLog {
    /// The handler, to be used as it is or inside another that also keeps lines.
    public static func handler(level: Logger.Level) -> any LogHandler {
        let stream = getenv("JOURNAL_STREAM").map { String(cString: $0) }
        return JournalLog(level: level, stream: stream) ?? StandardErrorLog(level: level)
    }

    /// A logger with that handler.
    public static func logger(level: Logger.Level) -> Logger {
        Logger(label: "vm-bridge") { _ in handler(level: level) }
    }
}
