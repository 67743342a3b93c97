import CWayland
import Glibc
import Synchronization

/// Where libwayland's messages go: among them the text of a protocol error, which is told nowhere
/// else.
public enum WaylandLog {
    private static let receiver = Mutex<(@Sendable (String) -> Void)?>(nil)

    /// Gives every message of libwayland to `receive`, for all connections of the process, instead
    /// of writing it to standard error. Lines come without their end, cut at 1 kB, on the thread
    /// that talks to libwayland. Text in them comes from the compositor: it is not to be trusted.
    public static func set(_ receive: @escaping @Sendable (String) -> Void) {
        receiver.withLock { $0 = receive }
        wl_log_set_handler_client { format, arguments in
            // Optional or not, by machine.
            let list: CVaListPointer? = arguments
            guard let format, let list else { return }
            let line = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
                buffer.initialize(repeating: 0)
                _ = vsnprintf(buffer.baseAddress, buffer.count, format, list)
                return buffer.baseAddress.map { String(cString: $0) } ?? ""
            }
            // Taken out first: the receiver may log through libwayland itself.
            let receive = WaylandLog.receiver.withLock { $0 }
            receive?(String(line.drop(while: \.isNewline).prefix { !$0.isNewline }))
        }
    }
}
