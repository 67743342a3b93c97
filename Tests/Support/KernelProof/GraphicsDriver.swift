import Descriptors
import Glibc
import VMBridge
import VMBridgeCore

/// A bridge's graphics worker and the loop that it belongs to.
final class Driver {
    let loop: EventLoop
    let worker: GraphicsWorker
    private var events: [UInt64: GraphicsEvent] = [:]

    /// - Parameter node: of the device that the worker is to use; nil for none.
    init(_ node: String?, blitLimit: UInt64 = 60_000_000_000) throws {
        loop = try EventLoop()
        var options = Self.options
        if let node {
            var facts = stat()
            guard stat(node, &facts) == 0 else { throw KernelError("stat", errno, subject: node) }
            options.device = UInt64(facts.st_rdev)
        }
        options.blitLimit = blitLimit
        options.startsPerMinute = 4
        worker = try GraphicsWorker(loop: loop, options: options)
    }

    deinit { worker.shutDown() }

    /// The program as it is here, and more time than usual: opening a driver means reading, linking and
    /// compiling by an emulated processor.
    static var options: GraphicsWorkerOptions {
        var options = GraphicsWorkerOptions(program: "/share/bin/vm-bridge")
        options.startLimit = 60_000_000_000
        options.allocationLimit = 60_000_000_000
        options.openLimit = 60_000_000_000
        options.blitLimit = 60_000_000_000
        return options
    }

    /// What came of a request; nil when nothing did within two minutes.
    func outcome(of request: GraphicsRequest) throws -> GraphicsEvent? {
        let end = loop.now() + 120_000_000_000
        while loop.now() < end {
            worker.takeEvents { event in
                switch event {
                case .allocated(let asked, _, _), .opened(let asked, _, _), .blitted(let asked, _),
                    .refused(let asked, _):
                    events[asked.number] = event
                }
            }
            if let event = events.removeValue(forKey: request.number) { return event }
            try loop.runOnce(milliseconds: 100)
        }
        return nil
    }

    func allocate(_ wanted: AllocationRequest) throws -> (BufferMemory, MemoryAllocator) {
        switch try outcome(of: worker.allocate(wanted)) {
        case .allocated(_, let memory, let allocator): return (memory, allocator)
        case .refused(_, let refusal): throw refusal
        default: throw GraphicsRefusal(.timedOut, "no answer")
        }
    }

    func open(_ memory: BufferMemory) throws -> (BlitPair, BlitOutput) {
        switch try outcome(of: worker.open(memory)) {
        case .opened(_, let pair, let output): return (pair, output)
        case .refused(_, let refusal): throw refusal
        default: throw GraphicsRefusal(.timedOut, "no answer")
        }
    }

    /// Nanoseconds in the worker.
    func blit(_ pair: BlitPair) throws -> UInt64 {
        switch try outcome(of: worker.blit(pair)) {
        case .blitted(_, let nanoseconds): return nanoseconds
        case .refused(_, let refusal): throw refusal
        default: throw GraphicsRefusal(.timedOut, "no answer")
        }
    }
}

/// A dma-buf with a test pattern in it, mapped here.
final class Source {
    let memory: BufferMemory
    let pattern: TestPattern
    private let number: Int32
    private let count: Int

    /// Over memory that somebody made.
    init(_ memory: BufferMemory) throws {
        let layout = memory.layout
        guard let format = PixelFormat(rawValue: layout.format.rawValue) else {
            throw GraphicsRefusal(.badRequest, "no pattern of \(layout.format)")
        }
        pattern = try TestPattern(
            width: Int(layout.size.width), height: Int(layout.size.height), format: format, seed: 3,
            label: "blit")
        self.memory = memory
        number = memory.descriptor(ofPlane: 0)
        count = Int(memory.bytes)
    }

    /// Over new memory of a udmabuf or a heap.
    convenience init(
        _ kind: String, _ format: FourCC, _ size: Size, isBottomUp: Bool = false
    ) throws {
        let kernel = LinuxKernelBuffers()
        guard let layout = LinearLayout(size, format) else {
            throw GraphicsRefusal(.badRequest, "no layout of \(format)")
        }
        var bundle = DescriptorBundle()
        if kind == "udmabuf" {
            let memfd = try MemoryFile.create(size: layout.bytes, seals: .shrink)
            _ = bundle.append(
                try kernel.udmabuf(memfd: memfd.number, offset: 0, size: layout.bytes))
        } else {
            _ = bundle.append(try kernel.allocate(heap: kind, size: layout.bytes))
        }
        try self.init(
            BufferMemory(
                layout: BufferLayout(
                    size: size, format: format, modifier: .linear, memory: .dmaBuf,
                    isBottomUp: isBottomUp, planes: layout.planes), bytes: layout.bytes,
                from: &bundle, 0..<1))
    }

    func draw(_ frame: UInt32) throws {
        var mapped = try MappedMemory(number, count: count, access: .readWrite)
        let kernel = LinuxKernelBuffers()
        try kernel.synchronize(dmaBuf: number, .begin(.write))
        try mapped.withPlanes(
            memory.layout.planes.map { (offset: Int($0.offset), stride: Int($0.stride)) }
        ) { (planes) throws(PictureError) in try pattern.draw(frame: frame, into: planes) }
        try kernel.synchronize(dmaBuf: number, .end(.write))
    }

    /// How an output's picture differs from the pattern's frame.
    func compare(_ frame: UInt32, with output: BufferMemory) throws -> PictureComparison {
        let layout = output.layout
        guard let format = PixelFormat(rawValue: layout.format.rawValue) else {
            throw GraphicsRefusal(.malformed, "an output of \(layout.format)")
        }
        let mapped = try MappedMemory(output.descriptor(ofPlane: 0), count: Int(output.bytes))
        let shown = try mapped.withUnsafeBytes { bytes in
            try Picture(
                format, width: Int(layout.size.width), height: Int(layout.size.height),
                memory: bytes, offset: Int(layout.planes[0].offset),
                stride: Int(layout.planes[0].stride), inverted: memory.layout.isBottomUp)
        }
        return PictureComparison(expected: try pattern.picture(frame: frame), actual: shown)
    }
}
