import Descriptors
import VMBridgeCore

/// Draws sources that the bridge can neither import nor map into outputs that it can. Runs in the worker.
final class Blitter {
    /// A source, its output, and what stands between them.
    private final class Pair {
        let source: BlitSource
        let framebuffer: BlitFramebuffer
        let layout: BufferLayout
        /// Written into after drawing; nil when drawing itself goes there.
        let readBack: ReadBack?

        init(
            _ source: BlitSource, _ framebuffer: BlitFramebuffer, _ layout: BufferLayout,
            _ readBack: ReadBack?
        ) {
            self.source = source
            self.framebuffer = framebuffer
            self.layout = layout
            self.readBack = readBack
        }
    }

    /// The output's memory, for a renderer that cannot draw into it.
    private final class ReadBack {
        var memory: MappedMemory
        /// The same as a dma-buf, to be told of the processor's writing; not valid without one.
        let dmaBuf: OwnedDescriptor

        init(_ memory: consuming MappedMemory, _ dmaBuf: consuming OwnedDescriptor) {
            self.memory = memory
            self.dmaBuf = dmaBuf
        }
    }

    private let kernel: any KernelBuffers
    private let allocator: BufferAllocator
    private let renderer: Renderer
    private var pairs: [UInt32: Pair] = [:]
    private var last: UInt32 = 0

    /// Opens EGL.
    init(
        _ devices: [GBMDevice], _ allocator: BufferAllocator
    ) throws(GraphicsRefusal) {
        self.allocator = allocator
        kernel = allocator.kernel
        renderer = try Renderer(devices)
    }

    /// How many pairs there are.
    var count: Int { pairs.count }

    /// Makes an output for a source and draws the source into it.
    ///
    /// - Parameters:
    ///   - sources: the source's descriptors, lent.
    ///   - bundle: empty; takes the output's descriptors, as `parts` says.
    func open(
        _ layout: BufferLayout, _ sources: [Int32], into bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> (layout: BufferLayout, pair: UInt32, parts: OutputParts) {
        let source = try BlitSource(layout, sources, renderer)
        let format: FourCC =
            PixelFormatInfo.of(layout.format)?.hasAlpha == true ? .argb8888 : .xrgb8888
        let step: UInt64 = renderer.readsRows ? LinearLayout.strideStep : 4
        guard let linear = LinearLayout(layout.size, format, strideStep: step) else {
            throw GraphicsRefusal(.badRequest, "A picture of \(layout.size) cannot be made here.")
        }
        var target = BufferLayout(
            size: layout.size, format: format, modifier: .linear, memory: .dmaBuf,
            planes: linear.planes)
        var parts: OutputParts = []
        let pair = try makePair(source, &target, linear.bytes, &parts, &bundle)
        try draw(pair)
        last &+= 1
        pairs[last] = pair
        return (target, last, parts)
    }

    /// Draws the source as it is now; returns when that is done.
    func blit(_ number: UInt32) throws(GraphicsRefusal) {
        guard let pair = pairs[number] else {
            throw GraphicsRefusal(.badRequest, "There is no pair \(number).")
        }
        try draw(pair)
    }

    /// Lets go of a pair.
    func drop(_ number: UInt32) { pairs[number] = nil }

    private func makePair(
        _ source: BlitSource, _ target: inout BufferLayout, _ bytes: UInt64,
        _ parts: inout OutputParts, _ bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> Pair {
        // One memory that is a dma-buf for the compositor's device and a memfd for everybody else.
        let memory = try makeMemory(bytes)
        let shared = share(memory.number, bytes)
        if shared.isValid, let drawn = BlitFramebuffer(target, [shared.number], renderer) {
            parts = [.dmaBuf, .memfd]
            _ = bundle.append(shared)
            _ = bundle.append(memory)
            return Pair(source, drawn, target, nil)
        }
        if let device = renderer.device, let pair = driverPair(source, &target, device, &bundle) {
            parts = .dmaBuf
            return pair
        }
        return try readBackPair(source, target, memory, shared, bytes, &parts, &bundle)
    }

    /// Memory of the driver's own, which it can surely draw into.
    private func driverPair(
        _ source: BlitSource, _ target: inout BufferLayout, _ device: GBMDevice,
        _ bundle: inout DescriptorBundle
    ) -> Pair? {
        let wanted = AllocationRequest(size: target.size, format: target.format)
        guard
            let layout = device.allocate(wanted, into: &bundle),
            layout.planes.count == 1, bundle.count == 1, let number = bundle.number(at: 0),
            let drawn = BlitFramebuffer(layout, [number], renderer)
        else {
            bundle.reset()
            return nil
        }
        target = layout
        return Pair(source, drawn, layout, nil)
    }

    private func readBackPair(
        _ source: BlitSource, _ target: BufferLayout, _ memory: consuming OwnedDescriptor,
        _ shared: consuming OwnedDescriptor, _ bytes: UInt64, _ parts: inout OutputParts,
        _ bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> Pair {
        guard let drawn = BlitFramebuffer(target, nil, renderer) else {
            throw GraphicsRefusal(.noOutput, "The driver draws into no output of \(target.size).")
        }
        let mapped: MappedMemory
        do throws(KernelError) {
            mapped = try MappedMemory(memory.number, count: Int(bytes), access: .readWrite)
        } catch {
            throw GraphicsRefusal(.noOutput, "The output cannot be mapped: \(error)")
        }
        let told = shared.duplicate()
        parts = [.memfd, .readBack]
        if shared.isValid {
            parts.insert(.dmaBuf)
            _ = bundle.append(shared)
        }
        _ = bundle.append(memory)
        return Pair(source, drawn, target, ReadBack(mapped, told))
    }

    private func draw(_ pair: Pair) throws(GraphicsRefusal) {
        pair.framebuffer.bind()
        try renderer.draw(
            pair.source.texture, size: pair.layout.size,
            isBottomUp: pair.source.layout.isBottomUp, swapped: pair.readBack != nil)
        renderer.gl.finish()
        guard let readBack = pair.readBack, let stride = pair.layout.planes.first?.stride else {
            return
        }
        // The memory is ours and nobody's fence is on it for long; what fails here changes nothing.
        let dmaBuf = readBack.dmaBuf.number
        if dmaBuf >= 0 { try? kernel.synchronize(dmaBuf: dmaBuf, .begin(.write)) }
        pair.framebuffer.read(pair.layout.size, stride: stride, into: &readBack.memory)
        if dmaBuf >= 0 { try? kernel.synchronize(dmaBuf: dmaBuf, .end(.write)) }
    }

    private func makeMemory(_ bytes: UInt64) throws(GraphicsRefusal) -> OwnedDescriptor {
        do throws(KernelError) {
            return try MemoryFile.create(name: "vm-bridge-blit", size: bytes, seals: .shrink)
        } catch {
            throw GraphicsRefusal(.noOutput, "There is no memory for an output: \(error)")
        }
    }

    /// The memory as a dma-buf; not valid where udmabuf is missing or full.
    private func share(_ memory: Int32, _ bytes: UInt64) -> OwnedDescriptor {
        do throws(KernelError) {
            return try kernel.udmabuf(memfd: memory, offset: 0, size: bytes)
        } catch {
            return .none
        }
    }
}
