import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// A connection to QEMU's machine protocol, against a QEMU that behaves and against others.
@Suite("[kernel] QMP client") struct QMPClientTests {
    private func withClient(
        _ body: (EventLoop, FakeQMP, QMPClient) throws -> Void
    ) throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let reaper = try DescriptorReaper()
            let server = try FakeQMP(path: directory + "/qmp")
            let client = QMPClient(path: directory + "/qmp", loop: loop, reaper: reaper)
            defer { client.shutDown() }
            client.start()
            try body(loop, server, client)
        }
    }

    private func greet(_ loop: EventLoop, _ server: FakeQMP, _ client: QMPClient) throws {
        try wait(loop) {
            server.poll()
            return server.isConnected
        }
        server.send(FakeQMP.greeting)
        let command = try #require(try next(loop, server))
        #expect(command["execute"]?.text == "qmp_capabilities")
        server.answer(command)
        try wait(loop) { client.isReady }
    }

    private func next(_ loop: EventLoop, _ server: FakeQMP) throws -> JSONValue? {
        var line: JSONValue?
        try turn(loop) {
            server.poll()
            line = server.nextLine()
            return line != nil
        }
        return line
    }

    private func news(_ client: QMPClient) -> [QMPNews] {
        var all: [QMPNews] = []
        client.takeNews { all.append($0) }
        return all
    }

    @Test func commandsHaveAnswersAndEventsCome() throws {
        try withClient { loop, server, client in
            #expect(client.execute("cont") == nil)
            try greet(loop, server, client)
            #expect(news(client) == [.ready(QEMUVersion(major: 7, minor: 2, micro: 19))])
            let id = try #require(client.execute("query-name"))
            let command = try #require(try next(loop, server))
            #expect(command["execute"]?.text == "query-name" && command["id"]?.count == id)
            server.send(#"{"event": "RESET", "data": {"guest": true}}"#)
            server.answer(command, #"{"name": "work"}"#)
            let other = try #require(client.execute("nonsense"))
            _ = try next(loop, server)
            server.send("{\"error\": {\"class\": \"X\", \"desc\": \"no such\"}, \"id\": \(other)}")
            var all: [QMPNews] = []
            try turn(loop) {
                all += news(client)
                return all.count >= 3
            }
            let reset = JSONValue.object([JSONMember("guest", .boolean(true))])
            let name = JSONValue.object([JSONMember("name", .string("work"))])
            #expect(
                all == [.event("RESET", reset), .success(id, name), .failure(other, "no such")])
        }
    }

    @Test func descriptorsGoWithTheirCommand() throws {
        try withClient { loop, server, client in
            try greet(loop, server, client)
            let first = try EventFile.make()
            let second = try EventFile.make()
            client.execute("a")
            client.execute("getfd", descriptor: first.duplicate())
            client.execute("getfd", descriptor: second.duplicate())
            client.execute("b")
            for word in ["a", "getfd", "getfd", "b"] {
                #expect(try next(loop, server)?["execute"]?.text == word)
            }
            #expect(server.descriptors.count == 2)
            #expect(client.descriptors == 1)
        }
    }

    @Test func aQEMUThatGoesIsFoundAgain() throws {
        try withClient { loop, server, client in
            for round in 1...3 {
                try greet(loop, server, client)
                #expect(server.connections == round)
                _ = news(client)
                client.execute("stop")
                server.close()
                var all: [QMPNews] = []
                try turn(loop) {
                    all += news(client)
                    return !all.isEmpty
                }
                #expect(all == [.lost("it closed the connection")])
                #expect(client.execute("cont") == nil)
            }
        }
    }

    @Test func nobodyThereIsToldOnce() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let client = QMPClient(
                path: directory + "/qmp", loop: loop, reaper: try DescriptorReaper())
            defer { client.shutDown() }
            client.start()
            try turn(loop, seconds: 1) { false }
            let all = news(client)
            #expect(all.count == 1)
            guard case .unreachable(let why)? = all.first else {
                Issue.record("\(all)")
                return
            }
            #expect(why.contains("qmp"))
            let server = try FakeQMP(path: directory + "/qmp")
            try greet(loop, server, client)
        }
    }

    @Test(arguments: [
        ("hello", RefusalReason.malformed), ("{}", .malformed),
        (#"{"QMP": {}}"#, .notGreeted), (#"{"event": "RESET"}"#, .notGreeted),
        (#"{"return": {}, "id": 1}"#, .notGreeted),
        (String(repeating: "[", count: 60_000), .malformed),
    ])
    func whatDoesNotGreetIsRefused(_ line: String, _ reason: RefusalReason) throws {
        try withClient { loop, server, client in
            for round in 1...2 {
                try wait(loop) {
                    server.poll()
                    return server.isConnected && server.connections == round
                }
                server.send(line)
                var all: [QMPNews] = []
                try turn(loop) {
                    all += news(client)
                    return all.count >= 2
                }
                guard case .refused(let refusal)? = all.first, case .lost? = all.last else {
                    Issue.record("\(all)")
                    return
                }
                #expect(refusal.reason == reason)
                #expect(!client.isReady && client.refusals == UInt64(round))
                try wait(loop) {
                    server.poll()
                    return !server.isConnected
                }
            }
        }
    }

    @Test func anEndlessLineIsRefused() throws {
        try withClient { loop, server, client in
            try greet(loop, server, client)
            _ = news(client)
            var all: [QMPNews] = []
            let part = String(repeating: "x", count: 4096)
            try turn(loop) {
                server.send(part, end: "")
                all += news(client)
                return !all.isEmpty
            }
            guard case .refused(let refusal)? = all.first else {
                Issue.record("\(all)")
                return
            }
            #expect(refusal.reason == .truncated)
        }
    }

    @Test func wrongAnswersAreRefusedAndCounted() throws {
        try withClient { loop, server, client in
            try greet(loop, server, client)
            _ = news(client)
            let id = try #require(client.execute("stop"))
            for wrong in [id + 1, 0, .max] { server.send("{\"return\": {}, \"id\": \(wrong)}") }
            server.send("{\"return\": {}, \"id\": \(id)}")
            server.send("{\"return\": {}, \"id\": \(id)}")
            var all: [QMPNews] = []
            try turn(loop) {
                all += news(client)
                return all.count >= 5
            }
            #expect(all.contains(.success(id, .object([]))))
            #expect(client.refusals == 4 && client.isReady)
        }
    }

    @Test func aFloodOfEventsIsBounded() throws {
        try withClient { loop, server, client in
            try greet(loop, server, client)
            _ = news(client)
            for _ in 0..<1000 { server.send(#"{"event": "RESET"}"#) }
            try turn(loop) { client.leftOut > 0 }
            #expect(client.leftOut > 0)
            #expect(news(client).count <= 256)
            let id = try #require(client.execute("stop"))
            server.send("{\"return\": {}, \"id\": \(id)}")
            var isAnswered = false
            try turn(loop) {
                client.takeNews { if case .success(id, _) = $0 { isAnswered = true } }
                return isAnswered
            }
            #expect(isAnswered)
        }
    }
}
