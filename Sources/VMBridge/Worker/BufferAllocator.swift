import Descriptors
import VMBridgeCore

/// Makes memory for buffers by whatever this host has: the driver (libgbm), a dma-buf heap, udmabuf.
/// Runs in the worker; a driver may take its time.
struct BufferAllocator {
    let kernel: any KernelBuffers
    /// Names in /dev/dma_heap.
    let heaps: [String]

    init(
        kernel: any KernelBuffers = LinuxKernelBuffers(),
        heaps: [String] = SystemFiles.names(LinuxKernelBuffers.heapDirectory)
    ) {
        self.kernel = kernel
        self.heaps = heaps
    }

    /// Heaps of contiguous memory (drivers/dma-buf/heaps/cma_heap.c names them after their area): none of
    /// `system`'s kind, and no secure one, which nobody could write to.
    static func contiguousHeaps(_ names: [String]) -> [String] {
        let known = ["reserved", "linux,cma", "default_cma_region"]
        return known.filter(names.contains)
            + names.filter { !known.contains($0) && ($0.contains("cma") || $0.contains("CMA")) }
    }

    /// - Parameters:
    ///   - devices: to ask the driver of, best first.
    ///   - bundle: empty; takes the descriptors.
    func allocate(
        _ wanted: AllocationRequest, on devices: () -> [GBMDevice],
        into bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> (layout: BufferLayout, allocator: MemoryAllocator) {
        guard let linear = LinearLayout(wanted.size, wanted.format) else {
            throw GraphicsRefusal(
                .badRequest, "\(wanted.size) pixels of \(wanted.format) cannot be made here.")
        }
        guard !wanted.modifiers.isEmpty else {
            throw GraphicsRefusal(.badRequest, "No memory layout was allowed.")
        }
        if wanted.isContiguous {
            return (try contiguous(wanted, linear, &bundle), .contiguousHeap)
        }
        for device in devices() {
            if let layout = device.allocate(wanted, into: &bundle) {
                return (layout, .gbm)
            }
            bundle.reset()
        }
        guard wanted.modifiers.contains(.linear) else {
            throw GraphicsRefusal(
                .noMemory, "No driver made \(wanted.format) in a layout of those allowed.")
        }
        var failures: [String] = []
        for (heap, allocator) in [("system", MemoryAllocator.systemHeap), ("", .udmabuf)] {
            do throws(KernelError) {
                let made =
                    heap.isEmpty
                    ? try udmabuf(linear.bytes)
                    : try kernel.allocate(heap: heap, size: linear.bytes)
                return (layout(wanted, linear, made, &bundle), allocator)
            } catch {
                failures.append("\(error)")
            }
        }
        throw GraphicsRefusal(.noMemory, failures.joined(separator: "; "))
    }

    private func contiguous(
        _ wanted: AllocationRequest, _ linear: LinearLayout, _ bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> BufferLayout {
        guard wanted.modifiers.contains(.linear) else {
            throw GraphicsRefusal(.noContiguous, "Contiguous memory is LINEAR here.")
        }
        var failures: [String] = []
        for heap in Self.contiguousHeaps(heaps) {
            do throws(KernelError) {
                let made = try kernel.allocate(heap: heap, size: linear.bytes)
                return layout(wanted, linear, made, &bundle)
            } catch {
                failures.append("\(error)")
            }
        }
        throw GraphicsRefusal(
            .noContiguous,
            failures.isEmpty
                ? "This host has no heap of contiguous memory." : failures.joined(separator: "; "))
    }

    private func layout(
        _ wanted: AllocationRequest, _ linear: LinearLayout, _ made: consuming OwnedDescriptor,
        _ bundle: inout DescriptorBundle
    ) -> BufferLayout {
        _ = bundle.append(made)
        return BufferLayout(
            size: wanted.size, format: wanted.format, modifier: .linear, memory: .dmaBuf,
            planes: linear.planes)
    }

    private func udmabuf(_ bytes: UInt64) throws(KernelError) -> OwnedDescriptor {
        let memory = try MemoryFile.create(name: "vm-bridge-buffer", size: bytes, seals: .shrink)
        return try kernel.udmabuf(memfd: memory.number, offset: 0, size: bytes)
    }
}
