import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// The machine protocol's other end, as the test wants it.
final class FakeQMP {
    static let greeting =
        #"{"QMP": {"version": {"qemu": {"micro": 19, "minor": 2, "major": 7}}, "capabilities": []}}"#

    private var listener: SocketListener
    private var socket: StreamSocket?
    private var input: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 4096)
    private var bundle = DescriptorBundle()
    /// Descriptors that came, in order.
    let descriptors = DescriptorQueue()
    /// Connections so far.
    private(set) var connections = 0

    init(path: String) throws { listener = try SocketListener(.stream, path: path, backlog: 4) }

    var isConnected: Bool { socket != nil }

    /// Accepts and reads what is there.
    func poll() {
        switch listener.accept() {
        case .accepted(let descriptor): take(descriptor)
        default: break
        }
        while isConnected {
            switch socket?.receive(into: &chunk, descriptors: &bundle) ?? .wouldBlock {
            case .bytes(let count): input += chunk[..<count]
            case .wouldBlock: return
            case .closed, .failed: socket = nil
            }
            for index in 0..<bundle.count {
                if let taken = bundle.take(index) { descriptors.append(taken) }
            }
        }
    }

    private func take(_ descriptor: consuming OwnedDescriptor) {
        socket = StreamSocket(descriptor)
        connections += 1
        input.removeAll()
    }

    func close() { socket = nil }

    /// The next whole line as JSON.
    func nextLine() -> JSONValue? {
        guard let end = input.firstIndex(of: 0x0a) else { return nil }
        let line = Array(input[..<end])
        input.removeFirst(end + 1)
        return try? JSONValue(parsing: line)
    }

    func send(_ text: String, end: String = "\r\n") {
        let bytes = Array((text + end).utf8)
        var sent = 0
        for _ in 0..<1000 where sent < bytes.count {
            switch socket?.send(bytes, from: sent) ?? .closed {
            case .sent(let count): sent += count
            default: return
            }
        }
    }

    func answer(_ command: JSONValue, _ value: String = "{}") {
        send("{\"return\": \(value), \"id\": \(command["id"]?.line ?? "0")}")
    }
}

/// Runs a loop in short turns until something is so, patiently.
@discardableResult
func turn(
    _ loop: EventLoop, seconds: Int = 60, _ body: () throws -> Bool
) throws -> Bool {
    let end = loop.now() + UInt64(seconds) * 1_000_000_000
    while loop.now() < end {
        if try body() { return true }
        try loop.runOnce(milliseconds: 5)
    }
    return false
}

/// The same for what must come: an error when it does not.
func wait(_ loop: EventLoop, seconds: Int = 60, _ body: () throws -> Bool) throws {
    struct DidNotCome: Error {}
    guard try turn(loop, seconds: seconds, body) else { throw DidNotCome() }
}
