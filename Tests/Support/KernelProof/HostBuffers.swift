import Descriptors
import Glibc
import VMBridge
import VMBridgeCore

/// A producer that asks the bridge for its buffer, draws into it and stays until it is ended.
///
/// - Parameters:
///   - path: the bridge's socket.
///   - title: of the window, and the pattern's label; its colour is 9.
func proveHostBuffer(_ proof: Proof, _ path: String, title: String) throws {
    let socket = try SeqPacketSocket(connectingTo: path)
    var writer = RecordWriter()
    writer.append(.hello(producer: "KernelProof"))
    let wishes = [
        (BufferKey(1), BufferWish(size: Size(width: 320, height: 240), format: .xrgb8888)),
        (
            BufferKey(2),
            BufferWish(size: Size(width: 320, height: 240), format: .xrgb8888, isContiguous: true)
        ),
        (
            BufferKey(3),
            BufferWish(
                size: Size(width: 320, height: 240), format: .xrgb8888,
                modifiers: [Modifier(0x0100_0000_0000_0001)])
        ),
    ]
    for (key, wish) in wishes { writer.append(.bufferAllocate(key, wish)) }
    guard socket.send(writer.bytes, count: writer.bytes.count) == .sent else {
        throw KernelError("send", EPIPE)
    }
    var memory: BufferMemory?
    var word: UInt32 = 0
    var refusals: [UInt64: RefusalReason] = [:]
    try receive(socket, until: { memory != nil && refusals.count == 2 }) { record, bundle, first in
        switch record {
        case .allocated(_, let layout, let allocator):
            word = allocator
            let range = first..<first + record.descriptors
            memory = BufferMemory(layout: layout, bytes: 320 * 240 * 4, from: &bundle, range)
        case .refused(let refused): refusals[refused.object] = refused.refusal.reason
        default: break
        }
    }
    proof.expect("the bridge makes a buffer") { memory != nil }
    print(
        "  by \(MemoryAllocator(rawValue: word)?.word ?? "nobody"), \(memory?.layout.modifier ?? .invalid)"
    )
    proof.expect("contiguous memory is refused: no_contiguous") { refusals[2] == .noContiguous }
    proof.expect("a layout that cannot be shown is refused: bad_modifier") {
        refusals[3] == .badModifier
    }
    guard let memory else { return }
    let probe = try DescriptorProbe()
    let size = try probe.facts(of: memory.descriptor(ofPlane: 0)).size
    let pattern = try TestPattern(width: 320, height: 240, seed: 9, label: title)
    var mapped = try MappedMemory(
        memory.descriptor(ofPlane: 0), count: Int(size), access: .readWrite)
    try mapped.withPlanes([
        (offset: Int(memory.layout.planes[0].offset), stride: Int(memory.layout.planes[0].stride))
    ]) { (planes) throws(PictureError) in try pattern.draw(frame: 5, into: planes) }
    writer.removeAll()
    var metadata = SurfaceMetadata()
    metadata.title = title
    writer.append(.surfaceCreate(SurfaceKey(1), .toplevel, isGraphics: true, metadata))
    writer.append(
        .frame(
            FrameRecord(
                surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))))
    guard socket.send(writer.bytes, count: writer.bytes.count) == .sent else {
        throw KernelError("send", EPIPE)
    }
    var isShown = false
    try receive(socket, until: { isShown }) { record, _, _ in
        if case .presented = record { isShown = true }
        if case .refused(let refused) = record { print("  \(refused.refusal.sentence)") }
    }
    proof.expect("a frame with it is presented") { isShown }
    // A signal ends it, and what is in C's buffers then is lost.
    fflush(nil)
    sleep(60)
}

/// Hands records over until a condition holds, or for a minute.
private func receive(
    _ socket: borrowing SeqPacketSocket, until condition: () -> Bool,
    _ body: (BridgeRecord, inout DescriptorBundle, Int) throws -> Void
) throws {
    var bytes = [UInt8](repeating: 0, count: SourceProtocol.maximumDatagram)
    let end = MonotonicClock.now() + 60_000_000_000
    while !condition(), MonotonicClock.now() < end {
        var bundle = DescriptorBundle()
        switch socket.receive(into: &bytes, descriptors: &bundle) {
        case .datagram(let count):
            let span = bytes.span.extracting(0..<count)
            var walker = RecordWalker()
            while let frame = try walker.next(in: span, descriptorCount: bundle.count) {
                if let record = try BridgeDecoder.decode(frame, in: span) {
                    try body(record, &bundle, frame.firstDescriptor)
                }
            }
        case .wouldBlock: usleep(10_000)
        default: return
        }
    }
}
