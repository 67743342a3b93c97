import CLinux
import Descriptors
import Glibc
import VMBridgeCore

/// The importing side of hyper_dmabuf's node. Its calls wait for other virtual machines: for the reader process alone.
package struct HyperDmabufNode: ~Copyable {
    /// Where it usually is; the series of 2017 had it below xen.
    package static let names = ["hyper_dmabuf", "xen/hyper_dmabuf"]
    /// The usual path.
    package static let path = "/dev/hyper_dmabuf"

    private let descriptor: OwnedDescriptor

    /// Opens the node and makes sure that it is no other device: gntdev answers to the same type of ioctl, and a driver does with a
    /// number whatever it means there. Takes the lock that keeps readers of ours apart.
    ///
    /// - Throws: `ENODEV` for another device, `EWOULDBLOCK` when another reader has the lock, or what `open` says.
    package init(opening path: String) throws(KernelError) {
        descriptor = try Self.openChecked(path)
    }

    private static func openChecked(_ path: String) throws(KernelError) -> OwnedDescriptor {
        // Only a place in the file system: nothing of the device's is called yet.
        let place = OwnedDescriptor(owning: open(path, Int32(VMB_O_PATH)))
        guard place.isValid else { throw KernelError("open", errno, subject: path) }
        var facts = stat()
        guard fstat(place.number, &facts) == 0, facts.st_mode & S_IFMT == S_IFCHR,
            isOurs(HostDevice(number: UInt64(facts.st_rdev)))
        else {
            throw KernelError(
                "open", ENODEV, subject: path, advice: "this is not hyper_dmabuf's node")
        }
        let opened = OwnedDescriptor(
            owning: open("/proc/self/fd/\(place.number)", O_RDWR | O_NONBLOCK))
        guard opened.isValid else { throw KernelError("open", errno, subject: path) }
        guard flock(opened.number, LOCK_EX | LOCK_NB) == 0 else {
            throw KernelError(
                "lock", errno, subject: path,
                advice: "another reader has it, and records can have only one")
        }
        return opened
    }

    private static func open(_ path: String, _ flags: Int32) -> Int32 {
        Glibc.open(path, flags | O_CLOEXEC)
    }

    /// Whether there is a device of that name, whatever it is.
    package static func isThere(_ path: String) -> Bool {
        var facts = stat()
        return stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFCHR
    }

    /// Whether the kernel calls a device hyper_dmabuf's.
    package static func isOurs(_ device: HostDevice) -> Bool {
        // Major 10: the kernel's miscellaneous devices, of which it is one.
        HostDevice.parts(of: device.number).major == 10
            && names.contains { device.node == "/dev/\($0)" }
    }

    /// The number, lent to poll.
    package var number: Int32 { descriptor.number }

    /// Reads records: how many bytes, or the negated errno. 0 means that the first does not fit.
    package func read(into bytes: inout [UInt8]) -> Int {
        // UNSAFE: the array is lent for the call, and the kernel writes within its length.
        let count = bytes.withUnsafeMutableBytes { Glibc.read(number, $0.baseAddress, $0.count) }
        return count < 0 ? -Int(errno) : count
    }

    /// A dma-buf of a buffer: a round trip to its exporter.
    package func open(_ id: HyperBufferID) throws(KernelError) -> OwnedDescriptor {
        var request = vmb_hyper_export_fd()
        request.id = (id.number, id.key.first, id.key.second, id.key.third)
        request.flags = O_CLOEXEC
        request.descriptor = -1
        try check(vmb_ioctl(number, VMB_HYPER_EXPORT_FD, &request), "EXPORT_FD")
        return OwnedDescriptor(owning: request.descriptor)
    }

    /// An answer about a buffer.
    package func ask(_ id: HyperBufferID, _ item: HyperQueryItem) throws(KernelError) -> UInt64 {
        try query(id, item.rawValue, 0)
    }

    /// Its private data; empty when they are longer than the driver allows. The driver copies as many bytes as there are, whatever
    /// room there is, and they may become more between two calls.
    package func privateData(of id: HyperBufferID) throws(KernelError) -> [UInt8] {
        let size = try ask(id, .privateSize)
        guard size <= UInt64(HyperEvent.maximumPrivateBytes) else { return [] }
        // An exporter changes them at will: room for the most that one message between domains can bring, and more.
        var room = [UInt8](repeating: 0, count: 1 << 20)
        var code: KernelError?
        room.withUnsafeMutableBytes { bytes in
            // UNSAFE: the kernel is given the array's address as a number, and the array outlives the call.
            let address = UInt64(UInt(bitPattern: bytes.baseAddress))
            do throws(KernelError) {
                _ = try query(id, 0x18, address)
            } catch { code = error }
        }
        if let code { throw code }
        return Array(room.prefix(Int(size)))
    }

    private func query(
        _ id: HyperBufferID, _ item: Int32, _ info: UInt64
    ) throws(KernelError) -> UInt64 {
        var request = vmb_hyper_query()
        request.id = (id.number, id.key.first, id.key.second, id.key.third)
        request.item = item
        request.info = info
        try check(vmb_ioctl(number, VMB_HYPER_QUERY, &request), "QUERY")
        return request.info
    }
}

/// What the reader's two threads share; neither changes it.
package final class HyperReaderParts: @unchecked Sendable {
    // UNSAFE (@unchecked): descriptors that are never changed; read, ioctl, sendmsg and recvmsg are safe from every thread.
    package let socket: SeqPacketSocket
    package let node: HyperDmabufNode

    package init(socket: consuming SeqPacketSocket, node: consuming HyperDmabufNode) {
        self.socket = socket
        self.node = node
    }
}
