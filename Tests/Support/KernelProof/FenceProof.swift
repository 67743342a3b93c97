import CLinux
import Descriptors
import Glibc
import VMBridge

private var kernel: LinuxKernelBuffers { LinuxKernelBuffers() }

/// A buffer of vgem that carries fences.
private struct Carrier: ~Copyable {
    let card: VGEM
    let handle: UInt32
    let dmaBuf: OwnedDescriptor

    init() throws {
        // Into locals first: such a value must not be left half made.
        let card = try VGEM.find()
        let handle = try card.create(width: 16, height: 16).handle
        let dmaBuf = try card.export(handle: handle)
        self.card = card
        self.handle = handle
        self.dmaBuf = dmaBuf
    }

    /// A pending fence as a sync_file.
    borrowing func fence() throws -> (number: UInt32, syncFile: SyncFile) {
        let number = try card.attachFence(handle: handle, writing: true)
        return (number, SyncFile(try kernel.exportFence(dmaBuf: dmaBuf.number, for: .read)))
    }
}

/// Keeps a sync_file where a copyable value is wanted.
final class SyncFile {
    let descriptor: OwnedDescriptor
    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    var status: FenceStatus { get throws { try FenceStatus.of(descriptor.number) } }
    var isReadable: Bool {
        var poll = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, 0) == 1 && poll.revents & Int16(POLLIN) != 0
    }
}

/// Fences of vgem as sync_files: pending, then signalled.
func proveFences(_ proof: Proof) throws {
    let probe = try DescriptorProbe()
    let carrier = try Carrier()
    proof.expect("an idle buffer's fence has signalled") {
        let fence = SyncFile(try kernel.exportFence(dmaBuf: carrier.dmaBuf.number, for: .write))
        return try fence.status == .signalled && fence.isReadable
    }
    let (number, fence) = try carrier.fence()
    proof.expect("the probe says sync_file") {
        try probe.facts(of: fence.descriptor.number).kind == .syncFile
    }
    proof.expect("an attached fence is pending and not readable") {
        try fence.status == .pending && !fence.isReadable
            && probe.fence(fence.descriptor.number) == .pending
    }
    proof.expect("a second fence beside a pending one is refused", refusedWith: EBUSY) {
        _ = try carrier.card.attachFence(handle: carrier.handle, writing: true)
    }
    try carrier.card.signal(fence: number)
    proof.expect("after the signal it is signalled and readable") {
        try fence.status == .signalled && fence.isReadable
            && probe.fence(fence.descriptor.number) == .signalled
    }
    proof.expect("a fence that is not there cannot be signalled", refusedWith: ENOENT) {
        try carrier.card.signal(fence: number)
    }
    proof.expect("a reader's fence holds writers up and readers not") {
        let reader = try carrier.card.attachFence(handle: carrier.handle, writing: false)
        let forReading = SyncFile(
            try kernel.exportFence(dmaBuf: carrier.dmaBuf.number, for: .read))
        let forWriting = SyncFile(
            try kernel.exportFence(dmaBuf: carrier.dmaBuf.number, for: .write))
        let isRight = try forReading.status == .signalled && forWriting.status == .pending
        try carrier.card.signal(fence: reader)
        return try isRight && forWriting.status == .signalled
    }
    proof.expect("a dma-buf is busy for reading by a writer's fence, until it signals") {
        let access = LinuxBufferAccess()
        let writer = try carrier.card.attachFence(handle: carrier.handle, writing: true)
        let isBusy = access.isBusy(carrier.dmaBuf.number)
        try carrier.card.signal(fence: writer)
        return isBusy && !access.isBusy(carrier.dmaBuf.number)
    }
    proof.expect("a dma-buf is not busy for reading by a reader's fence") {
        let reader = try carrier.card.attachFence(handle: carrier.handle, writing: false)
        let isBusy = LinuxBufferAccess().isBusy(carrier.dmaBuf.number)
        try carrier.card.signal(fence: reader)
        return !isBusy
    }
    proof.expect("an eventfd is no sync_file, also when it can be read") {
        let event = OwnedDescriptor(owning: vmb_eventfd(1))
        return try probe.facts(of: event.number).kind == .other(.anonymous)
            && probe.fence(event.number) == nil
    }
    proof.expect("a dma-buf is no sync_file", refusedWith: ENOTTY) {
        _ = try FenceStatus.of(carrier.dmaBuf.number)
    }
    proof.expect("nor for the probe") { try probe.fence(carrier.dmaBuf.number) == nil }
    try proveMerge(proof, probe)
    try carrier.card.close(handle: carrier.handle)
}

