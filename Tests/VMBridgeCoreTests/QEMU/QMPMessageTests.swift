import Testing
@testable import VMBridgeCore

/// Lines of QEMU's machine protocol, and of what only looks like it.
@Suite("[pure] QMP's lines")
struct QMPMessageTests {
    private func message(_ line: String) throws(Refusal) -> QMPMessage {
        try QMPMessage(line: Array(line.utf8))
    }

    private func reason(_ line: String) -> RefusalReason? {
        do throws(Refusal) {
            _ = try message(line)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func whatQEMUSays() throws {
        #expect(
            try message(
                #"{"QMP": {"version": {"qemu": {"micro": 19, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#
            ) == .greeting(QEMUVersion(major: 7, minor: 2, micro: 19)))
        #expect(try message(#"{"return": {}, "id": 3}"#) == .success(id: 3, .object([])))
        #expect(
            try message(
                "{\"id\": 4, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b such\"}}"
            )
                == .failure(id: 4, kind: "GenericError", sentence: "no such"))
        #expect(
            try message(#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET"}"#)
                == .event(name: "RESET", data: .object([])))
    }

    @Test func whatIsNone() {
        #expect(reason("") == .malformed)
        #expect(reason("hello") == .malformed)
        #expect(reason("[]") == .malformed)
        #expect(reason("{}") == .malformed)
        #expect(reason(#"{"QMP": 3}"#) == .notGreeted)
        #expect(reason(#"{"QMP": {"version": {"qemu": {"major": "7"}}}}"#) == .notGreeted)
        #expect(reason(#"{"return": {}}"#) == .unknownObject)
        #expect(reason(#"{"return": {}, "id": -1}"#) == .unknownObject)
        #expect(reason(#"{"error": {}, "id": "x"}"#) == .unknownObject)
        #expect(reason(#"{"return": {}, "id": 3"#) == .malformed)
        #expect(reason(String(repeating: "[", count: 100_000)) == .malformed)
    }

    @Test func aCommandIsALine() {
        #expect(
            QMPMessage.command("cont", id: 7) == "{\"execute\":\"cont\",\"id\":7}\n")
        #expect(
            QMPMessage.command("getfd", arguments: [JSONMember("fdname", .string("a\nb"))], id: 8)
                == "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"a\\u000ab\"},\"id\":8}\n")
    }

    @Test func linesAreCutWhereverTheyAreSplit() throws {
        let text = Array("one\r\n\ntwo\nthree".utf8)
        for first in 0...text.count {
            for second in first...text.count {
                var cutter = LineCutter(limit: 8)
                var lines: [String] = []
                for part in [text[..<first], text[first..<second], text[second...]] {
                    cutter.append(part)
                    while let line = try cutter.next() {
                        lines.append(String(decoding: line, as: UTF8.self))
                    }
                }
                #expect(lines == ["one", "", "two"])
            }
        }
    }

    @Test func aLineHasAnEnd() throws {
        var cutter = LineCutter(limit: 8)
        cutter.append(Array("12345678".utf8))
        #expect(try cutter.next() == nil)
        cutter.append([0x0a])
        #expect(try cutter.next()?.count == 8)
        cutter.append(Array("123456789".utf8))
        #expect(throws: Refusal.self) { try cutter.next() }
        var other = LineCutter(limit: 8)
        other.append(Array("123456789\n".utf8))
        #expect(throws: Refusal.self) { try other.next() }
    }
}
