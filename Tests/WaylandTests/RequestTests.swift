import Descriptors
import Foundation
import Glibc
import Testing
import Wayland
import WaylandTestSupport

/// Little-endian words as bytes.
private func words(_ words: UInt32...) -> [UInt8] {
    words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
}

@Suite("[kernel] requests on the wire")
struct RequestTests {
    /// Spelled out byte by byte, so that neither the tables nor the fake compositor vouch for it.
    @Test func bytesAreTheProtocols() throws {
        let pair = try Pair()
        let registry = pair.connection.display.getRegistry()
        let compositor = registry.bind(name: 7, interface: WlCompositor.self, version: 4)
        let surface = compositor.createSurface()
        surface.attach(buffer: nil, x: -1, y: 2)
        let callback = surface.frame()
        surface.damageBuffer(x: 0, y: 0, width: .max, height: 5)
        surface.commit()
        #expect(pair.connection.pendingBytes == 12 + 40 + 12 + 20 + 12 + 24 + 8)
        #expect(pair.connection.flush() == .done)
        #expect(pair.connection.pendingBytes == 0)
        pair.compositor.receive()
        var expected = words(1, 12 << 16 | 1, 2)
        expected += words(2, 40 << 16 | 0, 7, 14) + Array("wl_compositor".utf8) + [0, 0, 0]
        expected += words(4, 3)
        expected += words(3, 12 << 16 | 0, 4)
        expected += words(4, 20 << 16 | 1, 0, 0xffff_ffff, 2)
        expected += words(4, 12 << 16 | 3, 5)
        expected += words(4, 24 << 16 | 9, 0, 0, 0x7fff_ffff, 5)
        expected += words(4, 8 << 16 | 6)
        #expect(pair.compositor.bytes == expected)
        #expect(callback.id == 5)
        #expect(surface.version == 4)
        #expect(pair.compositor.complaints == [])
        callback.destroyProxy()
        surface.destroy()
        compositor.destroyProxy()
        registry.destroyProxy()
    }

    @Test func stringsAndFixedNumbers() throws {
        let pair = try Pair(globals: [
            ("wl_compositor", 4), ("xdg_wm_base", 2), ("wp_viewporter", 1),
        ])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let base = try #require(registry.bind(XdgWmBase.self))
        let viewporter = try #require(registry.bind(WpViewporter.self))
        let surface = compositor.createSurface()
        let viewport = viewporter.getViewport(surface: surface)
        viewport.setSource(
            x: WaylandFixed(1.5), y: WaylandFixed(-0.25), width: WaylandFixed(640),
            height: WaylandFixed(1e12))
        let shell = base.getXdgSurface(surface: surface)
        let toplevel = shell.getToplevel()
        toplevel.setTitle(title: "Fenster ü")
        toplevel.setTitle(title: String(repeating: "é", count: 3000))
        toplevel.setAppId(appId: "cut\0here")
        toplevel.setParent(parent: nil)
        pair.settle()
        #expect(
            pair.compositor.requests("wp_viewport.set_source").first?.arguments == [
                .fixed(384), .fixed(-64), .fixed(640 * 256), .fixed(.max),
            ])
        let titles = pair.compositor.requests("xdg_toplevel.set_title").map(\.arguments)
        #expect(titles.first == [.string("Fenster ü")])
        #expect(titles.last == [.string(String(repeating: "é", count: 2000))])
        #expect(
            pair.compositor.requests("xdg_toplevel.set_app_id").first?.arguments == [
                .string("cut")
            ])
        #expect(
            pair.compositor.requests("xdg_toplevel.set_parent").first?.arguments == [.object(0)])
        #expect(pair.compositor.complaints == [])
        #expect(pair.connection.failure == nil)
        toplevel.destroy()
        shell.destroy()
        viewport.destroy()
        surface.destroy()
        pair.settle()
        #expect(pair.compositor.objects(of: "wl_surface") == [])
        base.destroy()
        viewporter.destroy()
        compositor.destroyProxy()
    }

    @Test func descriptorsAreLentToRequests() throws {
        let witness = try Witness()
        defer { witness.remove() }
        let pair = try Pair(globals: [("zwp_linux_dmabuf_v1", 4)])
        let registry = pair.registry()
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let params = dmabuf.createParams()
        do {
            let file = witness.open()
            params.add(
                fd: file, planeIdx: 0, offset: 16, stride: 256, modifierHi: 1, modifierLo: 2)
            #expect(witness.count == 2)
            #expect(pair.connection.pendingDescriptors == 1)
        }
        params.create(width: 64, height: 32, format: 0x3432_5258, flags: [.yInvert])
        pair.settle()
        #expect(pair.connection.pendingDescriptors == 0)
        let request = try #require(
            pair.compositor.requests("zwp_linux_buffer_params_v1.add").first)
        guard case .descriptor(let number) = request.arguments[0] else {
            Issue.record("no descriptor arrived")
            return
        }
        var text = [UInt8](repeating: 0, count: 7)
        #expect(pread(number, &text, 7, 0) == 7)
        #expect(String(decoding: text, as: UTF8.self) == "witness")
        #expect(witness.count == 1)
        pair.compositor.forgetRequests()
        #expect(witness.count == 0)
        params.destroy()
        dmabuf.destroy()
    }

    @Test func bindsTheLowestOfThreeVersions() throws {
        let pair = try Pair(globals: [("wl_compositor", 99), ("wl_shm", 1)])
        let registry = pair.registry()
        #expect(registry.globals.map(\.interface) == ["wl_compositor", "wl_shm"])
        let ours = try #require(registry.bind(WlCompositor.self))
        #expect(ours.version == WlCompositor.interfaceVersion)
        let callers = try #require(registry.bind(WlCompositor.self, maximum: 3))
        #expect(callers.version == 3)
        let offered = try #require(registry.bind(WlShm.self, maximum: 9))
        #expect(offered.version == 1)
        #expect(registry.bind(WpViewporter.self) == nil)
        #expect(registry.bind(WlShm.self, registry.first(WlCompositor.self)) == nil)
        var changes: [String] = []
        registry.onAdded = { changes.append("+\($0.interface)") }
        registry.onRemoved = { changes.append("-\($0.interface)") }
        pair.compositor.addGlobal("wp_viewporter", 1)
        pair.compositor.removeGlobal(2)
        pair.settle()
        #expect(changes == ["+wp_viewporter", "-wl_shm"])
        #expect(registry.globals.map(\.interface) == ["wl_compositor", "wp_viewporter"])
        #expect(pair.compositor.version(of: callers.id) == 3)
        for handle in [ours, callers] { handle.destroyProxy() }
        offered.destroyProxy()
    }
}
