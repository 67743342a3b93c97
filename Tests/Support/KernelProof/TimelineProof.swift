import CLinux
import Descriptors
import Glibc
import VMBridge

/// The test device of Tests/vm/modules: fences on command. See vmbtest.h.
private final class FenceMaker {
    /// The numbers of vmbtest.h.
    enum Kind: UInt32 { case pending, signalled, never, failed }

    private struct Fence {
        var kind: UInt32
        var flags: UInt32 = 1
        var handle: UInt32 = 0
        var usage: UInt32 = 0
        var id: UInt32 = 0
        var descriptor: Int32 = -1
    }

    private struct Signal {
        var id: UInt32
        var error: Int32
    }

    private let node: OwnedDescriptor

    init(_ path: String) throws {
        node = OwnedDescriptor(owning: vmb_open(path, VMB_OPEN_READ_WRITE))
        guard node.isValid else { throw KernelError("open", ENODEV, subject: path) }
    }

    private func check(_ answer: Int32, _ name: String) throws {
        guard answer >= 0 else { throw KernelError(name, -answer) }
    }

    /// A sync_file, and what names its fence for `end`.
    func make(_ kind: Kind = .pending) throws -> (file: SyncFile, id: UInt32) {
        var wish = Fence(kind: kind.rawValue)
        // _IOWR('d', 0x40, struct vmbtest_fence)
        try check(vmb_ioctl(node.number, 0xc018_6440, &wish), "VMBTEST_FENCE")
        return (SyncFile(OwnedDescriptor(owning: wish.descriptor)), wish.id)
    }

    func end(_ id: UInt32, error: Int32 = 0) throws {
        var wish = Signal(id: id, error: error)
        // _IOW('d', 0x41, struct vmbtest_signal)
        try check(vmb_ioctl(node.number, 0x4008_6441, &wish), "VMBTEST_SIGNAL")
    }
}

private func isReadable(_ descriptor: Int32, within milliseconds: Int32 = 0) -> Bool {
    var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&state, 1, milliseconds) == 1 && state.revents & Int16(POLLIN) != 0
}

private func status(_ fence: borrowing OwnedDescriptor) throws -> FenceStatus {
    try FenceStatus.of(fence.number)
}

/// Timelines through the test device: what the first rung of the sync ladder stands on.
///
/// - Parameter path: the test device's render node.
func proveTimelines(_ proof: Proof, _ path: String) throws {
    let fences = try FenceMaker(path)
    guard let device = SyncDevice.find() else {
        proof.expect("a device that knows timelines is found") { false }
        return
    }
    proof.expect("where there are no nodes there is no device") {
        SyncDevice.find(directory: "/nowhere") == nil
    }
    try provePoints(proof, device, fences)
    try proveNotes(proof, device, fences)
    try proveForeign(proof, device, fences)
    try proveBuffers(proof, fences)
}

private func provePoints(_ proof: Proof, _ device: SyncDevice, _ fences: FenceMaker) throws {
    let timeline = try device.makeTimeline()
    proof.expect("a point without a fence has none", refusedWith: EINVAL) {
        _ = try timeline.fence(at: 1)
    }
    let (first, firstID) = try fences.make()
    try timeline.put(first.descriptor.number, at: 1)
    proof.expect("a point has the pending fence that it was given") {
        try status(timeline.fence(at: 1)) == .pending
    }
    proof.expect("the next point has none", refusedWith: EINVAL) {
        _ = try timeline.fence(at: 2)
    }
    let (second, secondID) = try fences.make()
    try timeline.put(second.descriptor.number, at: 2)
    try fences.end(secondID)
    proof.expect("a point signals only after those before it") {
        try second.status == .signalled && status(timeline.fence(at: 2)) == .pending
    }
    let taken = SyncFile(try timeline.fence(at: 2))
    try fences.end(firstID)
    proof.expect("with the last of them it does, also in a sync_file that was taken before") {
        try status(timeline.fence(at: 2)) == .signalled && taken.status == .signalled
    }
    try timeline.signal(3)
    proof.expect("a point that is signalled has a fence that is") {
        try status(timeline.fence(at: 3)) == .signalled
    }
    let (done, _) = try fences.make(.signalled)
    try timeline.put(done.descriptor.number, at: 4)
    proof.expect("so has one that is given a fence which has signalled") {
        try status(timeline.fence(at: 4)) == .signalled
    }
    let (bad, badID) = try fences.make()
    try timeline.put(bad.descriptor.number, at: 5)
    try fences.end(badID, error: -EIO)
    proof.expect("a point whose fence fails is over, and the sync_file says why") {
        try status(timeline.fence(at: 5)) != .pending && bad.status == .error(EIO)
    }
    proof.expect("what is no sync_file is not put on a timeline", refusedWith: EINVAL) {
        let event = try EventFile.make()
        try timeline.put(event.number, at: 6)
    }
}

