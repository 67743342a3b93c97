import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] routes and wishes act on live surfaces, headless")
struct RouteTests {
    /// A session with a producer that has two buffers.
    private final class Scene {
        let harness: SessionHarness
        let producer: TestProducer
        private let memory: [Int32]
        private var sequence: UInt64 = 0

        init(_ rules: [Rule] = []) throws {
            harness = try SessionHarness()
            producer = try TestProducer(harness.path)
            memory = [try Make.memfd().release(), try Make.memfd().release()]
            producer.send(.hello(producer: "test"))
            for (index, number) in memory.enumerated() {
                producer.send(
                    .bufferCreate(BufferKey(UInt64(index + 1)), Make.layout()),
                    descriptors: [number])
            }
            try harness.turn(4)
            reload(rules)
        }

        deinit { memory.forEach { close($0) } }

        func reload(_ rules: [Rule]) {
            var configuration = Configuration()
            configuration.rules = rules
            harness.session.apply(Router(vmName: "vm", configuration: configuration))
        }

        /// Sends the next frame, by one buffer and the other.
        func frame(_ surface: UInt64 = 1, _ change: (inout FrameRecord) -> Void = { _ in }) {
            sequence += 1
            var record = FrameRecord(
                surface: SurfaceKey(surface), buffer: BufferKey(1 + sequence % 2),
                sequence: FrameSequence(sequence))
            change(&record)
            producer.send(.frame(record))
        }

        /// Lets both sides talk until the condition holds.
        func until(_ condition: () throws -> Bool) throws -> Bool {
            try harness.turn {
                try producer.listen()
                return try condition()
            }
        }

        var status: SurfaceStatus? { harness.session.status.last }
        var discarded: Int {
            producer.heard.count { if case .discarded = $0 { true } else { false } }
        }
        var isAskedForFrame: Bool {
            producer.heard.contains {
                if case .configure(_, let configure) = $0 { configure.wantsFrame } else { false }
            }
        }
    }

    private func hide(title: String) -> Rule {
        var match = RuleMatch()
        match.title = Glob(title)
        return Rule(match: match, action: .hide)
    }

    @Test("a hidden surface's guest goes on; when rules show it, it is asked for a frame")
    func hideAndShow() throws {
        let scene = try Scene([hide(title: "secret")])
        scene.producer.send(Make.surface(1, title: "secret"))
        for number in 1...3 {
            scene.frame()
            #expect(try scene.until { scene.producer.released.count == number })
        }
        #expect(scene.producer.released.allSatisfy { $0.2 == .superseded })
        #expect(scene.discarded == 3 && scene.producer.refusals.isEmpty)
        #expect(scene.status?.counters.shown == 0)
        #expect(scene.status?.visibility == "hidden" && scene.status?.route == "hide")
        scene.reload([])
        #expect(try scene.until { scene.isAskedForFrame })
        #expect(scene.status?.visibility == "shown" && scene.status?.route == "show")
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        // And away again: what the window held comes back as shown.
        scene.reload([hide(title: "*")])
        #expect(try scene.until { scene.producer.released.last?.2 == .shown })
        #expect(scene.harness.session.holdings.uses == 0)
    }

    @Test("a surface's own new title may hide it, and the next one show it again")
    func update() throws {
        let scene = try Scene([hide(title: "*secret*")])
        scene.producer.send(Make.surface(1))
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        var metadata = SurfaceMetadata()
        metadata.title = "a secret one"
        scene.producer.send(.surfaceUpdate(SurfaceKey(1), metadata))
        #expect(try scene.until { scene.status?.visibility == "hidden" })
        #expect(scene.status?.title == "[vm] a secret one")
        metadata.title = "no more"
        scene.producer.send(.surfaceUpdate(SurfaceKey(1), metadata))
        #expect(try scene.until { scene.status?.visibility == "shown" })
    }

    @Test("an existing surface that a rule refuses is hidden, and its guest is told once")
    func refused() throws {
        let scene = try Scene()
        scene.producer.send(Make.surface(1))
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        let rule = Rule(action: .refuse("Not on this host."))
        scene.reload([rule])
        scene.reload([rule])
        #expect(try scene.until { !scene.producer.refusals.isEmpty })
        try scene.harness.turn(5)
        try scene.producer.listen()
        #expect(scene.producer.refusals == [.notRouted])
        #expect(scene.status?.visibility == "hidden")
        #expect(scene.status?.route == "refuse: Not on this host.")
        // A new one is refused outright.
        scene.producer.send(Make.surface(2))
        #expect(try scene.until { scene.producer.refusals.count == 2 })
        #expect(scene.harness.session.mappedSurfaces == 1)
        scene.reload([])
        #expect(try scene.until { scene.isAskedForFrame })
    }

