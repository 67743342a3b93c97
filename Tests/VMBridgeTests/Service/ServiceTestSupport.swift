import CLinux
import Descriptors
import Glibc
import Logging
import Synchronization
import Testing

@testable import VMBridge

/// A bound datagram socket, as a service manager or the journal has one.
final class DatagramReceiver {
    private let descriptor: OwnedDescriptor
    let number: Int32

    /// Bound to a path, or to an abstract name if it begins with "@".
    init(_ name: String) throws {
        descriptor = OwnedDescriptor(
            owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_NONBLOCK | O_CLOEXEC, 0))
        number = descriptor.number
        let bytes = try #require(SocketName(name)).bytes
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = 2 + bytes.count + (bytes[0] == 0 ? 0 : 1)
        let answer = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(size))
            }
        }
        try #require(answer == 0, "bind: \(errno)")
    }

    /// The next datagram's bytes; nil when there is none now.
    func bytes() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 262_144)
        let count = recv(number, &buffer, buffer.count, 0)
        return count >= 0 ? Array(buffer.prefix(count)) : nil
    }

    /// The next datagram as text.
    func text() -> String? { bytes().map { String(decoding: $0, as: UTF8.self) } }

    /// All that is there.
    func texts() -> [String] {
        var all: [String] = []
        while let text = text() { all.append(text) }
        return all
    }
}

/// Keeps what is logged, with levels and metadata.
struct KeptLog: LogHandler {
    final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func append(_ line: String) { lines.withLock { $0.append(line) } }
    }

    let lines: Lines
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// "warning vm=work surface=1: text".
    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let fields = ["vm", "surface"].compactMap { key in all[key].map { " \(key)=\($0)" } }
        lines.append("\(event.level)\(fields.joined()): \(event.message)")
    }

    static func make() -> (Logger, Lines) {
        let lines = Lines()
        return (Logger(label: "kept") { _ in KeptLog(lines: lines) }, lines)
    }
}
