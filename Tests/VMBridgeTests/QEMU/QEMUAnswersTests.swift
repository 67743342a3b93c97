import Testing
import VMBridgeCore

@testable import VMBridge

/// Wrong answers to what QEMU is asked, and words that nobody asked for.
@Suite("[kernel] QEMU's answers", .serialized) struct QEMUAnswersTests {
    private static let vm = "org.qemu.Display1.VM"
    private static let console = "org.qemu.Display1.Console"

    /// An answer of properties, written by hand.
    private static func properties(
        _ answer: DBusBody, _ list: [(String, String, (DBusBody) -> Void)]
    ) {
        answer.append("a", "{sv}") {
            for (name, type, value) in list {
                answer.append("e", "sv") {
                    answer.append(name)
                    answer.append("v", type) { value(answer) }
                }
            }
        }
    }

    private static func ids(_ list: [UInt32]) -> @Sendable (DBusBody) -> Void {
        { answer in
            properties(
                answer,
                [
                    (
                        "ConsoleIDs", "au",
                        { body in body.append("a", "u") { for id in list { body.append(id) } } }
                    )
                ])
        }
    }

    private static let wrong: [(answer: @Sendable (DBusBody) -> Void, words: String)] = [
        ({ _ in }, "its VM object is another"),
        ({ $0.append("text") }, "its VM object is another"),
        ({ properties($0, []) }, "no console"),
        (ids([]), "no console"),
        (ids([UInt32](repeating: 3, count: 1025)), "no console"),
        ({ properties($0, [("ConsoleIDs", "s", { $0.append("0") })]) }, "no console"),
        ({ properties($0, [("ConsoleIDs", "u", { $0.append(0 as UInt32) })]) }, "no console"),
    ]

    @Test(arguments: wrong.indices)
    func aMachineThatMakesNoSenseIsNotShown(index: Int) throws {
        let loop = try EventLoop()
        let other = try QEMUHarness(loop: loop)
        try other.attach()
        let harness = try QEMUHarness(loop: loop)
        harness.qemu.answerInstead[Self.vm] = Self.wrong[index].answer
        try harness.wait { harness.source.words?.contains(Self.wrong[index].words) == true }
        #expect(!harness.source.isConnected && harness.surface == nil)
        other.qemu.scanout(64, 32)
        try other.wait {
            harness.source.settle()
            return (other.surface?.counters.presented ?? 0) >= 1
        }
        // It is asked again, and may have come to its senses.
        harness.qemu.answerInstead = [:]
        try harness.attach()
    }

    @Test func consolesAreBoundedAndNamedOnce() throws {
        let harness = try QEMUHarness()
        harness.qemu.answerInstead[Self.vm] = Self.ids([7, 7, 7] + Array(0..<40))
        try harness.wait { harness.source.isConnected }
        #expect(harness.session.refusals[.tooManySurfaces] == 1)
        // Of the first sixteen three are the same.
        try harness.wait { harness.source.words?.ranges(of: "console ").count == 13 }
        #expect(harness.source.words?.contains("console 12 ") == true)
        #expect(harness.source.words?.contains("console 13 ") == false)
    }

    @Test func wordsAreCleanedOrLeftOut() throws {
        let harness = try QEMUHarness()
        let label = "\u{1b}[2J" + String(repeating: "x", count: 10_000)
        harness.qemu.answerInstead[Self.vm] = { answer in
            Self.properties(
                answer,
                [
                    ("Name", "s", { $0.append(label) }),
                    (
                        "ConsoleIDs", "au",
                        { body in body.append("a", "u") { body.append(0 as UInt32) } }
                    ),
                ])
        }
        harness.qemu.answerInstead[Self.console] = { answer in
            Self.properties(
                answer,
                [
                    ("Label", "s", { $0.append(label) }), ("Width", "s", { $0.append("wide") }),
                    ("Height", "t", { $0.append(UInt64.max) }),
                    ("Later", "a(sv)", { body in body.append("a", "(sv)") {} }),
                ])
        }
        try harness.attach()
        harness.qemu.scanout(64, 32)
        try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
        let title = harness.surface?.title ?? ""
        #expect(title.contains("xxx") && !title.contains("\u{1b}") && title.utf8.count <= 4096)
    }

    @Test func whatNobodyAskedForChangesNothing() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        harness.qemu.scanout(64, 32)
        try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
        let changed = "org.freedesktop.DBus.Properties"
        harness.qemu.signal { connection in
            for path in ["/", "/org/qemu/Display1/Console_99", "/org/qemu/Display1/Console_x"] {
                connection.signal(path, changed, "PropertiesChanged") {
                    $0.append(Self.console)
                    Self.properties($0, [("Width", "u", { $0.append(UInt32.max) })])
                    $0.append("a", "s") {}
                }
            }
            connection.signal(
                "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged"
            ) { for text in ["vm", ":1.1", ""] { $0.append(text) } }
            connection.signal(
                "/org/qemu/Display1/Console_0", changed, "PropertiesChanged"
            ) { $0.append(Self.console) }
        }
        let call = Call()
        harness.qemu.signal {
            call.serial = $0.call(nil, "/", "org.example.A", "B") { $0.append("more") }
        }
        #expect(try harness.answer(call.serial), "a call at the connection that only answers")
        let before = harness.surface?.counters.presented ?? 0
        #expect(try !harness.answer(harness.qemu.update(0, 0, 64, 32)))
        try harness.wait { (harness.surface?.counters.presented ?? 0) > before }
        #expect(harness.source.connectionNumber == 1 && harness.session.refusals.isEmpty)
    }

    private final class Call {
        var serial: UInt32?
    }
}

extension DBusConnection {
    /// Signals, as a peer may.
    fileprivate func signal(
        _ path: String, _ interface: String, _ member: String, _ fill: (DBusBody) -> Void
    ) {
        var header = DBusHeader()
        header.kind = .signal
        header.path = path
        header.interface = interface
        header.member = member
        send(header, fill)
    }
}
