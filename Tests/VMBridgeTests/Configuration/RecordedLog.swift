import Logging
import Synchronization

/// A log in memory.
final class RecordedLog: Sendable {
    private let recorded = Mutex<[String]>([])

    /// What was said so far: "level: text".
    var lines: [String] { recorded.withLock { $0 } }

    /// Writes into this log.
    var logger: Logger {
        var logger = Logger(label: "test") { [self] _ in Handler(log: self) }
        logger.logLevel = .debug
        return logger
    }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.recorded.withLock { $0.append("\(event.level): \(event.message)") }
        }
    }
}
