import VMBridgeCore

extension DescriptorProbe {
    /// The kernel's word on the descriptors of one record, as the validator takes it.
    ///
    /// - Parameters:
    ///   - bundle: the datagram's descriptors; they stay where they are.
    ///   - range: positions of the record's own.
    func facts(
        of bundle: borrowing DescriptorBundle, _ range: Range<Int>
    ) throws(Refusal) -> [VMBridgeCore.DescriptorFacts] {
        var facts: [VMBridgeCore.DescriptorFacts] = []
        facts.reserveCapacity(range.count)
        for index in range {
            guard let number = bundle.number(at: index) else {
                throw Refusal(.badDescriptor, "Descriptor \(index) did not come.")
            }
            facts.append(Self.forValidation(try known(number)))
        }
        return facts
    }

    /// Refuses a fence that is not a sync_file: an eventfd, say, which its sender could reset.
    ///
    /// - Returns: its state.
    func requireSyncFile(
        _ bundle: borrowing DescriptorBundle, _ index: Int
    ) throws(Refusal) -> FenceStatus {
        guard let number = bundle.number(at: index) else {
            throw Refusal(.badDescriptor, "The acquire fence did not come with its record.")
        }
        if let status = try? fence(number) { return status }
        throw Refusal(
            .badDescriptor,
            "The acquire fence is \(Self.words(try known(number).kind)): a sync_file is wanted.")
    }

    private func known(_ number: Int32) throws(Refusal) -> DescriptorFacts {
        do throws(KernelError) {
            return try facts(of: number)
        } catch {
            throw Refusal(.badDescriptor, "A descriptor cannot be looked at: \(error)")
        }
    }

    private static func words(_ kind: DescriptorFacts.Kind) -> String {
        switch kind {
        case .dmaBuf: "a dma-buf"
        case .memfd: "a memfd"
        case .syncFile: "a sync_file"
        case .other(let other): other.description
        }
    }

    private static func forValidation(
        _ facts: DescriptorFacts
    ) -> VMBridgeCore.DescriptorFacts {
        let kind: VMBridgeCore.DescriptorFacts.Kind =
            switch facts.kind {
            case .dmaBuf: .dmaBuf
            case .memfd: .memfd
            case .syncFile: .syncFile
            case .other: .other
            }
        return VMBridgeCore.DescriptorFacts(
            kind: kind, size: facts.size,
            isSealedAgainstShrinking: facts.seals.contains(.shrink),
            isSealedAgainstWriting: !facts.seals.isDisjoint(with: [.write, .futureWrite]),
            isReadWrite: facts.accessMode == .readWrite)
    }
}
