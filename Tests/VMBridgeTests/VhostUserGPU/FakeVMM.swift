import CLinux
import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// A bridge's half in a test: one VM's GPU behind a real socket, shown on a virtual output.
final class GPUHarness {
    let loop: EventLoop
    let session: VMSession<HeadlessPresenter>
    let source: VhostUserGPUSource<HeadlessPresenter>
    private let directory: String
    var path: String { directory + "/gpu" }

    init(loop: EventLoop? = nil) throws {
        let loop = try loop ?? EventLoop()
        self.loop = loop
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-gpu-")
        session = try .onVirtualOutput("vm", loop: loop)
        // Copies, whatever this machine has: dma-bufs are the test machine's to prove.
        source = try VhostUserGPUSource(
            path: directory + "/gpu", qmp: nil, session: session, reaper: try DescriptorReaper(),
            maker: UdmabufMaker(
                kernel: LinuxKernelBuffers(), listLimit: 0, sizeLimit: 0, lack: "a test"))
    }

    deinit {
        source.shutDown()
        TemporaryDirectory.remove(directory)
    }

    /// Turns of the loop until a condition holds; false after a number of seconds.
    func turn(until condition: () throws -> Bool, seconds: Double = 30) throws -> Bool {
        let end = loop.now() + UInt64(seconds * 1e9)
        while try !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
            source.settle()
        }
        return true
    }

    func counters(_ surface: UInt64 = 1) -> SurfaceCounters? {
        session.status.last { $0.surface == SurfaceKey(surface) }?.counters
    }
}

/// The VMM's end and the guest in it: a front end of vhost-user, RAM in a memfd, a driver of both queues.
final class FakeVMM {
    let ram: OwnedDescriptor
    private var memory: MappedMemory
    private let socket: StreamSocket
    private let kicks: [Event]
    private let calls: [Event]
    private var bundle = DescriptorBundle()
    private var heads: [UInt16] = [0, 0]
    private(set) var isClosed = false

    /// An eventfd; a class, so that arrays can have it.
    private final class Event {
        private let descriptor: OwnedDescriptor
        init() throws { descriptor = try EventFile.make() }
        var number: Int32 { descriptor.number }
    }

    static let size = 1 << 20
    static let entries: UInt64 = 16
    private static let user: UInt64 = 0x7f00_0000_0000

    init(_ path: String, seals: Seals = [.shrink, .grow]) throws {
        ram = try MemoryFile.create(name: "guest", size: UInt64(Self.size), seals: seals)
        memory = try MappedMemory(ram.number, count: Self.size, access: .readWrite)
        socket = try StreamSocket(connectingTo: path)
        kicks = [try Event(), try Event()]
        calls = [try Event(), try Event()]
    }

    // MARK: vhost-user

    func send(_ request: UInt32, _ payload: [UInt8] = [], descriptors: [Int32] = []) {
        let bytes =
            number(UInt64(request), 4) + number(1, 4) + number(UInt64(payload.count), 4) + payload
        let sent = bytes.withUnsafeBytes { bytes in
            descriptors.withUnsafeBufferPointer {
                vmb_socket_send(
                    socket.number, bytes.baseAddress, bytes.count, $0.baseAddress,
                    UInt32($0.count))
            }
        }
        if sent < 0 { isClosed = true }
    }

    /// What QEMU sends until both rings are served.
    func start(base: UInt16 = 0) {
        send(16, number(0x209, 8))
        send(3)
        send(2, number(1 << 1 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32, 8))
        send(
            5,
            number(1, 8) + number(0, 8) + number(UInt64(Self.size), 8) + number(Self.user, 8)
                + number(0, 8),
            descriptors: [ram.number])
        for ring in 0..<2 as Range<UInt64> {
            let at = Self.user + ring * 0x4000
            send(8, number(ring, 4) + number(Self.entries, 4))
            send(10, number(ring, 4) + number(ring == 0 ? UInt64(base) : 0, 4))
            send(
                9,
                number(ring, 8) + number(at, 8) + number(at + 0x2000, 8) + number(at + 0x1000, 8)
                    + number(0, 8))
            send(12, number(ring, 8), descriptors: [kicks[Int(ring)].number])
            send(13, number(ring, 8), descriptors: [calls[Int(ring)].number])
            send(18, number(ring, 4) + number(1, 4))
        }
    }

