import Descriptors
import Glibc
import VMBridgeCore

/// Where a producer's memory and its fences come from. Opens a device once, and only when it is asked for.
///
/// Fences come from the tests' own device where it is there, for that one takes every command; else from
/// vgem, whose fences end well after 10 s at the latest.
final class ProducerDevice {
    /// A pending fence of ours.
    struct Fence: Equatable {
        fileprivate enum Origin: Equatable {
            case module
            case vgem(carrier: Int)
        }
        fileprivate var number: UInt32
        fileprivate var origin: Origin

        /// Whether it signals some time if nobody signals it.
        var endsByItself: Bool { origin != .module }
    }

    /// A fence and the sync_file that shows it.
    struct NewFence: ~Copyable {
        /// The fence, as long as it is pending.
        let fence: Fence?
        fileprivate let syncFile: OwnedDescriptor

        /// Hands the sync_file over.
        consuming func takeSyncFile() -> OwnedDescriptor { syncFile }
    }

    /// A time line whose points rise.
    struct Timeline {
        fileprivate let timeline: SyncTimeline
        fileprivate(set) var last: UInt64 = 0

        /// The next point.
        mutating func next() -> UInt64 {
            last += 1
            return last
        }
    }

    private final class Card {
        let vgem: VGEM
        init() throws(KernelError) { vgem = try VGEM.find() }
    }

    private final class Module {
        let device: TestDevice
        /// For time lines, which are no driver's own; this one knows them in any case.
        let timelines: SyncDevice
        init() throws(KernelError) {
            device = try TestDevice.find()
            guard let found = SyncDevice.find() else {
                throw KernelError(
                    "open", ENODEV, subject: "/dev/dri", advice: "no node knows time lines")
            }
            timelines = found
        }
    }

    /// Keeps a carrier's descriptor.
    private final class FenceCarrier {
        let handle: UInt32
        let dmaBuf: OwnedDescriptor
        init(_ handle: UInt32, _ dmaBuf: consuming OwnedDescriptor) {
            self.handle = handle
            self.dmaBuf = dmaBuf
        }
    }

    private let kernel = LinuxKernelBuffers()
    private var card: Card?
    private var module: Module?
    private var isModuleMissing = false
    private var carriers: [FenceCarrier] = []
    private var freeCarriers: [Int] = []

    /// Memory of at least `bytes` bytes; the caller owns the descriptor.
    func allocate(
        _ kind: ProducerMemory, bytes: Int, rowBytes: Int
    ) throws(ProducerFailure) -> OwnedDescriptor {
        guard let size = MemoryFile.pages(covering: UInt64(bytes)) else {
            throw ProducerFailure("a buffer of \(bytes) bytes is too large")
        }
        // A dumb buffer of our own row length, so that the layout is the same everywhere.
        let (width, rows) = (UInt32(rowBytes / 4), UInt32((bytes + rowBytes - 1) / rowBytes))
        do throws(KernelError) {
            switch kind {
            case .memfd: return try MemoryFile.create(name: "vm-bridge-produce", size: size)
            case .udmabuf:
                let pages = try MemoryFile.create(
                    name: "vm-bridge-produce", size: size, seals: [.shrink])
                return try kernel.udmabuf(memfd: pages.number, offset: 0, size: size)
            case .heap: return try kernel.allocate(heap: "system", size: size)
            case .vgem:
                let card = try openCard()
                let buffer = try card.vgem.create(width: width, height: rows)
                defer { try? card.vgem.close(handle: buffer.handle) }
                return try card.vgem.export(handle: buffer.handle)
            case .vmbtest:
                let module = try openModule()
                let buffer = try module.device.card.create(width: width, height: rows)
                defer { try? module.device.card.close(handle: buffer.handle) }
                return try module.device.card.export(handle: buffer.handle)
            case .host, .hostContiguous:
                throw KernelError("allocate", EINVAL, advice: "the bridge alone makes such memory")
            }
        } catch {
            throw ProducerFailure(
                "cannot make a buffer of kind \(kind.rawValue): \(error), or use --buffer memfd")
        }
    }

    // MARK: Fences

    /// The module that makes the fences: "vmbtest" or "vgem"; nil when neither is there.
    var fenceMaker: String? {
        if (try? openModule()) != nil { return TestDevice.driver }
        return (try? openCard()) == nil ? nil : "vgem"
    }

