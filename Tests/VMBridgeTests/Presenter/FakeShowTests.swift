import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] how windows are shown, on a fake compositor", .serialized)
struct FakeShowTests {
    private static let globals =
        FakeSession.usual + [
            ("wl_output", 4), ("wl_output", 4), ("xdg_toplevel_tag_manager_v1", 1),
        ]

    /// A session whose surface "1" has shown a frame.
    private func scene(_ show: ShowProperties? = nil, named: Bool = true) throws -> FakeSession {
        let fake = try FakeSession(Self.globals)
        if named { try name(fake, "DP-1", "HDMI-A-1") }
        if let show { reload(fake, show) }
        fake.live.makeSurface()
        fake.live.show(try fake.live.makeBuffer(noise(8, 6)), 1)
        try fake.settle()
        #expect(fake.compositor.complaints.isEmpty)
        return fake
    }

    private func name(_ fake: FakeSession, _ names: String...) throws {
        for (output, name) in zip(fake.compositor.objects(of: "wl_output"), names) {
            fake.compositor.send(output, "name", .string(name))
        }
        try fake.settle()
    }

    private func reload(_ fake: FakeSession, _ show: ShowProperties?) {
        var configuration = Configuration()
        configuration.rules = [Rule(action: show.map { .show($0) } ?? .hide)]
        fake.live.session.apply(Router(vmName: "fake", configuration: configuration))
    }

    private func show(_ change: (inout ShowProperties) -> Void) -> ShowProperties {
        var show = ShowProperties()
        change(&show)
        return show
    }

    private func order(_ fake: FakeSession) -> [String] {
        fake.compositor.requests.map { "\($0.interface).\($0.name)" }
    }

    private func route(_ fake: FakeSession) -> String? { fake.live.session.status.first?.route }

