import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// A kernel whose heaps give memfds, and which notes what it was asked for.
private final class HeapKernel: KernelBuffers {
    private let base = LinuxKernelBuffers()
    var refusals: [String: Int32] = [:]
    var asked: [String] = []

    private func make(_ name: String, _ size: UInt64) throws(KernelError) -> OwnedDescriptor {
        asked.append(name)
        if let code = refusals[name] { throw KernelError(name, code) }
        return try MemoryFile.create(size: size)
    }
    func udmabuf(
        memfd: Int32, offset: UInt64, size: UInt64
    ) throws(KernelError) -> OwnedDescriptor { try make("udmabuf", size) }
    func udmabuf(pieces: [UdmabufPiece]) throws(KernelError) -> OwnedDescriptor {
        throw KernelError("udmabuf", ENOSYS)
    }
    func allocate(heap: String, size: UInt64) throws(KernelError) -> OwnedDescriptor {
        try make(heap, size)
    }
    func synchronize(dmaBuf: Int32, _ access: DMABufAccess) throws(KernelError) {}
    func exportFence(
        dmaBuf: Int32, for access: DMABufDirection
    ) throws(KernelError) -> OwnedDescriptor { throw KernelError("exportFence", ENOTTY) }
    func importFence(
        _ fence: Int32, dmaBuf: Int32, as access: DMABufDirection
    ) throws(KernelError) {}
    func setName(_ name: String, dmaBuf: Int32) throws(KernelError) {}
    func fenceInfo(_ fence: Int32) throws(KernelError) -> SyncFileInfo {
        try base.fenceInfo(fence)
    }
    func merge(_ first: Int32, _ second: Int32) throws(KernelError) -> OwnedDescriptor {
        try base.merge(first, second)
    }
}

@Suite("[kernel] BufferAllocator")
struct BufferAllocatorTests {
    private static let wanted = AllocationRequest(
        size: Size(width: 100, height: 50), format: .xrgb8888)

    private func allocate(
        _ wanted: AllocationRequest, _ kernel: HeapKernel, heaps: [String] = ["system"]
    ) throws -> (allocator: MemoryAllocator, layout: BufferLayout, size: UInt64) {
        let allocator = BufferAllocator(kernel: kernel, heaps: heaps)
        var bundle = DescriptorBundle()
        let made = try allocator.allocate(wanted, on: { [] }, into: &bundle)
        let first = bundle.number(at: 0)
        let number = try #require(first)
        return (made.allocator, made.layout, try DescriptorProbe().facts(of: number).size)
    }

    private func reason(_ body: () throws -> Void) throws -> GraphicsReason? {
        do {
            try body()
            return nil
        } catch let refusal as GraphicsRefusal {
            return refusal.reason
        }
    }

    @Test("The system heap comes before udmabuf, and udmabuf after its failure")
    func ladder() throws {
        let kernel = HeapKernel()
        let first = try allocate(Self.wanted, kernel)
        #expect(first.allocator == .systemHeap)
        #expect(first.layout.modifier == .linear)
        #expect(first.layout.planes == [PlaneLayout(descriptor: 0, offset: 0, stride: 512)])
        #expect(first.size == 28_672)
        kernel.refusals["system"] = ENOENT
        #expect(try allocate(Self.wanted, kernel).allocator == .udmabuf)
        #expect(kernel.asked == ["system", "system", "udmabuf"])
        kernel.refusals["udmabuf"] = EINVAL
        #expect(try reason { _ = try allocate(Self.wanted, kernel) } == .noMemory)
    }

    @Test("Contiguous memory comes from heaps of that kind alone")
    func contiguous() throws {
        var wanted = Self.wanted
        wanted.isContiguous = true
        let kernel = HeapKernel()
        #expect(try reason { _ = try allocate(wanted, kernel) } == .noContiguous)
        #expect(kernel.asked.isEmpty)
        let heaps = ["linux,cma", "reserved", "system", "vendor-cma"]
        #expect(try allocate(wanted, kernel, heaps: heaps).allocator == .contiguousHeap)
        #expect(kernel.asked == ["reserved"])
        kernel.refusals["reserved"] = ENOMEM
        #expect(try allocate(wanted, kernel, heaps: heaps).allocator == .contiguousHeap)
        #expect(kernel.asked == ["reserved", "reserved", "linux,cma"])
        for name in heaps { kernel.refusals[name] = ENOMEM }
        #expect(try reason { _ = try allocate(wanted, kernel, heaps: heaps) } == .noContiguous)
        #expect(!kernel.asked.contains("system"))
    }

    @Test("Which names stand for contiguous heaps")
    func names() {
        let heaps = [
            "default_cma_region", "linux,cma", "mtk_cma", "reserved", "secure", "system",
            "system_contig",
        ]
        #expect(
            BufferAllocator.contiguousHeaps(heaps) == [
                "reserved", "linux,cma", "default_cma_region", "mtk_cma",
            ])
    }

    @Test("Without LINEAR among what is allowed no memory without a driver is good")
    func modifiers() throws {
        let kernel = HeapKernel()
        var wanted = Self.wanted
        wanted.modifiers = [Modifier(0x0100_0000_0000_0001), .invalid]
        #expect(try reason { _ = try allocate(wanted, kernel) } == .noMemory)
        wanted.isContiguous = true
        #expect(
            try reason { _ = try allocate(wanted, kernel, heaps: ["reserved"]) } == .noContiguous)
        wanted.modifiers = []
        #expect(try reason { _ = try allocate(wanted, kernel) } == .badRequest)
        #expect(kernel.asked.isEmpty)
    }

    @Test("What cannot be a picture is refused")
    func sizes() throws {
        let kernel = HeapKernel()
        for (size, format) in [
            (Size(width: 0, height: 1), FourCC.xrgb8888),
            (Size(width: 1, height: 16_385), .xrgb8888),
            (Size(width: .max, height: .max), .nv12), (Size(width: 1, height: 1), FourCC(1)),
        ] {
            let wanted = AllocationRequest(size: size, format: format)
            #expect(try reason { _ = try allocate(wanted, kernel) } == .badRequest)
        }
        #expect(kernel.asked.isEmpty)
    }

    @Test("Every known format's layout passes the validator, at every kind of size")
    func layouts() throws {
        for format in PixelFormatInfo.known {
            for size in [
                Size(width: 1, height: 1), Size(width: 63, height: 17),
                Size(width: 1920, height: 1080), Size(width: 16_384, height: 16_384),
            ] {
                let linear = try #require(LinearLayout(size, format))
                let layout = BufferLayout(
                    size: size, format: format, modifier: .linear, memory: .dmaBuf,
                    planes: linear.planes)
                let facts = VMBridgeCore.DescriptorFacts(kind: .dmaBuf, size: linear.bytes)
                let bytes = try BufferValidator.validate(layout, facts: [facts], formats: [])
                #expect(bytes == linear.bytes && bytes % 4096 == 0)
                for plane in linear.planes {
                    #expect(plane.stride % 256 == 0 && plane.offset % 4096 == 0)
                }
            }
        }
    }
}
