import Descriptors
import Glibc
import VMBridge
import VMBridgeCore

/// A guest of hyper_dmabuf, played through the loop-back driver:
///
///     KernelProof hyper-guest DOMAIN [NAME=VALUE]…
///
/// | name | value, when not given |
/// |---|---|
/// | surfaces, frames, rate | 1, 30, 10: how many of each, frames a second |
/// | size, buffers | 160x120, 3: of each surface |
/// | seed, title | 1, guest: the first surface's colour, and label with its number behind |
/// | layout | current; or depth, narrow, texture (vmdisplay's others), own |
/// | notice | record; uevent or id besides, lost for an id without a record |
/// | fresh | 0; 1 for a new id with each frame, the old taken back after 250 ms |
/// | rotation, box | 0, the whole: as in vmdisplay's metadata |
/// | hold | 1: the last frame is announced again every half second until somebody ends this |
///
/// Other words play the host's side of the test: see ``controlHyperPeer``.
func playHyperGuest(_ words: [String]) throws {
    guard let domain = words.first.flatMap({ UInt32($0) }) else {
        throw KernelError("hyper-guest", EINVAL, advice: "the first word is the domain's number")
    }
    var options: [String: String] = [:]
    for word in words.dropFirst() {
        let parts = word.split(separator: "=", maxSplits: 1)
        guard parts.count == 2 else { throw KernelError(word, EINVAL) }
        options[String(parts[0])] = String(parts[1])
    }
    func number(_ name: String, _ fallback: Int) throws -> Int {
        guard let text = options.removeValue(forKey: name) else { return fallback }
        guard let value = Int(text) else { throw KernelError(name, EINVAL) }
        return value
    }
    let size = (options.removeValue(forKey: "size") ?? "160x120").split(separator: "x")
        .compactMap { Int($0) }
    let frames = try number("frames", 30)
    let rate = try number("rate", 10)
    let isHeld = try number("hold", 1) == 1
    let title = options.removeValue(forKey: "title") ?? "guest"
    let count = try number("surfaces", 1)
    let buffers = try number("buffers", 3)
    let seed = try number("seed", 1)
    let isFresh = try number("fresh", 0) == 1
    let style = AnnouncementStyle(
        layout: options.removeValue(forKey: "layout") ?? "current",
        rotation: UInt32(try number("rotation", 0)),
        box: (options.removeValue(forKey: "box") ?? "").split(separator: ",").compactMap {
            UInt32($0)
        })
    let notice: HyperPeer.Notice =
        switch options.removeValue(forKey: "notice") ?? "record" {
        case "uevent": .uevent
        case "id": .id
        case "lost": [.lost, .id]
        default: []
        }
    guard size.count == 2, options.isEmpty else {
        throw KernelError("hyper-guest", EINVAL, advice: "unknown: \(options.keys)")
    }
    let peer = try HyperPeer()
    var surfaces: [HyperGuestSurface] = []
    for index in 0..<count {
        surfaces.append(
            try HyperGuestSurface(
                index: index, of: count, size: (size[0], size[1]), buffers: buffers,
                seed: UInt32(seed + index), label: "\(title) \(index)", style: style))
    }
    var lost = 0
    func announce(_ frame: UInt32, isNew: Bool) throws {
        for surface in surfaces {
            if isNew { try surface.draw(frame) }
            try surface.announce(
                frame, peer, domain, isFresh && isNew ? notice.union(.fresh) : notice,
                takesBack: isFresh && isNew)
        }
    }
    let start = MonotonicClock.now()
    for frame in 1...UInt32(max(frames, 1)) {
        try announce(frame, isNew: true)
        let due = start + UInt64(frame) * 1_000_000_000 / UInt64(max(rate, 1))
        let now = MonotonicClock.now()
        if due > now { usleep(UInt32((due - now) / 1000)) } else { lost += 1 }
    }
    print("domain \(domain): drew \(frames) frames on \(count) surfaces, \(lost) late")
    fflush(nil)
    while isHeld {
        usleep(500_000)
        try announce(UInt32(frames), isNew: false)
    }
}

/// How private data are written.
struct AnnouncementStyle {
    var layout: String
    var rotation: UInt32
    var box: [UInt32]
}

/// A surface of the played guest, with its buffers.
final class HyperGuestSurface {
    private let index: Int
    private let count: Int
    private let size: (width: Int, height: Int)
    private let stride: Int
    private let label: String
    private let style: AnnouncementStyle
    private var pattern: TestPattern
    private var memories: [HyperGuestBuffer] = []
    private var current = 0
    private var lastID: HyperBufferID?

    init(
        index: Int, of count: Int, size: (Int, Int), buffers: Int, seed: UInt32, label: String,
        style: AnnouncementStyle
    ) throws {
        self.index = index
        self.count = count
        self.size = size
        self.label = label
        self.style = style
        pattern = try TestPattern(
            width: size.0, height: size.1, format: .xrgb8888, seed: seed, label: label)
        let layout = try PixelFormat.xrgb8888.linearLayout(width: size.0, height: size.1)
        stride = layout.planes[0].stride
        for _ in 0..<max(buffers, 1) { memories.append(try HyperGuestBuffer(bytes: layout.size)) }
    }

    /// Draws into the next buffer.
    func draw(_ frame: UInt32) throws {
        current = (current + 1) % memories.count
        let buffer = memories[current]
        try buffer.memory.withPlanes([(offset: 0, stride: stride)]) {
            (planes) throws(PictureError) -> Void in
            if let shown = buffer.shown {
                _ = try pattern.update(from: shown, to: frame, in: planes)
            } else {
                try pattern.draw(frame: frame, into: planes)
            }
        }
        buffer.shown = frame
    }

