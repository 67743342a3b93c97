import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] images of pointers, on a fake compositor", .serialized)
struct PointerImageTests {
    private static let small = Size(width: 4, height: 4)

    private func scene(
        seats: [UInt32] = [8], hasShapes: Bool = true
    ) throws -> (FakeWindows, UInt32) {
        let windows = try FakeWindows(seats: seats, hasShapes: hasShapes)
        try windows.makeWindow()
        let window = try #require(windows.surfaces[0])
        for seat in seats.indices { windows.compositor.pointerEnter(window, 1, 1, seat: seat) }
        _ = try windows.input()
        return (windows, window)
    }

    @Test("a pointer on a window without an image shows the session's own")
    func ownImage() throws {
        let (windows, window) = try scene()
        #expect(windows.compositor.image() == .shape(1))
        // Each enter anew, and only then.
        windows.compositor.forgetRequests()
        windows.compositor.pointerMotion(2, 2)
        _ = try windows.input()
        #expect(windows.compositor.requests.isEmpty)
        windows.compositor.pointerLeave(window)
        windows.compositor.pointerEnter(window, 1, 1)
        _ = try windows.input()
        #expect(windows.compositor.image() == .shape(1))
        windows.end()
    }

    @Test("without cursor-shape it is an arrow of ours, made once")
    func arrow() throws {
        let (windows, window) = try scene(hasShapes: false)
        let fake = windows.compositor
        guard case .surface(let arrow, 0, 0)? = fake.image() else {
            Issue.record("no arrow: \(String(describing: fake.image()))")
            return
        }
        let buffer = try #require(fake.requests("wl_shm_pool.create_buffer").first)
        #expect(
            Array(buffer.arguments.dropFirst()) == [
                .int(0), .int(12), .int(19), .int(48), .uint(0),
            ])
        #expect(
            fake.requests.contains {
                $0.interface == "wl_surface" && $0.name == "commit" && $0.object == arrow
            })
        fake.forgetRequests()
        fake.pointerLeave(window)
        fake.pointerEnter(window, 1, 1)
        _ = try windows.input()
        #expect(fake.image() == .surface(arrow, x: 0, y: 0))
        #expect(fake.requests.map(\.name) == ["set_cursor"])
        windows.end()
    }

    @Test("a surface that is an image is configured at once, and its frames need no callback")
    func surfaceOfAnImage() throws {
        let (windows, _) = try scene()
        windows.compositor.forgetRequests()
        windows.others = []
        windows.presenter.createWindow(surface(1), cursorOf(0, 1, 2))
        let told = windows.fake.takeEvents()
        guard case .configured(surface(1), ConfigureRecord(size: .zero), serial: 0)? = told.first
        else {
            Issue.record("not configured: \(told)")
            return
        }
        windows.presenter.acknowledge(surface(1), serial: 0)
        windows.presenter.commitState(surface(1))
        _ = try windows.input()
        for _ in 0..<3 { try windows.commit(1, size: Self.small) }
        var callbacks = 0
        for case .frameCallback(surface(1)) in windows.others { callbacks += 1 }
        #expect(callbacks == 3)
        let names = Set(windows.compositor.requests.map { "\($0.interface).\($0.name)" })
        #expect(
            names.isDisjoint(with: [
                "wl_surface.frame", "wp_presentation.feedback", "xdg_wm_base.get_xdg_surface",
                "xdg_surface.ack_configure",
            ]))
        #expect(windows.asked("wl_surface.attach").count == 3)
        // A buffer is released as any other's.
        windows.others = []
        windows.fake.release(windows.fake.committed[1])
        _ = try windows.input()
        var released = 0
        for case .released in windows.others { released += 1 }
        #expect(released == 1)
        windows.end()
    }

    @Test(
        "an image without a picture hides the pointer, one with a picture is shown, and its end brings back the session's"
    )
    func life() throws {
        let (windows, _) = try scene()
        let fake = windows.compositor
        try windows.create(1, cursorOf(0, 1, 2))
        _ = try windows.input()
        #expect(fake.image() == .hidden)
        try windows.commit(1, size: Self.small)
        let image = try #require(windows.surfaces[1])
        #expect(fake.image() == .surface(image, x: 1, y: 2))
        // A further picture says nothing again.
        fake.forgetRequests()
        try windows.commit(1, size: Self.small)
        #expect(windows.asked("wl_pointer.set_cursor").isEmpty)
        windows.presenter.updateWindow(surface(1), cursorOf(0, 3, 3))
        _ = try windows.input()
        #expect(fake.image() == .surface(image, x: 3, y: 3))
        windows.presenter.destroyWindow(surface(1))
        _ = try windows.input()
        #expect(fake.image() == .shape(1))
        let names = fake.requests.map { "\($0.interface).\($0.name)" }
        let shaped = try #require(names.lastIndex(of: "wp_cursor_shape_device_v1.set_shape"))
        let destroyed = try #require(names.lastIndex(of: "wl_surface.destroy"))
        #expect(shaped < destroyed)
        var isGone = false
        for case .windowGone(surface(1)) in windows.others { isGone = true }
        #expect(isGone)
        windows.end()
    }

    @Test(
        "an image that takes another's place is shown, though its surface may have the same address"
    )
    func replacement() throws {
        let (windows, _) = try scene()
        let fake = windows.compositor
        for round in 0..<20 as Range<UInt32> {
            try windows.create(round + 1, cursorOf(0))
            try windows.commit(round + 1, size: Self.small)
            #expect(
                fake.image() == .surface(try #require(windows.surfaces[round + 1]), x: 0, y: 0))
            windows.presenter.destroyWindow(surface(round + 1))
        }
        _ = try windows.input()
        #expect(fake.image() == .shape(1))
        // Of two the later one counts, and the earlier one again when that ends.
        try windows.makeWindow(50, size: Self.small, cursorOf(0))
        try windows.makeWindow(51, size: Self.small, cursorOf(0))
        #expect(fake.image() == .surface(try #require(windows.surfaces[51]), x: 0, y: 0))
        windows.presenter.destroyWindow(surface(51))
        _ = try windows.input()
        #expect(fake.image() == .surface(try #require(windows.surfaces[50]), x: 0, y: 0))
        windows.end()
    }

    @Test("the hot spot is where the picture shows it: cropped, turned, scaled")
    func hotSpot() throws {
        let (windows, _) = try scene()
        try windows.create(1, cursorOf(0, 5, 2))
        let turned = try #require(Transform(rawValue: 2))
        try windows.commit(1, size: Size(width: 8, height: 8)) {
            $0.crop = Rectangle(x: 4, y: 0, width: 4, height: 4)
            $0.transform = turned
            $0.destination = Size(width: 8, height: 8)
        }
        // In the part at (1, 2), turned by 180° at (2, 1), at twice the size.
        let image = try #require(windows.surfaces[1])
        #expect(windows.compositor.image() == .surface(image, x: 4, y: 2))
        windows.presenter.updateWindow(surface(1), cursorOf(0, 1000, 0))
        _ = try windows.input()
        #expect(windows.compositor.image() == .surface(image, x: 0, y: 6))
        windows.end()
    }

    @Test("an image is for its window: others, and its parent's end, show the session's")
    func windowsOfImages() throws {
        let (windows, window) = try scene()
        let fake = windows.compositor
        try windows.makeWindow(2)
        try windows.makeWindow(1, size: Self.small, cursorOf(0))
        fake.pointerLeave(window)
        fake.pointerEnter(try #require(windows.surfaces[2]), 1, 1)
        _ = try windows.input()
        #expect(fake.image() == .shape(1))
        // It changes over to the other window.
        windows.presenter.updateWindow(surface(1), cursorOf(2))
        _ = try windows.input()
        let image = try #require(windows.surfaces[1])
        #expect(fake.image() == .surface(image, x: 0, y: 0))
        // No parent any more.
        var orphan = plainWindow
        orphan.cursor = nil
        windows.presenter.updateWindow(surface(1), orphan)
        _ = try windows.input()
        #expect(fake.image() == .shape(1))
        windows.presenter.updateWindow(surface(1), cursorOf(2))
        windows.presenter.destroyWindow(surface(2))
        _ = try windows.input()
        windows.presenter.destroyWindow(surface(1))
        _ = try windows.input()
        windows.end()
    }

    @Test("each seat's pointer shows what it is on")
    func severalPointers() throws {
        let (windows, _) = try scene(seats: [8, 5])
        let fake = windows.compositor
        try windows.makeWindow(2)
        fake.pointerLeave(try #require(windows.surfaces[0]), seat: 1)
        fake.pointerEnter(try #require(windows.surfaces[2]), 1, 1, seat: 1)
        _ = try windows.input()
        try windows.makeWindow(1, size: Self.small, cursorOf(0))
        let image = try #require(windows.surfaces[1])
        #expect(fake.image(0) == .surface(image, x: 0, y: 0))
        #expect(fake.image(1) == .shape(1))
        fake.pointerLeave(try #require(windows.surfaces[2]), seat: 1)
        fake.pointerEnter(try #require(windows.surfaces[0]), 1, 1, seat: 1)
        _ = try windows.input()
        #expect(fake.image(1) == .surface(image, x: 0, y: 0))
        windows.end()
    }

    @Test("an image is made before its window has a pointer, and without any seat")
    func withoutPointer() throws {
        let windows = try FakeWindows(seats: [])
        try windows.makeWindow()
        try windows.makeWindow(1, size: Self.small, cursorOf(0))
        #expect(windows.asked("wl_surface.attach").count == 2)
        let seat = windows.compositor.addGlobal("wl_seat", 8)
        _ = try windows.input()
        windows.compositor.pointerEnter(try #require(windows.surfaces[0]), 1, 1)
        _ = try windows.input()
        #expect(
            windows.compositor.image()
                == .surface(try #require(windows.surfaces[1]), x: 0, y: 0))
        windows.compositor.removeGlobal(seat)
        _ = try windows.input()
        windows.end()
    }
}

@Suite("[kernel] windows of another size than their pictures, on a fake compositor", .serialized)
struct ResizeTests {
    @Test(
        "the old picture is scaled to the size from the acknowledging commit on, until the guest follows"
    )
    func scaled() throws {
        let windows = try FakeWindows(seats: [])
        try windows.makeWindow()
        let fake = windows.compositor
        fake.forgetRequests()
        try windows.configure(100, 50, states: [3, 4])
        #expect(
            fake.requests.map(\.name) == ["ack_configure", "set_destination", "commit"])
        #expect(windows.asked("wp_viewport.set_destination") == [[.int(100), .int(50)]])
        fake.forgetRequests()
        windows.fake.fireCallbacks()
        try windows.commit(0)
        #expect(windows.asked("wp_viewport.set_destination").isEmpty)
        windows.fake.fireCallbacks()
        try windows.commit(0, size: Size(width: 100, height: 50))
        #expect(windows.asked("wp_viewport.set_destination") == [[.int(-1), .int(-1)]])
        fake.forgetRequests()
        try windows.configure(100, 50, states: [1])
        #expect(windows.asked("wp_viewport.set_destination") == [[.int(100), .int(50)]])
        try windows.configure(0, 0)
        #expect(windows.asked("wp_viewport.set_destination").last == [.int(-1), .int(-1)])
        windows.end()
    }

    @Test("without wp_viewporter the picture keeps its size")
    func unscaled() throws {
        let windows = try FakeWindows(seats: [], without: ["wp_viewporter"])
        try windows.makeWindow()
        windows.compositor.forgetRequests()
        try windows.configure(100, 50)
        #expect(windows.compositor.requests.map(\.name) == ["ack_configure", "commit"])
        windows.end()
    }

    @Test("a window of fixed size keeps it, and what limits it has")
    func fixedSize() throws {
        let windows = try FakeWindows(seats: [])
        var fixed = plainWindow
        fixed.isFixedSize = true
        try windows.makeWindow(0, fixed)
        windows.compositor.forgetRequests()
        try windows.configure(100, 50, states: [5, 6])
        #expect(windows.compositor.requests.map(\.name) == ["ack_configure", "commit"])
        try windows.configure(100, 50, states: [2])
        #expect(windows.asked("wp_viewport.set_destination") == [[.int(100), .int(50)]])
        #expect(windows.asked("xdg_toplevel.set_max_size").isEmpty)
        windows.end()
    }

    @Test("the opaque region follows the size")
    func opaque() throws {
        let windows = try FakeWindows(seats: [])
        var properties = plainWindow
        properties.opaqueRegion = Rectangle(x: 2, y: 0, width: 4, height: 6)
        try windows.makeWindow(0, properties)
        windows.compositor.forgetRequests()
        try windows.configure(16, 12)
        // XRGB8888 is opaque as a whole, at any size.
        #expect(windows.asked("wl_region.add").isEmpty)
        #expect(windows.asked("wp_viewport.set_destination") == [[.int(16), .int(12)]])
        windows.end()
    }
}
