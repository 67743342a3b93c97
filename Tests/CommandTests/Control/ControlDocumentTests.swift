import Foundation
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] docs/control.md")
struct ControlDocumentTests {
    private let document: String

    init() throws {
        document = try String(contentsOfFile: Place.root + "/docs/control.md", encoding: .utf8)
    }

    /// The lines of its blocks of JSON.
    private var lines: [String] {
        var isInside = false
        return document.split(separator: "\n").compactMap { line in
            if line.hasPrefix("```") { isInside = line == "```json" }
            return isInside && !line.hasPrefix("```") ? String(line) : nil
        }
    }

    @Test("each request gets the reply that stands below it, and there is one of each")
    func examples() throws {
        let stage = try ControlStage()
        let socket = try RawSocket(stage.path)
        let greeting = try #require(lines.first)
        try Self.compare(greeting, try #require(socket.readLine()))
        var asked: Set<String> = []
        var pairs = lines.dropFirst()
        while let request = pairs.popFirst() {
            guard let expected = pairs.popFirst() else {
                Issue.record("\(request) has no reply")
                return
            }
            socket.write(request + "\n")
            let name = try JSONValue(parsing: request)["request"]?.text ?? ""
            asked.insert(name)
            let actual = try #require(socket.readLine())
            // A status is long and grows; what stands there must be so, what does not may be there.
            try Self.compare(expected, actual, isPart: name == "status", request)
            if name == "watch" { continue }
        }
        #expect(asked.subtracting(["dance"]) == Set(ControlRequest.names))
    }

    @Test("the table of errors names all that there are, and no other")
    func errors() throws {
        let table = try #require(document.range(of: "## Errors"))
        let words = document[table.upperBound...].split(separator: "\n")
            .filter { $0.hasPrefix("| `") && !$0.hasPrefix("| `error`") }
            .compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) }
        #expect(words == ControlFault.Code.allCases.map(\.rawValue))
    }

    @Test("the bounds are the program's")
    func bounds() {
        #expect(document.contains("| clients | \(ControlServer.clientLimit) |"))
        #expect(
            ControlProtocol.lineLimit == 65536 && document.contains("65,536 bytes with its end"))
        #expect(document.contains("each other | \(JSONValue.depthLimit) |"))
        #expect(document.contains("| \(ControlConnection.backlogLimit / 1024) KiB |"))
        #expect(
            document.contains(
                "at most \(EventRing.capacity) and \(EventRing.bytesLimit / 1024) KiB"))
        #expect(ControlProtocol.intervals == 100...3_600_000)
        #expect(document.contains("from 100 to 3,600,000"))
    }

    /// - Parameter expected: JSON with capitals for numbers that differ from run to run.
    private static func compare(
        _ expected: String, _ actual: [UInt8], isPart: Bool = false, _ about: String = "greeting"
    ) throws {
        var text = expected
        for name in ["PID", "NUMBER", "TIME"] {
            text = text.replacing(":\(name)", with: ":\"\(name)\"")
        }
        let wanted = try JSONValue(parsing: text)
        let value = try JSONValue(parsing: actual)
        #expect(
            matches(wanted, value, isPart: isPart),
            "\(about)\n\(String(decoding: actual, as: UTF8.self))")
    }

    private static func matches(_ wanted: JSONValue, _ value: JSONValue, isPart: Bool) -> Bool {
        switch (wanted, value) {
        case (.string("PID"), .unsigned(let number)): number == UInt64(getpid())
        case (.string("NUMBER"), .unsigned(let number)): number > 0
        case (.string("TIME"), .unsigned(let number)): number > 1_500_000_000_000
        case (.array(let some), .array(let all)):
            some.count == all.count
                && zip(some, all).allSatisfy { matches($0, $1, isPart: isPart) }
        case (.object(let some), .object(let all)):
            (isPart || some.map(\.name) == all.map(\.name))
                && some.allSatisfy { member in
                    value[member.name].map { matches(member.value, $0, isPart: isPart) } == true
                }
        default: wanted == value
        }
    }
}
