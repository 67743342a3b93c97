import CLinux
import Descriptors
import Glibc
import VMBridgeCore

/// One connection of a vhost-user front end: whole messages out of a stream, replies into it.
///
/// Head and payload are read each for itself and no further, so that descriptors, which come with the first byte of their message, can
/// never be taken for another's.
struct VhostUserSocket: ~Copyable {
    /// What one attempt to receive gave.
    enum Received {
        /// A message; its payload is the socket's `payload`, its descriptors are in the bundle.
        case message(VhostUserHeader)
        /// Nothing, or a part of one.
        case wouldBlock
        /// The peer is gone.
        case ended(String)
        /// The peer broke the framing: nothing behind this can be understood.
        case broken(Refusal)
    }

    private let descriptor: OwnedDescriptor
    private var input: [UInt8] = []
    private var scratch = [UInt8](
        repeating: 0, count: VhostUserHeader.bytes + VhostUserHeader.maximumPayload)
    private var header: VhostUserHeader?
    // Takes descriptors that come where none may.
    private var stray: DescriptorBundle
    private var output: [UInt8] = []
    /// The payload of the last message.
    private(set) var payload: [UInt8] = []

    /// Output above this ends the connection: who does not listen is not answered.
    private static var outputLimit: Int { 64 * 1024 }

    /// Takes over an accepted connection.
    init(_ descriptor: consuming OwnedDescriptor, reaper: DescriptorReaper) {
        self.descriptor = descriptor
        stray = DescriptorBundle(reaper: reaper)
    }

    /// The number, lent to the event loop.
    var number: Int32 { descriptor.number }
    /// Whether the peer has closed its end, which the loop may not have told yet.
    var hasHungUp: Bool {
        let ready = vmb_poll_now(descriptor.number)
        return ready < 0 || ready & (POLLHUP | POLLERR) != 0
    }
    /// Whether there are bytes to send.
    var hasOutput: Bool { !output.isEmpty }

    /// Receives until a message is whole. Descriptors are gathered in `bundle`, which the caller resets after each message.
    mutating func receive(_ bundle: inout DescriptorBundle) -> Received {
        while true {
            let wanted = (header?.size ?? VhostUserHeader.bytes) - input.count
            if wanted == 0 {
                if let known = header {
                    payload = input
                    input.removeAll(keepingCapacity: true)
                    header = nil
                    return .message(known)
                }
                do throws(Refusal) {
                    header = try VhostUserHeader(input.span)
                } catch {
                    return .broken(error)
                }
                input.removeAll(keepingCapacity: true)
                continue
            }
            if let end = receive(upTo: wanted, &bundle) { return end }
        }
    }

    private mutating func receive(
        upTo wanted: Int, _ bundle: inout DescriptorBundle
    ) -> Received? {
        let isFirst = header == nil && input.isEmpty
        // UNSAFE: the scratch buffer is lent for the call, which writes at most `wanted` bytes of its 524.
        let (answer, flags) = scratch.withUnsafeMutableBytes { bytes in
            let count = min(wanted, bytes.count)
            let base = bytes.baseAddress
            return isFirst
                ? bundle.fill { vmb_socket_receive(descriptor.number, base, count, $0) }
                : stray.fill { vmb_socket_receive(descriptor.number, base, count, $0) }
        }
        let hasStray = stray.count > 0
        stray.reset()
        switch Int32(-min(answer, 0)) {
        case 0:
            guard answer > 0 else { return .ended("it closed the connection") }
            guard flags & VMB_MSG_CTRUNC == 0, !hasStray else {
                return .broken(
                    Refusal(
                        .descriptorCount,
                        "Descriptors did not come whole, or not with a message's start."))
            }
            input += scratch[0..<Int(answer)]
            return nil
        case EINTR: return nil
        case EAGAIN: return .wouldBlock
        case ECONNRESET, ENOTCONN: return .ended("it closed the connection")
        case let code: return .ended("receiving failed: \(KernelError.text(of: code))")
        }
    }

    /// Queues a reply; false when too many wait already.
    mutating func queue(_ bytes: [UInt8]) -> Bool {
        output += bytes
        return output.count <= Self.outputLimit
    }

    /// Sends what the peer's queue takes; nil, or why the connection has ended.
    mutating func flush() -> String? {
        while !output.isEmpty {
            // UNSAFE: the array is lent for the call and only read.
            let answer = output.withUnsafeBytes {
                vmb_socket_send(number, $0.baseAddress, $0.count, nil, 0)
            }
            switch Int32(-min(answer, 0)) {
            case 0: output.removeFirst(Int(answer))
            case EINTR: continue
            case EAGAIN: return nil
            case EPIPE, ECONNRESET, ENOTCONN: return "it closed the connection"
            case let code: return "sending failed: \(KernelError.text(of: code))"
            }
        }
        return nil
    }
}
