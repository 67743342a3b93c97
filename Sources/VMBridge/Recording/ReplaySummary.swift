import VMBridgeCore

/// How a recording is played.
package struct ReplayOptions: Sendable {
    /// The bridge's socket.
    package var socketPath: String
    /// How fast: 1 as recorded, nil as fast as the bridge takes it.
    package var speed: Double? = 1
    /// Waits for a line before each frame.
    package var isStepwise = false
    /// The part of the recording whose frames are played, nanoseconds from its start.
    package var from: UInt64 = 0
    package var to = UInt64.max
    /// What stands for recorded dma-bufs.
    package var buffers = ReplayBuffers.memfd
    /// What stands for recorded fences.
    package var fences = ReplayFences.message
    /// How long the bridge is waited for when it had answered in the recording, nanoseconds.
    package var patience: UInt64 = 3_000_000_000
    /// A line for each chunk that is played.
    package var isVerbose = false

    /// Plays into a bridge's socket.
    package init(socketPath: String) { self.socketPath = socketPath }
}

/// One refusal, as far as it should be the same again.
package struct ReplayRefusal: Hashable, Sendable, CustomStringConvertible {
    /// Type of the refused record; 0 when the connection was refused.
    package var type: UInt16
    /// Its object, and its sequence when it was a frame.
    package var object: UInt64
    package var sequence: UInt64
    /// Why.
    package var reason: RefusalReason

    init(_ record: RefusedRecord) {
        type = record.type
        object = record.object
        sequence = record.sequence.value
        reason = record.refusal.reason
    }

    /// "FRAME 7 (sequence 3) fence_timeout".
    package var description: String {
        let what = type == 0 ? "the connection" : "\(RecordType.name(type)) \(object)"
        return what + (sequence > 0 ? " (sequence \(sequence))" : "") + ": " + reason.word
    }
}

/// How a replay ended.
package enum ReplayEnd: Equatable, Sendable {
    /// All was played.
    case done
    /// It was told to end.
    case stopped
    /// The bridge closed the connection where it had not done so in the recording, or cannot be reached.
    case lost(String)
    /// What the recording holds cannot be made here.
    case missing(String)
}

/// What became of a replay.
package struct ReplaySummary: Sendable {
    /// Datagrams and frames that were sent.
    package var datagrams = 0
    package var frames = 0
    /// Frames whose recorded pixels were put into memory, and those that were handed on in the recording and have none.
    package var pixels = 0
    package var withoutPixels = 0
    /// Frames that were seen, by the bridge's word.
    package var presented = 0
    /// Releases by outcome.
    package var released: [UseOutcome: Int] = [:]
    /// Waits for an answer of the bridge that were given up.
    package var givenUp = 0
    /// Datagrams that are missing in the recording.
    package var missing: UInt64 = 0
    /// Refusals of the recording, and of now; as many as are kept.
    package var recordedRefusals: [ReplayRefusal] = []
    package var refusals: [ReplayRefusal] = []
    /// Only a part was played, so refusals cannot be the same.
    package var isPartial = false
    /// How it ended; nil before.
    package var end: ReplayEnd?

    static var mostRefusals: Int { 65_536 }

    /// What was refused in one of the two and not in the other.
    package var differences: (onlyRecorded: [ReplayRefusal], onlyNow: [ReplayRefusal]) {
        var left = Dictionary(refusals.map { ($0, 1) }, uniquingKeysWith: +)
        var onlyRecorded: [ReplayRefusal] = []
        for refusal in recordedRefusals {
            if let count = left[refusal], count > 0 {
                left[refusal] = count - 1
            } else {
                onlyRecorded.append(refusal)
            }
        }
        var onlyNow: [ReplayRefusal] = []
        for refusal in refusals {
            guard let count = left[refusal], count > 0 else { continue }
            left[refusal] = count - 1
            onlyNow.append(refusal)
        }
        return (onlyRecorded, onlyNow)
    }

    /// Whether the bridge refused what it had refused, and nothing else.
    package var areRefusalsSame: Bool {
        let differences = differences
        return differences.onlyRecorded.isEmpty && differences.onlyNow.isEmpty
    }

    /// For people.
    package var lines: [String] {
        var lines = [
            "replayed \(frames) frames in \(datagrams) datagrams, pixels of \(pixels); \(presented) presented, "
                + "released: \(outcomes)"
        ]
        if withoutPixels > 0 {
            lines.append("\(withoutPixels) frames were shown when recorded and have no pixels here")
        }
        if missing > 0 { lines.append("\(missing) datagrams are missing in the recording") }
        if givenUp > 0 { lines.append("\(givenUp) answers of the bridge did not come in time") }
        guard !isPartial else { return lines + ["a part was played: refusals are not compared"] }
        if areRefusalsSame {
            lines.append("refused: \(refusals.count), the same as recorded")
        } else {
            let differences = differences
            lines.append(
                "refused: \(refusals.count), recorded \(recordedRefusals.count), not the same")
            lines += differences.onlyRecorded.prefix(20).map { "  only in the recording: \($0)" }
            lines += differences.onlyNow.prefix(20).map { "  only now: \($0)" }
        }
        return lines
    }

    private var outcomes: String {
        let parts = UseOutcome.allCases.compactMap { outcome in
            released[outcome].map { "\(outcome.word) \($0)" }
        }
        return parts.isEmpty ? "none" : parts.joined(separator: ", ")
    }

    /// On one line.
    package var json: String {
        var object = JSONObject()
        object.add("datagrams", UInt64(datagrams))
        object.add("frames", UInt64(frames))
        object.add("pixels", UInt64(pixels))
        object.add("without_pixels", UInt64(withoutPixels))
        object.add("presented", UInt64(presented))
        for outcome in UseOutcome.allCases {
            object.add(outcome.word, UInt64(released[outcome] ?? 0))
        }
        object.add("given_up", UInt64(givenUp))
        object.add("missing_datagrams", missing)
        object.add("refusals", UInt64(refusals.count))
        object.add("recorded_refusals", UInt64(recordedRefusals.count))
        object.add("same_refusals", areRefusalsSame)
        object.add("partial", isPartial)
        return object.text
    }
}

extension UseOutcome {
    var word: String {
        switch self {
        case .shown: "shown"
        case .superseded: "superseded"
        case .refused: "refused"
        case .lost: "lost"
        }
    }
}
