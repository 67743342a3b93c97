import Descriptors
import Foundation
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] the control socket")
struct ControlServerTests {
    @Test("it greets, answers in order with the client's own id, and goes on after an error")
    func dialogue() throws {
        let stage = try ControlStage()
        let client = try stage.client()
        #expect(client.process == UInt64(getpid()))
        #expect(client.program == "vm-bridge 0.0.0")
        try client.send(
            """
            {"request":"list","id":1}
            nonsense
            {"request":"nonsense","id":"two"}
            {"request":"hide","vm":"work","surface":7,"id":{"three":3}}
            {"request":"status","version":1}\n
            """)
        let replies = try (0..<5).map { _ in try #require(try client.line(milliseconds: 5000)) }
        #expect(replies[0]["id"] == .unsigned(1) && replies[0]["ok"] == .boolean(true))
        #expect(replies[1]["error"]?.text == "malformed" && replies[1]["reply"]?.text == "")
        #expect(replies[2]["error"]?.text == "unknown_request")
        #expect(replies[2]["id"]?.text == "two")
        #expect(replies[3]["surfaces"] == .unsigned(1))
        #expect(replies[3]["id"]?["three"] == .unsigned(3))
        #expect(replies[4]["status"]?["version"] == .unsigned(1))
    }

    @Test("who says all and closes its half is answered all the same")
    func halfClosed() throws {
        let stage = try ControlStage()
        let socket = try RawSocket(stage.path)
        socket.write(#"{"request":"list"}"# + "\n" + #"{"request":"status"}"# + "\n")
        socket.endWriting()
        let text = String(decoding: socket.readAll(), as: UTF8.self)
        #expect(text.split(separator: "\n").count == 3, "\(text)")
    }

    @Test("bytes may come one by one")
    func slowly() throws {
        let stage = try ControlStage()
        let client = try stage.client()
        for character in #"{"request":"hide","vm":"work","surface":1}"# {
            try client.send(String(character))
            usleep(300)
        }
        try client.send("\n")
        #expect(try client.line(milliseconds: 5000)?["ok"] == .boolean(true))
    }

    @Test("a line has a bound: it is told, and the connection ends")
    func longLine() throws {
        let stage = try ControlStage()
        let fitting = try stage.client()
        let filling = String(repeating: " ", count: ControlProtocol.lineLimit - 19)
        try fitting.send(#"{"request":"list"}"# + filling + "\n")
        #expect(try fitting.line(milliseconds: 5000)?["ok"] == .boolean(true))
        for end in ["", "\n"] {
            let client = try stage.client()
            let long = String(repeating: "x", count: ControlProtocol.lineLimit + 1) + end
            try? client.send(long)
            #expect(try client.line(milliseconds: 5000)?["error"]?.text == "line_too_long")
            #expect(throws: ControlClientError.ended) { try client.line(milliseconds: 5000) }
        }
        #expect(try stage.client().ask(.list)["ok"] == .boolean(true))
    }

    @Test("clients have a bound: one more is told so, and finds room when another leaves")
    func manyClients() throws {
        let stage = try ControlStage()
        var clients = try (0..<ControlServer.clientLimit).map { _ in try stage.client() }
        do throws(ControlClientError) {
            _ = try ControlClient(path: stage.path)
            Issue.record("one too many was let in")
        } catch {
            guard case .refused("too_many_clients", _) = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect(try clients[3].ask(.list)["ok"] == .boolean(true))
        clients.removeLast()
        #expect(eventually { (try? stage.client()) != nil })
    }

    @Test("another user is told so and closed")
    func foreigner() throws {
        let stage = try ControlStage(isAllowed: false)
        let result = try stage.run(["list"])
        #expect(result.status == 77, "\(result.err)")
        #expect(result.err.contains("own user"))
    }

    @Test(
        "the kernel's word on who connects counts, not the socket's mode",
        .enabled(if: getuid() == 0))
    func otherUser() throws {
        let bridge = try RunningBridge(vms: ["a"], ["--headless"])
        #expect(chmod(bridge.directory, 0o755) == 0)
        #expect(chmod(bridge.directory + "/control", 0o666) == 0)
        let result = try Program.run(
            [
                "--reuid", "65534", "--clear-groups", Place.program, "list", "--socket",
                bridge.directory + "/control",
            ], program: "/usr/bin/setpriv")
        #expect(result.status == 77, "\(result.err)\(result.out)")
        #expect(try bridge.ask(["list"]).status == 0)
        #expect(try bridge.ask(["log"]).out.contains("refused a client of another user"))
    }

    @Test("a watch tells what changes, and only that")
    func watch() throws {
        let stage = try ControlStage { target in
            target.onLook = { target in
                // The first look is the reply's.
                guard target.looks == 8 else { return }
                target.vms[1].isConnected = true
                target.vms[1].generation = 1
                target.vms[0].surfaces[2].visibility = "shown"
                target.vms[0].surfaces.remove(at: 1)
            }
        }
        let client = try stage.client()
        let reply = try client.ask(.watch(interval: nil))
        #expect(reply["surfaces"]?.elements.count == 2)
        let events = try (0..<3).map { _ in try #require(try client.nextEvent(milliseconds: 5000)) }
        #expect(
            events.map { $0["event"]?.text } == ["surface_gone", "vm_connected", "surface_changed"])
        #expect(events[0]["surface"] == .unsigned(1))
        #expect(events[1]["vm"]?.text == "play")
        #expect(events[2]["visibility"]?.text == "shown")
        #expect(try client.nextEvent(milliseconds: 300) == nil)
    }

    @Test("a watch with an interval tells the status in that beat")
    func beat() throws {
        let stage = try ControlStage()
        let client = try stage.client()
        try client.ask(.watch(interval: 200))
        let beats = try (0..<4).map { _ in try #require(try client.nextEvent(milliseconds: 5000)) }
        #expect(beats.allSatisfy { $0["event"]?.text == "beat" })
        let times = beats.compactMap { $0["time_ns"]?.count }
        #expect(times.count == 4)
        // On a busy machine a beat may be left out, never a half one put in.
        for (one, next) in zip(times, times.dropFirst()) { #expect(next - one > 100_000_000) }
        #expect(times[3] - times[0] >= 500_000_000)
    }

    @Test(
        "a client that does not read loses events and learns how many; others are served meanwhile")
    func deafWatcher() throws {
        let stage = try ControlStage { target in
            // Each look finds something new, and a lot of it.
            target.onLook = { target in
                let title = String(repeating: "x", count: 2000)
                target.vms[0].surfaces = (0..<100).map { number in
                    var surface = FakeTarget.samples[0].surfaces[1]
                    surface.surface = SurfaceKey(UInt64(number + 1))
                    surface.title = "\(target.looks) \(title)"
                    return surface
                }
            }
        }
        let deaf = try stage.client()
        try deaf.ask(.watch(interval: 100))
        let other = try stage.client()
        for _ in 0..<20 {
            #expect(try other.ask(.log(count: 1, follow: false))["ok"] == .boolean(true))
            usleep(100_000)
        }
        // Hears again: what found room comes, then how much did not, in its place.
        let told = eventually(seconds: 20) {
            guard let event = try? deaf.nextEvent(milliseconds: 1000) else { return false }
            return event["event"]?.text == "dropped" && event["count"]?.count ?? 0 > 100
        }
        #expect(told)
    }

    @Test("the log is told from its end on, and what is added follows")
    func follow() throws {
        let stage = try ControlStage()
        let client = try stage.client()
        let reply = try client.ask(.log(count: 1, follow: true))
        #expect(reply["events"]?.elements.count == 1)
        let other = try stage.client()
        try other.ask(.verb(.freeze, SurfaceSelector(vm: "work")))
        let event = try #require(try client.nextEvent(milliseconds: 5000))
        #expect(event["event"]?.text == "log")
        #expect(event["text"]?.text == "freeze")
        #expect(event["vm"]?.text == "work")
        let last = reply["events"]?.elements.last?["number"]?.count ?? 0
        #expect(event["number"] == .unsigned(last + 1))
    }

    @Test("captures want a file that can be written")
    func captureDescriptors() throws {
        let stage = try ControlStage()
        let client = try stage.client()
        let request = ControlRequest.captureAll(vm: nil)
        // The pretend bridge has no frame at all, which is told first.
        #expect(throws: ControlClientError.self) { try client.ask(request) }
        #expect(try client.ask(.list)["ok"] == .boolean(true))
    }

    @Test("20,000 random and mutated requests are answered each with a line, and the server lives")
    func fuzz() throws {
        let stage = try ControlStage()
        var random = SplitMix(state: 99)
        let requests = [
            #"{"request":"status"}"#, #"{"request":"list","version":1}"#,
            #"{"request":"hide","vm":"work","surface":1}"#,
            #"{"request":"move","vm":"work","action":["hide"]}"#,
            #"{"request":"move","vm":"work","surface":18446744073709551615,"action":["show","title","x"]}"#,
            #"{"request":"capture","all":true}"#, #"{"request":"log","count":1}"#,
            #"{"request":"close","vm":"\ud83d\ude00"}"#, #"{"request":"reload","id":[[[[1]]]]}"#,
        ].map { Array($0.utf8) }
        let alphabet = Array("{}[]\",:\\u0019eE+-. truefalsnd8c/".utf8) + [0x80, 0xff, 0xc3, 0]
        let socket = try RawSocket(stage.path)
        var replies = 0
        var good = 0
        _ = socket.readLine()
        for round in 0..<200 {
            // A hundred at a time, as a client may that does not wait.
            var lines: [UInt8] = []
            for _ in 0..<100 {
                lines += Self.line(round, requests, alphabet, &random)
                lines.append(10)
            }
            socket.write(lines)
            for _ in 0..<100 {
                guard let line = socket.readLine(), let reply = try? JSONValue(parsing: line) else {
                    Issue.record("round \(round): no reply")
                    return
                }
                replies += 1
                if reply["ok"] == .boolean(true) { good += 1 }
                #expect(reply["reply"]?.text != nil)
            }
        }
        #expect(replies == 20_000)
        #expect((500..<18_000).contains(good), "\(good)")
        #expect(try stage.client().ask(.list)["ok"] == .boolean(true))
    }

    private static func line(
        _ round: Int, _ requests: [[UInt8]], _ alphabet: [UInt8], _ random: inout SplitMix
    ) -> [UInt8] {
        var line: [UInt8]
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            line = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
        case 1:
            line = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
        case 2 where round % 20 == 0:
            line = Array(String(repeating: "[", count: 30_000).utf8)
        case 3:
            let digits = String(repeating: "9", count: Int.random(in: 1...400, using: &random))
            line = Array("{\"request\":\"log\",\"count\":\(digits)}".utf8)
        default:
            line = requests.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &random) where !line.isEmpty {
                let place = Int.random(in: 0..<line.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: line[place] = alphabet.randomElement(using: &random) ?? 0
                case 1: line.remove(at: place)
                case 2: line.insert(UInt8.random(in: 0...255, using: &random), at: place)
                default: line.removeSubrange(place...)
                }
            }
        }
        return line.filter { $0 != 10 }
    }
}

/// SplitMix64: the same numbers on every machine for one seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// A plain blocking unix socket.
final class RawSocket {
    private let number: Int32
    private var input: [UInt8] = []

    init(_ path: String) throws {
        var address = sockaddr_un()
        address.sun_family = UInt16(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(connected == 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(number) }

    func write(_ text: String) { write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let sent = bytes.withUnsafeBytes {
                send(
                    number, $0.baseAddress.map { $0 + done }, $0.count - done,
                    Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return }
            done += sent
        }
    }

    func endWriting() { shutdown(number, Int32(SHUT_WR)) }

    private func receive() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = recv(number, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        input += chunk[..<count]
        return true
    }

    func readLine() -> [UInt8]? {
        while true {
            if let end = input.firstIndex(of: 10) {
                defer { input.removeFirst(end + 1) }
                return Array(input[..<end])
            }
            guard receive() else { return nil }
        }
    }

    func readAll() -> [UInt8] {
        while receive() {}
        return input
    }
}
