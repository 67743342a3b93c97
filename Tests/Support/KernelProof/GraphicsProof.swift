import Descriptors
import Glibc
import VMBridge
import VMBridgeCore

/// The bridge's graphics worker with real memory and a real EGL. Each call is some cases:
///
///     KernelProof allocator WORD [NODE]        memory comes from there: gbm, "system heap", udmabuf, …
///     KernelProof refused WORD [contiguous]    none comes, for that reason
///     KernelProof blit drawn|read-back [NODE]  pictures arrive, drawn or read back into the output
///     KernelProof faults                       workers that are killed or silent
///     KernelProof host SOCKET TITLE            a producer whose buffer the bridge makes
///     KernelProof blit-bridge SOCKET           a bridge that blits every dma-buf
func proveGraphics(_ proof: Proof, _ arguments: [String]) {
    let second = arguments.count > 1 ? arguments[1] : ""
    let third = arguments.count > 2 ? arguments[2] : nil
    proof.group(arguments[0]) {
        switch arguments[0] {
        case "allocator": try GraphicsProof.allocator(proof, second, third)
        case "refused": try GraphicsProof.refused(proof, second, contiguous: third != nil)
        case "blit": try GraphicsProof.blit(proof, isReadBack: second == "read-back", third)
        case "host": try proveHostBuffer(proof, second, title: third ?? "host")
        case "blit-bridge": try proveBlitBridge(proof, second)
        case "faults": try GraphicsProof.faults(proof)
        default: throw KernelError("arguments", EINVAL, subject: arguments[0])
        }
    }
}

enum GraphicsProof {
    private static let size = Size(width: 638, height: 479)

    static func allocator(_ proof: Proof, _ word: String, _ node: String?) throws {
        let driver = try Driver(node)
        let probe = try DescriptorProbe()
        let isContiguous = word == MemoryAllocator.contiguousHeap.word
        for format: FourCC in [.xrgb8888, .argb8888] + (word == "gbm" ? [] : [.nv12]) {
            let start = driver.loop.now()
            let (memory, allocator) = try driver.allocate(
                AllocationRequest(size: size, format: format, isContiguous: isContiguous))
            let time = (driver.loop.now() - start) / 1000
            print(
                "  \(format): \(allocator.word), \(memory.layout.modifier), stride \(memory.layout.planes[0].stride), \(memory.bytes) bytes, \(time) us"
            )
            proof.expect("\(format): the memory is of \(word)") { allocator.word == word }
            proof.expect("\(format): it is what the layout needs, as a dma-buf") {
                let facts = try probe.facts(of: memory.descriptor(ofPlane: 0))
                return facts.kind == .dmaBuf && facts.size == memory.bytes
                    && memory.bytes >= memory.pixelBytes
            }
            proof.expect("\(format): a pattern can be drawn into it and read again") {
                let source = try Source(memory)
                try source.draw(7)
                return try format == .nv12 || source.compare(7, with: memory).isEqual
            }
        }
        proof.expect("sixteen buffers of a page are made") {
            for _ in 0..<16 {
                _ = try driver.allocate(
                    AllocationRequest(size: Size(width: 8, height: 8), format: .xrgb8888))
            }
            return true
        }
        proof.expect("one process did all of it") { driver.worker.status.starts == 1 }
        driver.worker.shutDown()
        try settle(driver)
    }

    static func refused(_ proof: Proof, _ word: String, contiguous: Bool) throws {
        let driver = try Driver(nil)
        proof.expect("an allocation is refused as \(word)") {
            do {
                let (_, allocator) = try driver.allocate(
                    AllocationRequest(size: size, format: .xrgb8888, isContiguous: contiguous))
                print("  \(allocator.word) made it")
                return false
            } catch let refusal as GraphicsRefusal {
                print("  \(refusal.sentence)")
                return "\(refusal.reason)" == word
            }
        }
        proof.expect("the worker runs on") { driver.worker.status.isRunning }
        driver.worker.shutDown()
        try settle(driver)
    }

    static func blit(_ proof: Proof, isReadBack: Bool, _ node: String?) throws {
        let driver = try Driver(node)
        let kinds = ["udmabuf", "system"].filter {
            $0 != "udmabuf" || access(LinuxKernelBuffers.udmabufDevice, R_OK | W_OK) == 0
        }
        for kind in kinds {
            for format: FourCC in [.xrgb8888, .argb8888, .xbgr8888] {
                let source = try Source(kind, format, size)
                try show(proof, "\(kind) \(format)", source, driver, isReadBack)
            }
        }
        try show(
            proof, "bottom-up", try Source(kinds[0], .xrgb8888, size, isBottomUp: true), driver,
            isReadBack)
        proof.expect("NV12, which EGL in software does not take, is refused") {
            // On a GPU it is a picture; there the CPU's copy shows it.
            let halved = try Source(kinds[0], .nv12, Size(width: 640, height: 480))
            return try reason { _ = try driver.open(halved.memory) } == .sourceRefused
        }
        if let node, node.contains("card") {
            let (memory, allocator) = try driver.allocate(
                AllocationRequest(size: size, format: .xrgb8888))
            try show(proof, "\(allocator.word) XR24", try Source(memory), driver, isReadBack)
        }
        try speed(proof, driver, kinds[0])
        proof.expect("a layout that no driver takes is refused") {
            let odd = try Source(kinds[0], .xrgb8888, size)
            var layout = odd.memory.layout
            layout.modifier = Modifier(0x0100_0000_0000_0001)
            var bundle = DescriptorBundle()
            let lent = OwnedDescriptor(owning: odd.memory.descriptor(ofPlane: 0))
            _ = bundle.append(lent.duplicate())
            _ = lent.release()
            let memory = BufferMemory(
                layout: layout, bytes: odd.memory.bytes, from: &bundle, 0..<1)
            do {
                _ = try driver.open(memory)
                return false
            } catch let refusal as GraphicsRefusal {
                print("  \(refusal.sentence)")
                return refusal.reason == .sourceRefused
            }
        }
        proof.expect("one process did all of it") { driver.worker.status.starts == 1 }
        driver.worker.shutDown()
        try settle(driver)
    }

