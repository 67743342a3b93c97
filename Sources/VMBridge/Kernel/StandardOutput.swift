import Glibc

/// Standard output without C's `stdout` and its buffer: what is written is out.
package enum StandardOutput {
    /// Whether a person looks at it.
    package static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Writes all bytes; false when nobody takes them any more.
    @discardableResult
    package static func write(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            // UNSAFE: the array is lent for the call and only read; the offset is below its count.
            let written = bytes.withUnsafeBytes {
                Glibc.write(STDOUT_FILENO, $0.baseAddress.map { $0 + done }, $0.count - done)
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return false }
            done += written
        }
        return true
    }

    /// Writes a line.
    @discardableResult
    package static func write(line: String) -> Bool { write(Array((line + "\n").utf8)) }
}
