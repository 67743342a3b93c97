import Logging

/// How our log lines are written, whoever takes them.
///
/// A line about a VM begins with its name, "work: producer connected", in every handler; loggers of a VM also carry the name as
/// metadata, and lines about one surface its key, for handlers that can tell fields apart.
package enum LogText {
    /// The metadata key of a VM's name.
    package static let vmKey = "vm"
    /// The metadata key of a surface's key, in decimal.
    package static let surfaceKey = "surface"

    /// A message with its control characters escaped, C0, DEL and C1: one line, and nothing that a terminal obeys. Text of guests is
    /// clean when it comes here (CleanText); this is for what is left.
    package static func line(_ text: String) -> String {
        if text.unicodeScalars.allSatisfy({ !isControl($0) }) { return text }
        var line = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar) {
                line += "\\x" + String(scalar.value, radix: 16)
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    }
}

extension Logger {
    /// The same for one VM.
    package func of(vm name: String) -> Logger {
        var logger = self
        logger[metadataKey: LogText.vmKey] = "\(name)"
        return logger
    }
}
