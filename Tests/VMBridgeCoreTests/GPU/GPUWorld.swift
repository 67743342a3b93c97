import Testing
import VMBridgeCore

/// Commands as the guest's driver writes them.
enum Command {
    static func header(
        _ type: UInt32, fence: UInt64? = nil, ring: UInt8? = nil
    ) -> [UInt8] {
        let flags: UInt64 = (fence == nil ? 0 : 1) | (ring == nil ? 0 : 2)
        return little(UInt64(type), 4) + little(flags, 4) + little(fence ?? 0, 8) + little(0, 4)
            + [ring ?? 0, 0, 0, 0]
    }

    static func words(_ values: UInt32...) -> [UInt8] {
        values.flatMap { little(UInt64($0), 4) }
    }

    static func create(
        _ id: UInt32, _ width: UInt32 = 64, _ height: UInt32 = 32, format: UInt32 = 2
    ) -> [UInt8] {
        header(0x101) + words(id, format, width, height)
    }

    static func entries(_ list: [(UInt64, UInt32)]) -> [UInt8] {
        list.flatMap { little($0.0, 8) + words($0.1, 0) }
    }

    static func attach(_ id: UInt32, _ list: [(UInt64, UInt32)], count: UInt32? = nil) -> [UInt8] {
        header(0x106) + words(id, count ?? UInt32(list.count)) + entries(list)
    }

    static func detach(_ id: UInt32) -> [UInt8] { header(0x107) + words(id, 0) }
    static func unref(_ id: UInt32) -> [UInt8] { header(0x102) + words(id, 0) }

    static func scanout(
        _ number: UInt32, _ id: UInt32, _ x: UInt32 = 0, _ y: UInt32 = 0, _ width: UInt32 = 64,
        _ height: UInt32 = 32
    ) -> [UInt8] {
        header(0x103) + words(x, y, width, height, number, id)
    }

    static func flush(
        _ id: UInt32, _ x: UInt32 = 0, _ y: UInt32 = 0, _ width: UInt32 = 64,
        _ height: UInt32 = 32, fence: UInt64? = nil
    ) -> [UInt8] {
        header(0x104, fence: fence) + words(x, y, width, height, id, 0)
    }

    static func transfer(
        _ id: UInt32, _ x: UInt32 = 0, _ y: UInt32 = 0, _ width: UInt32 = 64,
        _ height: UInt32 = 32, offset: UInt64 = 0
    ) -> [UInt8] {
        header(0x105) + words(x, y, width, height) + little(offset, 8) + words(id, 0)
    }

    static func edid(_ number: UInt32) -> [UInt8] { header(0x10a) + words(number, 0) }

    static func blob(
        _ id: UInt32, memory: UInt32 = 1, size: UInt64 = 8192,
        _ list: [(UInt64, UInt32)] = [(0x1000, 8192)]
    ) -> [UInt8] {
        header(0x10c) + words(id, memory, 1, UInt32(list.count)) + little(0, 8) + little(size, 8)
            + entries(list)
    }

    static func scanoutBlob(
        _ number: UInt32, _ id: UInt32, width: UInt32 = 64, height: UInt32 = 32,
        format: UInt32 = 2, stride: UInt32 = 256, offset: UInt32 = 0, stride1: UInt32 = 0
    ) -> [UInt8] {
        header(0x10d) + words(0, 0, width, height, number, id, width, height, format, 0)
            + words(stride, stride1, 0, 0, offset, 0, 0, 0)
    }

    static func cursor(
        _ scanout: UInt32, _ id: UInt32, hot: (UInt32, UInt32) = (1, 2), type: UInt32 = 0x300
    ) -> [UInt8] {
        header(type) + words(scanout, 5, 6, 0, id, hot.0, hot.1, 0)
    }
}

/// A device, the guest's side of it, and a bookkeeping of its actions that knows the rules.
final class GPUWorld {
    var device: VirtioGPUDevice
    let map: MemoryMap
    var now: UInt64 = 1_000_000
    private var token: UInt64 = 0
    private var unanswered: Set<UInt64> = []
    private(set) var answers: [UInt64: [UInt8]] = [:]
    private(set) var buffers: Set<BufferKey> = []
    private(set) var windows: Set<SurfaceKey> = []
    private(set) var cursors: Set<SurfaceKey> = []
    private(set) var shown: [(buffer: BufferKey, frame: VirtioGPUDevice.Shown)] = []
    private(set) var changes: [Damage] = []
    private(set) var refusals: [RefusalReason] = []
    private(set) var created: [(key: BufferKey, layout: BufferLayout, ranges: [GuestRange])] = []
    private(set) var names: [String] = []
    private(set) var problems: [String] = []
    private var everBuffers: Set<BufferKey> = []
    private var lastSequence: UInt64 = 0