    @Test("fullscreen on a named output is asked for before the first commit")
    func fullscreen() throws {
        let fake = try scene(show { $0.mode = .fullscreen(.output("HDMI-A-1")) })
        let outputs = fake.compositor.objects(of: "wl_output")
        let asked = fake.compositor.requests("xdg_toplevel.set_fullscreen")
        #expect(asked.map(\.arguments) == [[.object(outputs[1])]])
        let names = order(fake)
        let first = try #require(names.firstIndex(of: "wl_surface.commit"))
        let place = try #require(names.firstIndex(of: "xdg_toplevel.set_fullscreen"))
        #expect(place < first)
        #expect(route(fake) == "show, fullscreen on HDMI-A-1")
        // Nothing is said twice, and a plain window again is one.
        fake.compositor.forgetRequests()
        reload(fake, show { $0.mode = .fullscreen(.output("HDMI-A-1")) })
        try fake.settle()
        #expect(fake.compositor.requests.isEmpty)
        reload(fake, ShowProperties())
        try fake.settle()
        #expect(order(fake) == ["xdg_toplevel.unset_fullscreen"])
        reload(fake, show { $0.mode = .maximized })
        reload(fake, show { $0.mode = .fullscreen(.anywhere) })
        try fake.settle()
        fake.compositor.forgetRequests()
        reload(fake, show { $0.mode = .fullscreen(.output("DP-1")) })
        try fake.settle()
        #expect(
            fake.compositor.requests("xdg_toplevel.set_fullscreen").map(\.arguments) == [
                [.object(outputs[0])]
            ])
        #expect(!order(fake).contains("xdg_toplevel.unset_fullscreen"))
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test("an output that is not there is the compositor's choice, said in status, and found later")
    func absentOutput() throws {
        let fake = try scene(show { $0.mode = .fullscreen(.output("DP-9")) })
        #expect(
            fake.compositor.requests("xdg_toplevel.set_fullscreen").map(\.arguments) == [
                [.object(0)]
            ])
        #expect(
            route(fake)
                == "show, fullscreen on DP-9; no output DP-9 is there, so the compositor chose")
        fake.compositor.forgetRequests()
        let global = fake.compositor.addGlobal("wl_output", 4)
        try fake.settle()
        let output = try #require(fake.compositor.objects(of: "wl_output").last)
        fake.compositor.send(output, "name", .string("DP-9"))
        try fake.settle()
        #expect(
            fake.compositor.requests("xdg_toplevel.set_fullscreen").map(\.arguments) == [
                [.object(output)]
            ])
        #expect(route(fake) == "show, fullscreen on DP-9")
        fake.compositor.removeGlobal(global)
        try fake.settle()
        #expect(fake.compositor.requests("wl_output.release").map(\.object) == [output])
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test("an output without a name is not bound, and nothing else is missed")
    func oldOutput() throws {
        let fake = try FakeSession(FakeSession.usual + [("wl_output", 3)])
        #expect(fake.compositor.objects(of: "wl_output").isEmpty)
        #expect(fake.live.presenter.isReady)
        fake.live.session.shutDown()
    }

    @Test("a fixed size is that of the frame, told with the commit that shows it")
    func fixedSize() throws {
        let fake = try scene(show { $0.isFixedSize = true })
        let least = fake.compositor.requests("xdg_toplevel.set_min_size")
        let most = fake.compositor.requests("xdg_toplevel.set_max_size")
        #expect(least.map(\.arguments) == [[.int(8), .int(6)]])
        #expect(most.map(\.arguments) == [[.int(8), .int(6)]])
        #expect(order(fake).last == "wl_surface.commit")
        fake.compositor.forgetRequests()
        fake.fireCallbacks()
        let turned = try #require(Transform(rawValue: 1))
        fake.live.show(try fake.live.makeBuffer(noise(10, 4)), 2) { $0.transform = turned }
        try fake.settle()
        #expect(
            fake.compositor.requests("xdg_toplevel.set_min_size").map(\.arguments) == [
                [.int(4), .int(10)]
            ])
        // Free again: the guest's own limits, which are none, with a commit of the state alone.
        fake.compositor.forgetRequests()
        reload(fake, ShowProperties())
        try fake.settle()
        #expect(
            order(fake) == [
                "xdg_toplevel.set_min_size", "xdg_toplevel.set_max_size", "wl_surface.commit",
            ])
        #expect(
            fake.compositor.requests("xdg_toplevel.set_max_size").map(\.arguments) == [
                [.int(0), .int(0)]
            ])
        reload(fake, show { $0.isFixedSize = true })
        try fake.settle()
        #expect(
            fake.compositor.requests("xdg_toplevel.set_max_size").last?.arguments == [
                .int(4), .int(10),
            ])
        fake.live.session.shutDown()
    }

    @Test("a frame is asked for or not, and changed live, as title and app id are")
    func frame() throws {
        let fake = try scene(show { $0.hasFrame = false })
        #expect(
            fake.compositor.requests("zxdg_toplevel_decoration_v1.set_mode").map(\.arguments) == [
                [.uint(1)]
            ])
        fake.compositor.forgetRequests()
        reload(
            fake,
            show {
                $0.title = TextTemplate(pieces: [.text("T")])
                $0.appID = TextTemplate(pieces: [.text("x")])
            })
        try fake.settle()
        #expect(
            order(fake) == [
                "zxdg_toplevel_decoration_v1.set_mode", "xdg_toplevel.set_title",
                "xdg_toplevel.set_app_id",
            ])
        #expect(
            fake.compositor.requests("xdg_toplevel.set_app_id")[0].arguments == [
                .string("vm-bridge.fake.x")
            ])
        fake.live.session.shutDown()
    }

    @Test(
        "the compositor's own rules get a tag: the VM's name, or the guest's own where it has one")
    func tag() throws {
        let fake = try scene()
        func told() -> [[FakeArgument]] {
            fake.compositor.requests("xdg_toplevel_tag_manager_v1.set_toplevel_tag")
                .map { Array($0.arguments.dropFirst()) }
        }
        #expect(told() == [[.string("fake")]])
        fake.live.makeSurface(2) { $0.consumerTag = "chat" }
        try fake.settle()
        #expect(told() == [[.string("fake")], [.string("fake/chat")]])
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test("a hidden surface's window is taken away and made anew, and nothing is asked meanwhile")
    func hide() throws {
        let fake = try scene()
        fake.compositor.forgetRequests()
        reload(fake, nil)
        try fake.settle()
        #expect(order(fake).contains("xdg_toplevel.destroy"))
        #expect(fake.live.released(.shown) == [1])
        fake.compositor.forgetRequests()
        let buffer = try fake.live.makeBuffer(noise(8, 6, seed: 3))
        try fake.settle()
        fake.compositor.forgetRequests()
        fake.live.show(buffer, 2)
        #expect(try fake.live.until { fake.live.released(.superseded) == [2] })
        try fake.settle()
        #expect(fake.compositor.requests.isEmpty)
        fake.live.show(buffer, 3)
        reload(fake, ShowProperties())
        try fake.settle()
        #expect(fake.compositor.requests("wl_surface.attach").count == 1)
        #expect(fake.live.session.status.first?.counters.shown == 2)
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test(
        "hidden and shown in one batch with its configure on the way, the old serial is not acknowledged"
    )
    func oldConfigure() throws {
        let fake = try scene()
        let surface = try #require(fake.compositor.objects(of: "wl_surface").first)
        let old = try #require(fake.compositor.objects(of: "xdg_surface").first)
        fake.compositor.forgetRequests()
        let serial = fake.configure(surface: surface, width: 100, height: 50)
        // Read and dispatched, and not yet taken by the session.
        try fake.live.loop.runOnce(milliseconds: 0)
        reload(fake, nil)
        reload(fake, ShowProperties())
        try fake.settle()
        let acknowledged = fake.compositor.requests("xdg_surface.ack_configure")
        #expect(acknowledged.allSatisfy { $0.arguments != [.uint(serial)] || $0.object == old })
        #expect(acknowledged.contains { $0.object != old })
        #expect(fake.live.presenter.isReady && fake.compositor.complaints.isEmpty)
        #expect(fake.compositor.objects(of: "xdg_toplevel").count == 1)
        fake.live.session.shutDown()
    }
}
