import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// Sessions with windows, some of whose surfaces rules hand to consumers.
private final class HandoverHarness {
    let loop: EventLoop
    let directory: String
    let hub: HandoverHub
    private(set) var sources: [SocketSource<HeadlessPresenter>] = []

    init(vms: [String] = ["a", "b"], _ configuration: Configuration) throws {
        let loop = try EventLoop()
        self.loop = loop
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-handover-")
        let logger = ConsumerHarness.silentLogger()
        let (probe, reaper) = (try DescriptorProbe(), try DescriptorReaper())
        hub = HandoverHub(loop: loop, logger: logger, probe: probe, reaper: reaper)
        var options = HeadlessOptions()
        options.refreshRate = 1000
        for name in vms {
            let session = VMSession(
                name: name, limits: VMLimits(),
                router: Router(vmName: name, configuration: configuration),
                presenter: HeadlessPresenter(
                    vmName: name, options: options, capture: nil, loop: loop, logger: logger),
                loop: loop, probe: probe, logger: logger)
            session.handover = hub
            let source = try SocketSource(
                path: "\(directory)/\(name).sock", session: session, reaper: reaper)
            source.consumers = hub.endpoint(ofVM: name, limits: VMLimits())
            sources.append(source)
        }
        #expect(hub.apply(Self.placed(configuration, directory)) == [])
    }

    /// With the consumers' sockets in a directory of the test.
    private static func placed(
        _ configuration: Configuration, _ directory: String
    ) -> Configuration {
        var configuration = configuration
        for index in configuration.consumers.indices {
            configuration.consumers[index].socket =
                "\(directory)/\(configuration.consumers[index].name).consumer"
        }
        return configuration
    }

    deinit {
        for source in sources { source.shutDown() }
        hub.shutDown()
        TemporaryDirectory.remove(directory)
    }

    func apply(_ configuration: Configuration) {
        #expect(hub.apply(Self.placed(configuration, directory)) == [])
        for source in sources {
            source.session.apply(
                Router(vmName: source.session.name, configuration: configuration))
        }
    }

    func turn(until condition: () throws -> Bool, seconds: Double = 5) throws -> Bool {
        let end = loop.now() + UInt64(seconds * 1e9)
        while try !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
            for source in sources { source.settle() }
            if hub.flush() { for source in sources { source.settle() } }
        }
        return true
    }

    func consumer(_ name: String) throws -> TestConsumer {
        try TestConsumer("\(directory)/\(name).consumer")
    }

    func producer(_ vm: String, surfaces: [(UInt64, String)]) throws -> TestProducer {
        let producer = try TestProducer("\(directory)/\(vm).sock")
        producer.send(.hello(producer: vm))
        for key in 1...6 as ClosedRange<UInt64> {
            let memory = try Make.memfd()
            producer.send(
                .bufferCreate(BufferKey(key), Make.layout()), descriptors: [memory.number])
        }
        for (key, title) in surfaces { producer.send(Make.surface(key, title: title)) }
        return producer
    }

    /// Of a surface by its title.
    func status(_ vm: Int, _ title: String) -> SurfaceStatus? {
        sources[vm].session.status.last { $0.title.hasSuffix(title) }
    }
}

@Suite("[kernel] rules that hand surfaces over")
struct HandoverTests {
    private static func rule(
        _ title: String?, vm: String? = nil, _ action: RuleAction
    ) -> Rule {
        var match = RuleMatch()
        match.title = title.map(Glob.init)
        match.vm = vm.map(Glob.init)
        return Rule(match: match, action: action)
    }

    private static func configuration(_ rules: Rule...) -> Configuration {
        var configuration = Configuration()
        configuration.consumers = [ConsumerConfiguration(name: "rec")]
        configuration.rules = rules
        return configuration
    }

    private static let recorder = RuleAction.handTo(.consumer("rec"))

