import CLinux
import Descriptors
import Foundation
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] requests of the control socket")
struct ControlRequestTests {
    @Test("each request is read as it was written")
    func roundTrip() throws {
        let one = SurfaceSelector(vm: "a", surface: SurfaceKey(.max))
        let all = SurfaceSelector(vm: "b c")
        var requests: [ControlRequest] = [
            .status, .list, .watch(interval: nil), .watch(interval: 100), .reload,
            .move(["show", "title", "{title}"], one), .move(["hide"], all),
            .capture(vm: "a", surface: nil), .capture(vm: "a", surface: SurfaceKey(0)),
            .captureAll(vm: nil), .captureAll(vm: "a"), .log(count: nil, follow: false),
            .log(count: 0, follow: true),
        ]
        requests += SurfaceVerb.allCases.flatMap { [.verb($0, one), .verb($0, all)] }
        #expect(Set(requests.map(\.name)) == Set(ControlRequest.names))
        for request in requests {
            let line = request.value(id: .unsigned(3)).line
            #expect(try ControlRequest(JSONValue(parsing: line)) == request, "\(line)")
        }
    }

    @Test(
        "what is not known or not right is refused with a word and a sentence",
        arguments: [
            ("[]", "malformed", "an array"), ("{}", "bad_member", "“request” is missing"),
            (#"{"request":7}"#, "bad_member", "a string"),
            (#"{"request":"status","version":2}"#, "version", "only 1"),
            (#"{"request":"status","version":"1"}"#, "bad_member", "whole number"),
            (#"{"request":"dance"}"#, "unknown_request", "status, list, watch, close"),
            (#"{"request":"status","colour":1}"#, "bad_member", "“colour”"),
            (#"{"request":"close"}"#, "bad_member", "“vm” is missing"),
            (#"{"request":"close","vm":"a","surface":-1}"#, "bad_member", "not negative"),
            (#"{"request":"close","vm":"a","surface":1.5}"#, "bad_member", "whole"),
            (#"{"request":"close","vm":"a","surface":null}"#, "bad_member", "null"),
            (#"{"request":"watch","interval_ms":99}"#, "bad_member", "100"),
            (#"{"request":"watch","interval_ms":3600001}"#, "bad_member", "3600000"),
            (#"{"request":"move","vm":"a"}"#, "bad_member", "“action” is missing"),
            (#"{"request":"move","vm":"a","action":[]}"#, "bad_member", "at least one"),
            (#"{"request":"move","vm":"a","action":["x",1]}"#, "bad_member", "string"),
            (#"{"request":"move","vm":"a","action":"hide"}"#, "bad_member", "array"),
            (#"{"request":"capture"}"#, "bad_member", "“vm” is missing"),
            (#"{"request":"capture","all":true,"surface":1}"#, "bad_member", "“surface”"),
            (#"{"request":"capture","all":1}"#, "bad_member", "true or false"),
            (#"{"request":"log","follow":"yes"}"#, "bad_member", "true or false"),
        ])
    func refused(_ text: String, _ code: String, _ words: String) throws {
        let value = try JSONValue(parsing: text)
        do throws(ControlFault) {
            _ = try ControlRequest(value)
            Issue.record("\(text) was read")
        } catch {
            #expect(error.code.rawValue == code)
            #expect(error.sentence.contains(words), "\(error.sentence)")
        }
    }

    @Test("100,000 mutated requests are read or refused, and those that are read are written alike")
    func fuzz() throws {
        var random = SplitMix(state: 5)
        let requests = [
            #"{"version":1,"request":"status","id":[1,{"a":null}]}"#, #"{"request":"list"}"#,
            #"{"request":"watch","interval_ms":1000}"#,
            #"{"request":"hide","vm":"work","surface":18446744073709551615}"#,
            #"{"request":"move","vm":"work","action":["show","title","x"]}"#,
            #"{"request":"capture","all":true,"vm":"a"}"#,
            #"{"request":"log","count":1,"follow":true}"#,
            #"{"request":"close","vm":"\ud83d\ude00"}"#,
        ].map { Array($0.utf8) }
        var read = 0
        var faults: Set<ControlFault.Code> = []
        for _ in 0..<100_000 {
            var line = requests.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &random) where !line.isEmpty {
                let place = Int.random(in: 0..<line.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: line[place] = UInt8.random(in: 0...255, using: &random)
                case 1: line.remove(at: place)
                case 2: line.insert(UInt8.random(in: 32...126, using: &random), at: place)
                case 3: line.insert(UInt8(ascii: "9"), at: place)
                default: line.removeSubrange(place...)
                }
            }
            guard let value = try? JSONValue(parsing: line) else { continue }
            do throws(ControlFault) {
                let request = try ControlRequest(value)
                read += 1
                let again = try? JSONValue(parsing: request.value().line)
                let copy = try ControlRequest(again ?? .null)
                #expect(copy == request)
            } catch {
                faults.insert(error.code)
                #expect(!error.sentence.contains("\n"))
            }
        }
        #expect(read > 10_000)
        #expect(faults.isSuperset(of: [.badMember, .unknownRequest, .version]))
    }

    @Test("a word that a client sent comes back clean and short")
    func strangeWords() {
        let name = String(repeating: "x\u{1b}", count: 9999)
        do throws(ControlFault) {
            _ = try ControlRequest(.object([JSONMember("request", .string(name))]))
            Issue.record("it was read")
        } catch {
            #expect(error.sentence.utf8.count < 1000)
            #expect(!error.sentence.contains("\u{1b}"))
        }
    }

    @Test("colours are written and read")
    func colours() {
        let colour = RGB(red: 1, green: 0xab, blue: 0)
        #expect(colour.hexadecimal == "#01ab00")
        #expect(RGB(hexadecimal: "#01ab00") == colour)
        for wrong in ["01ab00", "#01ab0", "#01ab000", "#01ab0g", "", "#+1ab00"] {
            #expect(RGB(hexadecimal: wrong) == nil, "\(wrong)")
        }
    }
}

@Suite("[pure] what a watch tells")
struct WatchSnapshotTests {
    private func vm(
        _ name: String, _ generation: UInt64, _ surfaces: [(UInt64, String, Bool)] = [],
        isConnected: Bool = true, isPresenting: Bool = true
    ) -> VMStatus {
        VMStatus(
            name: name, isConnected: isConnected, generation: generation,
            isPresenting: isPresenting, trouble: nil, device: nil, buffers: 0, bytes: 0, uses: 0,
            refusals: [:],
            surfaces: surfaces.map {
                SurfaceStatus(
                    vm: name, surface: SurfaceKey($0.0), title: $0.1, appID: "x", isGone: $0.2,
                    counters: SurfaceCounters())
            })
    }

    private func names(_ old: [VMStatus], _ new: [VMStatus]) -> [String] {
        WatchSnapshot(new).events(since: WatchSnapshot(old)).map { event in
            let words = [event["event"]?.text, event["vm"]?.text].compactMap { $0 }
            return (words + (event["surface"]?.count.map { ["\($0)"] } ?? [])).joined(
                separator: " ")
        }
    }

    @Test("nothing new is nothing to tell, whatever frames do")
    func nothing() {
        var later = vm("a", 1, [(1, "x", false)])
        later.surfaces[0].counters.shown = 99
        later.buffers = 4
        #expect(names([vm("a", 1, [(1, "x", false)])], [later]).isEmpty)
    }

    @Test("what left comes before what came")
    func changes() {
        #expect(
            names(
                [vm("a", 1, [(1, "x", false), (2, "y", false)]), vm("b", 0, isConnected: false)],
                [vm("a", 1, [(1, "x", true), (2, "z", false), (3, "n", false)]), vm("b", 1)])
                == [
                    "surface_gone a 1", "vm_connected b", "surface_changed a 2",
                    "surface_appeared a 3",
                ])
    }

    @Test("another connection is told as such, and its surfaces are others, whatever their names")
    func generations() {
        #expect(
            names([vm("a", 1, [(1, "x", false)])], [vm("a", 2, [(1, "x", false)])])
                == ["surface_gone a 1", "vm_left a", "vm_connected a", "surface_appeared a 1"])
    }

    @Test("a VM that is not configured any more, a new one, and a consumer that is lost")
    func vms() {
        #expect(
            names([vm("a", 1), vm("b", 2)], [vm("b", 2, isPresenting: false), vm("c", 1)])
                == ["vm_left a", "consumer_lost b", "vm_connected c"])
        #expect(names([], []).isEmpty)
    }
}

@Suite("[kernel] whose a socket is")
struct SocketOwnershipTests {
    @Test("one of many that replace the same dead socket at once gets it")
    func race() throws {
        for kind in [SocketKind.seqpacket, .stream] {
            let directory = try TemporaryDirectory.make(prefix: "vmb-race-")
            defer { TemporaryDirectory.remove(directory) }
            let path = directory + "/socket"
            for _ in 0..<20 {
                try Self.leaveDead(kind, path)
                let winners = Winners()
                DispatchQueue.concurrentPerform(iterations: 8) { _ in
                    winners.add(try? ListenerBox(SocketListener(kind, path: path, backlog: 4)))
                }
                #expect(winners.all.count == 1)
                #expect(FileIdentity(path: path) != nil)
            }
        }
    }

    @Test("a lock is one process's at a time, and says whose")
    func lock() throws {
        let directory = try TemporaryDirectory.make(prefix: "vmb-lock-")
        defer { TemporaryDirectory.remove(directory) }
        let path = directory + "/lock"
        do {
            let lock = try LockFile(path: path)
            do {
                _ = try LockFile(path: path)
                Issue.record("it was given twice")
            } catch let held as LockFile.Held {
                #expect(held.process == getpid())
            }
            withExtendedLifetime(lock) {}
        }
        let again = try LockFile(path: path)
        withExtendedLifetime(again) {}
    }

    private static func leaveDead(_ kind: SocketKind, _ path: String) throws {
        unlink(path)
        let descriptor = OwnedDescriptor(owning: kind.make())
        try #require(vmb_socket_bind(descriptor.number, path) == 0)
    }

    private final class ListenerBox {
        let listener: SocketListener
        init(_ listener: consuming SocketListener) { self.listener = listener }
    }

    private final class Winners: @unchecked Sendable {
        // The lock guards the array.
        private let lock = NSLock()
        private var boxes: [ListenerBox] = []
        var all: [ListenerBox] { lock.withLock { boxes } }
        func add(_ box: ListenerBox?) { lock.withLock { if let box { boxes.append(box) } } }
    }
}
