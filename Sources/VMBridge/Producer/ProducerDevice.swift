import Descriptors
import VMBridgeCore

/// Where a producer's memory and its fences come from. Opens vgem once, and only when it is asked for.
final class ProducerDevice {
    /// A pending fence of ours.
    struct Fence: Equatable {
        fileprivate var number: UInt32
        fileprivate var carrier: Int
    }

    /// A pending fence and the sync_file that shows it.
    struct NewFence: ~Copyable {
        let fence: Fence
        fileprivate let syncFile: OwnedDescriptor

        /// Hands the sync_file over.
        consuming func takeSyncFile() -> OwnedDescriptor { syncFile }
    }

    private final class Card {
        let vgem: VGEM
        init() throws(KernelError) { vgem = try VGEM.find() }
    }

    /// Keeps a carrier's descriptor.
    private final class FenceCarrier {
        let handle: UInt32
        let dmaBuf: OwnedDescriptor
        init(_ handle: UInt32, _ dmaBuf: consuming OwnedDescriptor) {
            self.handle = handle
            self.dmaBuf = dmaBuf
        }
    }

    private let kernel = LinuxKernelBuffers()
    private var card: Card?
    private var carriers: [FenceCarrier] = []
    private var freeCarriers: [Int] = []

    /// Memory of at least `bytes` bytes; the caller owns the descriptor.
    func allocate(
        _ kind: ProducerMemory, bytes: Int, rowBytes: Int
    ) throws(ProducerFailure) -> OwnedDescriptor {
        guard let size = MemoryFile.pages(covering: UInt64(bytes)) else {
            throw ProducerFailure("a buffer of \(bytes) bytes is too large")
        }
        do throws(KernelError) {
            switch kind {
            case .memfd: return try MemoryFile.create(name: "vm-bridge-produce", size: size)
            case .udmabuf:
                let pages = try MemoryFile.create(
                    name: "vm-bridge-produce", size: size, seals: [.shrink])
                return try kernel.udmabuf(memfd: pages.number, offset: 0, size: size)
            case .heap: return try kernel.allocate(heap: "system", size: size)
            case .vgem:
                // A dumb buffer of our own row length, so that the layout is the same everywhere.
                let vgem = try openCard()
                let rows = (bytes + rowBytes - 1) / rowBytes
                let buffer = try vgem.vgem.create(
                    width: UInt32(rowBytes / 4), height: UInt32(rows))
                defer { try? vgem.vgem.close(handle: buffer.handle) }
                return try vgem.vgem.export(handle: buffer.handle)
            }
        } catch {
            throw ProducerFailure(
                "cannot make a buffer of kind \(kind.rawValue): \(error), or use --buffer memfd")
        }
    }

    /// A new pending fence and its sync_file. One that is never signalled ends by itself after 10 s.
    func makeFence() throws(ProducerFailure) -> NewFence {
        do throws(KernelError) {
            let card = try openCard()
            let index: Int
            if let free = freeCarriers.popLast() {
                index = free
            } else {
                index = try makeCarrier(card)
            }
            let carrier = carriers[index]
            let number = try card.vgem.attachFence(handle: carrier.handle, writing: true)
            // Who wants to read waits for the writer: that is the fence just attached.
            let syncFile = try kernel.exportFence(dmaBuf: carrier.dmaBuf.number, for: .read)
            return NewFence(
                fence: Fence(number: number, carrier: index), syncFile: syncFile)
        } catch {
            throw ProducerFailure(
                "cannot make a fence of kind sync_file, which vgem provides: \(error), or use --fence message"
            )
        }
    }

    /// Signals a fence. One that had ended by itself is no matter.
    func signal(_ fence: Fence) {
        try? card?.vgem.signal(fence: fence.number)
        freeCarriers.append(fence.carrier)
    }

    private func makeCarrier(_ card: Card) throws(KernelError) -> Int {
        let buffer = try card.vgem.create(width: 16, height: 16)
        carriers.append(
            FenceCarrier(buffer.handle, try card.vgem.export(handle: buffer.handle)))
        return carriers.count - 1
    }

    private func openCard() throws(KernelError) -> Card {
        if let card { return card }
        let opened = try Card()
        card = opened
        return opened
    }
}
