import Logging
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[pure] Wayland presenter: nothing lies until the next event") struct PromptnessTests {
    @Test func whatIsAskedOutsideABatchIsSentBeforeTheLoopWaits() throws {
        let compositor = FakeCompositor(globals: FakeSession.usual)
        let loop = try EventLoop()
        let presenter = try WaylandPresenter(
            vmName: "prompt", loop: loop, logger: Logger(label: "test")
        ) { () throws(WaylandConnectError) in
            try WaylandConnection.connect(to: compositor.takeClientEnd())
        }
        defer { presenter.shutDown() }
        // Nobody settles here: the loop's own hooks have to see to it.
        func turn() throws -> [String] {
            compositor.forgetRequests()
            _ = try loop.runOnce(milliseconds: 0)
            _ = compositor.receive()
            return compositor.requests.map(\.name)
        }
        #expect(try turn() == ["get_registry", "sync"])
        for _ in 0..<20 where !presenter.isReady { _ = try turn() }
        try #require(presenter.isReady)
        // As when a producer's connection ends after its batch was settled.
        presenter.createWindow(surface(1), plainWindow)
        #expect(try turn().first == "create_surface")
        presenter.destroyWindow(surface(1))
        #expect(try turn().contains("destroy"))
        #expect(try turn() == [])
    }
}
