import Descriptors
import Glibc
import VMBridge

private var kernel: LinuxKernelBuffers { LinuxKernelBuffers() }
private let page = UInt64(MemoryFile.pageSize)

/// Makes a dma-buf of the udmabuf driver, and its pages.
func makeUdmabuf(pages: UInt64 = 4) throws -> OwnedDescriptor {
    let memory = try MemoryFile.create(size: pages * page, seals: [.shrink])
    return try kernel.udmabuf(memfd: memory.number, offset: 0, size: pages * page)
}

/// Buffers of the three kinds: what the probe says of them, that their pages are what they should be.
func proveMemory(_ proof: Proof) throws {
    let probe = try DescriptorProbe()
    let udmabuf = try makeUdmabuf()
    let heap = try kernel.allocate(heap: "system", size: 4 * page)
    let card = try VGEM.find()
    let dumb = try card.create(width: 64, height: 64)
    let vgem = try card.export(handle: dumb.handle)
    for (name, number, size) in [
        ("udmabuf", udmabuf.number, 4 * page), ("heap", heap.number, 4 * page),
        ("vgem", vgem.number, dumb.size),
    ] {
        proof.expect("\(name): the probe says dma-buf of \(size) bytes, read and write") {
            let facts = try probe.facts(of: number)
            return facts.kind == .dmaBuf && facts.size == size && facts.accessMode == .readWrite
        }
        proof.expect("\(name): CPU access begins and ends") {
            for access: DMABufDirection in [.read, .write, [.read, .write]] {
                try kernel.synchronize(dmaBuf: number, .begin(access))
                try kernel.synchronize(dmaBuf: number, .end(access))
            }
            return true
        }
        proof.expect("\(name): what is written through one mapping is read through another") {
            try bytesAreShared(write: number, read: number, size: size)
        }
        proof.expect("\(name): carries a name that /proc shows") {
            try kernel.setName("proof-\(name)", dmaBuf: number)
            return DescriptorProbe.name(of: number)?.contains("dmabuf:proof-\(name)") == true
        }
    }
    proof.expect("a duplicate is the same buffer, another buffer is not") {
        let second = udmabuf.duplicate()
        let identity = try probe.facts(of: udmabuf.number).identity
        return try probe.facts(of: second.number).identity == identity
            && probe.facts(of: heap.number).identity != identity
    }
    try proveUdmabufs(proof, probe)
    proof.expect("a heap that is not there is refused", refusedWith: ENOENT) {
        _ = try kernel.allocate(heap: "no-such-heap", size: page)
    }
    proof.expect("what is no dma-buf has no fences", refusedWith: ENOTTY) {
        let memory = try MemoryFile.create(size: page)
        _ = try kernel.exportFence(dmaBuf: memory.number, for: .read)
    }
    try card.close(handle: dumb.handle)
}

private func proveUdmabufs(_ proof: Proof, _ probe: DescriptorProbe) throws {
    let memory = try MemoryFile.create(size: 4 * page, seals: [.shrink])
    proof.expect("udmabuf: lies over the memfd's own pages") {
        let buffer = try kernel.udmabuf(memfd: memory.number, offset: 0, size: 4 * page)
        return try bytesAreShared(write: memory.number, read: buffer.number, size: 4 * page)
    }
    proof.expect("udmabuf: pieces come in the order of the list") {
        var pages = try MappedMemory(memory.number, count: Int(4 * page), access: .readWrite)
        pages.withUnsafeMutableBytes { bytes in
            for index in 0..<4 { bytes[index * Int(page)] = UInt8(10 + index) }
        }
        let buffer = try kernel.udmabuf(pieces: [
            UdmabufPiece(memfd: memory.number, offset: 2 * page, size: 2 * page),
            UdmabufPiece(memfd: memory.number, offset: 0, size: page),
        ])
        guard try probe.facts(of: buffer.number).size == 3 * page else { return false }
        let shown = try MappedMemory(buffer.number, count: Int(3 * page))
        return shown.withUnsafeBytes { bytes in
            (0..<3).map { bytes[$0 * Int(page)] } == [12, 13, 10]
        }
    }
    proof.expect("udmabuf: a memfd that may shrink is refused", refusedWith: EINVAL) {
        let loose = try MemoryFile.create(size: page, seals: [])
        _ = try kernel.udmabuf(memfd: loose.number, offset: 0, size: page)
    }
    proof.expect("udmabuf: a memfd sealed against writing is refused", refusedWith: EINVAL) {
        let sealed = try MemoryFile.create(size: page, seals: [.shrink, .write])
        _ = try kernel.udmabuf(memfd: sealed.number, offset: 0, size: page)
    }
    proof.expect("udmabuf: more than the memfd has is refused", refusedWith: EINVAL) {
        _ = try kernel.udmabuf(memfd: memory.number, offset: 0, size: 5 * page)
    }
}

private func bytesAreShared(write: Int32, read: Int32, size: UInt64) throws -> Bool {
    var source = try MappedMemory(write, count: Int(size), access: .readWrite)
    let target = try MappedMemory(read, count: Int(size))
    let value = UInt8.random(in: 1...255)
    source.withUnsafeMutableBytes { bytes in
        bytes[0] = value
        bytes[Int(size) - 1] = value &+ 1
    }
    return target.withUnsafeBytes { $0[0] == value && $0[Int(size) - 1] == value &+ 1 }
}
