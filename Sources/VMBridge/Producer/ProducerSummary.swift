import VMBridgeCore

/// What became of a producer's frames.
package struct ProducerSummary: Sendable, Equatable {
    /// FRAME records sent.
    package var sent: UInt64 = 0
    /// Uses that ended, by outcome.
    package var shown: UInt64 = 0
    package var superseded: UInt64 = 0
    package var refused: UInt64 = 0
    package var lost: UInt64 = 0
    /// Frames reported to have reached the screen.
    package var presented: UInt64 = 0
    /// Frames reported never to.
    package var discarded: UInt64 = 0
    /// Times at which a frame was due and every buffer was held.
    package var skipped: UInt64 = 0
    /// Those of them whose time on the screen is known: some compositors keep another clock.
    package var timed: UInt64 = 0
    /// Sum of these frames' latencies, nanoseconds.
    package var latency: UInt64 = 0
    /// Highest of them.
    package var highestLatency: UInt64 = 0

    /// Nothing yet.
    package init() {}

    mutating func count(_ outcome: UseOutcome) {
        switch outcome {
        case .shown: shown += 1
        case .superseded: superseded += 1
        case .refused: refused += 1
        case .lost: lost += 1
        }
    }

    mutating func count(_ record: PresentedRecord) {
        presented += 1
        guard record.time != 0 else { return }
        timed += 1
        latency &+= record.latency
        highestLatency = max(highestLatency, record.latency)
    }

    /// Mean time from a frame's receipt to the screen, nanoseconds; 0 when unknown.
    package var meanLatency: UInt64 { timed == 0 ? 0 : latency / timed }

    /// One line for people.
    package var line: String {
        "frames: \(sent) sent, \(shown) shown, \(superseded) superseded, \(refused) refused, "
            + "\(lost) lost; \(presented) presented, \(discarded) discarded, \(skipped) skipped; "
            + "mean latency " + (timed == 0 ? "unknown" : "\(Self.milliseconds(meanLatency)) ms")
    }

    /// One line for programs; `end` is how the run ended.
    package func json(_ end: ProducerEnd) -> String {
        "{\"sent\":\(sent),\"shown\":\(shown),\"superseded\":\(superseded),\"refused\":\(refused),"
            + "\"lost\":\(lost),\"presented\":\(presented),\"discarded\":\(discarded),"
            + "\"skipped\":\(skipped),\"timed\":\(timed),\"mean_latency_ns\":\(meanLatency),"
            + "\"highest_latency_ns\":\(highestLatency),\"exit\":\(end.exitCode),"
            + "\"end\":\(Self.quoted(end.description))}"
    }

    /// Nanoseconds as milliseconds with two decimals.
    static func milliseconds(_ nanoseconds: UInt64) -> String {
        let hundredths = (nanoseconds + 5000) / 10_000
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }

    /// A JSON string.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..."\u{1f}":
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
