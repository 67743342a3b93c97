import Logging

/// Writes log lines to standard error, "vm-bridge: warning: …", one write each. Text of guests is clean
/// when it comes here (CleanText); what is left of control characters is escaped all the same.
public struct StandardErrorLog: LogHandler {
    /// Least level that is written.
    public var logLevel: Logger.Level
    /// Kept for the interface; not written, since lines say in words what they are about.
    public var metadata: Logger.Metadata = [:]
    private let program: String

    /// A handler for a program's name.
    public init(program: String = "vm-bridge", level: Logger.Level) {
        self.program = program
        logLevel = level
    }

    /// A logger with this handler.
    public static func logger(level: Logger.Level) -> Logger {
        Logger(label: "vm-bridge") { _ in StandardErrorLog(level: level) }
    }

    /// Metadata by key; kept for the interface.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        var line = "\(program): "
        if event.level >= .warning || event.level <= .debug { line += "\(event.level): " }
        line += LogText.line(event.message.description)
        StandardError.write(line + "\n")
    }
}
