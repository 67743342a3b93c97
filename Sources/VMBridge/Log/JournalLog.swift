import CLinux
import Glibc
import Logging
import Synchronization

/// Writes log lines to the journal by its native protocol: `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER`, and for what is about a VM or
/// one of its surfaces `VM` and `SURFACE`.
///
/// Never waits. While the journal's queue is full entries are lost and counted, and the number is told with the next that passes. If
/// there is no journal to be reached at all, lines go to standard error, as if it had never been tried.
public struct JournalLog: LogHandler {
    /// Least level that is written.
    public var logLevel: Logger.Level
    /// `vm` and `surface` become fields, see `LogText`; others are not written.
    public var metadata: Logger.Metadata = [:]
    private let program: String
    private let link: JournalLink
    private let fallback: StandardErrorLog

    /// Where the journal listens.
    public static let socketPath = "/run/systemd/journal/socket"

    /// A handler for a program's name; nil when standard error is not the journal, or it cannot be reached.
    ///
    /// - Parameters:
    ///   - program: `SYSLOG_IDENTIFIER`.
    ///   - level: least level that is written.
    ///   - stream: what `JOURNAL_STREAM` says: "device:inode" of the stream to the journal.
    ///   - descriptor: standard error.
    ///   - path: where the journal listens.
    ///   - isStream: whether standard error counts as the journal; nil to find out.
    public init?(
        program: String = "vm-bridge", level: Logger.Level, stream: String?,
        descriptor: Int32 = STDERR_FILENO, path: String = JournalLog.socketPath,
        isStream: Bool? = nil
    ) {
        // Also set for those whose standard error was redirected since: the file decides.
        guard isStream ?? Self.isStream(stream, descriptor), let name = SocketName(path),
            let socket = try? DatagramSocket()
        else { return nil }
        self.program = program
        logLevel = level
        link = JournalLink(socket, name)
        fallback = StandardErrorLog(program: program, level: level)
    }

    /// Whether "device:inode" is that descriptor's file.
    static func isStream(_ stream: String?, _ descriptor: Int32) -> Bool {
        let parts = (stream ?? "").split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let device = UInt64(parts[0]), let inode = UInt64(parts[1]) else {
            return false
        }
        var facts = vmb_file_facts()
        return vmb_file_facts(descriptor, &facts) == 0 && facts.device == device
            && facts.inode == inode
    }

    /// Metadata by key.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Sends one entry.
    public func log(event: LogEvent) {
        let entry = JournalEntry(event, metadata: metadata, program: program)
        switch link.send(entry.bytes) {
        case .sent:
            let lost = link.takeLost()
            if lost > 0 { tellLost(lost) }
        case .wouldBlock: link.lose(1)
        case .closed, .failed: fallback.log(event: event)
        }
    }

    private func tellLost(_ count: Int) {
        var entry = JournalEntry()
        entry.add(
            "MESSAGE", "\(count) lines before this one are lost: the journal's queue was full")
        entry.add("PRIORITY", JournalEntry.priority(.warning))
        entry.add("SYSLOG_IDENTIFIER", program)
        if link.send(entry.bytes) != .sent { link.lose(count) }
    }
}

/// What all copies of a handler share. Safe from every thread.
private final class JournalLink: Sendable {
    private let socket: DatagramSocket
    private let name: SocketName
    private let lost = Atomic<Int>(0)

    init(_ socket: DatagramSocket, _ name: SocketName) {
        self.socket = socket
        self.name = name
    }

    func send(_ bytes: [UInt8]) -> SendResult { socket.send(bytes, to: name) }
    func lose(_ count: Int) { lost.add(count, ordering: .relaxed) }
    func takeLost() -> Int {
        // Looked at first: nothing was lost, as a rule.
        lost.load(ordering: .relaxed) == 0 ? 0 : lost.exchange(0, ordering: .relaxed)
    }
}
