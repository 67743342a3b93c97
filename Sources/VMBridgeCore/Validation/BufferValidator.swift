/// What the kernel says about one descriptor of a buffer; never what the guest says.
public struct DescriptorFacts: Sendable, Equatable {
    /// What a descriptor turned out to be.
    public enum Kind: Sendable, Equatable {
        /// A dma-buf.
        case dmaBuf
        /// A memfd.
        case memfd
        /// A sync_file.
        case syncFile
        /// Something else.
        case other
    }

    /// What it is.
    public var kind: Kind
    /// Bytes of memory behind it; 0 where that means nothing.
    public var size: UInt64
    /// F_SEAL_SHRINK is set.
    public var isSealedAgainstShrinking: Bool
    /// F_SEAL_WRITE or F_SEAL_FUTURE_WRITE is set.
    public var isSealedAgainstWriting: Bool
    /// It is open for reading and writing.
    public var isReadWrite: Bool

    /// Its owner can make it shorter while it is in use. A dma-buf has no seals and needs none: its size is for good.
    public var mayBeCutShort: Bool { kind == .memfd && !isSealedAgainstShrinking }

    /// Facts about a descriptor.
    public init(
        kind: Kind, size: UInt64, isSealedAgainstShrinking: Bool = false,
        isSealedAgainstWriting: Bool = false, isReadWrite: Bool = true
    ) {
        self.kind = kind
        self.size = size
        self.isSealedAgainstShrinking = isSealedAgainstShrinking
        self.isSealedAgainstWriting = isSealedAgainstWriting
        self.isReadWrite = isReadWrite
    }
}

/// Checks a buffer's layout against the kernel's facts and against what can be imported.
public enum BufferValidator {
    /// Checks a new buffer.
    ///
    /// - Parameters:
    ///   - layout: the guest's description; every plane names a descriptor below `facts.count`.
    ///   - facts: one entry for each descriptor.
    ///   - formats: what can be imported now; empty while no consumer has said it, and then the
    ///     import itself will tell.
    /// - Returns: bytes to count against the VM's budget: the true sizes of its descriptors.
    public static func validate(
        _ layout: BufferLayout, facts: [DescriptorFacts], formats: [ImportableFormat]
    ) throws(Refusal) -> UInt64 {
        let limit = VMLimits.maximumDimension
        guard (1...limit).contains(layout.size.width), (1...limit).contains(layout.size.height)
        else {
            throw Refusal(.badValue, "A buffer of \(layout.size): sides go from 1 to \(limit).")
        }
        guard let format = PixelFormatInfo.of(layout.format) else {
            throw Refusal(.badFormat, "The format \(layout.format) is not known here.")
        }
        guard format.planes.count == layout.planes.count || layout.modifier != .linear else {
            throw Refusal(
                .badLayout,
                "\(layout.format) has \(format.planes.count) planes, not \(layout.planes.count).")
        }
        guard layout.planes.count >= format.planes.count else {
            throw Refusal(.badLayout, "\(layout.format) has \(format.planes.count) planes.")
        }
        var bytes: UInt64 = 0
        for (index, fact) in facts.enumerated() {
            try validate(fact, index: index, memory: layout.memory)
            bytes = bytes.addingReportingOverflow(fact.size).partialValue
            guard bytes >= fact.size else {
                throw Refusal(.tooManyBytes, "The sizes of the descriptors overflow.")
            }
        }
        try validateImport(layout, formats: formats)
        for (index, plane) in layout.planes.enumerated() {
            // Planes beyond the format's own belong to a modifier (compression data): only their
            // place can be checked.
            let info = index < format.planes.count ? format.planes[index] : nil
            try validate(plane, index: index, info: info, layout: layout, facts: facts)
        }
        return bytes
    }