private func proveMerge(_ proof: Proof, _ probe: DescriptorProbe) throws {
    let left = try Carrier()
    let right = try Carrier()
    let (leftNumber, leftFence) = try left.fence()
    let (rightNumber, rightFence) = try right.fence()
    let both = SyncFile(
        try kernel.merge(leftFence.descriptor.number, rightFence.descriptor.number))
    proof.expect("merged fences are a sync_file of two") {
        try probe.facts(of: both.descriptor.number).kind == .syncFile
            && kernel.fenceInfo(both.descriptor.number).fences == 2
    }
    try right.card.signal(fence: rightNumber)
    proof.expect("merged fences are pending while one is") {
        try both.status == .pending && rightFence.status == .signalled
    }
    try left.card.signal(fence: leftNumber)
    proof.expect("merged fences have signalled when both have") { try both.status == .signalled }
    proof.expect("a fence cannot be merged with what is none", refusedWith: ENOENT) {
        _ = try kernel.merge(leftFence.descriptor.number, left.dmaBuf.number)
    }
    try left.card.close(handle: left.handle)
    try right.card.close(handle: right.handle)
}

/// A fence put on buffers of other drivers.
func proveForeignFences(_ proof: Proof) throws {
    let carrier = try Carrier()
    for name in ["udmabuf", "heap"] {
        let buffer =
            name == "heap"
            ? try kernel.allocate(heap: "system", size: 16384) : try makeUdmabuf()
        let (number, fence) = try carrier.fence()
        try kernel.importFence(fence.descriptor.number, dmaBuf: buffer.number, as: .write)
        let held = SyncFile(try kernel.exportFence(dmaBuf: buffer.number, for: .read))
        proof.expect("\(name): an imported fence makes readers wait") {
            try held.status == .pending
        }
        try carrier.card.signal(fence: number)
        proof.expect("\(name): the imported fence signals with its origin") {
            let now = SyncFile(try kernel.exportFence(dmaBuf: buffer.number, for: .write))
            return try held.status == .signalled && now.status == .signalled
        }
    }
    proof.expect("an eventfd cannot be imported as a fence", refusedWith: EINVAL) {
        let buffer = try makeUdmabuf()
        let event = OwnedDescriptor(owning: vmb_eventfd(1))
        try kernel.importFence(event.number, dmaBuf: buffer.number, as: .write)
    }
    proof.expect("vgem puts a fence on a udmabuf that it imported") {
        let buffer = try makeUdmabuf()
        let handle = try carrier.card.importDMABuf(buffer.number)
        let number = try carrier.card.attachFence(handle: handle, writing: true)
        let held = SyncFile(try kernel.exportFence(dmaBuf: buffer.number, for: .read))
        let wasPending = try held.status == .pending
        try carrier.card.signal(fence: number)
        try carrier.card.close(handle: handle)
        return try wasPending && held.status == .signalled
    }
    try carrier.card.close(handle: carrier.handle)
}

private final class Watcher: EventHandler {
    private(set) var told: [UInt64] = []
    func ready(_ registration: Registration, _ readiness: Readiness) {
        told.append(MonotonicClock.now())
    }
}

/// The bridge's loop is told of a fence when it signals, and not before.
func proveLoop(_ proof: Proof) throws {
    let carrier = try Carrier()
    let (number, fence) = try carrier.fence()
    let loop = try EventLoop()
    let watcher = Watcher()
    let registration = try loop.register(fence.descriptor.number, .read, watcher)
    let start = MonotonicClock.now()
    var turns = 0
    while MonotonicClock.now() < start + 200_000_000 {
        _ = try loop.runOnce(milliseconds: 50)
        turns += 1
    }
    proof.expect("the loop sleeps while a fence is pending (\(turns) turns in 200 ms)") {
        watcher.told.isEmpty && turns < 20
    }
    try carrier.card.signal(fence: number)
    _ = try loop.runOnce(milliseconds: 1000)
    proof.expect("the loop is told once the fence has signalled") { watcher.told.count == 1 }
    loop.remove(registration)
    try carrier.card.close(handle: carrier.handle)
}
