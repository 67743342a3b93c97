import Foundation
import Logging
import Testing

@testable import VMBridge

@Suite("[pure] the ring of last events")
struct EventRingTests {
    @Test("the last thousand are kept, in order, numbered without a gap")
    func capacity() {
        let ring = EventRing()
        #expect(ring.events().isEmpty && ring.last == 0)
        for number in 1...2500 { ring.add(.info, "line \(number)") }
        let events = ring.events()
        #expect(events.count == EventRing.capacity)
        #expect(events.map(\.number) == Array(1501...2500))
        #expect(events.map(\.text) == (1501...2500).map { "line \($0)" })
        #expect(ring.last == 2500)
        #expect(ring.events(count: 3).map(\.number) == [2498, 2499, 2500])
        #expect(ring.events(after: 2498).map(\.number) == [2499, 2500])
        #expect(ring.events(after: 2500).isEmpty)
        #expect(ring.events(after: 9999).isEmpty)
        #expect(ring.events(after: 12, count: 2).map(\.number) == [2499, 2500])
        #expect(ring.events(count: -1).isEmpty)
    }

    @Test("long lines are cut between characters, and many of them push older ones out sooner")
    func bytes() {
        let ring = EventRing()
        ring.add(.info, String(repeating: "é", count: 5000))
        let text = ring.events()[0].text
        #expect(text.utf8.count == EventRing.textLimit)
        #expect(text.allSatisfy { $0 == "é" })
        for _ in 0..<5000 { ring.add(.info, String(repeating: "x", count: 1024)) }
        let events = ring.events()
        #expect(events.count == EventRing.bytesLimit / 1024)
        #expect(events.last?.number == 5001)
    }

    @Test("what is too quiet for the handler behind is kept all the same, with its fields")
    func levels() {
        let ring = EventRing()
        let written = Written()
        var logger = Logger(label: "test") { _ in RingLog(written, ring: ring) }
        logger.debug("quiet")
        logger.info("said", metadata: ["vm": "work", "surface": "7"])
        logger[metadataKey: "vm"] = "play"
        logger.warning("loud")
        #expect(written.lines == ["said", "loud"])
        let events = ring.events()
        #expect(events.map(\.text) == ["quiet", "said", "loud"])
        #expect(events.map(\.level) == [.debug, .info, .warning])
        #expect(events.map(\.vm) == [nil, "work", "play"])
        #expect(events.map(\.surface) == [nil, "7", nil])
        let now = UInt64(Date().timeIntervalSince1970 * 1000)
        #expect(events.allSatisfy { now - min(now, $0.time) < 60_000 })
    }

    @Test("threads may add at once")
    func threads() {
        let ring = EventRing()
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            for number in 0..<5000 { ring.add(.info, "\(thread) \(number)") }
        }
        #expect(ring.last == 20_000)
        #expect(ring.events().map(\.number) == Array(19_001...20_000))
    }
}

/// Keeps what it is given at `info` and above.
private struct Written: LogHandler {
    private final class Lines: @unchecked Sendable { var all: [String] = [] }
    // One test's thread alone uses it.
    private let kept = Lines()
    var lines: [String] { kept.all }
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) { kept.all.append(event.message.description) }
}