    private static func validate(
        _ fact: DescriptorFacts, index: Int, memory: MemoryKind
    ) throws(Refusal) {
        switch (memory, fact.kind) {
        case (.dmaBuf, .dmaBuf): break
        case (.memfd, .memfd):
            guard fact.isSealedAgainstShrinking else {
                throw Refusal(.badSeals, "Descriptor \(index) is a memfd without F_SEAL_SHRINK.")
            }
            guard !fact.isSealedAgainstWriting else {
                throw Refusal(
                    .badSeals,
                    "Descriptor \(index) is sealed against writing: compositors map it read-write.")
            }
        default:
            throw Refusal(
                .badDescriptor,
                "Descriptor \(index) is not a \(memory == .dmaBuf ? "dma-buf" : "memfd").")
        }
        guard fact.isReadWrite else {
            throw Refusal(.badAccess, "Descriptor \(index) is not open for reading and writing.")
        }
    }

    private static func validateImport(
        _ layout: BufferLayout, formats: [ImportableFormat]
    ) throws(Refusal) {
        guard layout.memory == .dmaBuf || layout.modifier == .linear else {
            throw Refusal(.badModifier, "A memfd has the modifier 0 (LINEAR).")
        }
        guard layout.memory == .dmaBuf || layout.planes.count == 1 else {
            throw Refusal(.badLayout, "A memfd buffer has one plane.")
        }
        guard !formats.isEmpty else { return }
        let bit = ImportableFormat.bit(layout.memory)
        var known = false
        for entry in formats where entry.format == layout.format && entry.memory & bit != 0 {
            known = true
            if layout.memory == .memfd || entry.modifier == layout.modifier { return }
        }
        guard known else {
            let kind = layout.memory == .dmaBuf ? "dma-buf" : "memfd"
            throw Refusal(
                .badFormat, "The format \(layout.format) cannot be imported from a \(kind) here.")
        }
        throw Refusal(
            .badModifier,
            "The modifier \(layout.modifier) cannot be imported with \(layout.format) here.")
    }

    private static func validate(
        _ plane: PlaneLayout, index: Int, info: PixelFormatInfo.Plane?, layout: BufferLayout,
        facts: [DescriptorFacts]
    ) throws(Refusal) {
        guard facts.indices.contains(Int(plane.descriptor)) else {
            throw Refusal(.badDescriptor, "Plane \(index) names a descriptor that is not there.")
        }
        let size = facts[Int(plane.descriptor)].size
        guard plane.stride > 0, plane.stride <= UInt32(Int32.max) else {
            throw Refusal(.badLayout, "Plane \(index) has a stride of \(plane.stride) bytes.")
        }
        // Software compositors read pools in 32-bit words; pixman makes no image of anything else.
        guard layout.memory == .dmaBuf || (plane.stride % 4 == 0 && plane.offset % 4 == 0) else {
            throw Refusal(
                .badLayout,
                "Plane \(index) of a memfd has its offset and stride in multiples of 4 bytes.")
        }
        guard let info else {
            guard UInt64(plane.offset) < size else {
                throw Refusal(.badLayout, "Plane \(index) begins behind its memory's end.")
            }
            return
        }
        let blocks =
            (UInt64(layout.size.width) + UInt64(info.horizontal) - 1)
            / UInt64(info.horizontal)
        let rowBytes = blocks * UInt64(info.blockBytes)
        let rows = (UInt64(layout.size.height) + UInt64(info.vertical) - 1) / UInt64(info.vertical)
        // A tiled plane's stride is the driver's own measure, so only LINEAR has a shortest one.
        guard layout.modifier != .linear || UInt64(plane.stride) >= rowBytes else {
            throw Refusal(
                .badLayout,
                "Plane \(index) has a stride of \(plane.stride) bytes, its rows need \(rowBytes).")
        }
        // The compositor's own rule is offset + stride × height (linux-dmabuf `out_of_bounds`).
        let end = UInt64(plane.offset) + UInt64(plane.stride) * rows
        guard end <= size else {
            throw Refusal(
                .badLayout, "Plane \(index) ends at byte \(end), its memory at byte \(size).")
        }
        guard layout.memory == .dmaBuf || end <= UInt64(Int32.max) else {
            throw Refusal(.badLayout, "A memfd buffer reaches at most to 2 GiB of its memfd.")
        }
    }
}
