import Foundation
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// A control server with a pretend bridge behind it, on a thread of its own.
final class ControlStage: @unchecked Sendable {
    // Sendable: the path and the waker never change; everything else stays on the thread.
    let directory: String
    let path: String
    private let ended = DispatchSemaphore(value: 0)
    private let waker: LoopWaker

    init(isAllowed: Bool = true, prepare: @escaping @Sendable (FakeTarget) -> Void = { _ in })
        throws
    {
        let directory = try Place.temporary()
        let path = directory + "/control"
        let ready = DispatchSemaphore(value: 0)
        let box = Box()
        let ended = ended
        Thread {
            defer { ended.signal() }
            do {
                let loop = try EventLoop()
                let ring = EventRing()
                let target = FakeTarget(ring)
                prepare(target)
                let server = try ControlServer(
                    ControlEndpoint(path: path), loop: loop, target: target, ring: ring,
                    logger: Logger(label: "test") { _ in
                        RingLog(StandardErrorLog(level: .critical), ring: ring)
                    }, program: "vm-bridge 0.0.0", isAllowed: { _ in isAllowed })
                let end = End(loop)
                loop.addWakeHandler(end)
                box.waker = (loop.waker, end)
                ready.signal()
                try loop.run()
                server.shutDown()
            } catch {
                ready.signal()
            }
        }.start()
        ready.wait()
        let (waker, end) = try #require(box.waker)
        self.directory = directory
        self.path = path
        self.waker = waker
        self.end = end
    }

    private let end: End

    /// Ends the server, and with it every connection.
    func stop() {
        end.isWanted = true
        waker.wake()
        ended.wait()
        ended.signal()
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func client() throws -> ControlClient { try ControlClient(path: path) }

    /// A command that asks this server.
    func run(_ arguments: [String]) throws -> (status: Int32?, out: String, err: String) {
        try Program.run(arguments + ["--socket", path])
    }

    private final class Box: @unchecked Sendable {
        // Written before the semaphore is signalled, read after it was waited for.
        var waker: (LoopWaker, End)?
    }

    private final class End: WakeHandler, @unchecked Sendable {
        // Written by one thread before the wake-up that makes the other read it.
        var isWanted = false
        private let loop: EventLoop
        init(_ loop: EventLoop) { self.loop = loop }
        func woken() { if isWanted { loop.stop() } }
    }
}

/// A bridge with two VMs that never change, unless a test changes them.
final class FakeTarget: ControlTarget {
    private let ring: EventRing
    var vms: [VMStatus]
    /// What was asked for, in words.
    private(set) var wishes: [String] = []
    /// Status is asked for that often.
    private(set) var looks = 0
    var onLook: ((FakeTarget) -> Void)?

    init(_ ring: EventRing) {
        self.ring = ring
        vms = Self.samples
        ring.add(.info, "work: listening on /run/user/1000/vm-bridge/work.sock", vm: "work")
        ring.add(
            .warning, "work: refused surface 4, not_routed: No rule of this host shows it.",
            vm: "work")
    }

    var status: [VMStatus] {
        looks += 1
        onLook?(self)
        return vms
    }

    var consumers: [ConsumerStatus] { [] }
    var drivers: [DriverStatus] { [] }

    func perform(_ wish: SurfaceWish, vm: String, surface: SurfaceKey?) -> Int {
        wishes.append("\(wish) \(vm) \(surface?.description ?? "all")")
        ring.add(.notice, String("\(wish)".prefix { $0 != "(" }), vm: vm)
        let there = vms.first { $0.name == vm }?.surfaces.filter { !$0.isGone } ?? []
        return there.filter { surface == nil || $0.surface == surface }.count
    }

    func action(_ words: [String]) throws(ControlFault) -> RuleAction {
        do throws(RuleAction.Problem) {
            return try RuleAction.parse(words)
        } catch {
            throw ControlFault(.badMember, "\(error)")
        }
    }

    func reload() throws(ControlFault) {
        ring.add(.warning, "play gets another source: its producer has to connect again")
    }

    func lastFrame(vm: String, surface: SurfaceKey) -> CommittedFrame? { nil }
    func isHeld(_ frame: CommittedFrame) -> Bool { false }

    private static func surface(
        _ vm: String, _ key: UInt64, _ title: String, _ app: String, _ visibility: String,
        isGone: Bool = false
    ) -> SurfaceStatus {
        var counters = SurfaceCounters()
        counters.size = Size(width: 640, height: 480)
        counters.shown = 601
        counters.superseded = 2
        counters.firstCommit = 1_000_000_000
        counters.lastCommit = 11_000_000_000
        counters.importPath = "imported"
        counters.releasePath = "message"
        var status = SurfaceStatus(
            vm: vm, surface: SurfaceKey(key), title: title, appID: "vm-bridge.\(vm).\(app)",
            isGone: isGone, counters: counters)
        status.visibility = visibility
        status.route = visibility == "hidden" ? "hide, as a person wished" : "show"
        return status
    }

    static let samples: [VMStatus] = {
        var work = VMStatus(
            name: "work", isConnected: true, generation: 3, isPresenting: true, trouble: nil,
            device: nil, buffers: 6, bytes: 7_372_800, uses: 2, refusals: [.notRouted: 1],
            surfaces: [
                surface("work", 9, "[work] Gone", "org.example.gone", "gone", isGone: true),
                surface("work", 1, "[work] Mail — 3 new", "org.example.mail", "shown"),
                surface("work", 7, "[work] 天気 \u{1b}[31mred", "weather", "hidden"),
            ])
        work.colour = RGB(red: 0xcc, green: 0x33, blue: 0)
        let play = VMStatus(
            name: "play", isConnected: false, generation: 0, isPresenting: false,
            trouble: "no compositor at wayland-7", device: nil, buffers: 0, bytes: 0, uses: 0,
            refusals: [:], surfaces: [])
        return [work, play]
    }()
}
