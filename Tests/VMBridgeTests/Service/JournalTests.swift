import CLinux
import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] the journal") struct JournalTests {
    private func event(
        _ text: String, _ level: Logger.Level = .info, _ metadata: Logger.Metadata? = nil
    ) -> LogEvent {
        LogEvent(
            level: level, message: "\(text)", metadata: metadata, source: nil, file: "f",
            function: "g", line: 1)
    }

    @Test("[pure] entries are these bytes")
    func golden() {
        let plain = JournalEntry(event("listening"), metadata: [:], program: "vm-bridge")
        #expect(
            String(decoding: plain.bytes, as: UTF8.self)
                == "MESSAGE=listening\nPRIORITY=6\nSYSLOG_IDENTIFIER=vm-bridge\n")
        let fields = JournalEntry(
            event("work: refused", .warning, ["surface": "7", "other": "x"]),
            metadata: ["vm": "work", "surface": "1"], program: "vm-bridge")
        #expect(
            String(decoding: fields.bytes, as: UTF8.self)
                == "MESSAGE=work: refused\nPRIORITY=4\nSYSLOG_IDENTIFIER=vm-bridge\nVM=work\nSURFACE=7\n"
        )
        var long = JournalEntry()
        long.add("TEXT", "a\nPRIORITY=0")
        #expect(
            long.bytes
                == Array("TEXT\n".utf8) + [12, 0, 0, 0, 0, 0, 0, 0] + Array("a\nPRIORITY=0\n".utf8))
        let all: [Logger.Level] = [.trace, .debug, .info, .notice, .warning, .error, .critical]
        #expect(all.map(JournalEntry.priority) == ["7", "7", "6", "5", "4", "3", "2"])
    }

    @Test("[pure] a guest's line breaks and escapes make no other fields")
    func escaped() {
        let entry = JournalEntry(
            event("title a\nPRIORITY=0\u{1b}[31m\u{9b}1m\u{7f}é"),
            metadata: ["vm": "w\nVM=root"], program: "p")
        #expect(
            String(decoding: entry.bytes, as: UTF8.self)
                == "MESSAGE=title a\\xaPRIORITY=0\\x1b[31m\\x9b1m\\x7fé\nPRIORITY=6\nSYSLOG_IDENTIFIER=p\nVM=w\\xaVM=root\n"
        )
    }

    @Test("[pure] a long value is cut between characters, and says so")
    func cut() {
        for odd in ["", "x", "xx", "xxx"] {
            var entry = JournalEntry()
            let value = odd + String(repeating: "💾", count: 20_000)
            entry.add("MESSAGE", value)
            let text = String(decoding: entry.bytes, as: UTF8.self)
            #expect(!text.unicodeScalars.contains("\u{fffd}"))
            #expect(entry.bytes.count < JournalEntry.longestValue + 64)
            let kept = text.utf8.count - "MESSAGE=\n".utf8.count
            let end = text.split(separator: "…").last ?? ""
            let missing = Int(end.filter(\.isNumber)) ?? 0
            #expect(missing > 0)
            #expect(kept - "…".utf8.count - end.utf8.count + 1 + missing == value.utf8.count)
        }
    }

    /// "device:inode" of a descriptor.
    private func stream(_ descriptor: Int32) -> String {
        var facts = stat()
        fstat(descriptor, &facts)
        return "\(facts.st_dev):\(facts.st_ino)"
    }

    @Test func onlyTheStreamToTheJournalIsTheJournal() throws {
        let pipe = try Pipe()
        let other = try Pipe()
        let right = stream(pipe.writing.number)
        #expect(JournalLog.isStream(right, pipe.writing.number))
        #expect(!JournalLog.isStream(right, other.writing.number))
        for wrong in [
            nil, "", ":", "1", "1:", ":1", "x:y", right + ":1", right + "\n", " " + right, "-1:-1",
            "99999999999999999999:1",
        ] {
            #expect(!JournalLog.isStream(wrong, pipe.writing.number), "\(wrong ?? "nil")")
        }
        #expect(
            JournalLog(level: .info, stream: nil, descriptor: pipe.writing.number) == nil)
        #expect(
            JournalLog(level: .info, stream: right, descriptor: pipe.writing.number) != nil)
    }

    /// A logger whose journal is a socket of ours.
    private func logger(_ path: String, _ level: Logger.Level = .info) throws -> Logger {
        let pipe = try Pipe()
        let handler = try #require(
            JournalLog(
                level: level, stream: stream(pipe.writing.number),
                descriptor: pipe.writing.number, path: path))
        return Logger(label: "j") { _ in handler }
    }

    @Test func entriesArriveWithTheirFields() throws {
        try withDirectory { directory throws in
            let journal = try DatagramReceiver("\(directory)/j")
            let logger = try logger("\(directory)/j")
            logger.debug("not at this level")
            logger.info("bridge")
            let work = logger.of(vm: "work")
            work.warning("work: text", metadata: ["surface": "3"])
            logger.of(vm: "play").error("play: text")
            #expect(
                journal.texts() == [
                    "MESSAGE=bridge\nPRIORITY=6\nSYSLOG_IDENTIFIER=vm-bridge\n",
                    "MESSAGE=work: text\nPRIORITY=4\nSYSLOG_IDENTIFIER=vm-bridge\nVM=work\nSURFACE=3\n",
                    "MESSAGE=play: text\nPRIORITY=3\nSYSLOG_IDENTIFIER=vm-bridge\nVM=play\n",
                ])
            work.info("\(String(repeating: "x", count: 200_000))")
            #expect(journal.bytes()?.count ?? 0 > JournalEntry.longestValue)
        }
    }

    @Test func aFullQueueCostsNoTimeAndIsTold() throws {
        try withDirectory { directory throws in
            let journal = try DatagramReceiver("\(directory)/j")
            let logger = try logger("\(directory)/j")
            // A copy counts together with the others.
            let copy = logger.of(vm: "a")
            let begin = MonotonicClock.now()
            for number in 0..<2000 { (number % 2 == 0 ? logger : copy).info("line \(number)") }
            #expect(MonotonicClock.now() - begin < 5_000_000_000)
            let taken = journal.texts()
            #expect(!taken.isEmpty && taken.count < 2000)
            #expect(taken.allSatisfy { $0.hasPrefix("MESSAGE=line ") })
            logger.info("room again")
            let last = journal.texts()
            #expect(last.count == 2)
            #expect(last.first?.hasPrefix("MESSAGE=room again\n") == true)
            #expect(
                last.last?.hasPrefix(
                    "MESSAGE=\(2000 - taken.count) lines before this one are lost") == true)
            logger.info("and nothing more to tell")
            #expect(journal.texts().count == 1)
        }
    }

    @Test func withoutAJournalLinesGoToStandardError() async {
        await #expect(processExitsWith: .success) {
            try withDirectory { directory throws in
                var ends: [Int32] = [-1, -1]
                try #require(pipe(&ends) == 0)
                let saved = dup(STDERR_FILENO)
                dup2(ends[1], STDERR_FILENO)
                var facts = stat()
                fstat(STDERR_FILENO, &facts)
                let handler = try #require(
                    JournalLog(
                        level: .info, stream: "\(facts.st_dev):\(facts.st_ino)",
                        path: "\(directory)/nobody"))
                Logger(label: "j") { _ in handler }.of(vm: "a").warning("a: lost?\u{1b}")
                dup2(saved, STDERR_FILENO)
                var bytes = [UInt8](repeating: 0, count: 100)
                let count = read(ends[0], &bytes, bytes.count)
                #expect(
                    String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
                        == "vm-bridge: warning: a: lost?\\x1b\n")
            }
        }
    }

    @Test func linesThatAGuestBringsAboutAreLimitedAndCounted() throws {
        var log = GuestLog()
        let unit: UInt64 = 1_000_000_000
        var written = 0
        for number in 0..<100 as Range<UInt64> where log.admits(now: 10 * unit + number) {
            written += 1
        }
        #expect(written == GuestLog.rate)
        #expect(log.leftOut == 100 - GuestLog.rate)
        let isAdmitted = log.admits(now: 12 * unit)
        #expect(isAdmitted)
        let first = log.takeLeftOut()
        #expect(first == "\(100 - GuestLog.rate) lines like these were left out")
        let second = log.takeLeftOut()
        #expect(second == nil)
    }

    @Test func aVMsLinesCarryItsNameAndASurfacesItsKey() throws {
        let (logger, lines) = KeptLog.make()
        let harness = try SessionHarness(vm: "work", logger: logger)
        let socket = try SeqPacketSocket(connectingTo: harness.path)
        var writer = RecordWriter(capacity: 4096)
        writer.append(ProducerRecord.hello(producer: "test"))
        // No such surface, a hundred times over.
        for _ in 0..<100 { writer.append(ProducerRecord.surfaceDestroy(SurfaceKey(7))) }
        #expect(socket.send(writer.bytes, count: writer.bytes.count) == .sent)
        #expect(try harness.turn(until: { harness.session.refusals.values.reduce(0, +) == 100 }))
        let refused = lines.all.filter { $0.contains("refused") }
        #expect(refused.count == GuestLog.rate)
        #expect(
            refused.allSatisfy {
                $0.hasPrefix("warning vm=work surface=7: work: refused SURFACE_DESTROY 7")
            })
        _ = consume socket
        #expect(try harness.turn(until: { !harness.source.isConnected }))
        #expect(
            lines.all.contains(
                "warning vm=work: work: \(100 - GuestLog.rate) lines like these were left out"))
        #expect(lines.all.contains { $0.hasPrefix("info vm=work: work: producer connected") })
        #expect(lines.all.contains { $0.hasPrefix("info vm=work: work: producer gone") })
    }

    @Test func aProducerThatComesAndGoesFillsNoLog() throws {
        let (logger, lines) = KeptLog.make()
        let harness = try SessionHarness(vm: "work", logger: logger)
        for round in 1...100 as ClosedRange<UInt64> {
            let socket = try SeqPacketSocket(connectingTo: harness.path)
            #expect(try harness.turn(until: { harness.source.connectionNumber == round }))
            _ = consume socket
            #expect(try harness.turn(until: { !harness.source.isConnected }))
        }
        #expect(lines.all.count < 60)
        harness.source.shutDown()
        #expect(lines.all.contains { $0.contains("were left out") })
    }
}
