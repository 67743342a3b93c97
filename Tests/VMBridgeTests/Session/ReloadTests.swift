import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// A producer that sends a frame whenever a buffer is back, and knows what became of each.
final class FrameFlow {
    let producer: TestProducer
    private(set) var sent: [UInt64: Int] = [:]
    private(set) var ended: [UseOutcome: Int] = [:]
    private(set) var refusals: [RefusalReason] = []
    /// Frames that did not end yet.
    private(set) var outstanding: Set<UInt64> = []
    /// What should never come.
    private(set) var problem: String?
    private var free: [UInt64: [UInt64]] = [:]
    private var sequence: UInt64 = 0
    private let memory: [Int32]
    var isStopped = false

    /// Makes a surface for each title, numbered from 1, each with three buffers.
    init(_ path: String, titles: [String]) throws {
        producer = try TestProducer(path)
        producer.send(.hello(producer: "flow"))
        var memory: [Int32] = []
        for (index, title) in titles.enumerated() {
            let surface = UInt64(index + 1)
            for number in 1...3 as ClosedRange<UInt64> {
                memory.append(try Make.memfd().release())
                let key = surface * 10 + number
                producer.send(
                    .bufferCreate(BufferKey(key), Make.layout()),
                    descriptors: [memory[memory.count - 1]])
                free[surface, default: []].append(key)
            }
            producer.send(Make.surface(surface, title: title))
        }
        self.memory = memory
    }

    deinit { memory.forEach { close($0) } }

    var total: Int { sent.values.reduce(0, +) }

    /// Hears what has come and sends what can be sent.
    func pump() throws {
        try producer.listen()
        if producer.isClosed { problem = problem ?? "the connection was closed" }
        for (buffer, frame, outcome) in producer.released {
            if outstanding.remove(frame.value) == nil {
                problem = problem ?? "frame \(frame) ended twice or was never sent"
            }
            ended[outcome, default: 0] += 1
            free[buffer.value / 10, default: []].append(buffer.value)
        }
        refusals += producer.refusals
        producer.forget()
        guard !isStopped else { return }
        for surface in free.keys.sorted() {
            while let buffer = free[surface]?.popLast() {
                sequence += 1
                guard case .sent = producer.send(Make.frame(surface, buffer, sequence)) else {
                    free[surface]?.append(buffer)
                    return
                }
                outstanding.insert(sequence)
                sent[surface, default: 0] += 1
            }
        }
    }
}

@Suite("[kernel] reloads while frames flow, headless")
struct ReloadTests {
    /// A bridge with its configuration in a real file.
    final class Scene {
        let directory: String
        let loop: EventLoop
        let bridge: Bridge<HeadlessPresenter>
        let keeper: ConfigurationKeeper
        let log = RecordedLog()
        var file: String { directory + "/config" }
        var socket: String { directory + "/a.sock" }

        init(_ text: String = "") throws {
            let directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
            self.directory = directory
            let loop = try EventLoop()
            self.loop = loop
            let logger = log.logger
            var configuration = BridgeConfiguration(
                sources: [SourceSpecification(vm: "a", socketPath: directory + "/a.sock")],
                presentation: .headless(HeadlessOptions()))
            // A test's guest is as fast as it can be.
            configuration.limits.baseRate = 1_000_000
            var options = HeadlessOptions()
            options.refreshRate = 1000
            let bridge = try Bridge(configuration, loop: loop, logger: logger) { plan, _ in
                HeadlessPresenter(
                    vmName: plan.source.vm, options: options, capture: nil, loop: loop,
                    logger: logger)
            }
            self.bridge = bridge
            keeper = ConfigurationKeeper(.named(directory + "/config"), logger: logger)
            keeper.onApply = { bridge.apply($0) }
            try write(text)
        }

        deinit {
            keeper.end()
            bridge.shutDown()
            TemporaryDirectory.remove(directory)
        }

        /// Replaces the file as an editor does.
        func write(_ text: String) throws {
            try FileWriter.write(text, to: file + ".new")
            try #require(rename(file + ".new", file) == 0)
        }

        func turn(_ flow: FrameFlow? = nil, milliseconds: Int32 = 0) throws {
            try loop.runOnce(milliseconds: milliseconds)
            bridge.settle()
            try flow?.pump()
        }

