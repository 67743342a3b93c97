import Testing
import VMBridgeCore

@testable import VMBridge

/// One end of a connection of source-v1 in a test: takes datagrams apart. Who inherits from it says what
/// becomes of the records.
class TestPeer {
    private var socket: SeqPacketSocket?
    private var input = [UInt8](repeating: 0, count: 65_536)
    /// What came with the datagram at hand.
    final var bundle = DescriptorBundle()
    private(set) final var isClosed = false

    init(_ path: String) throws {
        socket = try SeqPacketSocket(connectingTo: path)
    }

    @discardableResult
    final func send(_ bytes: [UInt8], descriptors: [Int32] = []) -> SendResult {
        socket?.send(bytes, descriptors: descriptors) ?? .closed
    }

    /// Takes everything that has come.
    final func listen() throws {
        while !isClosed {
            switch socket?.receive(into: &input, descriptors: &bundle) ?? .closed {
            case .datagram(let count): try takeApart(Array(input[..<count]))
            case .wouldBlock: return
            default: isClosed = true
            }
        }
    }

    private func takeApart(_ datagram: [UInt8]) throws {
        begin()
        var walker = RecordWalker()
        while let header = try walker.next(in: datagram.span, descriptorCount: bundle.count) {
            try take(header, datagram)
        }
    }

    /// A datagram has come, with its descriptors in the bundle.
    func begin() {}

    /// A record of it.
    func take(_ header: RecordFrame, _ datagram: [UInt8]) throws {}

    final func close() { socket = nil }
}
