import Descriptors
import Glibc
import VMBridgeCore

// Unsafe here: rows of a guest's mapped buffer are copied into memory of ours. Places in both were
// checked against their lengths when the layout was validated and the plan was made; a dma-buf cannot
// shrink. The guest may write meanwhile: that changes colours and nothing else.

/// A guest's dma-buf, mapped for reading as long as this lives.
final class GuestPixels {
    /// Keeps a mapping.
    private final class Mapped {
        let memory: MappedMemory
        init(_ memory: consuming MappedMemory) { self.memory = memory }
    }

    private let planes: [Mapped]
    private let layout: BufferLayout
    /// The descriptors of the planes, each once; lent by the buffer's memory.
    let descriptors: [Int32]

    /// Maps each plane; the kernel refuses what a CPU cannot read.
    init(_ memory: BufferMemory) throws(KernelError) {
        layout = memory.layout
        var planes: [Mapped] = []
        var descriptors: [Int32] = []
        for (index, plane) in memory.layout.planes.enumerated() {
            // Validated: offset + stride × rows lies within the descriptor's memory.
            let end = Int(plane.offset) + Int(plane.stride) * memory.layout.rows(ofPlane: index)
            let descriptor = memory.descriptor(ofPlane: index)
            planes.append(Mapped(try MappedMemory(descriptor, count: end)))
            if !descriptors.contains(descriptor) { descriptors.append(descriptor) }
        }
        self.planes = planes
        self.descriptors = descriptors
    }

    /// Copies one area.
    ///
    /// - Returns: bytes read of the guest's memory.
    fileprivate func copy(
        _ area: PixelRect, _ plan: CopyPlan, into target: UnsafeMutableRawBufferPointer
    ) -> UInt64 {
        guard let format = plan.converted else { return copyRows(area, plan, into: target) }
        // In bands, so that a large picture needs little memory beside it.
        let band = 64
        var y = area.y
        while y < area.bottom {
            let height = min(band, area.bottom - y)
            convert(
                PixelRect(x: area.x, y: y, width: area.width, height: height), format, plan,
                into: target, 0, [])
            y += height
        }
        return plan.info.planes.reduce(0) {
            let rows = (area.height + Int($1.vertical) - 1) / Int($1.vertical)
            return $0 + UInt64(CopyPlan.bytes($1, area.width) * rows)
        }
    }

    private func copyRows(
        _ area: PixelRect, _ plan: CopyPlan, into target: UnsafeMutableRawBufferPointer
    ) -> UInt64 {
        let plane = layout.planes[0]
        let column = CopyPlan.bytes(plan.info.planes[0], area.x)
        let count = CopyPlan.bytes(plan.info.planes[0], area.right) - column
        planes[0].memory.withUnsafeBytes { source in
            guard let from = source.baseAddress, let to = target.baseAddress else { return }
            for y in area.y..<area.bottom {
                memcpy(
                    to + (y * plan.stride + column),
                    from + (Int(plane.offset) + y * Int(plane.stride) + column), count)
            }
        }
        return UInt64(count * area.height)
    }

    /// Lends plane after plane, then converts.
    private func convert(
        _ area: PixelRect, _ format: PixelFormat, _ plan: CopyPlan,
        into target: UnsafeMutableRawBufferPointer, _ index: Int, _ lent: [PixelPlane]
    ) {
        guard index < plan.info.planes.count else {
            do throws(PictureError) {
                let picture = try Picture(
                    format, width: area.width, height: area.height, planes: lent)
                try picture.encode(
                    plan.target == .argb8888 ? .argb8888 : .xrgb8888,
                    into: [
                        WritablePixelPlane(
                            target, offset: area.y * plan.stride + area.x * 4, stride: plan.stride)
                    ])
            } catch {
                assertionFailure("a planned conversion failed: \(error)")
            }
            return
        }
        let info = plan.info.planes[index]
        let plane = layout.planes[index]
        let offset =
            Int(plane.offset) + area.y / Int(info.vertical) * Int(plane.stride)
            + CopyPlan.bytes(info, area.x)
        planes[index].memory.withUnsafeBytes { bytes in
            convert(
                area, format, plan, into: target, index + 1,
                lent + [PixelPlane(bytes, offset: offset, stride: Int(plane.stride))])
        }
    }
}

/// An image's own memory: shared with the compositor, sealed, written by us alone.
final class OwnPixels {
    private var memory: MappedMemory
    private let plan: CopyPlan
    private let books: PresenterBooks
    /// The window it was brought up to date for, and that window's commits then.
    private var upToDate: (window: SurfaceID, commit: UInt64)?

    /// A sealed memfd for one image: a compositor may map it without fear.
    static func makeMemory(_ plan: CopyPlan) throws(KernelError) -> OwnedDescriptor {
        try MemoryFile.create(
            name: "vm-bridge-copy", size: UInt64(plan.bytes), seals: [.shrink, .grow, .seal])
    }

    /// Maps such a memfd; the descriptor stays the caller's.
    init(_ descriptor: Int32, _ plan: CopyPlan, _ books: PresenterBooks) throws(KernelError) {
        memory = try MappedMemory(descriptor, count: plan.bytes, access: .readWrite)
        self.plan = plan
        self.books = books
        books.copyBytes += UInt64(plan.bytes)
    }

    deinit { books.copyBytes -= UInt64(plan.bytes) }

    /// Copies what the image lacks; the guest's buffer must be ready to be read.
    ///
    /// - Returns: bytes read of the guest's memory.
    func update(from guest: GuestPixels, for window: SurfaceID, _ history: DamageHistory) -> UInt64
    {
        let last = upToDate.flatMap { $0.window == window ? $0.commit : nil }
        upToDate = (window, history.count)
        var bytes: UInt64 = 0
        for area in plan.areas(history.since(last)) {
            memory.withUnsafeMutableBytes { bytes += guest.copy(area, plan, into: $0) }
        }
        return bytes
    }
}