        func until(
            _ flow: FrameFlow? = nil, seconds: Double = 10, _ condition: () -> Bool
        ) throws -> Bool {
            let end = loop.now() + UInt64(seconds * 1e9)
            while !condition() {
                guard loop.now() < end else { return false }
                try turn(flow, milliseconds: 1)
            }
            return true
        }

        func vm(_ name: String) -> VMStatus? { bridge.status.first { $0.name == name } }

        /// Ends the flow in order: nothing is sent any more, and what is held comes back.
        func stop(_ flow: FrameFlow, surfaces: Int) throws -> Bool {
            flow.isStopped = true
            // At most the frame that each window shows.
            guard try until(flow, { flow.outstanding.count <= surfaces }) else { return false }
            _ = bridge.perform(.hide, vm: "a", surface: nil)
            return try until(flow) { flow.outstanding.isEmpty }
        }
    }

    private static func texts(_ directory: String) -> [String] {
        [
            """
            vm a {
                label One
            }
            rule {
                match title two
                hide
            }
            """,
            """
            vm a {
                label Two
                budget {
                    surfaces 8
                    rate 500000
                }
                fences hold
            }
            vm b {
                source "socket:\(directory)/b.sock"
            }
            rule {
                match title one
                show title "~ {title}" maximized
            }
            """,
            """
            rule {
                match size 64x32 title two
                show fullscreen
            }
            rule {
                match title one
                show size fixed frame off
            }
            """,
        ]
    }

