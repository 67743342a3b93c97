import Logging

/// One entry in the journal's native protocol (systemd, "Native Journal Protocol"): fields, each "NAME=value" and a line break, or for
/// values with line breaks NAME, a line break, the length as 64 bits little-endian, the value and a line break.
struct JournalEntry {
    /// A message longer than this is cut: an entry always fits into one datagram.
    static let longestValue = 32 * 1024
    /// The datagram.
    private(set) var bytes: [UInt8] = []

    /// Adds a field. The name is ours: capital letters, digits and underscores, beginning with a letter.
    mutating func add(_ name: StaticString, _ value: String) {
        var value = value[...].utf8
        let whole = value.count
        if whole > Self.longestValue {
            value = value.prefix(Self.longestValue)
            // Never in the middle of a character.
            while let last = value.last, last & 0xc0 == 0x80 { value = value.dropLast() }
            if let last = value.last, last >= 0xc0 { value = value.dropLast() }
        }
        let cut = whole - value.count
        let end = cut > 0 ? "… (\(cut) bytes more)" : ""
        bytes += Array(name.description.utf8)
        if value.contains(0x0a) {
            bytes.append(0x0a)
            let length = UInt64(value.count + end.utf8.count)
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: length >> shift))
            }
        } else {
            bytes.append(UInt8(ascii: "="))
        }
        bytes += value
        bytes += end.utf8
        bytes.append(0x0a)
    }

    /// An event as an entry.
    ///
    /// - Parameters:
    ///   - event: what to tell; its message is escaped.
    ///   - metadata: the logger's own; the event's counts for more. `vm` and `surface` become fields.
    ///   - program: `SYSLOG_IDENTIFIER`.
    init(_ event: LogEvent, metadata: Logger.Metadata, program: String) {
        add("MESSAGE", LogText.line(event.message.description))
        add("PRIORITY", Self.priority(event.level))
        add("SYSLOG_IDENTIFIER", program)
        if let vm = event.metadata?[LogText.vmKey] ?? metadata[LogText.vmKey] {
            add("VM", LogText.line(vm.description))
        }
        if let surface = event.metadata?[LogText.surfaceKey] ?? metadata[LogText.surfaceKey] {
            add("SURFACE", LogText.line(surface.description))
        }
    }

    /// An entry without fields.
    init() {}

    /// The level as syslog(3) numbers it.
    static func priority(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "7"
        case .info: "6"
        case .notice: "5"
        case .warning: "4"
        case .error: "3"
        case .critical: "2"
        }
    }
}