    init(limits: VirtioGPUDevice.Limits = VirtioGPUDevice.Limits()) throws {
        device = VirtioGPUDevice(limits: limits)
        map = try MemoryMap([
            MemoryRegion(guest: 0x1000, size: 1 << 20, user: 1 << 40, offset: 0)
        ])
    }

    /// Sends a command; its token.
    @discardableResult
    func send(_ command: [UInt8], cursor: Bool = false) -> UInt64 {
        token += 1
        unanswered.insert(token)
        act {
            device.receive(
                command, isCursorQueue: cursor, token: token, memory: map, now: now, &$0)
        }
        return token
    }

    /// Sends a command and gives the type of its answer; 0 for none yet.
    @discardableResult
    func ask(_ command: [UInt8], cursor: Bool = false) -> UInt32 {
        type(send(command, cursor: cursor))
    }

    func type(_ token: UInt64) -> UInt32 {
        guard let answer = answers[token], answer.count >= 4 else { return 0 }
        return (0..<4).reduce(0) { $0 | UInt32(answer[$1]) << (8 * UInt32($1)) }
    }

    func act(_ body: (inout [VirtioGPUDevice.Action]) -> Void) {
        var actions: [VirtioGPUDevice.Action] = []
        body(&actions)
        for action in actions { book(action) }
        let held = device.holdings
        if held.deferred > unanswered.count { problems.append("more answers wait than are due") }
    }

    func reset() {
        act { device.reset(&$0) }
        unanswered.removeAll()
        if !windows.isEmpty || !cursors.isEmpty || !buffers.isEmpty {
            problems.append("something is left after a reset")
        }
    }

    var waiting: Set<UInt64> { unanswered }

    private func book(_ action: VirtioGPUDevice.Action) {
        switch action {
        case .answer(let token, let bytes):
            if unanswered.remove(token) == nil { problems.append("answered twice: \(token)") }
            answers[token] = bytes
        case .createBuffer(let key, let layout, let ranges):
            if !everBuffers.insert(key).inserted { problems.append("a key comes again: \(key)") }
            buffers.insert(key)
            created.append((key, layout, ranges))
            let bytes = ranges.reduce(0 as UInt64) { $0 + $1.length }
            let plane = layout.planes[0]
            if UInt64(plane.offset) + UInt64(plane.stride) * UInt64(layout.size.height) > bytes {
                problems.append("a picture reaches outside its pages")
            }
            if (try? map.pieces(of: ranges)) == nil { problems.append("pages outside RAM") }
        case .destroyBuffer(let key):
            if buffers.remove(key) == nil { problems.append("destroyed twice: \(key)") }
        case .createWindow(let key, let scanout):
            if key != VirtioGPUDevice.window(scanout) { problems.append("another window") }
            if !windows.insert(key).inserted { problems.append("a window is there: \(key)") }
        case .createCursor(let key, let parent, _, _):
            if !windows.contains(parent) { problems.append("a cursor without a window") }
            if !cursors.insert(key).inserted { problems.append("a cursor is there: \(key)") }
        case .moveHotSpot(let key, _, _):
            if !cursors.contains(key) { problems.append("no such cursor: \(key)") }
        case .destroySurface(let key):
            if windows.remove(key) == nil, cursors.remove(key) == nil {
                problems.append("no such surface: \(key)")
            }
        case .show(let key, let changed, let frames):
            if !buffers.contains(key) { problems.append("a buffer that is gone is shown") }
            if frames.isEmpty { problems.append("a buffer is shown nowhere") }
            changes.append(changed)
            for frame in frames {
                if !windows.contains(frame.surface), !cursors.contains(frame.surface) {
                    problems.append("shown on a surface that is gone")
                }
                if frame.sequence.value <= lastSequence { problems.append("a sequence goes back") }
                lastSequence = frame.sequence.value
                if let size = created.last(where: { $0.key == key })?.layout.size {
                    for part in [frame.crop, frame.damage] {
                        if let part, !part.fits(in: size) || part.area == 0 {
                            problems.append("a part of no picture")
                        }
                    }
                }
                shown.append((key, frame))
            }
        case .refused(let name, _, let refusal):
            names.append(name)
            refusals.append(refusal.reason)
            if refusal.sentence.isEmpty { problems.append("a refusal without a sentence") }
        }
    }

    /// A resource with pages on a scanout.
    func show(_ id: UInt32, on scanout: UInt32 = 0, at address: UInt64 = 0x1000) {
        for command in [
            Command.create(id), Command.attach(id, [(address, 8192)]),
            Command.scanout(scanout, id),
        ] where ask(command) != 0x1100 { problems.append("a good command was refused") }
    }
}