    func announce(
        _ frame: UInt32, _ peer: borrowing HyperPeer, _ domain: UInt32, _ notice: HyperPeer.Notice,
        takesBack: Bool
    ) throws {
        let id = try peer.export(
            memories[current].dmaBuf.number, of: domain, notice, privateData(frame))
        if takesBack, let lastID, lastID != id { try? peer.unexport(lastID, after: 250) }
        lastID = id
    }

    private func privateData(_ frame: UInt32) -> [UInt8] {
        guard style.layout != "own" else {
            var announcement = HyperAnnouncement(
                surface: HyperSurfaceName(output: 0, surface: UInt64(index + 1)),
                layout: BufferLayout(
                    size: Size(width: UInt32(size.width), height: UInt32(size.height)),
                    format: .xrgb8888, modifier: .linear, memory: .dmaBuf,
                    planes: [PlaneLayout(descriptor: 0, offset: 0, stride: UInt32(stride))]))
            announcement.metadata.title = label
            return HyperMetadataRecord.bytes(of: announcement) ?? []
        }
        func words(_ numbers: [UInt32]) -> [UInt8] {
            numbers.flatMap { number in
                (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
            }
        }
        let (width, height) = (UInt32(size.width), UInt32(size.height))
        let isCurrent = style.layout == "current"
        let isTexture = style.layout == "texture"
        // vm_header; then vm_buffer_info, whose id is stale as in the producers found.
        var bytes = words([isCurrent ? 3 : 2, 0, frame, UInt32(count), width, height])
        if !isTexture { bytes += words([UInt32(index)]) }
        bytes += words([
            width, height, isTexture ? 0x305d : FourCC.xrgb8888.rawValue, UInt32(stride), 0, 0, 0,
            0, 0,
        ])
        if !isCurrent { bytes += words([32]) }
        bytes += words([0, style.rotation, 1, frame])
        if style.layout == "depth" { bytes += words([0]) }
        bytes += words([.max, 0, 0, 0])
        let name = Array(label.utf8.prefix(64))
        bytes += name + [UInt8](repeating: 0, count: 64 - name.count)
        bytes += words([UInt32(1000 + index), 0])
        bytes += words(style.box.count == 4 ? style.box : [0, 0, width, height])
        return bytes
    }
}

/// A udmabuf over memory that this side draws into.
final class HyperGuestBuffer {
    var memory: MappedMemory
    let dmaBuf: OwnedDescriptor
    /// The frame that is in it.
    var shown: UInt32?

    init(bytes: Int) throws(KernelError) {
        let size = MemoryFile.pages(covering: UInt64(bytes)) ?? 0
        let file = try MemoryFile.create(size: size, seals: [.shrink])
        dmaBuf = try LinuxKernelBuffers().udmabuf(memfd: file.number, offset: 0, size: size)
        memory = try MappedMemory(file.number, count: bytes, access: .readWrite)
    }
}

/// `hyper-peer answer DOMAIN right|error|never MS`, `kill DOMAIN`, `node 0|1`, `fuzz DOMAIN SEED COUNT`, `state`.
func controlHyperPeer(_ words: [String]) throws {
    let peer = try HyperPeer()
    let numbers = words.compactMap { UInt32($0) }
    switch (words.first ?? "", words.count) {
    case ("answer", 4):
        guard let kind = ["right", "error", "never"].firstIndex(of: words[2]), numbers.count == 2
        else { throw KernelError("answer", EINVAL) }
        try peer.answer(domain: numbers[0], kind: UInt32(kind), after: numbers[1])
    case ("kill", 2): try peer.kill(domain: numbers.first ?? 0)
    case ("node", 2): try peer.setNode(present: words[1] == "1")
    case ("fuzz", 4): try fuzz(peer, domain: numbers[0], seed: numbers[1], count: Int(numbers[2]))
    case ("state", 1):
        let state = try peer.state(of: HyperBufferID(number: 0, key: .init(0, 0, 0)))
        print("queued \(state[3]) lost \(state[4]) exports \(state[6])")
    default: throw KernelError("hyper-peer", EINVAL, advice: "unknown: \(words)")
    }
}

/// Puts records into the queue that are wrong in all ways: sizes, types, ids, and private data of every layout with
/// bytes changed.
private func fuzz(
    _ peer: borrowing HyperPeer, domain: UInt32, seed: UInt32, count: Int
) throws {
    var state = UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 | 1
    func next(_ bound: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(truncatingIfNeeded: state >> 33) % bound
    }
    for round in 0..<count {
        var record: [UInt8] = [0, 0, 1, 0]
        HyperBufferID(
            number: domain << 24 | UInt32(next(4)), key: .init(UInt32(next(4)), 0, 0)
        ).put(to: &record)
        let size = [0, 4, 64, 160, 164, 168, 184, 188, 192, 193, 1000, 4000][next(12)]
        record += (0..<4).map { UInt8(truncatingIfNeeded: size >> ($0 * 8)) }
        record += [[3, 0, 0, 0], [2, 0, 0, 0], [0x56, 0x4d, 0x42, 0x31], [9, 9, 9, 9]][next(4)]
        record += (0..<max(size - 4, 0)).map { _ in next(3) == 0 ? UInt8(next(256)) : 0 }
        for _ in 0..<next(3) { record[next(record.count)] = UInt8(next(256)) }
        if next(4) == 0 { record.removeLast(next(record.count - 1)) }
        try peer.inject(record)
        // As fast as the reader is, so that the queue is not what throws them away.
        if round % 16 == 15 { usleep(20_000) }
    }
    print("injected \(count)")
}
