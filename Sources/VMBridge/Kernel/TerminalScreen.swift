import Glibc

/// The terminal on standard input and output, for a program that draws in place.
///
/// Everything that `enter` changes is put back by `leave`, which may be called at any time.
package final class TerminalScreen {
    private var saved: termios?

    /// Nil when standard input or output is no terminal.
    package init?() {
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1 else { return nil }
    }

    deinit { if saved != nil { leave(with: "") } }

    /// Standard input, lent.
    package var input: Int32 { STDIN_FILENO }

    /// Columns and rows; 80 × 24 when the terminal does not say.
    package var size: (columns: Int, rows: Int) {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0
        else { return (80, 24) }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Keys come one by one and are not shown; signals from keys stay. Then `text` is written.
    package func enter(with text: String) {
        var state = termios()
        if saved == nil, tcgetattr(STDIN_FILENO, &state) == 0 {
            saved = state
            state.c_lflag &= ~tcflag_t(ICANON | ECHO)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &state)
        }
        write(text)
    }

    /// Writes `text` and puts back what `enter` changed.
    package func leave(with text: String) {
        write(text)
        guard var state = saved else { return }
        saved = nil
        // Keys that nobody read are not for the shell.
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &state)
    }

    /// Writes all of a text; false when the terminal is gone.
    @discardableResult
    package func write(_ text: String) -> Bool {
        var text = text
        // UNSAFE: the text is lent for the calls and only read.
        return text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let answer = Glibc.write(
                    STDOUT_FILENO, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if answer > 0 {
                    done += answer
                } else if answer < 0, errno == EAGAIN {
                    var waiting = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                    if poll(&waiting, 1, 1000) == 0 { return false }
                } else if answer == 0 || errno != EINTR {
                    return false
                }
            }
            return true
        }
    }

    /// Takes the bytes that are there. Only when the terminal is readable: else it waits.
    ///
    /// - Returns: none when the terminal is gone.
    package func read() -> [UInt8] {
        // UNSAFE: the kernel fills at most the capacity that it is told, and says how much.
        [UInt8](unsafeUninitializedCapacity: 64) { bytes, count in
            repeat {
                count = max(Glibc.read(STDIN_FILENO, bytes.baseAddress, 64), 0)
            } while count == 0 && errno == EINTR
        }
    }
}