    @Test("a rule about sizes acts on the frame that first has the size, and nobody sees that one")
    func shape() throws {
        var match = RuleMatch()
        match.size = SizeCondition(width: 64...64, height: 1...100)
        let scene = try Scene([Rule(match: match, action: .hide)])
        scene.producer.send(Make.surface(1))
        #expect(try scene.until { scene.status?.visibility == "shown" })
        scene.frame()
        #expect(try scene.until { scene.producer.released.count == 1 })
        #expect(scene.status?.visibility == "hidden" && scene.status?.counters.shown == 0)
        var turned = RuleMatch()
        turned.transform = .flippedVertically
        scene.reload([])
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        // Nobody looked at that frame when it came.
        scene.reload([Rule(match: match, action: .hide)])
        #expect(scene.status?.visibility == "hidden")
        scene.reload([Rule(match: turned, action: .hide)])
        #expect(scene.status?.visibility == "shown")
        scene.frame { $0.transform = .flippedVertically }
        #expect(try scene.until { scene.status?.visibility == "hidden" })
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 2 })
    }

    @Test("a person's wish stands above the rules and a reload, until it is taken back")
    func wishes() throws {
        let scene = try Scene()
        let session = scene.harness.session
        scene.producer.send(Make.surface(1))
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        #expect(session.fulfil(.hide, of: SurfaceKey(9)) == 0)
        #expect(session.fulfil(.hide, of: SurfaceKey(1)) == 1)
        #expect(scene.status?.visibility == "hidden")
        #expect(scene.status?.route == "hide, as a person wished")
        scene.reload([Rule(action: .show(ShowProperties()))])
        #expect(scene.status?.visibility == "hidden")
        #expect(session.fulfil(.show, of: nil) == 1 && scene.status?.visibility == "shown")
        #expect(scene.status?.route == "show")
        // What rules hide is shown by a wish alone.
        scene.reload([Rule(action: .hide)])
        #expect(scene.status?.visibility == "hidden")
        _ = session.fulfil(.show, of: nil)
        #expect(scene.status?.route == "show, as a person wished")
        _ = session.fulfil(.move(.refuse(nil)), of: nil)
        #expect(scene.status?.visibility == "hidden")
        #expect(try scene.until { scene.producer.refusals == [.notRouted] })
        _ = session.fulfil(.close, of: SurfaceKey(1))
        #expect(try scene.until { scene.producer.heard.contains(.close(SurfaceKey(1))) })
    }

    @Test("a frozen window keeps its frame, later ones end at the beat, and a thaw asks for one")
    func freeze() throws {
        let scene = try Scene()
        scene.producer.send(Make.surface(1))
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        _ = scene.harness.session.fulfil(.freeze, of: nil)
        #expect(scene.status?.visibility == "frozen")
        scene.frame()
        #expect(try scene.until { scene.discarded == 1 })
        #expect(scene.status?.counters.shown == 1 && scene.status?.counters.superseded == 1)
        _ = scene.harness.session.fulfil(.thaw, of: nil)
        #expect(try scene.until { scene.isAskedForFrame })
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 2 })
    }

    @Test("rules with the guest's window live: title, app id and limits of another configuration")
    func properties() throws {
        let scene = try Scene()
        scene.producer.send(Make.surface(1, title: "mail"))
        scene.frame()
        #expect(try scene.until { scene.status?.counters.presented == 1 })
        var properties = ShowProperties()
        properties.title = TextTemplate(pieces: [.text("~ "), .place(.title)])
        properties.mode = .fullscreen(.anywhere)
        scene.reload([Rule(action: .show(properties))])
        #expect(scene.status?.title == "~ mail" && scene.status?.route == "show, fullscreen")
        #expect(scene.status?.counters.shown == 1)
        var limits = VMLimits()
        limits.surfaces = 1
        limits.baseRate = 20
        scene.harness.source.apply(limits, fences: .auto)
        scene.producer.send(Make.surface(2))
        #expect(try scene.until { scene.producer.refusals == [.tooManySurfaces] })
    }

    @Test("while a guest floods, a wish is fulfilled in the turn in which it is made")
    func flood() throws {
        let scene = try Scene()
        scene.producer.send(Make.surface(1))
        for _ in 0..<300 { scene.frame() }
        try scene.harness.turn(2)
        #expect(scene.harness.session.fulfil(.close, of: nil) == 1)
        #expect(scene.harness.session.fulfil(.hide, of: nil) == 1)
        try scene.harness.turn()
        try scene.producer.listen()
        #expect(scene.producer.heard.contains(.close(SurfaceKey(1))))
        #expect(scene.status?.visibility == "hidden")
    }
}
