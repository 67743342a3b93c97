import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// A VM behind its socket, on a virtual output with a person in front of it.
final class SeatedScene {
    let loop: EventLoop
    let presenter: SeatedPresenter
    let session: VMSession<SeatedPresenter>
    let source: SocketSource<SeatedPresenter>
    let producer: TestProducer
    private let directory: String
    private var memory: [Int32] = []

    init(wantsInput: Bool = true, _ prepare: (SeatedPresenter) throws -> Void = { _ in }) throws {
        loop = try EventLoop()
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        presenter = SeatedPresenter(vmName: "vm", loop: loop, logger: logger)
        try prepare(presenter)
        session = VMSession(
            name: "vm", limits: VMLimits(), presenter: presenter, loop: loop,
            probe: try DescriptorProbe(), logger: logger)
        source = try SocketSource(
            path: directory + "/vm.sock", session: session, reaper: try DescriptorReaper())
        producer = try TestProducer(directory + "/vm.sock")
        producer.send(.hello(producer: "test", wantsInput: wantsInput))
        try turn(4)
    }

    deinit {
        source.shutDown()
        TemporaryDirectory.remove(directory)
        memory.forEach { close($0) }
    }

    /// A buffer with memory of its own.
    func buffer(_ key: UInt64, _ size: Size = Make.size) throws {
        let file = try Make.memfd(size).release()
        memory.append(file)
        producer.send(.bufferCreate(BufferKey(key), Make.layout(size)), descriptors: [file])
    }

    /// A window, and its name on this side.
    func window(_ key: UInt64) throws -> SurfaceID {
        producer.send(Make.surface(key))
        let known = presenter.windows.count
        #expect(try turn { self.presenter.windows.count > known })
        return try #require(presenter.window)
    }

    func turn(_ count: Int) throws {
        for _ in 0..<count {
            try loop.runOnce(milliseconds: 0)
            source.settle()
        }
    }

    func turn(until condition: () throws -> Bool) throws -> Bool {
        let end = loop.now() + 30_000_000_000
        while try !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
            source.settle()
        }
        return true
    }

    /// What the producer heard of input since the last time, all of it.
    func heard(_ key: UInt64 = 1) throws -> [InputEvent] {
        try turn(4)
        try producer.listen()
        defer { producer.forget() }
        return producer.heard.compactMap {
            if case .input(SurfaceKey(key), let input) = $0 { input.event } else { nil }
        }
    }

    /// What status says of a surface.
    func status(_ key: UInt64) -> SurfaceStatus? {
        session.status.last { $0.surface == SurfaceKey(key) }
    }
}

@Suite("[kernel] input from a seat to a producer")
struct InputTests {
    private static let place = InputPoint(x: 2560, y: 1280)
    private static let pressing: [InputEvent] = [
        .keyboardEnter, .key(30, isPressed: true), .pointerEnter(place),
        .button(0x110, isPressed: true), .frame,
    ]
    private static let releases: [InputEvent] = [
        .button(0x110, isPressed: false), .pointerLeave, .frame, .key(30, isPressed: false),
        .keyboardLeave,
    ]

    /// A scene in which a key and a button are held on surface 1.
    private func pressed() throws -> (SeatedScene, SurfaceID) {
        let scene = try SeatedScene()
        let window = try scene.window(1)
        for event in Self.pressing { scene.presenter.happens(window, event) }
        #expect(try scene.heard() == Self.pressing)
        return (scene, window)
    }

