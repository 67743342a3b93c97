import Glibc
import Logging

/// Where a daemon's log lines go: to the journal when standard error is it, else to standard error.
public enum DaemonLog {
    /// The handler, to be used as it is or inside another that also keeps lines.
    ///
    /// - Parameter isStartedByManager: then standard error may be nothing at all (libvirt makes it /dev/null), and the journal, if there is
    ///   one, takes its place.
    public static func handler(level: Logger.Level, isStartedByManager: Bool = false)
        -> any LogHandler
    {
        let stream = getenv("JOURNAL_STREAM").map { String(cString: $0) }
        let isLost = isStartedByManager && DescriptorProbe.name(of: STDERR_FILENO) == "/dev/null"
        return JournalLog(level: level, stream: stream, isStream: isLost ? true : nil)
            ?? StandardErrorLog(level: level)
    }

    /// A logger with that handler.
    public static func logger(level: Logger.Level) -> Logger {
        Logger(label: "vm-bridge") { _ in handler(level: level) }
    }
}
