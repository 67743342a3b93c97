import CLinux
import Descriptors
import Glibc

/// Where a unix socket is: a path, or a name in the abstract name space.
package struct SocketName: Equatable, Sendable, CustomStringConvertible {
    /// As the kernel has it: a path, or 0 and an abstract name.
    let bytes: [UInt8]

    /// Reads "/path" or "@abstract", the way `NOTIFY_SOCKET` is written; nil for anything else, or if it is too long for an address.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (2...Int(VMB_SOCKET_PATH_LIMIT)).contains(bytes.count), !bytes.contains(0) else {
            return nil
        }
        switch bytes[0] {
        case UInt8(ascii: "/"): self.bytes = bytes
        case UInt8(ascii: "@"): self.bytes = [0] + bytes.dropFirst()
        default: return nil
        }
    }

    /// What a unix socket is bound to; nil if it is of another family, or bound to nothing.
    package init?(boundBy descriptor: Int32) {
        var bytes = [UInt8](repeating: 0, count: 108)
        let length = vmb_socket_name(descriptor, &bytes, bytes.count)
        guard length > 0 else { return nil }
        self.bytes = Array(bytes.prefix(Int(length)))
    }

    /// "/path" or "@abstract".
    package var description: String {
        bytes.first == 0
            ? "@" + String(decoding: bytes.dropFirst(), as: UTF8.self)
            : String(decoding: bytes, as: UTF8.self)
    }
}

/// Sends datagrams to unix sockets, and never waits. It owns its descriptor; sending is safe from every thread.
package final class DatagramSocket: @unchecked Sendable {
    // UNSAFE (@unchecked): the owner type is not Sendable, but this one is never changed, and sendto(2) is safe from every thread.
    private let descriptor: OwnedDescriptor

    /// A socket that is connected to nobody.
    package init() throws(KernelError) {
        descriptor = OwnedDescriptor(owning: try check(vmb_datagram_socket(), "socket"))
    }

    /// Sends one datagram. `wouldBlock`: the receiver's queue is full.
    package func send(_ bytes: [UInt8], to name: SocketName) -> SendResult {
        while true {
            let answer = vmb_datagram_send(
                descriptor.number, name.bytes, name.bytes.count, bytes, bytes.count)
            switch Int32(-min(answer, 0)) {
            case 0: return .sent
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED, ENOENT: return .closed
            case let code: return .failed(code)
            }
        }
    }
}
