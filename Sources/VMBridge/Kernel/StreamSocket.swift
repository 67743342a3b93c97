import CLinux
import Descriptors
import Glibc

/// What one attempt to receive from a stream gave.
enum StreamReceiveResult: Equatable {
    /// This many bytes, at least one.
    case bytes(Int)
    /// Nothing there now.
    case wouldBlock
    /// The peer is gone.
    case closed
    /// The call failed with this errno.
    case failed(Int32)
}

/// What one attempt to send to a stream gave.
enum StreamSendResult: Equatable {
    /// This many bytes are with the kernel.
    case sent(Int)
    /// The peer's queue is full.
    case wouldBlock
    /// The peer is gone.
    case closed
    /// The call failed with this errno.
    case failed(Int32)
}

/// One connected `AF_UNIX` `SOCK_STREAM` socket, non-blocking and close-on-exec. It owns its descriptor.
struct StreamSocket: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// Takes over an accepted connection.
    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Connects to a listener. `EAGAIN` means that its queue of waiting connections is full: try again later.
    init(connectingTo path: String) throws(KernelError) {
        try checkSocketPath(path)
        let descriptor = OwnedDescriptor(owning: try check(vmb_stream_socket(), "socket"))
        try check(vmb_socket_connect(descriptor.number, path), "connect", subject: path)
        self.descriptor = descriptor
    }

    /// The same for a listener of any name.
    init(connectingTo name: SocketName) throws(KernelError) {
        let descriptor = OwnedDescriptor(owning: try check(vmb_stream_socket(), "socket"))
        try check(
            vmb_socket_connect_name(descriptor.number, name.bytes, name.bytes.count), "connect",
            subject: name.description)
        self.descriptor = descriptor
    }

    /// Hands the descriptor over.
    consuming func intoDescriptor() -> OwnedDescriptor { descriptor }

    /// The number, lent to the event loop.
    var number: Int32 { descriptor.number }

    /// Who connected, or who listens at the other end.
    func peer() throws(KernelError) -> PeerCredentials {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        try check(vmb_socket_peer(number, &process, &user, &group), "SO_PEERCRED")
        return PeerCredentials(process: process, user: user, group: group)
    }

    /// Receives what is there, at most the array's length. The bundle is reset first; descriptors that did not
    /// all arrive are closed, so that it is empty then.
    func receive(
        into bytes: inout [UInt8], descriptors: inout DescriptorBundle
    ) -> StreamReceiveResult {
        // UNSAFE: the array is lent for the call, and the shim writes within its length.
        bytes.withUnsafeMutableBytes { receive(into: $0, &descriptors) }
    }

    /// The same behind what the array has, at most so many bytes; only as much memory is taken.
    func receive(
        appending most: Int, to bytes: inout [UInt8], descriptors: inout DescriptorBundle
    ) -> StreamReceiveResult {
        var result = StreamReceiveResult.wouldBlock
        bytes.append(addingCapacity: most) { (room: inout OutputSpan<UInt8>) in
            // UNSAFE: memory of the array's that nobody has written yet; the shim writes within its length, and what it
            // wrote is counted.
            room.withUnsafeMutableBufferPointer { (buffer, count) in
                let rest = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
                result = receive(
                    into: UnsafeMutableRawBufferPointer(rebasing: rest.prefix(most)), &descriptors)
                if case .bytes(let received) = result { count += received }
            }
        }
        return result
    }

    // UNSAFE: memory that the callers lend; the shim writes within its length.
    private func receive(
        into memory: UnsafeMutableRawBufferPointer, _ descriptors: inout DescriptorBundle
    ) -> StreamReceiveResult {
        descriptors.reset()
        var resets = 0
        while true {
            let (answer, flags) = descriptors.fill {
                vmb_socket_receive(number, memory.baseAddress, memory.count, $0)
            }
            if flags & VMB_MSG_CTRUNC != 0 { descriptors.reset() }
            switch Int32(-min(answer, 0)) {
            case 0: return answer == 0 ? .closed : .bytes(Int(answer))
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            // Said once before what the peer had sent, when it closed with unread data of ours.
            case ECONNRESET where resets == 0: resets = 1
            case ECONNRESET, ENOTCONN: return .closed
            case let code: return .failed(code)
            }
        }
    }

    /// Sends bytes from an offset on, as many as the kernel takes, with one lent descriptor or none. Never raises
    /// `SIGPIPE`.
    func send(_ bytes: [UInt8], from start: Int, descriptor: Int32? = nil) -> StreamSendResult {
        guard bytes.indices.contains(start) else { return .sent(0) }
        return send(bytes, start..<bytes.count, descriptors: descriptor.map { [$0] } ?? [])
    }

    /// The same for a range, with any number of lent descriptors.
    func send(_ bytes: [UInt8], _ range: Range<Int>, descriptors: [Int32]) -> StreamSendResult {
        let range = range.clamped(to: bytes.indices)
        guard !range.isEmpty else { return .sent(0) }
        while true {
            // UNSAFE: both arrays are lent for the call and only read; the range is within the bytes.
            let answer = bytes.withUnsafeBytes { bytes in
                descriptors.withUnsafeBufferPointer { descriptors in
                    vmb_socket_send(
                        number, bytes.baseAddress.map { $0 + range.lowerBound }, range.count,
                        descriptors.baseAddress, UInt32(descriptors.count))
                }
            }
            switch Int32(-min(answer, 0)) {
            case 0: return .sent(Int(answer))
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED: return .closed
            case let code: return .failed(code)
            }
        }
    }

    /// Waits until something can be received, or sent; false when that does not come in time.
    ///
    /// - Parameter milliseconds: -1 for ever.
    func wait(toSend: Bool = false, milliseconds: Int32 = -1) -> Bool {
        var entry = pollfd(fd: number, events: Int16(toSend ? POLLOUT : POLLIN), revents: 0)
        while true {
            let answer = poll(&entry, 1, milliseconds)
            if answer < 0, errno == EINTR { continue }
            return answer > 0
        }
    }
}
