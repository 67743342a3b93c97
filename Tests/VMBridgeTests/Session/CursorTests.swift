import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] cursors of a session, headless")
struct CursorTests {
    private func cursor(
        _ key: UInt64, on parent: UInt64?, at spot: HotSpot? = nil
    ) -> ProducerRecord {
        var metadata = SurfaceMetadata()
        metadata.parent = parent.map { SurfaceKey($0) }
        metadata.hotSpot = spot
        return .surfaceCreate(SurfaceKey(key), .cursor, isGraphics: true, metadata)
    }

    private func update(_ key: UInt64, on parent: UInt64) -> ProducerRecord {
        var metadata = SurfaceMetadata()
        metadata.parent = SurfaceKey(parent)
        return .surfaceUpdate(SurfaceKey(key), metadata)
    }

    /// A window, 1, with a cursor, 2.
    private func pair() throws -> (SeatedScene, toplevel: SurfaceID, cursor: SurfaceID) {
        let scene = try SeatedScene()
        let window = try scene.window(1)
        scene.producer.send(cursor(2, on: 1, at: HotSpot(x: 4, y: 3)))
        #expect(try scene.turn { scene.presenter.windows.count == 2 })
        let image = try #require(scene.presenter.window)
        return (scene, window, image)
    }

    private func refusals(_ scene: SeatedScene) throws -> [RefusalReason] {
        try scene.turn(4)
        try scene.producer.listen()
        defer { scene.producer.forget() }
        return scene.producer.refusals
    }

    @Test("the presenter is told whose it is and its hot spot, and an update moves that")
    func shown() throws {
        let (scene, window, image) = try pair()
        #expect(
            scene.presenter.properties[image]?.cursor
                == CursorProperties(parent: window, hotSpot: HotSpot(x: 4, y: 3)))
        #expect(scene.presenter.properties[window]?.cursor == nil)
        var metadata = SurfaceMetadata()
        metadata.hotSpot = HotSpot(x: 30, y: 0)
        scene.producer.send(.surfaceUpdate(SurfaceKey(2), metadata))
        #expect(
            try scene.turn {
                scene.presenter.properties[image]?.cursor?.hotSpot == HotSpot(x: 30, y: 0)
            })
        try scene.buffer(1, Size(width: 32, height: 32))
        scene.producer.send(Make.frame(2, 1, 1))
        #expect(try scene.turn { scene.status(2)?.counters.shown == 1 })
        #expect(scene.status(2)?.route == "cursor of surface 1")
        #expect(scene.status(1)?.route == "show")
        #expect(try refusals(scene) == [])
    }

    @Test("a frame that is too large is refused and given back, and the cursor goes on")
    func tooLarge() throws {
        let (scene, _, _) = try pair()
        try scene.buffer(1, Size(width: 300, height: 32))
        scene.producer.send(Make.frame(2, 1, 1))
        #expect(
            try scene.turn {
                try scene.producer.listen()
                return scene.producer.released.count == 1
            })
        #expect(scene.producer.refusals == [.badValue])
        #expect(scene.producer.released.first?.2 == .refused)
        var frame = FrameRecord(
            surface: SurfaceKey(2), buffer: BufferKey(1), sequence: FrameSequence(2))
        frame.destination = Size(width: 150, height: 16)
        scene.producer.send(.frame(frame))
        #expect(try scene.turn { scene.status(2)?.counters.shown == 1 })
    }

    @Test("what cannot be a cursor: without a parent, of none, of a cursor, a second one")
    func refused() throws {
        let (scene, _, _) = try pair()
        scene.producer.send(cursor(3, on: nil), cursor(4, on: 9), cursor(5, on: 2))
        #expect(
            try refusals(scene) == [.unknownObject, .unknownObject, .unknownObject])
        scene.producer.send(cursor(6, on: 1), cursor(7, on: 7), cursor(8, on: 0))
        #expect(try refusals(scene) == [.badValue, .unknownObject, .unknownObject])
        #expect(scene.session.mappedSurfaces == 2)
        // Updates are held to the same, and change nothing when they are refused.
        _ = try scene.window(10)
        scene.producer.send(cursor(11, on: 10), update(11, on: 1), update(11, on: 2))
        #expect(try refusals(scene) == [.badValue, .unknownObject])
        #expect(scene.status(11)?.route == "cursor of surface 10")
        // Its own parent again is no fault, and a free one takes it.
        scene.producer.send(update(11, on: 10), .surfaceDestroy(SurfaceKey(2)), update(11, on: 1))
        #expect(try refusals(scene) == [])
        #expect(scene.status(11)?.route == "cursor of surface 1")
    }

    @Test("a parent that is destroyed first leaves a cursor that nobody sees, until it has another")
    func orphan() throws {
        let (scene, _, image) = try pair()
        try scene.buffer(1, Size(width: 32, height: 32))
        scene.producer.send(Make.frame(2, 1, 1))
        #expect(try scene.turn { scene.status(2)?.counters.shown == 1 })
        scene.producer.send(.surfaceDestroy(SurfaceKey(1)))
        #expect(
            try scene.turn {
                try scene.producer.listen()
                return scene.producer.released.count == 1
            })
        #expect(!scene.presenter.windows.contains(image))
        #expect(scene.status(2)?.visibility == "hidden")
        #expect(scene.status(2)?.route == "cursor of no surface")
        // Frames go on ending, and a new window of that key is another one.
        _ = try scene.window(1)
        scene.producer.send(Make.frame(2, 1, 2))
        #expect(
            try scene.turn {
                try scene.producer.listen()
                return scene.producer.released.count == 2
            })
        #expect(scene.producer.released.last?.2 == .superseded)
        #expect(scene.status(2)?.visibility == "hidden")
        scene.producer.send(update(2, on: 1))
        #expect(try scene.turn { scene.status(2)?.visibility == "shown" })
        scene.producer.send(Make.frame(2, 1, 3))
        #expect(try scene.turn { scene.status(2)?.counters.shown == 2 })
        #expect(try refusals(scene) == [])
    }

    @Test("a cursor goes where its parent goes, and a person's wishes are about windows")
    func follows() throws {
        let (scene, _, image) = try pair()
        #expect(scene.session.fulfil(.hide, of: SurfaceKey(2)) == 0)
        #expect(scene.session.fulfil(.hide, of: nil) == 1)
        #expect(scene.status(1)?.visibility == "hidden" && scene.status(2)?.visibility == "hidden")
        #expect(!scene.presenter.windows.contains(image))
        #expect(scene.session.fulfil(.show, of: SurfaceKey(1)) == 1)
        #expect(scene.status(1)?.visibility == "shown" && scene.status(2)?.visibility == "shown")
        var configuration = Configuration()
        configuration.rules = [Rule(action: .handTo(.consumer("nobody")))]
        scene.session.apply(Router(vmName: "vm", configuration: configuration))
        #expect(scene.status(2)?.visibility == "hidden")
        scene.session.apply(Router(vmName: "vm"))
        #expect(scene.status(2)?.visibility == "shown")
    }

    @Test("no input comes for a cursor")
    func withoutInput() throws {
        let (scene, _, image) = try pair()
        scene.presenter.happens(image, .keyboardEnter, .key(30, isPressed: true))
        #expect(try scene.heard(2) == [])
    }
}
