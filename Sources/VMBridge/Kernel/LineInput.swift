import Glibc

/// Lines of standard input for a program that runs on the loop: told one by one, never waited for.
package final class LineInput {
    private let loop: EventLoop
    private var registration: Registration?
    private var pending: [UInt8] = []
    private var lines: [String] = []
    private var isAtEnd = false
    /// Called when a line, or the end, can be taken.
    package var onChange: (() -> Void)?

    /// What a look for a line gave.
    package enum Answer: Equatable, Sendable {
        /// A line, without its end.
        case line(String)
        /// None yet.
        case later
        /// There will be none.
        case end
    }

    /// Watches standard input. What epoll does not watch, a regular file, is always ready and read when looked at.
    package init(loop: EventLoop) {
        self.loop = loop
        registration = try? loop.register(STDIN_FILENO, .read) { [unowned self] _ in self.ready() }
    }

    /// The next line.
    package func take() -> Answer {
        if lines.isEmpty, !isAtEnd, registration == nil { read() }
        if !lines.isEmpty { return .line(lines.removeFirst()) }
        return isAtEnd ? .end : .later
    }

    /// Watches no more.
    package func close() {
        if let registration { loop.remove(registration) }
        registration = nil
    }

    private func ready() {
        read()
        onChange?()
    }

    private func read() {
        var bytes = [UInt8](repeating: 0, count: 4096)
        // UNSAFE: the array is lent for the call, and the kernel writes within its length.
        let count = bytes.withUnsafeMutableBytes {
            Glibc.read(STDIN_FILENO, $0.baseAddress, $0.count)
        }
        if count < 0 && (errno == EINTR || errno == EAGAIN) { return }
        guard count > 0 else {
            isAtEnd = true
            if !pending.isEmpty { lines.append(String(decoding: pending, as: UTF8.self)) }
            pending = []
            return close()
        }
        for byte in bytes.prefix(count) {
            if byte == UInt8(ascii: "\n") {
                lines.append(String(decoding: pending, as: UTF8.self))
                pending = []
            } else if pending.count < 4096 {
                pending.append(byte)
            }
        }
    }
}
