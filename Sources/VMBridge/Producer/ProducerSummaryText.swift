import VMBridgeCore

extension ProducerSummary {
    /// One line for people.
    package var line: String {
        Self.words(all)
            + ", \(skipped) skipped; mean latency "
            + (latency.count == 0 ? "unknown" : "\(Self.milliseconds(latency.mean)) ms")
    }

    /// Further lines for people, about fences, refusals and releases; none when there is nothing to tell.
    package var details: [String] {
        var lines: [String] = []
        if kinds.contains(where: { $0.key != .none }) {
            for kind in ProducerFence.allCases {
                if let counts = kinds[kind] {
                    lines.append("\(kind.rawValue) \(Self.words(counts))")
                }
            }
            lines.append(
                "fences: \(signalled) signalled, \(early) frames shown before theirs; "
                    + "to the screen \(Self.words(signalToPresented)), "
                    + "to the release \(Self.words(signalToReleased))")
        }
        if !reasons.isEmpty {
            let words = RefusalReason.allCases.compactMap { reason in
                reasons[reason].map { "\($0) \(reason.word)" }
            }
            lines.append("refusals: " + words.joined(separator: ", "))
        }
        if releaseFences > 0 {
            lines.append(
                "releases: \(releaseFences) with a fence, \(pendingReleaseFences) of these pending, "
                    + "longest wait \(Self.milliseconds(releaseWaits.highest)) ms")
        }
        if let input {
            let words = ProducerInput.words.compactMap { word in
                input[word].map { "\($0) \(word)" }
            }
            lines.append("input: " + (words.isEmpty ? "none" : words.joined(separator: ", ")))
        }
        if overwritten > 0 {
            lines.append("buffers: \(overwritten) overwritten after their release")
        }
        return lines
    }

    private static func words(_ counts: Counts) -> String {
        "frames: \(counts.sent) sent, \(counts.shown) shown, \(counts.superseded) superseded, "
            + "\(counts.refused) refused, \(counts.lost) lost; \(counts.presented) presented, "
            + "\(counts.discarded) discarded"
    }

    private static func words(_ times: Times) -> String {
        times.count == 0
            ? "unknown"
            : "\(milliseconds(times.mean)) ms, at most \(milliseconds(times.highest)) ms"
    }

    /// One line for programs, a flat object; `end` is how the run ended. The names of kinds and reasons
    /// are those of the command line and the protocol, with `_` for `-`.
    package func json(_ end: ProducerEnd) -> String {
        var fields: [(String, UInt64)] = Self.fields(all)
        fields += [
            ("skipped", skipped), ("timed", latency.count), ("mean_latency_ns", latency.mean),
            ("highest_latency_ns", latency.highest), ("early", early), ("signalled", signalled),
        ]
        fields += Self.fields("signal_to_presented", signalToPresented)
        fields += Self.fields("signal_to_released", signalToReleased)
        fields += [
            ("overwritten", overwritten), ("release_fences", releaseFences),
            ("pending_release_fences", pendingReleaseFences),
            ("longest_release_wait_ns", releaseWaits.highest),
        ]
        for kind in ProducerFence.allCases {
            guard let counts = kinds[kind] else { continue }
            let word = String(kind.rawValue.map { $0 == "-" ? "_" : $0 })
            fields += Self.fields(counts).map { ("kind_\(word)_\($0)", $1) }
        }
        if let input {
            fields += ProducerInput.words.map { ("input_\($0)", input[$0] ?? 0) }
        }
        for reason in RefusalReason.allCases where !reason.endsConnection {
            fields.append(("reason_\(reason.word)", reasons[reason] ?? 0))
        }
        return "{" + fields.map { "\"\($0)\":\($1)" }.joined(separator: ",")
            + ",\"exit\":\(end.exitCode),\"end\":\(Self.quoted(end.description))}"
    }

    private static func fields(_ counts: Counts) -> [(String, UInt64)] {
        [
            ("sent", counts.sent), ("shown", counts.shown), ("superseded", counts.superseded),
            ("refused", counts.refused), ("lost", counts.lost), ("presented", counts.presented),
            ("discarded", counts.discarded),
        ]
    }

    private static func fields(_ name: String, _ times: Times) -> [(String, UInt64)] {
        [
            (name, times.count), ("mean_\(name)_ns", times.mean),
            ("highest_\(name)_ns", times.highest),
        ]
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
