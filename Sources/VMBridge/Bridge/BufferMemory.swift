import Descriptors
import VMBridgeCore

/// A validated buffer: its layout and the descriptors that hold its planes. Whoever keeps it keeps the
/// descriptors open; they close with the last reference.
package final class BufferMemory {
    /// The layout, as validated.
    package let layout: BufferLayout
    /// What it counts against the VM's budget.
    package let bytes: UInt64
    /// It may shrink at any time: never mapped, only read.
    package let isUnsealed: Bool
    private var descriptors: DescriptorBundle

    /// Takes over the descriptors that belong to one record.
    ///
    /// - Parameters:
    ///   - isUnsealed: a descriptor is a memfd without F_SEAL_SHRINK.
    ///   - bundle: the datagram's descriptors; those of the range are taken out of it.
    ///   - range: positions of the record's own.
    package init(
        layout: BufferLayout, bytes: UInt64, isUnsealed: Bool = false,
        from bundle: inout DescriptorBundle,
        _ range: Range<Int>
    ) {
        self.layout = layout
        self.bytes = bytes
        self.isUnsealed = isUnsealed
        var own = DescriptorBundle()
        for index in range {
            if let descriptor = bundle.take(index) { _ = own.append(descriptor) }
        }
        descriptors = own
    }

    /// How many descriptors hold it; several planes may share one.
    package var descriptorCount: Int { descriptors.count }

    /// A descriptor, lent; -1 above `descriptorCount`.
    package func descriptor(at index: Int) -> Int32 { descriptors.number(at: index) ?? -1 }

    /// Bytes of its planes' rows, with what lies between the rows.
    package var pixelBytes: UInt64 {
        layout.planes.indices.reduce(0) {
            $0 + UInt64(layout.planes[$1].stride) * UInt64(layout.rows(ofPlane: $1))
        }
    }

    /// Every descriptor once, lent, in the order of the layout's numbers.
    package var descriptorNumbers: [Int32] {
        (0..<descriptors.count).compactMap { descriptors.number(at: $0) }
    }

    /// The descriptor of a plane, lent; -1 when the layout names none, which validation rules out.
    package func descriptor(ofPlane index: Int) -> Int32 {
        guard layout.planes.indices.contains(index) else { return -1 }
        return descriptors.number(at: Int(layout.planes[index].descriptor)) ?? -1
    }
}