    @Test("one surface goes to a window and one to a consumer, with the same buffer")
    func both() throws {
        let harness = try HandoverHarness(
            Self.configuration(Self.rule("hand*", Self.recorder)))
        let consumer = try harness.consumer("rec")
        let producer = try harness.producer("a", surfaces: [(1, "shown"), (2, "handed")])
        producer.send(Make.frame(1, 1, 1), Make.frame(2, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
                    && harness.status(0, "shown")?.counters.presented == 1
            })
        #expect(harness.status(0, "handed")?.visibility == "handed")
        #expect(harness.status(0, "handed")?.route == "hand-to consumer rec")
        #expect(harness.status(0, "shown")?.visibility == "shown")
        // The window lets go of it with its next frame, the consumer when it likes.
        producer.send(Make.frame(1, 2, 2), .bufferDestroy(BufferKey(1)))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 1
            })
        #expect(harness.sources[0].session.holdings.buffers == 6)
        consumer.release(consumer.frames[0])
        #expect(try harness.turn { harness.sources[0].session.holdings.buffers == 5 })
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.forgotten == [BufferKey(1)]
            })
        #expect(producer.refusals.isEmpty)
    }

    @Test("content that is no graphics goes to a consumer, and to no window")
    func data() throws {
        var match = RuleMatch()
        match.isGraphics = false
        match.vm = Glob("a")
        let harness = try HandoverHarness(
            Self.configuration(Rule(match: match, action: Self.recorder)))
        let consumer = try harness.consumer("rec")
        for (index, name) in ["a", "b"].enumerated() {
            let producer = try harness.producer(name, surfaces: [])
            producer.send(
                .surfaceCreate(SurfaceKey(1), .toplevel, isGraphics: false, SurfaceMetadata()),
                Make.frame(1, 1, 1))
            #expect(
                try harness.turn {
                    try consumer.listen()
                    try producer.listen()
                    return index == 0 ? consumer.frames.count == 1 : producer.refusals.count == 2
                })
            #expect(producer.refusals == (index == 0 ? [] : [.notRouted, .unknownObject]))
        }
        #expect(consumer.surfaces.map(\.isGraphics) == [false])
        #expect(consumer.surfaces.map(\.metadata.originVM) == ["a"])
    }

    @Test("a VM's surface goes to who serves another VM, beside that VM's own windows")
    func toAnotherVM() throws {
        let harness = try HandoverHarness(
            Self.configuration(Self.rule(nil, vm: "a", .handTo(.vm("b")))))
        let viewer = try harness.producer("b", surfaces: [(1, "own")])
        let consumer = try TestConsumer(harness.directory + "/b.sock")
        let producer = try harness.producer("a", surfaces: [(1, "far")])
        for number in 1...10 as ClosedRange<UInt64> {
            producer.send(Make.frame(1, 1 + number % 3, number))
            viewer.send(Make.frame(1, 1 + number % 3, number))
            #expect(
                try harness.turn {
                    try consumer.listen()
                    return consumer.frames.count == Int(number)
                        && harness.status(1, "own")?.counters.presented == number
                })
            consumer.release(consumer.frames[Int(number) - 1])
        }
        #expect(consumer.welcome?.vmName == "b")
        #expect(consumer.surfaces.map(\.metadata.originVM) == ["a"])
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 10
            })
        #expect(producer.released.allSatisfy { $0.2 == .shown })
        // Which targets there are is told to each VM of its own.
        producer.send(.targetsQuery)
        viewer.send(.targetsQuery)
        #expect(
            try harness.turn {
                try producer.listen()
                try viewer.listen()
                return producer.heard.contains(.targets([.vm("b")]))
                    && viewer.heard.contains(.targets([]))
            })
    }

    @Test("routes change from window to consumer to window; no frame and no use is forgotten")
    func moved() throws {
        let handed = Self.configuration(Self.rule("*", vm: "a", Self.recorder))
        let shown = Self.configuration()
        let harness = try HandoverHarness(shown)
        let consumer = try harness.consumer("rec")
        let producer = try harness.producer("a", surfaces: [(1, "s")])
        var number: UInt64 = 0
        var released = 0
        for round in 0..<6 {
            let isHanded = round % 2 == 1
            harness.apply(isHanded ? handed : shown)
            // A frame that was there before the change may be what is seen first.
            let before = consumer.frames.count
            for _ in 0..<4 {
                number += 1
                producer.send(Make.frame(1, 1 + number % 6, number))
                let shownBefore = harness.status(0, "s")?.counters.shown ?? 0
                #expect(
                    try harness.turn {
                        try consumer.listen()
                        for frame in consumer.frames[released...] { consumer.release(frame) }
                        released = consumer.frames.count
                        return (harness.status(0, "s")?.counters.shown ?? 0) > shownBefore
                    }, "round \(round), frame \(number)")
            }
            #expect((consumer.frames.count > before) == isHanded, "round \(round)")
            #expect(harness.status(0, "s")?.visibility == (isHanded ? "handed" : "shown"))
        }
        producer.send(.surfaceDestroy(SurfaceKey(1)))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == Int(number)
            }, "\(producer.released.count) of \(number)")
        #expect(Set(producer.released.map(\.1)).count == Int(number))
        #expect(harness.sources[0].session.holdings.uses == 0)
        #expect(producer.refusals.isEmpty)
        #expect(harness.hub.status.first { $0.target == .consumer("rec") }?.surfaces == 0)
    }

    @Test("while nobody is there the newest frame waits, and after the patience none")
    func absent() throws {
        let harness = try HandoverHarness(
            Self.configuration(Self.rule(nil, vm: "a", Self.recorder)))
        harness.sources[0].session.patience = 100_000_000
        let producer = try harness.producer("a", surfaces: [(1, "s")])
        producer.send(Make.frame(1, 1, 1), Make.frame(1, 2, 2))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 2
            })
        #expect(producer.released.map(\.2) == [.superseded, .lost])
        #expect(harness.status(0, "s")?.route == "hand-to consumer rec; it is not connected")
        producer.send(Make.frame(1, 3, 3))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 3
            })
        // A consumer that comes is given what the guest is asked for.
        let consumer = try harness.consumer("rec")
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.heard.contains {
                    if case .configure(_, let told) = $0 { told.wantsFrame } else { false }
                }
            })
        producer.send(Make.frame(1, 1, 4))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        #expect(producer.refusals.isEmpty)
    }

    @Test("a target that the host does not have shows nothing and says so")
    func nobody() throws {
        let harness = try HandoverHarness(
            Self.configuration(Self.rule(nil, vm: "a", .handTo(.vm("other")))))
        let producer = try harness.producer("a", surfaces: [(1, "s")])
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 1
            })
        #expect(harness.status(0, "s")?.visibility == "hidden")
        #expect(harness.status(0, "s")?.route == "hand-to vm other; there is no such target")
    }

    @Test("a reload that drops a consumer disconnects it, and its surfaces are shown")
    func dropped() throws {
        let harness = try HandoverHarness(
            Self.configuration(Self.rule(nil, vm: "a", Self.recorder)))
        let consumer = try harness.consumer("rec")
        let producer = try harness.producer("a", surfaces: [(1, "s")])
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        harness.apply(Configuration())
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.isClosed && harness.status(0, "s")?.visibility == "shown"
            })
        producer.send(Make.frame(1, 2, 2))
        #expect(try harness.turn { (harness.status(0, "s")?.counters.presented ?? 0) >= 1 })
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.contains { $0.1 == FrameSequence(1) }
            })
    }
}