    private static func show(
        _ proof: Proof, _ name: String, _ source: Source, _ driver: Driver, _ isReadBack: Bool
    ) throws {
        try source.draw(1)
        let start = driver.loop.now()
        let (pair, output) = try driver.open(source.memory)
        print("  \(name): opened in \((driver.loop.now() - start) / 1_000_000) ms")
        proof.expect("\(name): \(isReadBack ? "read back" : "drawn")") {
            output.isReadBack == isReadBack
        }
        for (kind, memory) in [("dma-buf", output.dmaBuf), ("memfd", output.memfd)] {
            guard let memory else {
                print("  \(name): no \(kind)")
                continue
            }
            proof.expect("\(name): equal to the pixel in the \(kind)") {
                try same(source, 1, memory)
            }
        }
        guard let memory = output.memfd ?? output.dmaBuf else { return }
        for frame: UInt32 in [2, 40, 3] {
            try source.draw(frame)
            proof.expect("\(name): frame \(frame) comes by another blit") {
                _ = try driver.blit(pair)
                return try same(source, frame, memory)
            }
        }
        driver.worker.drop(pair)
    }

    private static func same(
        _ source: Source, _ frame: UInt32, _ memory: BufferMemory
    ) throws -> Bool {
        let comparison = try source.compare(frame, with: memory)
        if !comparison.isEqual { print("  \(comparison)") }
        return comparison.isEqual
    }

    private static func speed(_ proof: Proof, _ driver: Driver, _ kind: String) throws {
        let source = try Source(kind, .xrgb8888, Size(width: 640, height: 480))
        try source.draw(1)
        let (pair, _) = try driver.open(source.memory)
        var inside: [UInt64] = []
        var outside: [UInt64] = []
        for _ in 0..<50 {
            let start = driver.loop.now()
            inside.append(try driver.blit(pair))
            outside.append(driver.loop.now() - start)
        }
        inside.sort()
        outside.sort()
        print(
            "  50 blits of 640x480: \(inside[25] / 1000) us in the worker at the median, \(outside[25] / 1000) us for the bridge, \(outside[49] / 1000) us at most"
        )
        // An emulated processor that others use too: no limit of time can be proved here.
        proof.expect("what the bridge sees is the worker's time and little more") {
            outside[25] < inside[25] * 2 + 10_000_000
        }
        driver.worker.drop(pair)
    }

    static func faults(_ proof: Proof) throws {
        let driver = try Driver(nil, blitLimit: 2_000_000_000)
        let source = try Source("udmabuf", .xrgb8888, size)
        try source.draw(1)
        let (pair, output) = try driver.open(source.memory)
        let first = driver.worker.status.process
        proof.expect("a killed worker is a refusal") {
            kill(first, SIGKILL)
            return try reason { _ = try driver.blit(pair) } == .crashed
        }
        proof.expect("its output is still there, with the last picture") {
            guard let memory = output.memfd else { return false }
            return try same(source, 1, memory)
        }
        proof.expect("its pairs are gone") {
            try reason { _ = try driver.blit(pair) } == .pairGone
        }
        let (again, second) = try driver.open(source.memory)
        proof.expect("another worker does the next one") {
            guard let memory = second.memfd else { return false }
            return try driver.worker.status.process != first && same(source, 1, memory)
        }
        proof.expect("a stopped worker is a refusal after its time, and killed") {
            let process = driver.worker.status.process
            kill(process, SIGSTOP)
            let start = driver.loop.now()
            guard try reason({ _ = try driver.blit(again) }) == .timedOut else { return false }
            let waited = (driver.loop.now() - start) / 1_000_000
            print("  refused after \(waited) ms")
            try driver.loop.runOnce(milliseconds: 100)
            for _ in 0..<50 where kill(process, 0) == 0 {
                try driver.loop.runOnce(milliseconds: 20)
            }
            return kill(process, 0) != 0 && (1900...2500).contains(waited)
        }
        proof.expect("no more than four starts a minute") {
            var reasons: [GraphicsReason?] = []
            for _ in 0..<4 {
                reasons.append(
                    try reason {
                        _ = try driver.open(source.memory)
                        kill(driver.worker.status.process, SIGKILL)
                        _ = try driver.open(source.memory)
                    })
            }
            print("  \(reasons.map { $0.map { "\($0)" } ?? "nothing" })")
            return reasons.last == .tooManyStarts && driver.worker.status.starts == 4
        }
        driver.worker.shutDown()
        try settle(driver)
    }

    private static func reason(_ body: () throws -> Void) throws -> GraphicsReason? {
        do {
            try body()
            return nil
        } catch let refusal as GraphicsRefusal {
            return refusal.reason
        }
    }

    /// Until the killed workers are reaped.
    private static func settle(_ driver: Driver) throws {
        for _ in 0..<20 { try driver.loop.runOnce(milliseconds: 20) }
    }
}
