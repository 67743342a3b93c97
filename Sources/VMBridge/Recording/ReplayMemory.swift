import Descriptors
import VMBridgeCore

/// What memory a replay makes for recorded dma-bufs.
package enum ReplayBuffers: String, Sendable, CaseIterable {
    /// Memfds, which are linear and have one plane.
    case memfd
    /// Dma-bufs of the kernel's udmabuf device.
    case udmabuf
}

/// The memory of one replayed buffer. Pixels are written into memfds, never mapped: what a recording says of them cannot hurt.
final class ReplayBuffer {
    /// Frames that were sent with it and not released.
    var uses = 0
    /// Where the pixels stand in the recording that its memory holds now.
    var content: [RecordedRegion] = []
    private var memfds: [KeptDescriptor?]

    init(_ memfds: [KeptDescriptor?]) { self.memfds = memfds }

    /// The memory of one of its descriptors, lent; nil when it is none that can be written.
    func memory(_ index: UInt32) -> Int32? {
        guard index < memfds.count else { return nil }
        return memfds[Int(index)]?.descriptor.number
    }
}

/// Makes descriptors anew, each of the kind that was recorded.
struct ReplayMemory {
    /// What stands for dma-bufs.
    let buffers: ReplayBuffers

    /// One descriptor to send, and the memfd below it when there is one.
    struct Made {
        var sent: KeptDescriptor
        var memory: KeptDescriptor?

        /// Nil when there is no descriptor.
        init?(_ sent: consuming OwnedDescriptor, memory: KeptDescriptor? = nil) {
            guard sent.isValid else { return nil }
            self.sent = KeptDescriptor(sent)
            self.memory = memory
        }
    }

    /// Largest memory that is made; it takes room only where it is written.
    private static var maximumSize: UInt64 { 1 << 44 }

    /// Nil when it cannot be made here.
    func make(_ recorded: RecordedDescriptor) -> Made? {
        switch recorded.kind {
        case .dmaBuf: return dmaBuf(recorded.size)
        case .memfd: return memfd(recorded)
        // Nobody can make a fence without a device; as anything but an acquire fence it is just no memory.
        case .syncFile, .anonymous, nil: return Made(OddDescriptors.make(.anonymous))
        case let kind?: return Made(OddDescriptors.make(kind.other ?? .anonymous))
        }
    }

    private func dmaBuf(_ wanted: UInt64) -> Made? {
        guard let size = MemoryFile.pages(covering: max(wanted, 1)), size <= Self.maximumSize,
            let memfd = try? MemoryFile.create(name: "vm-bridge replay", size: size, seals: .shrink)
        else { return nil }
        let kept = KeptDescriptor(memfd)
        guard buffers == .udmabuf else { return Made(kept.descriptor.duplicate(), memory: kept) }
        guard
            let made = try? LinuxKernelBuffers().udmabuf(
                memfd: kept.descriptor.number, offset: 0, size: size)
        else { return nil }
        return Made(made, memory: kept)
    }

    private func memfd(_ recorded: RecordedDescriptor) -> Made? {
        guard recorded.size <= Self.maximumSize,
            let memfd = try? MemoryFile.create(
                name: "vm-bridge replay", size: recorded.size,
                seals: recorded.seals.intersection([.seal, .shrink, .grow, .write, .futureWrite]))
        else { return nil }
        let kept = KeptDescriptor(memfd)
        switch recorded.access {
        case .readOnly:
            return Made(
                OddDescriptors.reopened(kept.descriptor.number, writes: false), memory: kept)
        case .writeOnly:
            return Made(
                OddDescriptors.reopened(kept.descriptor.number, writes: true), memory: kept)
        case .readWrite, .neither: return Made(kept.descriptor.duplicate(), memory: kept)
        }
    }
}