    @Test("events arrive in order, with their time, and a lost focus releases what is held")
    func focus() throws {
        let (scene, window) = try pressed()
        scene.presenter.happens(window, .pointerMotion(Self.place), .frame, time: 9_000_000)
        try scene.turn(4)
        try scene.producer.listen()
        #expect(
            scene.producer.heard.contains(
                .input(
                    SurfaceKey(1), InputRecord(.pointerMotion(Self.place), time: 9_000_000))))
        scene.producer.forget()
        scene.presenter.happens(window, .pointerLeave, .frame, .keyboardLeave)
        #expect(try scene.heard() == Self.releases)
        // Without focus nothing is told.
        scene.presenter.happens(
            window, .key(31, isPressed: true), .button(0x111, isPressed: true), .frame)
        #expect(try scene.heard() == [])
    }

    @Test("focus goes from one surface to another by a leave and an enter")
    func twoSurfaces() throws {
        let scene = try SeatedScene()
        let first = try scene.window(1)
        let second = try scene.window(2)
        scene.presenter.happens(first, .keyboardEnter, .key(30, isPressed: true), .keyboardLeave)
        scene.presenter.happens(second, .keyboardEnter, .key(31, isPressed: true))
        try scene.turn(4)
        try scene.producer.listen()
        let told = scene.producer.heard.compactMap { record -> (UInt64, InputEvent)? in
            if case .input(let key, let input) = record { (key.value, input.event) } else { nil }
        }
        #expect(told.map(\.0) == [1, 1, 1, 1, 2, 2])
        #expect(
            told.map(\.1) == [
                .keyboardEnter, .key(30, isPressed: true), .key(30, isPressed: false),
                .keyboardLeave, .keyboardEnter, .key(31, isPressed: true),
            ])
    }

    @Test("the producer's own destroy releases what is held; its window's last words go nowhere")
    func destroyed() throws {
        let (scene, window) = try pressed()
        scene.producer.send(.surfaceDestroy(SurfaceKey(1)))
        #expect(try scene.heard() == Self.releases)
        scene.presenter.happens(window, .keyboardEnter, .key(30, isPressed: true))
        #expect(try scene.heard() == [])
    }

    @Test("hiding a surface releases what is held, and while hidden it gets nothing")
    func concealed() throws {
        let (scene, window) = try pressed()
        #expect(scene.session.fulfil(.hide, of: SurfaceKey(1)) == 1)
        #expect(try scene.heard() == Self.releases)
        scene.presenter.happens(window, .keyboardEnter, .key(30, isPressed: true))
        #expect(try scene.heard() == [])
        #expect(scene.session.fulfil(.show, of: SurfaceKey(1)) == 1)
        #expect(try scene.turn { scene.presenter.window == window })
        scene.presenter.happens(window, .keyboardEnter, .key(30, isPressed: true))
        #expect(try scene.heard() == [.keyboardEnter, .key(30, isPressed: true)])
    }

    @Test("a compositor that is lost takes the focus with it")
    func lost() throws {
        let (scene, _) = try pressed()
        scene.presenter.lose()
        #expect(try scene.heard() == Self.releases)
    }

    @Test("who did not ask is told nothing, neither input nor keymap")
    func unwanted() throws {
        let scene = try SeatedScene(wantsInput: false)
        let window = try scene.window(1)
        for event in Self.pressing { scene.presenter.happens(window, event) }
        scene.presenter.changeKeymap(KeymapRecord(size: 0, repeatRate: 1, repeatDelay: 1))
        try scene.turn(4)
        try scene.producer.listen()
        #expect(
            !scene.producer.heard.contains {
                switch $0 {
                case .input, .keymap: true
                default: false
                }
            })
        // A source that finds later that its guest has devices tells what the focus is then.
        scene.producer.forget()
        scene.session.wantsInput = true
        try scene.turn(4)
        try scene.producer.listen()
        guard case .keymap? = scene.producer.heard.first else {
            Issue.record("no keymap: \(scene.producer.heard)")
            return
        }
        #expect(
            try scene.heard() == [.keyboardEnter, .pointerEnter(Self.place), .frame])
    }

    @Test("a producer that leaves takes its state along: the next one begins without focus")
    func vanished() throws {
        let (scene, _) = try pressed()
        scene.producer.close()
        #expect(try scene.turn { !scene.source.isConnected })
        #expect(!scene.session.wantsInput)
        try scene.turn(4)
        #expect(scene.session.holdings == (0, 0, 0, 0))
    }

    @Test("the keymap comes behind the welcome and when it changes, and its descriptor is closed")
    func keymaps() throws {
        let text = "xkb_keymap { };\0"
        let scene = try SeatedScene { presenter in
            presenter.keymapMemory = try MemoryFile.create(size: UInt64(text.utf8.count))
            var mapped = try MappedMemory(
                presenter.keymapMemory.number, count: text.utf8.count, access: .readWrite)
            mapped.withUnsafeMutableBytes { $0.copyBytes(from: Array(text.utf8)) }
            presenter.keymap = KeymapRecord(
                size: UInt32(text.utf8.count), repeatRate: 25, repeatDelay: 600)
        }
        func next() throws -> KeymapRecord? {
            try scene.turn(4)
            try scene.producer.listen()
            defer { scene.producer.forget() }
            return scene.producer.heard.compactMap {
                if case .keymap(let keymap) = $0 { keymap } else { nil }
            }.last
        }
        let first = try #require(try next())
        #expect(first == KeymapRecord(size: 16, repeatRate: 25, repeatDelay: 600))
        let mapped = try MappedMemory(
            scene.producer.keymapDescriptor.number, count: Int(first.size))
        let read = mapped.withUnsafeBytes { Array($0) }
        #expect(read == Array(text.utf8))
        // Sent is closed: nothing waits on this side.
        #expect(
            scene.session.feedbackDescriptors.count == 0 && scene.source.descriptors.queued == 0)
        // None is there any more; then one that no guest is given.
        scene.presenter.changeKeymap(nil)
        #expect(try next() == KeymapRecord(size: 0))
        scene.presenter.changeKeymap(KeymapRecord(size: 1 << 20 + 1, repeatRate: 3, repeatDelay: 4))
        #expect(try next() == KeymapRecord(size: 0, repeatRate: 3, repeatDelay: 4))
        #expect(scene.source.descriptors.queued == 0)
    }

    @Test(
        "a flood of input to a producer that does not read stays bounded, and leaves nothing pressed"
    )
    func flood() throws {
        let (scene, window) = try pressed()
        let last = InputPoint(x: -77, y: 123_456)
        for round in 0..<2_000 {
            for step in 0..<100 {
                let place = InputPoint(x: Int32(round), y: Int32(step))
                scene.presenter.happens(window, .pointerMotion(place), .frame)
            }
            if round == 1_000 {
                // Changes of the keymap do not pile up either.
                for rate: UInt32 in 1...500 {
                    scene.presenter.changeKeymap(
                        KeymapRecord(size: 0, repeatRate: rate, repeatDelay: 1))
                }
            }
            scene.source.settle()
        }
        #expect(scene.session.isInputHeld)
        scene.presenter.happens(
            window, .key(31, isPressed: true), .key(30, isPressed: false),
            .pointerMotion(last), .frame)
        scene.source.settle()
        // It begins to read.
        var told: [InputEvent] = []
        var keymaps: [KeymapRecord] = []
        #expect(
            try scene.turn {
                try scene.producer.listen()
                for record in scene.producer.heard {
                    if case .input(_, let input) = record { told.append(input.event) }
                    if case .keymap(let keymap) = record { keymaps.append(keymap) }
                }
                scene.producer.forget()
                return told.contains(.pointerEnter(last))
            })
        // 400000 events were made; what the kernel and 32 KiB hold is a small part of them.
        #expect(told.count > 500 && told.count < 40_000, "\(told.count) events")
        #expect(!scene.session.isInputHeld)
        #expect(keymaps == [KeymapRecord(size: 0, repeatRate: 500, repeatDelay: 1)])
        let moves = told.drop { $0 != Self.releases[0] }
        #expect(
            Array(moves) == Self.releases + [.keyboardEnter, .pointerEnter(last), .frame])
        // And goes on as before.
        scene.presenter.happens(window, .key(31, isPressed: false), .key(32, isPressed: true))
        #expect(try scene.heard() == [.key(32, isPressed: true)])
    }
}
