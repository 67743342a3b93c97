/// Where the three parts of a split virtqueue lie, by guest-physical address, and how many entries it has
/// (virtio 1.2 §2.7).
package struct VirtqueueLayout: Hashable, Sendable {
    /// Entries: a power of two.
    package let size: UInt16
    /// Descriptor table, `size` × 16 bytes.
    package let descriptors: UInt64
    /// Driver area ("avail").
    package let available: UInt64
    /// Device area ("used").
    package let used: UInt64

    /// The most entries that are taken: what QEMU allows too.
    package static let maximumSize: UInt32 = 1024

    /// Bytes of the three parts, event fields included.
    package static func bytes(
        size: UInt16
    ) -> (descriptors: UInt64, available: UInt64, used: UInt64) {
        let size = UInt64(size)
        return (16 * size, 6 + 2 * size, 6 + 8 * size)
    }

    /// A layout; nil for a size that is no power of two or too large, or addresses that are not aligned (§2.7).
    package init?(size: UInt32, descriptors: UInt64, available: UInt64, used: UInt64) {
        guard size > 0, size <= Self.maximumSize, size & (size - 1) == 0,
            descriptors % 16 == 0, available % 2 == 0, used % 4 == 0
        else { return nil }
        self.size = UInt16(size)
        self.descriptors = descriptors
        self.available = available
        self.used = used
    }
}

/// The device's side of one split virtqueue. All that it reads was written by the guest, and may change while it looks.
package struct Virtqueue: Sendable {
    /// What looking for the next request gave.
    package enum Next: Sendable, Equatable {
        /// There is none.
        case none
        /// A request.
        case chain(DescriptorChain)
        /// A request that cannot be understood; give its buffer back by `complete(head, written: 0)`.
        case refused(head: UInt16, Refusal)
        /// The queue itself makes no sense; it is not to be used until it is set up anew.
        case broken(Refusal)
    }

    /// Where it lies.
    package var layout: VirtqueueLayout
    private let hasIndirect: Bool
    private let hasEventIndex: Bool
    /// Requests taken so far, modulo 2¹⁶: what GET_VRING_BASE answers.
    package private(set) var nextAvailable: UInt16
    private var usedIndex: UInt16
    // The used index when the guest was last notified, or the question was last asked.
    private var notifiedIndex: UInt16

    /// A queue that goes on where the last one ended.
    ///
    /// - Parameters:
    ///   - base: requests taken so far, from SET_VRING_BASE.
    ///   - features: as acknowledged by the driver.
    /// - Returns: nil when its used index cannot be read.
    package init?(
        _ layout: VirtqueueLayout, base: UInt16, features: VirtioFeatures, memory: some GuestMemory
    ) {
        guard let index = memory.load16(layout.used + 2) else { return nil }
        self.layout = layout
        hasIndirect = features.contains(.indirectDescriptors)
        hasEventIndex = features.contains(.eventIndex)
        nextAvailable = base
        usedIndex = index
        notifiedIndex = index
    }

    /// Takes the next request, if there is one.
    package mutating func next(in memory: some GuestMemory) -> Next {
        guard let available = memory.load16(layout.available + 2) else {
            return .broken(Refusal(.badLayout, "The queue does not lie in the guest's memory."))
        }
        let waiting = available &- nextAvailable
        if waiting == 0 { return .none }
        guard waiting <= layout.size else {
            return .broken(
                Refusal(
                    .badValue,
                    "The queue of \(layout.size) claims \(waiting) requests at once."))
        }
        let slot = UInt64(nextAvailable % layout.size)
        guard let head = memory.load16(layout.available + 4 + 2 * slot) else {
            return .broken(Refusal(.badLayout, "The queue does not lie in the guest's memory."))
        }
        guard head < layout.size else {
            return .broken(
                Refusal(.badValue, "The queue of \(layout.size) names descriptor \(head)."))
        }
        nextAvailable &+= 1
        do throws(Refusal) {
            return .chain(
                try DescriptorChain.walk(
                    head, layout, hasIndirect: hasIndirect, memory: memory))
        } catch {
            return .refused(head: head, error)
        }
    }

    /// Gives a request's buffer back, with `written` bytes of answer in it. False when the queue does not lie in memory any more.
    package mutating func complete(
        _ head: UInt16, written: UInt32, in memory: some GuestMemory
    ) -> Bool {
        var entry: [UInt8] = []
        entry.reserveCapacity(8)
        entry.put32(UInt32(head))
        entry.put32(written)
        let slot = UInt64(usedIndex % layout.size)
        guard memory.write(entry[...], at: layout.used + 4 + 8 * slot),
            memory.store16(usedIndex &+ 1, at: layout.used + 2)
        else { return false }
        usedIndex &+= 1
        return true
    }

    /// Whether the guest wants to be told of what was completed since this was last asked (§2.7.7).
    package mutating func wantsNotification(in memory: some GuestMemory) -> Bool {
        let (old, new) = (notifiedIndex, usedIndex)
        guard old != new else { return false }
        notifiedIndex = new
        memory.fence()
        guard hasEventIndex else {
            return (memory.load16(layout.available) ?? 0) & 1 == 0
        }
        let event = memory.load16(layout.available + 4 + 2 * UInt64(layout.size)) ?? new
        return (new &- event &- 1) < (new &- old)
    }

    /// Asks the guest to tell of its next request (§2.7.10).
    ///
    /// - Returns: whether one came meanwhile, which it might not tell of.
    package func askForNext(in memory: some GuestMemory) -> Bool {
        guard hasEventIndex else { return false }
        guard
            memory.store16(nextAvailable, at: layout.used + 4 + 8 * UInt64(layout.size))
        else { return false }
        memory.fence()
        return memory.load16(layout.available + 2).map { $0 != nextAvailable } ?? false
    }
}

/// Feature bits of every virtio device (virtio 1.2 §6).
package struct VirtioFeatures: OptionSet, Hashable, Sendable {
    /// The bits; 0 to 23 are the device type's own.
    package let rawValue: UInt64
    /// From the bits.
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    /// VIRTIO_F_INDIRECT_DESC
    package static let indirectDescriptors = VirtioFeatures(rawValue: 1 << 28)
    /// VIRTIO_F_EVENT_IDX
    package static let eventIndex = VirtioFeatures(rawValue: 1 << 29)
    /// VHOST_USER_F_PROTOCOL_FEATURES, between front and back end only
    package static let protocolFeatures = VirtioFeatures(rawValue: 1 << 30)
    /// VIRTIO_F_VERSION_1
    package static let version1 = VirtioFeatures(rawValue: 1 << 32)
    /// VIRTIO_F_ACCESS_PLATFORM: addresses go through an IOMMU
    package static let accessPlatform = VirtioFeatures(rawValue: 1 << 33)
    /// VIRTIO_F_RING_PACKED
    package static let packedRing = VirtioFeatures(rawValue: 1 << 34)
    /// VIRTIO_F_IN_ORDER
    package static let inOrder = VirtioFeatures(rawValue: 1 << 35)
}
