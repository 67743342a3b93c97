import Descriptors
import Glibc
import VMBridgeCore

/// Makes dma-bufs over pages of a guest's RAM, within the limits of the kernel's module.
package struct UdmabufMaker {
    /// Entries of one list (`/sys/module/udmabuf/parameters/list_limit`).
    package let listLimit: UInt64
    /// Bytes of one buffer (`size_limit_mb`).
    package let sizeLimit: UInt64
    private let kernel: any KernelBuffers
    /// Why none can be made, and what to do; nil when they can.
    package let lack: String?

    /// Looks at the running kernel.
    package init() {
        let reads = access(LinuxKernelBuffers.udmabufDevice, R_OK | W_OK)
        var lack: String?
        if reads != 0 {
            lack =
                errno == ENOENT
                ? "this kernel has no \(LinuxKernelBuffers.udmabufDevice): load the module udmabuf"
                : "no right to use \(LinuxKernelBuffers.udmabufDevice): join the group that it belongs to"
        }
        self.init(
            kernel: LinuxKernelBuffers(), listLimit: Self.parameter("list_limit") ?? 1024,
            sizeLimit: (Self.parameter("size_limit_mb") ?? 64) << 20, lack: lack)
    }

    /// One with limits of a test.
    package init(
        kernel: any KernelBuffers, listLimit: UInt64, sizeLimit: UInt64, lack: String? = nil
    ) {
        self.kernel = kernel
        self.listLimit = listLimit
        self.sizeLimit = sizeLimit
        self.lack = lack
    }

    private static func parameter(_ name: String) -> UInt64? {
        let path = "/sys/module/udmabuf/parameters/\(name)"
        guard let file = try? ReadableFile(path: path) else { return nil }
        let digits = file.bytes(at: 0, count: 20).prefix { $0 >= 0x30 && $0 <= 0x39 }
        // A negative limit, or one beyond reason, is none.
        return UInt64(String(decoding: digits, as: UTF8.self)).map { min($0, 1 << 20) }
    }

    /// A dma-buf over pieces of guest memory, in order.
    ///
    /// - Throws: a sentence: why it cannot be made, and what to do.
    package func make(
        _ pieces: [MemoryPiece], of ram: GuestRAM
    ) throws(UdmabufLack) -> OwnedDescriptor {
        if let lack { throw UdmabufLack(lack) }
        guard pieces.count <= listLimit else {
            throw UdmabufLack(
                "the picture lies in \(pieces.count) runs of pages, and the module udmabuf takes \(listLimit): raise its parameter list_limit"
            )
        }
        var bytes: UInt64 = 0
        let page = MemoryMap.pageSize
        for piece in pieces {
            guard piece.offset % page == 0, piece.length % page == 0 else {
                throw UdmabufLack("the guest's picture is not made of whole pages")
            }
            bytes += piece.length
        }
        guard bytes <= sizeLimit else {
            throw UdmabufLack(
                "the picture has \(bytes >> 20) MiB, and the module udmabuf takes \(sizeLimit >> 20): raise its parameter size_limit_mb"
            )
        }
        do throws(KernelError) {
            return try kernel.udmabuf(
                pieces: pieces.map {
                    UdmabufPiece(memfd: ram.memfd(of: $0), offset: $0.offset, size: $0.length)
                })
        } catch {
            throw UdmabufLack("\(error)")
        }
    }
}

/// Why a guest's pages cannot be shown themselves, and what to do about it.
package struct UdmabufLack: Error, CustomStringConvertible {
    /// One sentence without a full stop.
    package let description: String
    init(_ description: String) { self.description = description }
}