    /// A new fence and its sync_file. Without the tests' device only pending and signalled ones can be had, and one
    /// that is never signalled ends by itself after 10 s.
    func makeFence(
        _ kind: TestDevice.FenceKind = .pending
    ) throws(ProducerFailure) -> NewFence {
        do throws(KernelError) {
            if let module = try? openModule() {
                let made = try module.device.makeFence(kind)
                let fence = made.number == 0 ? nil : Fence(number: made.number, origin: .module)
                return NewFence(fence: fence, syncFile: made.takeSyncFile())
            }
            switch kind {
            case .pending: return try makeFenceOfVGEM()
            case .signalled:
                let made = try makeFenceOfVGEM()
                if let fence = made.fence { signal(fence) }
                return NewFence(fence: nil, syncFile: made.takeSyncFile())
            case .never, .failed:
                throw KernelError("open", ENODEV, subject: "/dev/dri", advice: Self.moduleAdvice)
            }
        } catch {
            throw ProducerFailure(
                "cannot make a fence, which vmbtest and vgem provide: \(error), or use --fence message"
            )
        }
    }

    /// Ends a fence, well or with an errno. One that had ended by itself is no matter; vgem's always end well.
    func signal(_ fence: Fence, error: Int32 = 0) {
        switch fence.origin {
        case .module: try? module?.device.signal(fence: fence.number, error: error)
        case .vgem(let carrier):
            try? card?.vgem.signal(fence: fence.number)
            freeCarriers.append(carrier)
        }
    }

    private func makeFenceOfVGEM() throws(KernelError) -> NewFence {
        let card = try openCard()
        let index: Int
        if let free = freeCarriers.popLast() {
            index = free
        } else {
            index = try makeCarrier(card)
        }
        let carrier = carriers[index]
        let number = try card.vgem.attachFence(handle: carrier.handle, writing: true)
        // Who wants to read waits for the writer: that is the fence just attached.
        let syncFile = try kernel.exportFence(dmaBuf: carrier.dmaBuf.number, for: .read)
        return NewFence(
            fence: Fence(number: number, origin: .vgem(carrier: index)), syncFile: syncFile)
    }

    private func makeCarrier(_ card: Card) throws(KernelError) -> Int {
        let buffer = try card.vgem.create(width: 16, height: 16)
        carriers.append(
            FenceCarrier(buffer.handle, try card.vgem.export(handle: buffer.handle)))
        return carriers.count - 1
    }

    // MARK: Time lines

    /// A new time line without points.
    func makeTimeline() throws(ProducerFailure) -> Timeline {
        try withModule { (module) throws(KernelError) in
            Timeline(timeline: try module.timelines.makeTimeline())
        }
    }

    /// A descriptor of a time line to give away.
    func export(_ timeline: Timeline) throws(ProducerFailure) -> OwnedDescriptor {
        try withModule { (_) throws(KernelError) in try timeline.timeline.share() }
    }

    /// Makes a point and signals it.
    func signal(_ timeline: Timeline, point: UInt64) {
        try? timeline.timeline.signal(point)
    }

    /// Makes a point with a pending fence, which is returned.
    func putFence(on timeline: Timeline, point: UInt64) throws(ProducerFailure) -> Fence {
        try withModule { (module) throws(KernelError) in
            let made = try module.device.makeFence(.pending)
            let fence = Fence(number: made.number, origin: .module)
            let syncFile = made.takeSyncFile()
            try timeline.timeline.put(syncFile.number, at: point)
            return fence
        }
    }

    private func withModule<Result: ~Copyable>(
        _ body: (Module) throws(KernelError) -> Result
    ) throws(ProducerFailure) -> Result {
        do throws(KernelError) {
            return try body(try openModule())
        } catch {
            throw ProducerFailure(
                "cannot make a point of a time line, which vmbtest provides: \(error)")
        }
    }

    // MARK: Devices

    private static let moduleAdvice =
        "fences that fail or never signal are made by the module vmbtest alone"

    private func openCard() throws(KernelError) -> Card {
        if let card { return card }
        let opened = try Card()
        card = opened
        return opened
    }

    private func openModule() throws(KernelError) -> Module {
        if let module { return module }
        // Asked for with every fence: look once.
        if isModuleMissing {
            throw KernelError(
                "open", ENODEV, subject: "/dev/dri", advice: "load the module vmbtest")
        }
        isModuleMissing = true
        let opened = try Module()
        isModuleMissing = false
        module = opened
        return opened
    }
}
