import Testing
import Wayland

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[compositor] Wayland presenter on weston", .serialized)
struct RealCompositorTests {
    @Test("a memfd becomes a window, equal to the pixel, and its buffer comes back")
    func show() async {
        await #expect(processExitsWith: .success) {
            let compositor = try TestCompositor()
            try withoutLeaks { try RealCompositorTests().show(compositor) }
        }
    }

    private func show(_ compositor: TestCompositor) throws {
        let live = try LiveSession(display: compositor.display)
        #expect(try live.until { live.presenter.isReady })
        let pictures = [noise(120, 80, seed: 1), noise(120, 80, seed: 2)]
        live.makeSurface(title: "Notes")
        let buffers = [try live.makeBuffer(pictures[0]), try live.makeBuffer(pictures[1])]
        for sequence in 1...20 as ClosedRange<UInt64> {
            live.show(buffers[Int(sequence % 2)], sequence)
            #expect(try live.until { live.presented.contains(sequence) })
        }
        #expect(try compositor.screenshot().find(pictures[0]) != nil)
        #expect(try live.until { live.released(.shown).count >= 19 })
        #expect(Array(live.released(.shown).prefix(19)) == Array(1...19))
        #expect(live.presented == Array(1...20))
        #expect(live.refused.isEmpty)
        let graph = try compositor.sceneGraph()
        #expect(graph.contains("[alpha] Notes"))
        #expect(graph.contains("vm-bridge.alpha.test.app"))
        live.session.shutDown()
    }

    @Test("the compositor at the other end of a socket is known by name")
    func identity() throws {
        let compositor = try TestCompositor()
        let connection = try WaylandConnection.connect(name: compositor.display)
        let identity = try #require(CompositorIdentity(peerOf: connection.fileDescriptor))
        #expect(identity.isCalled("weston") && !identity.isCalled("sway"))
        #expect(identity.command == "weston" && identity.process == compositor.processNumber)
    }

    @Test("a compositor that is killed and started again gets window and picture anew")
    func restart() throws {
        let compositor = try TestCompositor()
        let live = try LiveSession(display: compositor.display)
        #expect(try live.until { live.presenter.isReady })
        let picture = noise(100, 60)
        live.makeSurface()
        let buffer = try live.makeBuffer(picture)
        live.show(buffer, 1)
        #expect(try live.until { live.presented == [1] })
        compositor.kill()
        #expect(try live.until { !live.presenter.isReady })
        try live.turn()
        #expect(live.presenter.formats.isEmpty)
        try compositor.start()
        #expect(try live.until { live.presenter.isReady })
        // The guest sends nothing: its last frame was held and is shown again.
        #expect(try live.until { live.presented == [1, 1] })
        #expect(live.released(.lost).isEmpty)
        #expect(try compositor.screenshot().find(picture) != nil)
        live.session.shutDown()
    }

    @Test("a compositor that comes later is found")
    func later() throws {
        let compositor = try TestCompositor()
        compositor.kill()
        let live = try LiveSession(display: compositor.display)
        #expect(live.presenter.phase == .backOff)
        let picture = noise(64, 48)
        live.makeSurface()
        live.show(try live.makeBuffer(picture), 1)
        try compositor.start()
        #expect(try live.until { live.presented == [1] })
        #expect(try compositor.screenshot().find(picture) != nil)
        live.session.shutDown()
    }

    @Test("a window destroyed while shown gives its buffers back once and leaves the others alone")
    func destroyWhileShown() throws {
        let compositor = try TestCompositor()
        let live = try LiveSession(display: compositor.display)
        #expect(try live.until { live.presenter.isReady })
        let pictures = [noise(64, 48, seed: 1), noise(64, 48, seed: 2)]
        let surfaces = [live.makeSurface(1), live.makeSurface(2)]
        let buffers = [try live.makeBuffer(pictures[0]), try live.makeBuffer(pictures[1])]
        live.show(buffers[0], on: surfaces[0], 1)
        live.show(buffers[1], on: surfaces[1], 2)
        #expect(try live.until { Set(live.presented) == [1, 2] })
        live.send(.bufferDestroy(buffers[0]), type: RecordType.bufferDestroy, object: 1)
        live.send(.surfaceDestroy(surfaces[0]), type: RecordType.surfaceDestroy, object: 1)
        #expect(try live.until { live.session.holdings.buffers == 1 })
        #expect(live.released(.shown).filter { $0 == 1 } == [1])
        // The compositor confirms the end before it repaints.
        var shot = try compositor.screenshot()
        for _ in 0..<50 where shot.find(pictures[0]) != nil { shot = try compositor.screenshot() }
        #expect(shot.find(pictures[0]) == nil)
        #expect(shot.find(pictures[1]) != nil)
        live.show(buffers[1], on: surfaces[1], 3)
        #expect(try live.until { live.presented.contains(3) })
        live.session.shutDown()
    }

    @Test("crop, transform, scale and upside-down rows show what they say", arguments: 0..<8)
    func geometry(_ number: UInt32) throws {
        let compositor = try TestCompositor()
        let live = try LiveSession(display: compositor.display)
        #expect(try live.until { live.presenter.isReady })
        let transform = try #require(Transform(rawValue: number))
        let inverse = try #require(PictureTransform(rawValue: number)).inverse
        let picture = noise(90, 60)
        live.makeSurface()
        // One colour, since compositors filter what they scale: its extent is what counts. First, since
        // weston places a window by its first size, and the others must not reach off the screen.
        let plain = Picture(width: 30, height: 20, fill: Colour(250, 20, 30))
        live.show(try live.makeBuffer(plain), 1) {
            $0.transform = transform
            $0.destination = Size(width: 130, height: 120)
        }
        #expect(try live.until { live.presented.contains(1) })
        let shot = try compositor.screenshot()
        let scaled = Picture(width: 130, height: 120, fill: Colour(250, 20, 30))
        #expect(shot.places(of: scaled, limit: 2).count == 1)
        let upright = try live.makeBuffer(picture)
        let upsideDown = try live.makeBuffer(picture, isBottomUp: true)
        // Crops count in the picture, whatever the order of its rows in memory.
        let part = picture.cropped(to: PixelRect(x: 10, y: 20, width: 40, height: 32))
        live.show(upright, 2) {
            $0.transform = transform
            $0.crop = Rectangle(x: 10, y: 20, width: 40, height: 32)
        }
        #expect(try live.until { live.presented.contains(2) })
        #expect(try compositor.screenshot().find(part.transformed(inverse)) != nil)
        live.show(upsideDown, 3) { $0.transform = transform }
        #expect(try live.until { live.presented.contains(3) })
        #expect(try compositor.screenshot().find(picture.transformed(inverse)) != nil)
        live.show(upsideDown, 4) {
            $0.transform = transform
            $0.crop = Rectangle(x: 10, y: 20, width: 40, height: 32)
        }
        #expect(try live.until { live.presented.contains(4) })
        #expect(try compositor.screenshot().find(part.transformed(inverse)) != nil)
        #expect(live.refused.isEmpty)
        live.session.shutDown()
    }

    @Test("a protocol error on one VM's connection costs that VM's windows and nobody else's")
    func protocolError() throws {
        let compositor = try TestCompositor()
        let good = try LiveSession("good", display: compositor.display)
        let bad = try LiveSession("bad", display: compositor.display, loop: good.loop)
        func until(_ condition: () -> Bool) throws -> Bool {
            try good.until {
                bad.settle()
                return condition()
            }
        }
        #expect(try until { good.presenter.isReady && bad.presenter.isReady })
        for live in [good, bad] {
            live.makeSurface(title: live.session.name)
            live.show(try live.makeBuffer(noise(50, 40)), 1)
        }
        #expect(try until { good.presented == [1] && bad.presented == [1] })
        bad.presenter.provokeProtocolError()
        #expect(try until { !bad.presenter.isReady })
        #expect(good.presenter.isReady)
        let buffer = try good.makeBuffer(noise(50, 40, seed: 9))
        good.show(buffer, 2)
        #expect(try until { good.presented == [1, 2] })
        // And the bad one's window returns.
        #expect(try until { bad.presenter.isReady })
        let again = try bad.makeBuffer(noise(50, 40, seed: 3))
        bad.show(again, 2)
        #expect(try until { bad.presented.contains(2) })
        good.session.shutDown()
        bad.session.shutDown()
    }
}
