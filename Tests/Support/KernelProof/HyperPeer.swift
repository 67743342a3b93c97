import CLinux
import Descriptors
import Glibc
import VMBridge
import VMBridgeCore

/// The node of the loop-back driver that plays the exporting machines: Tests/vm/modules/vmbhyper.h, which
/// has the layouts and numbers.
struct HyperPeer: ~Copyable {
    private let descriptor: OwnedDescriptor

    init() throws(KernelError) {
        let path = "/dev/hyper_dmabuf_peer"
        descriptor = OwnedDescriptor(owning: vmb_open(path, VMB_OPEN_READ_WRITE))
        guard descriptor.isValid else { throw KernelError("open", errno, subject: path) }
    }

    /// Words of an argument, low bytes first.
    private static func words(_ numbers: [UInt32]) -> [UInt8] {
        numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
    }

    private func call(
        _ name: String, _ request: UInt, _ argument: inout [UInt8]
    ) throws(KernelError) {
        let answer = argument.withUnsafeMutableBytes {
            vmb_ioctl(descriptor.number, request, $0.baseAddress)
        }
        guard answer >= 0 else { throw KernelError(name, -answer) }
    }

    private static func words(_ id: HyperBufferID) -> [UInt8] {
        var bytes: [UInt8] = []
        id.put(to: &bytes)
        return bytes
    }

    /// How the host hears of an export, besides its record.
    struct Notice: OptionSet {
        let rawValue: UInt32
        /// The record is lost.
        static let lost = Notice(rawValue: 1)
        /// A uevent tells that something changed, and with `id` also what.
        static let uevent = Notice(rawValue: 2)
        static let id = Notice(rawValue: 4)
        /// A new id, though the buffer has one.
        static let fresh = Notice(rawValue: 8)
    }

    /// The domain exports a dma-buf.
    func export(
        _ buffer: Int32, of domain: UInt32, _ notice: Notice, _ priv: [UInt8]
    ) throws(KernelError) -> HyperBufferID {
        var argument = Self.words([
            UInt32(bitPattern: buffer), domain, notice.rawValue, UInt32(priv.count),
        ])
        var failure: KernelError?
        priv.withUnsafeBytes { bytes in
            let address = UInt64(UInt(bitPattern: bytes.baseAddress))
            argument += Self.words([UInt32(truncatingIfNeeded: address), UInt32(address >> 32)])
            argument += [UInt8](repeating: 0, count: 16)
            do throws(KernelError) {
                try call("EXPORT", 0xc028_5640, &argument)
            } catch { failure = error }
        }
        if let failure { throw failure }
        return HyperBufferID(argument.span, at: 24)
    }

    func unexport(_ id: HyperBufferID, after milliseconds: UInt32) throws(KernelError) {
        var argument = Self.words(id) + Self.words([milliseconds, 0])
        try call("UNEXPORT", 0x4018_5641, &argument)
    }

    /// - Parameter kind: 0 right, 1 EIO, 2 never.
    func answer(domain: UInt32, kind: UInt32, after milliseconds: UInt32) throws(KernelError) {
        var argument = Self.words([domain, kind, milliseconds, UInt32(bitPattern: -EIO)])
        try call("ANSWER", 0x4010_5642, &argument)
    }

    func kill(domain: UInt32) throws(KernelError) {
        var argument = Self.words([domain, 0])
        try call("KILL", 0x4008_5643, &argument)
    }

    func inject(_ record: [UInt8]) throws(KernelError) {
        var failure: KernelError?
        record.withUnsafeBytes { bytes in
            let address = UInt64(UInt(bitPattern: bytes.baseAddress))
            var argument = Self.words([
                UInt32(truncatingIfNeeded: address), UInt32(address >> 32), UInt32(record.count), 0,
            ])
            do throws(KernelError) {
                try call("INJECT", 0x4010_5644, &argument)
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    func setNode(present: Bool) throws(KernelError) {
        var argument = Self.words([present ? 1 : 0, 0])
        try call("NODE", 0x4008_5645, &argument)
    }

    /// Whether the id is known and valid, dma-bufs of it, and for all: records that wait and were lost, calls of
    /// EXPORT_FD.
    func state(of id: HyperBufferID) throws(KernelError) -> [UInt32] {
        var argument = Self.words(id) + [UInt8](repeating: 0, count: 32)
        try call("STATE", 0xc030_5647, &argument)
        return (0..<8).map { word in
            (0..<4).reduce(0) { $0 | UInt32(argument[16 + word * 4 + $1]) << UInt32($1 * 8) }
        }
    }
}
