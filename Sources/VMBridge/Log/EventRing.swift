import Glibc
import Logging
import Synchronization
import VMBridgeCore

/// One line of the log as the ring keeps it.
package struct LoggedEvent: Sendable, Equatable {
    /// Counts up from 1; a gap says that older ones were let go of.
    package var number: UInt64
    /// When it was, milliseconds of CLOCK_REALTIME.
    package var time: UInt64
    /// How grave it is.
    package var level: Logger.Level
    /// The VM that it is about, when its writer said so.
    package var vm: String?
    /// The surface that it is about, when its writer said so.
    package var surface: String?
    /// What happened, at most `EventRing.textLimit` bytes.
    package var text: String
}

/// The last lines of the log, in memory, whatever of them was written elsewhere. Any thread may add.
package final class EventRing: Sendable {
    /// Lines that are kept.
    package static let capacity = 1000
    /// Bytes of one line's text that are kept; the cut never splits a character.
    package static let textLimit = 1024
    /// Bytes of all texts together: older lines go sooner when lines are long.
    package static let bytesLimit = 256 * 1024

    private struct State {
        var events: [LoggedEvent] = []
        /// Place of the oldest, once the array has reached its capacity.
        var start = 0
        var bytes = 0
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    /// An empty ring.
    package init() {}

    /// Number of the last line; 0 before the first.
    package var last: UInt64 { state.withLock { $0.last } }

    /// Adds a line.
    package func add(
        _ level: Logger.Level, _ text: String, vm: String? = nil, surface: String? = nil
    ) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let time = UInt64(now.tv_sec) * 1000 + UInt64(now.tv_nsec) / 1_000_000
        let kept = Self.clipped(text)
        state.withLock { state in
            state.last += 1
            state.events.append(
                LoggedEvent(
                    number: state.last, time: time, level: level, vm: vm, surface: surface,
                    text: kept))
            state.bytes += kept.utf8.count
            while state.events.count - state.start > Self.capacity
                || state.bytes > Self.bytesLimit
            {
                state.bytes -= state.events[state.start].text.utf8.count
                // Its memory goes at once, its place with many others.
                state.events[state.start].text = ""
                state.start += 1
            }
            if state.start >= Self.capacity {
                state.events.removeFirst(state.start)
                state.start = 0
            }
        }
    }

    /// The lines after a number, oldest first, and at most the newest `count` of them.
    package func events(after number: UInt64 = 0, count: Int = .max) -> [LoggedEvent] {
        state.withLock { state in
            let kept = state.events[state.start...]
            // Numbers have no gaps in here.
            let skipped = Int(clamping: number - min(number, state.last - UInt64(kept.count)))
            return Array(kept.dropFirst(skipped).suffix(max(count, 0)))
        }
    }

    private static func clipped(_ text: String) -> String {
        guard text.utf8.count > textLimit else { return text }
        var kept = ""
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            guard bytes <= textLimit else { break }
            kept.unicodeScalars.append(scalar)
        }
        return kept
    }
}

/// Puts every line into a ring and hands those that are grave enough on to another handler.
///
/// The keys `vm` and `surface` of a line's metadata become its fields.
package struct RingLog: LogHandler {
    private var base: any LogHandler
    private let ring: EventRing

    /// A handler before another one.
    package init(_ base: any LogHandler, ring: EventRing) {
        self.base = base
        self.ring = ring
    }

    /// What the ring is given; what the handler behind it writes is that one's own level.
    package var logLevel: Logger.Level {
        get { min(base.logLevel, .debug) }
        set { base.logLevel = newValue }
    }

    /// Metadata by key, kept by the handler behind.
    package var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    /// Metadata by key, kept by the handler behind.
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    /// Keeps a line, and hands it on.
    package func log(event: LogEvent) {
        func field(_ key: String) -> String? {
            (event.metadata?[key] ?? base[metadataKey: key])?.description
        }
        ring.add(
            event.level, event.message.description, vm: field("vm"), surface: field("surface"))
        if event.level >= base.logLevel { base.log(event: event) }
    }
}
