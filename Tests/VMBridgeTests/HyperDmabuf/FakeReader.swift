import Glibc
import VMBridgeCore

@testable import VMBridge

/// Plays the reader inside the test's own loop.
final class FakeReader: HyperReaderLauncher, EventHandler {
    private let loop: EventLoop
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    var firstWord: [UInt8]? = ReaderWriter.ready()
    private(set) var launches = 0
    private(set) var requests: [ReaderRequest] = []
    /// nil: no answer.
    var script: (ReaderRequest, UInt64) -> (bytes: [UInt8], descriptors: [Int32])? = { _, _ in nil }

    init(loop: EventLoop) { self.loop = loop }

    func launch(
        _ socket: consuming SeqPacketSocket, options: HyperReaderOptions
    ) throws(KernelError) -> HelperProcess? {
        end()
        launches += 1
        registration = try loop.register(socket.number, .read, self)
        self.socket = consume socket
        if let firstWord { say(firstWord) }
        return nil
    }

    func say(_ bytes: [UInt8], _ descriptors: [Int32] = []) {
        _ = socket?.send(bytes, descriptors: descriptors)
    }

    func end() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
    }

    func ready(_ registration: Registration, _ readiness: Readiness) {
        var bytes = [UInt8](repeating: 0, count: 256)
        var bundle = DescriptorBundle()
        guard case .datagram(let count)? = socket?.receive(into: &bytes, descriptors: &bundle),
            let (request, number) = ReaderDecoder.request(bytes, count: count)
        else { return end() }
        requests.append(request)
        if let answer = script(request, number) { say(answer.bytes, answer.descriptors) }
    }
}