    /// Whether the other end has closed the connection.
    func hasEnded() -> Bool {
        var input = [UInt8](repeating: 0, count: 4096)
        while true {
            switch socket.receive(into: &input, descriptors: &bundle) {
            case .bytes: continue
            case .wouldBlock: return isClosed
            case .closed, .failed: return true
            }
        }
    }

    /// Bytes that came, without waiting.
    func received() -> [UInt8] {
        var input = [UInt8](repeating: 0, count: 4096)
        guard case .bytes(let count) = socket.receive(into: &input, descriptors: &bundle) else {
            return []
        }
        return Array(input[..<count])
    }

    // MARK: The guest

    func number(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }

    func put(_ bytes: [UInt8], at address: Int) {
        memory.withUnsafeMutableBytes {
            for (index, byte) in bytes.enumerated() { $0[address + index] = byte }
        }
    }

    func get(_ address: Int, _ count: Int) -> UInt64 {
        memory.withUnsafeBytes { bytes in
            (0..<count).reduce(0) { $0 | UInt64(bytes[address + $1]) << (8 * UInt64($1)) }
        }
    }

    /// A driver that forgot everything, as after a reboot.
    func forget() {
        heads = [0, 0]
        put([UInt8](repeating: 0, count: 0x8000), at: 0)
    }

    func used(_ ring: Int = 0) -> UInt16 { UInt16(get(ring * 0x4000 + 0x2002, 2)) }
    func offered(_ ring: Int = 0) -> UInt16 { heads[ring] }

    /// Offers a command with room for an answer, and kicks.
    func command(_ bytes: [UInt8], ring: Int = 0) {
        let slot = Int(heads[ring] % 8)
        let at = 0x10000 + ring * 0x10000 + slot * 0x1000
        put(bytes, at: at)
        put([UInt8](repeating: 0, count: 64), at: at + 0x800)
        let table = ring * 0x4000 + slot * 32
        put(
            number(UInt64(at), 8) + number(UInt64(bytes.count), 4) + number(1, 2)
                + number(UInt64(slot * 2 + 1), 2)
                + number(UInt64(at + 0x800), 8) + number(0x600, 4) + number(2, 2) + number(0, 2),
            at: table)
        offer(UInt16(slot * 2), ring: ring)
    }

    func offer(_ head: UInt16, ring: Int = 0) {
        let base = ring * 0x4000 + 0x1000
        put(number(UInt64(head), 2), at: base + 4 + 2 * Int(heads[ring] % UInt16(Self.entries)))
        heads[ring] &+= 1
        put(number(UInt64(heads[ring]), 2), at: base + 2)
        kick(ring)
    }

    func kick(_ ring: Int = 0) {
        var one: UInt64 = 1
        _ = withUnsafeBytes(of: &one) { write(kicks[ring].number, $0.baseAddress, 8) }
    }

    /// Whether the guest was told of answers.
    func wasCalled(_ ring: Int = 0) -> Bool {
        var count: UInt64 = 0
        return withUnsafeMutableBytes(of: &count) { read(calls[ring].number, $0.baseAddress, 8) }
            == 8
    }

    /// The type of the answer to the last command.
    var answer: UInt64 { self.get(0x10000 + Int((heads[0] &- 1) % 8) * 0x1000 + 0x800, 4) }

    private func header(_ type: UInt64) -> [UInt8] {
        number(type, 4) + [UInt8](repeating: 0, count: 20)
    }
    private func words(_ values: UInt64...) -> [UInt8] { values.flatMap { number($0, 4) } }

    /// A resource of 64x32 whose pages are in two places.
    func create(_ id: UInt64, pages: [UInt64]) {
        command(header(0x101) + words(id, 2, 64, 32))
        command(
            header(0x106) + words(id, UInt64(pages.count))
                + pages.flatMap { number($0, 8) + words(4096, 0) })
    }

    func scanout(_ number: UInt64, _ id: UInt64) {
        command(header(0x103) + words(0, 0, 64, 32, number, id))
    }

    func flush(_ id: UInt64) { command(header(0x104) + words(0, 0, 64, 32, id, 0)) }
}
