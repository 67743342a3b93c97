import Glibc

/// Standard error without C's `stderr`, a global variable that Swift 6 refuses to read.
package enum StandardError {
    /// Whether a person looks at it.
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a text in one call; what is not taken is lost, so a full pipe never stops the loop for long.
    package static func write(_ text: String) {
        var text = text
        // UNSAFE: the text is lent for the call and only read.
        text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
