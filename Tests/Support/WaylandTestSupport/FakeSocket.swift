import Descriptors
import Glibc

/// One end of a socketpair that passes bytes and descriptors, never waits, and closes with its life.
package final class FakeSocket {
    /// What came in one go.
    package struct Received {
        package var bytes: [UInt8] = []
        /// Numbers that the receiver must close.
        package var descriptors: [Int32] = []
        /// The other end is gone.
        package var isAtEnd = false
    }

    // Written out: Swift gives these constants another type with each set of imports.
    private static let noSignal: Int32 = 0x4000
    private static let closeOnExec: Int32 = 0x4000_0000
    private static let rights: Int32 = 1

    private var number: Int32
    private var clientEnd: Int32

    /// A connected pair.
    package init() {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            fatalError("socketpair: errno \(errno)")
        }
        number = ends[0]
        clientEnd = ends[1]
    }

    /// The compositor's end of a connection that a client made; non-blocking.
    package init(adopting descriptor: consuming OwnedDescriptor) {
        number = descriptor.release()
        clientEnd = -1
    }

    deinit {
        hangUp()
        _ = takeClientEnd()
    }

    /// The other end, for the program under test; there is only one.
    package func takeClientEnd() -> OwnedDescriptor {
        defer { clientEnd = -1 }
        return OwnedDescriptor(owning: clientEnd)
    }

    /// Closes this end.
    package func hangUp() {
        if number >= 0 { _ = close(number) }
        number = -1
    }

    /// Sends bytes, and duplicates of descriptors with the first of them. False if not all went.
    package func send(_ bytes: [UInt8], _ descriptors: [Int32] = []) -> Bool {
        var bytes = bytes
        var control = [UInt8](repeating: 0, count: Self.controlSize(descriptors.count))
        control.withUnsafeMutableBytes { buffer in
            guard !descriptors.isEmpty else { return }
            var header = cmsghdr()
            header.cmsg_len = MemoryLayout<cmsghdr>.size + 4 * descriptors.count
            header.cmsg_level = SOL_SOCKET
            header.cmsg_type = Self.rights
            buffer.storeBytes(of: header, as: cmsghdr.self)
            for (index, descriptor) in descriptors.enumerated() {
                buffer.storeBytes(
                    of: descriptor, toByteOffset: MemoryLayout<cmsghdr>.size + 4 * index,
                    as: Int32.self)
            }
        }
        let count = bytes.count
        let sent = bytes.withUnsafeMutableBytes { data in
            control.withUnsafeMutableBytes { control in
                var vector = iovec(iov_base: data.baseAddress, iov_len: data.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = control.isEmpty ? nil : control.baseAddress
                    message.msg_controllen = control.count
                    return sendmsg(number, &message, Self.noSignal)
                }
            }
        }
        return sent == count
    }

    /// Everything that has arrived.
    package func receive() -> Received {
        var result = Received()
        var data = [UInt8](repeating: 0, count: 65536)
        while number >= 0 {
            var control = [UInt8](repeating: 0, count: Self.controlSize(64))
            var controlLength = 0
            let count = data.withUnsafeMutableBytes { data in
                control.withUnsafeMutableBytes { control in
                    var vector = iovec(iov_base: data.baseAddress, iov_len: data.count)
                    return withUnsafeMutablePointer(to: &vector) { vector in
                        var message = msghdr()
                        message.msg_iov = vector
                        message.msg_iovlen = 1
                        message.msg_control = control.baseAddress
                        message.msg_controllen = control.count
                        let count = recvmsg(number, &message, Self.closeOnExec)
                        controlLength = message.msg_controllen
                        return count
                    }
                }
            }
            if count == 0 || (count < 0 && errno != EAGAIN) { result.isAtEnd = true }
            guard count > 0 else { break }
            result.bytes += data[..<count]
            result.descriptors += Self.descriptors(in: control, length: controlLength)
        }
        return result
    }

    private static func controlSize(_ descriptors: Int) -> Int {
        descriptors == 0 ? 0 : MemoryLayout<cmsghdr>.size + ((4 * descriptors + 7) & ~7)
    }

    private static func descriptors(in control: [UInt8], length: Int) -> [Int32] {
        let header = MemoryLayout<cmsghdr>.size
        guard length >= header else { return [] }
        return control.withUnsafeBytes { buffer in
            let size = min(length, buffer.load(as: cmsghdr.self).cmsg_len)
            return (0..<(size - header) / 4).map {
                buffer.load(fromByteOffset: header + 4 * $0, as: Int32.self)
            }
        }
    }
}
