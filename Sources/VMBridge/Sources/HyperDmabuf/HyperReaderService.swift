import Descriptors
import Glibc
import VMBridgeCore

/// The reader's own side: one thread takes records off the queue and hands them on untouched, another makes
/// the calls that wait for virtual machines. Nothing here looks into what a guest wrote.
package final class HyperReaderService {
    private let parts: HyperReaderParts
    private var room = [UInt8](repeating: 0, count: ReaderProtocol.firstRoom)

    private init(_ parts: HyperReaderParts) { self.parts = parts }

    /// Opens the node and serves the bridge until it or the node is gone. Tells the bridge why it ends.
    ///
    /// - Parameters:
    ///   - socket: the bridge's.
    ///   - path: of the node.
    package static func run(_ socket: consuming SeqPacketSocket, path: String) {
        let node: HyperDmabufNode
        do throws(KernelError) {
            try ReaderRights.keepOnly()
            node = try HyperDmabufNode(opening: path)
        } catch {
            let why: ReaderEnd =
                switch error.code {
                case EWOULDBLOCK: .taken
                case EPERM, EACCES: .noRight
                case ENOENT, ENODEV, ENXIO: .noNode
                default: .failed
                }
            _ = socket.send(ReaderWriter.ended(why, error.code), descriptors: [])
            return
        }
        let parts = HyperReaderParts(socket: socket, node: node)
        let service = HyperReaderService(parts)
        guard service.say(ReaderWriter.ready()) else { return }
        do throws(KernelError) {
            try BackgroundWork.start { HyperReaderAnswers(parts).run() }
        } catch {
            _ = service.say(ReaderWriter.ended(.failed, error.code))
            return
        }
        let (why, code) = service.forward()
        _ = service.say(ReaderWriter.ended(why, code))
    }

    private func say(_ bytes: [UInt8]) -> Bool { HyperReaderAnswers.send(bytes, [], parts) }

    /// Hands records on until there can be no more.
    private func forward() -> (ReaderEnd, Int32) {
        while true {
            let events = HelperConduct.waitUntilReadable(parts.node.number)
            if events & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 { return (.nodeGone, 0) }
            let count = parts.node.read(into: &room)
            switch count {
            case 1...:
                guard say(ReaderWriter.records(room, count: count)) else { return (.failed, EPIPE) }
            case 0:
                guard room.count < ReaderProtocol.lastRoom else { return (.stuck, 0) }
                room = [UInt8](
                    repeating: 0, count: min(2 * room.count, ReaderProtocol.lastRoom))
            case -Int(EAGAIN): guard say(ReaderWriter.stolen()) else { return (.failed, EPIPE) }
            case -Int(EINTR): continue
            case -Int(ENODEV): return (.nodeGone, ENODEV)
            case -Int(EPERM): return (.noRight, EPERM)
            default: return (.failed, Int32(truncatingIfNeeded: -count))
            }
        }
    }
}

/// The thread whose calls may take as long as a virtual machine likes.
private struct HyperReaderAnswers {
    private let parts: HyperReaderParts

    init(_ parts: HyperReaderParts) { self.parts = parts }

    /// Answers one request after the other, and ends the process with the bridge's end of the socket.
    func run() {
        var bytes = [UInt8](repeating: 0, count: 256)
        while true {
            _ = HelperConduct.waitUntilReadable(parts.socket.number)
            var bundle = DescriptorBundle()
            switch parts.socket.receive(into: &bytes, descriptors: &bundle) {
            case .wouldBlock: continue
            case .datagram(let count):
                guard let (request, number) = ReaderDecoder.request(bytes, count: count),
                    bundle.count == 0, answer(request, number)
                else { exit(0) }
            default: exit(0)
            }
        }
    }

    private func answer(_ request: ReaderRequest, _ number: UInt64) -> Bool {
        do throws(KernelError) {
            var facts = RawFacts()
            // Before a dma-buf is there the size is that of the data.
            facts.size = try parts.node.ask(request.id, .size)
            facts.type = try parts.node.ask(request.id, .type)
            facts.exporter = try parts.node.ask(request.id, .exporter)
            facts.unexported = try parts.node.ask(request.id, .unexported)
            switch request {
            case .ask: return send(ReaderWriter.answer(facts, number: number, descriptors: 0))
            case .describe(let id):
                let data = try parts.node.privateData(of: id)
                return send(
                    ReaderWriter.answer(
                        facts, number: number, descriptors: 0, privateData: data))
            case .open(let id):
                let buffer = try parts.node.open(id)
                return Self.send(
                    ReaderWriter.answer(facts, number: number, descriptors: 1), [buffer.number],
                    parts)
            }
        } catch {
            return send(ReaderWriter.refused(error.code, number: number))
        }
    }

    private func send(_ bytes: [UInt8]) -> Bool { Self.send(bytes, [], parts) }

    /// Waits for room, since here nobody else has to; false when the bridge is gone.
    static func send(_ bytes: [UInt8], _ descriptors: [Int32], _ parts: HyperReaderParts) -> Bool {
        while true {
            switch parts.socket.send(bytes, descriptors: descriptors) {
            case .sent: return true
            case .wouldBlock: HelperConduct.waitUntilWritable(parts.socket.number)
            default: return false
            }
        }
    }
}
