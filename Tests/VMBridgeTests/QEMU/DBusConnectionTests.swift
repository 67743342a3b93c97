import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// A connection of D-Bus against a real bus.
@Suite("[kernel] connections of D-Bus") struct DBusConnectionTests {
    private final class Handler: DBusHandler {
        var isReady = false
        var why: String?
        var messages: [DBusMessage] = []

        func dbusReady(_ connection: DBusConnection) { isReady = true }
        func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection) {
            messages.append(message)
        }
        func dbusClosed(_ why: String, _ connection: DBusConnection) { self.why = why }
    }

    private static let bus = "org.freedesktop.DBus"

    /// dbus-daemon at a path, until it goes.
    private static func startBus(_ path: String) throws -> HelperProcess {
        var pair = try StreamPair()
        let unused = pair.takeTheirs()
        return try HelperProcess(
            path: "/usr/bin/dbus-daemon",
            arguments: ["--session", "--nofork", "--nopidfile", "--address=unix:path=\(path)"],
            passing: unused.number)
    }

    @Test func aRealBusGivesANameAndAnswers() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let path = directory + "/bus"
            let daemon = try Self.startBus(path)
            var socket = OwnedDescriptor.none
            try wait(loop) {
                if !socket.isValid { socket = (try? BusSocket(path: path).connect()) ?? .none }
                return socket.isValid
            }
            let handler = Handler()
            let connection = try DBusConnection(
                socket: socket, isBus: true, loop: loop,
                reaper: try DescriptorReaper(), handler: handler)
            #expect(connection.call(Self.bus, "/", Self.bus, "GetId") == nil, "not ready yet")
            try wait(loop) { handler.isReady }
            #expect(connection.uniqueName.hasPrefix(":1."))

            // A call with an answer, one with an error, one to itself, and one with a descriptor.
            let owner = connection.call(Self.bus, "/", Self.bus, "GetNameOwner") {
                $0.append(connection.uniqueName)
            }
            let nobody = connection.call(Self.bus, "/", Self.bus, "GetNameOwner") {
                $0.append("org.example.Nobody")
            }
            var answers: [UInt32: DBusMessage] = [:]
            func take() {
                for message in handler.messages {
                    if let serial = message.replySerial { answers[serial] = message }
                }
                handler.messages.removeAll { $0.replySerial != nil }
            }
            try wait(loop) {
                take()
                return answers.count == 2
            }
            let answer = try #require(owner.flatMap { answers[$0] })
            #expect(answer.kind == .reply && answer.readText() == connection.uniqueName)
            let error = try #require(nobody.flatMap { answers[$0] })
            #expect(error.kind == .error && error.errorText.contains("org.example.Nobody"))

            let memory = try MemoryFile.create(size: 4096, seals: [.seal])
            let large = [UInt8](repeating: 0x5a, count: 3_000_000)
            let toItself = connection.call(connection.uniqueName, "/a", "org.example.A", "B") {
                $0.append(descriptor: memory.number)
                $0.append(bytes: large)
            }
            try wait(loop) { handler.messages.contains { $0.kind == .call } }
            let call = try #require(handler.messages.first { $0.kind == .call })
            #expect(call.hasSignature("hay") && call.sender == connection.uniqueName)
            let came = call.readDescriptor() ?? .none
            let probe = try DescriptorProbe()
            #expect(
                try probe.facts(of: came.number).identity
                    == probe.facts(of: memory.number).identity)
            #expect(call.readBytes().map { Array($0) } == large)
            connection.refuse(call, 22)
            try wait(loop) {
                take()
                return answers.count == 3
            }
            #expect(toItself.flatMap { answers[$0] }?.kind == .error)
            daemon.kill()
            try wait(loop) { handler.why != nil }
            #expect(handler.why == "it closed the connection" && !connection.isOpen)
        }
    }

    @Test("[pure] where the session's bus is")
    func places() {
        #expect(SessionBus.names(address: nil, runtimeDirectory: nil).isEmpty)
        #expect(
            SessionBus.names(address: nil, runtimeDirectory: "/run/user/7")
                == [SocketName("/run/user/7/bus")])
        #expect(
            SessionBus.names(
                address: "unix:abstract=/tmp/x,guid=1;unix:path=/b", runtimeDirectory: "/r")
                == [SocketName("@/tmp/x"), SocketName("/b")])
    }
}