private final class Told: EventHandler {
    var count = 0
    func ready(_ registration: Registration, _ readiness: Readiness) { count += 1 }
}

private func proveNotes(_ proof: Proof, _ device: SyncDevice, _ fences: FenceMaker) throws {
    let timeline = try device.makeTimeline()
    let available = SyncFile(try EventFile.make())
    let signalled = SyncFile(try EventFile.make())
    try timeline.notify(available.descriptor.number, at: 1, whenAvailable: true)
    try timeline.notify(signalled.descriptor.number, at: 1, whenAvailable: false)
    proof.expect("nothing is told of a point without a fence") {
        !available.isReadable && !signalled.isReadable
    }
    let (fence, id) = try fences.make()
    try timeline.put(fence.descriptor.number, at: 1)
    proof.expect("that it has one is told to who asked for it") {
        isReadable(available.descriptor.number, within: 1000) && !signalled.isReadable
    }
    try fences.end(id)
    proof.expect("that it has signalled is told to the other") {
        isReadable(signalled.descriptor.number, within: 1000)
    }
    proof.expect("of what has been it is told at once") {
        let late = SyncFile(try EventFile.make())
        try timeline.notify(late.descriptor.number, at: 1, whenAvailable: true)
        return isReadable(late.descriptor.number, within: 1000)
    }
    let loop = try EventLoop()
    let told = Told()
    let event = try EventFile.make()
    let registration = try loop.register(event.number, [.read, .edge], told)
    var counts: [Int] = []
    for point in 2...6 as ClosedRange<UInt64> {
        try timeline.notify(event.number, at: point, whenAvailable: false)
        try timeline.signal(point)
        _ = try loop.runOnce(milliseconds: 1000)
        _ = try loop.runOnce(milliseconds: 20)
        counts.append(told.count)
    }
    proof.expect("one eventfd tells of point after point, each once: \(counts)") {
        counts == [1, 2, 3, 4, 5]
    }
    loop.remove(registration)
}

private func proveForeign(_ proof: Proof, _ device: SyncDevice, _ fences: FenceMaker) throws {
    let guests = try device.makeTimeline()
    let shared = try guests.share()
    let opened = try device.openTimeline(shared.number)
    let (fence, id) = try fences.make()
    try guests.put(fence.descriptor.number, at: 7)
    proof.expect("an opened timeline is the same one") {
        try status(opened.fence(at: 7)) == .pending
    }
    try fences.end(id)
    proof.expect("and signals with it") { try status(opened.fence(at: 7)) == .signalled }
    proof.expect("an eventfd is no timeline", refusedWith: EINVAL) {
        let event = try EventFile.make()
        _ = try device.openTimeline(event.number)
    }
    proof.expect("a sync_file is no timeline", refusedWith: EINVAL) {
        _ = try device.openTimeline(fence.descriptor.number)
    }
    proof.expect("a timeline is no sync_file", refusedWith: ENOTTY) {
        _ = try FenceStatus.of(shared.number)
    }
}

private func proveBuffers(_ proof: Proof, _ fences: FenceMaker) throws {
    let kernel = LinuxKernelBuffers()
    let left = SyncFile(try makeUdmabuf())
    let right = SyncFile(try makeUdmabuf())
    let both = [left.descriptor.number, right.descriptor.number]
    proof.expect("an idle dma-buf is not busy, and its fence has signalled") {
        try !BufferFences.isBusy(both[0], for: .write)
            && status(BufferFences.gather(for: .write, 2) { both[$0] }) == .signalled
    }
    proof.expect("no dma-buf at all has no fence") {
        try !BufferFences.gather(for: .write, 0) { _ in -1 }.isValid
    }
    let (fence, id) = try fences.make()
    try kernel.importFence(fence.descriptor.number, dmaBuf: both[1], as: .write)
    let gathered = SyncFile(try BufferFences.gather(for: .read, 2) { both[$0] })
    proof.expect("a writer of one of two makes that one busy, and readers of both wait") {
        try BufferFences.isBusy(both[1], for: .write) && !BufferFences.isBusy(both[0], for: .write)
            && gathered.status == .pending
    }
    try fences.end(id)
    proof.expect("until it is done") {
        try !BufferFences.isBusy(both[1], for: .write) && gathered.status == .signalled
    }
    let (reader, readerID) = try fences.make()
    try kernel.importFence(reader.descriptor.number, dmaBuf: both[0], as: .read)
    proof.expect("a reader holds up writers and not readers") {
        try BufferFences.isBusy(both[0], for: .write)
            && status(BufferFences.gather(for: .write, 2) { both[$0] }) == .pending
            && status(BufferFences.gather(for: .read, 2) { both[$0] }) == .signalled
    }
    try fences.end(readerID)
    proof.expect("what is no dma-buf has no fences to gather", refusedWith: ENOTTY) {
        let memory = try MemoryFile.create(size: 4096)
        _ = try BufferFences.gather(for: .read, 1) { _ in memory.number }
    }
}
