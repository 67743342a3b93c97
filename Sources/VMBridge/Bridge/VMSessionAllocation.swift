import Descriptors
import VMBridgeCore

/// A buffer that the producer asked for and that has no memory yet.
struct Allocation {
    var key: BufferKey
    /// Its place in the ledger, which keeps the budget for it.
    var buffer: BufferID
}

/// Buffers whose memory the host makes (source-v1 §5.2, BUFFER_ALLOCATE).
extension VMSession {
    /// Takes the wish; the answer comes from the graphics worker.
    func allocate(_ key: BufferKey, _ wish: BufferWish) throws(Refusal) {
        guard let graphics else {
            throw Refusal(.importFailed, "This bridge makes no memory for buffers.")
        }
        let sides = 1...VMLimits.maximumDimension
        guard sides.contains(wish.size.width), sides.contains(wish.size.height) else {
            throw Refusal(
                .badValue,
                "A buffer of \(wish.size): sides go from 1 to \(VMLimits.maximumDimension).")
        }
        guard let linear = LinearLayout(wish.size, wish.format) else {
            throw Refusal(.badFormat, "The format \(wish.format) is not known here.")
        }
        let (modifiers, device) = try modifiers(for: wish)
        let id = try ledger.create(key, size: wish.size, bytes: linear.bytes, limits: limits)
        unimportable[id] = Refusal(.unknownObject, "Buffer \(key) has no memory yet.")
        graphics.setDevice(device)
        let request = graphics.allocate(
            AllocationRequest(
                size: wish.size, format: wish.format, modifiers: modifiers,
                isContiguous: wish.isContiguous))
        allocations[request] = Allocation(key: key, buffer: id)
    }

    /// What both the producer and the consumer can do, the consumer's best first, and its device.
    private func modifiers(
        for wish: BufferWish
    ) throws(Refusal) -> (modifiers: [Modifier], device: UInt64) {
        let bit = ImportableFormat.bit(.dmaBuf)
        let formats = presenter.formats
        // While no consumer has said anything, LINEAR is what every one takes.
        guard !formats.isEmpty else {
            guard wish.modifiers.contains(.linear) else {
                throw Refusal(.badModifier, "Only LINEAR can be made while no compositor is there.")
            }
            return ([.linear], 0)
        }
        let entries = formats.filter { $0.format == wish.format && $0.memory & bit != 0 }
        guard !entries.isEmpty else {
            throw Refusal(
                .badFormat, "The format \(wish.format) cannot be imported from a dma-buf here.")
        }
        let common = entries.filter {
            $0.modifier != .invalid && wish.modifiers.contains($0.modifier)
        }
        guard let first = common.first else {
            throw Refusal(
                .badModifier, "No modifier of those named can be imported with \(wish.format) here."
            )
        }
        let most = AllocationRequest.maximumModifiers
        return (common.prefix(most).map(\.modifier), first.device)
    }

    /// What came of a wish.
    func handle(_ event: GraphicsEvent) {
        switch event {
        case .allocated(let request, let memory, let allocator):
            guard let allocation = takeAllocation(request) else { return }
            do throws(Refusal) {
                try adopt(memory, allocation, allocator)
            } catch {
                refuse(error, allocation)
            }
        case .refused(let request, let refusal):
            guard let allocation = takeAllocation(request) else { return }
            refuse(Self.refusal(refusal), allocation)
        case .opened, .blitted: break
        }
    }

    /// The wish that a request was made for, its place in the budget given back; nil when the producer
    /// has destroyed the buffer or left.
    private func takeAllocation(_ request: GraphicsRequest) -> Allocation? {
        guard let allocation = allocations.removeValue(forKey: request),
            ledger[allocation.buffer]?.key == allocation.key
        else { return nil }
        if let freed = try? ledger.destroy(allocation.key) { unimportable[freed] = nil }
        return allocation
    }

    private func adopt(
        _ memory: BufferMemory, _ allocation: Allocation, _ allocator: MemoryAllocator
    ) throws(Refusal) {
        let copies = DescriptorQueue()
        for number in memory.descriptorNumbers {
            let lent = OwnedDescriptor(owning: number)
            let copy = lent.duplicate()
            _ = lent.release()
            guard copy.isValid else {
                throw Refusal(.importFailed, "This process has no descriptor left.")
            }
            copies.append(copy)
        }
        // The true size may be more than was reserved.
        let id = try ledger.create(
            allocation.key, size: memory.layout.size, bytes: memory.bytes, limits: limits)
        presenter.addBuffer(id, memory)
        feedback.append(
            .allocated(allocation.key, memory.layout, allocator: allocator.rawValue))
        while let copy = copies.takeFirst() { feedbackDescriptors.append(copy) }
    }

    private func refuse(_ refusal: Refusal, _ allocation: Allocation) {
        let type = RecordType.bufferAllocate
        count(refusal, about: RecordType.name(type), object: allocation.key.value)
        feedback.append(
            .refused(RefusedRecord(type: type, object: allocation.key.value, refusal: refusal)))
    }

    private static func refusal(_ refusal: GraphicsRefusal) -> Refusal {
        switch refusal.reason {
        case .noContiguous: Refusal(.noContiguous, refusal.sentence)
        case .badRequest: Refusal(.badFormat, refusal.sentence)
        default: Refusal(.importFailed, refusal.sentence)
        }
    }
}
