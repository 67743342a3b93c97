import Testing

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[compositor] Wayland presenter on weston", .serialized)
struct RealCompositorTests {
    @Test("a memfd becomes a window, equal to the pixel, and its buffer comes back")
    func show() throws {
        let compositor = try TestCompositor()
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
        #expect(try live.until { live.released(.shown).count == 19 })
        #expect(live.released(.shown) == Array(1...19))
        #expect(live.presented == Array(1...20))
        #expect(live.refused.isEmpty)
        let graph = try compositor.sceneGraph()
        #expect(graph.contains("[alpha] Notes"))
        #expect(graph.contains("vm-bridge.alpha.test.app"))
        live.session.shutDown()
    }
}