    @Test("1,000 reloads while frames flow at full rate lose no frame and no descriptor")
    func thousand() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks { try ReloadTests().reload(1000) }
        }
    }

    private func reload(_ count: Int) throws {
        let scene = try Scene()
        let texts = Self.texts(scene.directory)
        try scene.write(texts[0])
        #expect(scene.keeper.reload())
        let flow = try FrameFlow(scene.socket, titles: ["one", "two"])
        #expect(try scene.until(flow) { flow.total > 20 })
        var seen: Set<String> = []
        for number in 0..<count {
            try scene.write(texts[number % texts.count])
            guard scene.keeper.reload() else {
                Issue.record("reload \(number): \(scene.log.lines)")
                return
            }
            for _ in 0..<4 { try scene.turn(flow, milliseconds: 1) }
            for surface in scene.vm("a")?.surfaces ?? [] {
                seen.insert("\(surface.title): \(surface.visibility)")
            }
            let isThere = access(scene.directory + "/b.sock", F_OK) == 0
            #expect(isThere == (number % texts.count == 1))
        }
        #expect(
            seen == [
                "[One] one: shown", "[One] two: hidden", "~ one: shown", "[Two] two: shown",
                "[a] one: shown", "[a] two: shown",
            ])
        #expect(try scene.stop(flow, surfaces: 2))
        #expect(flow.problem == nil && flow.refusals.isEmpty)
        #expect(flow.total > count)
        let (shown, superseded) = (flow.ended[.shown] ?? 0, flow.ended[.superseded] ?? 0)
        #expect(shown + superseded == flow.total, "\(flow.ended) of \(flow.total)")
        #expect(shown > count / 4 && superseded > 0)
        let vm = try #require(scene.vm("a"))
        #expect(vm.generation == 1 && vm.isConnected && vm.uses == 0 && vm.refusals.isEmpty)
        // The books agree, surface by surface.
        for surface in vm.surfaces {
            let counters = surface.counters
            let all = counters.shown + counters.superseded
            #expect(all == UInt64(flow.sent[surface.surface.value] ?? 0))
            #expect(counters.refused == 0 && counters.lost == 0)
        }
        print("\(count) reloads, \(flow.total) frames: \(flow.ended)")
    }

    @Test("a file that is not good changes nothing, and the log names place and word")
    func bad() throws {
        let scene = try Scene("vm a {\n    label Good\n}\n")
        #expect(scene.keeper.reload())
        let flow = try FrameFlow(scene.socket, titles: ["one"])
        #expect(try scene.until(flow) { flow.total > 5 })
        #expect(scene.vm("a")?.surfaces.first?.title == "[Good] one")
        try scene.write("vm a {\n    labell Bad\n}\n")
        #expect(!scene.keeper.reload())
        #expect(scene.vm("a")?.surfaces.first?.title == "[Good] one")
        let place = scene.file + ":2:5: error: "
        #expect(
            scene.log.lines.contains { $0.contains(place) && $0.contains("did you mean “label”") },
            "\(scene.log.lines)")
        #expect(scene.log.lines.contains { $0.contains("stays as it was") })
        #expect(try scene.until(flow) { flow.total > 20 })
        // One that cannot be read, and then one that can.
        unlink(scene.file)
        #expect(!scene.keeper.reload())
        #expect(scene.vm("a")?.surfaces.first?.title == "[Good] one")
        try scene.write("vm a {\n    label Better\n}\n")
        #expect(scene.keeper.reload())
        #expect(scene.vm("a")?.surfaces.first?.title == "[Better] one")
        #expect(try scene.stop(flow, surfaces: 1))
        #expect(flow.problem == nil && flow.refusals.isEmpty)
    }

    @Test("the file's change alone is noticed, once however often it is written")
    func watched() throws {
        let scene = try Scene()
        #expect(scene.keeper.reload())
        try scene.keeper.watch(scene.loop)
        for number in 1...30 { try scene.write("vm a {\n    label N\(number)\n}\n") }
        #expect(try scene.until { scene.vm("a")?.label == "N30" })
        let count = scene.log.lines.count { $0.contains("read anew") }
        #expect(count >= 2 && count <= 4, "\(count) readings")
    }

    @Test("limits of a reload hold for the next record, and what is above them stays")
    func limits() throws {
        let scene = try Scene()
        #expect(scene.keeper.reload())
        let flow = try FrameFlow(scene.socket, titles: ["one", "two"])
        #expect(try scene.until(flow) { scene.vm("a")?.surfaces.count == 2 })
        try scene.write(
            "vm a {\n    budget {\n        surfaces 1\n        fence-limit 77\n    }\n}\n")
        #expect(scene.keeper.reload())
        #expect(scene.vm("a")?.limits.surfaces == 1)
        #expect(scene.vm("a")?.limits.fenceLimit == 77_000_000)
        flow.producer.send(Make.surface(3))
        #expect(try scene.until(flow) { flow.refusals == [.tooManySurfaces] })
        #expect(scene.vm("a")?.surfaces.count { !$0.isGone } == 2)
        #expect(try scene.stop(flow, surfaces: 2))
    }

    @Test("a VM whose socket moves is made anew there, and one whose name is taken over too")
    func moved() throws {
        let scene = try Scene()
        func vm(_ name: String, _ socket: String) -> String {
            "vm \(name) {\n    source \"socket:\(scene.directory)/\(socket)\"\n}\n"
        }
        try scene.write(vm("b", "one.sock") + vm("c", "two.sock"))
        #expect(scene.keeper.reload())
        let flow = try FrameFlow(scene.socket, titles: ["one"])
        let other = try FrameFlow(scene.directory + "/one.sock", titles: ["b"])
        #expect(try scene.until(other) { other.total > 5 })
        // Each gets the other's.
        try scene.write(vm("b", "two.sock") + vm("c", "one.sock"))
        #expect(scene.keeper.reload())
        #expect(try scene.until(flow) { flow.total > 5 })
        try other.producer.listen()
        #expect(other.producer.isClosed)
        let third = try FrameFlow(scene.directory + "/one.sock", titles: ["c"])
        #expect(try scene.until(third) { third.total > 5 })
        #expect(scene.vm("c")?.surfaces.first?.title == "[c] c")
        // A socket that cannot be made costs nobody else anything.
        try scene.write(vm("c", "one.sock") + vm("d", "nowhere/d.sock"))
        #expect(scene.keeper.reload())
        #expect(scene.vm("d") == nil && scene.vm("b") == nil)
        #expect(scene.log.lines.contains { $0.contains("d is not served") })
        let before = third.total
        #expect(try scene.until(third) { third.total > before + 5 })
        #expect(try scene.stop(flow, surfaces: 1))
        #expect(flow.problem == nil && flow.refusals.isEmpty)
    }
}
