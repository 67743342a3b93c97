import Foundation
import Testing

@testable import VMBridge

@Suite("[compositor] the command on real compositors", .serialized)
struct CompositorCommandTests {
    @Test("weston 10 shows title, app id and every pixel, and again after it was killed")
    func weston() throws {
        let weston = try PrivateCompositor(.weston)
        let bridge = try RunningBridge(vms: ["a"], [], environment: weston.environment)
        // A window of a few frames that then stays as it is.
        let producer = try bridge.produce(
            "a",
            [
                "--frames", "5", "--hold", "--size", "320x240", "--title", "Weston window",
                "--app-id", "org.example.w", "--colour", "6",
            ])
        #expect(
            try eventually { try bridge.vm("a").surfaces.contains { $0.presented >= 4 } },
            "\(bridge.program.err)")
        let graph = try weston.sceneGraph()
        #expect(
            graph.contains("top-level window '[a] Weston window' of vm-bridge.a.org.example.w"),
            "\(graph)")
        #expect(graph.contains("SHM buffer") || graph.contains("buffer not available"))
        let pattern = try TestPattern(
            width: 320, height: 240, format: .xrgb8888, seed: 6, label: "Weston window")
        #expect(try eventually { try weston.screenshot().shownFrame(of: pattern, in: 5...5) == 5 })
        let surface = try #require(try bridge.vm("a").surfaces.first)
        #expect(surface.import_path.contains("wl_shm"))
        #expect(surface.sync_path == "no fence")

        try weston.kill()
        #expect(eventually { bridge.program.err.contains("lost") }, "\(bridge.program.err)")
        #expect(try bridge.vm("a").connected)
        try weston.start()
        // The guest sends nothing more: its newest buffer was kept and is shown anew.
        #expect(try eventually { try weston.screenshot().shownFrame(of: pattern, in: 5...5) == 5 })
        #expect(try weston.sceneGraph().contains("[a] Weston window"))
        producer.send(SIGTERM)
        #expect(eventually { (try? weston.sceneGraph().contains("[a] Weston window")) == false })
        #expect(bridge.program.end() == 0)
    }

    @Test("a bridge that is there first shows everything when the compositor comes")
    func waits() throws {
        let weston = try PrivateCompositor(.weston)
        weston.stop()
        let bridge = try RunningBridge(vms: ["a", "b"], [], environment: weston.environment)
        let first = try bridge.produce(
            "a", ["--size", "200x150", "--title", "First", "--rate", "30"])
        let second = try bridge.produce(
            "b", ["--size", "160x120", "--title", "Second", "--surfaces", "2"])
        #expect(try eventually { try bridge.report().vms.allSatisfy { $0.connected } })
        #expect(bridge.program.err.contains("compositor") || bridge.program.err.contains("Wayland"))
        try weston.start()
        #expect(
            try eventually {
                try bridge.report().vms.allSatisfy { vm in
                    !vm.surfaces.isEmpty && vm.surfaces.allSatisfy { $0.presented > 3 }
                }
            }, "\(bridge.program.err)")
        let graph = try weston.sceneGraph()
        for title in ["[a] First", "[b] Second 1", "[b] Second 2"] {
            #expect(graph.contains(title))
        }
        // One VM's end takes nothing from the other.
        first.send(SIGKILL)
        #expect(try eventually { try !bridge.vm("a").connected })
        let before = try #require(try bridge.vm("b").surfaces.first).shown
        #expect(try eventually { try (bridge.vm("b").surfaces.first?.shown ?? 0) > before + 10 })
        second.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }

    @Test("crop, scale and transform arrive as asked")
    func geometry() throws {
        let weston = try PrivateCompositor(.weston)
        let bridge = try RunningBridge(vms: ["a"], [], environment: weston.environment)
        let producer = try bridge.produce(
            "a",
            [
                "--frames", "3", "--hold", "--size", "320x240", "--title", "Cut", "--crop",
                "64,32,128x96", "--transform", "1", "--colour", "2",
            ])
        #expect(try eventually { try bridge.vm("a").surfaces.contains { $0.presented >= 2 } })
        let pattern = try TestPattern(
            width: 320, height: 240, format: .xrgb8888, seed: 2, label: "Cut")
        let turned = try #require(PictureTransform(rawValue: 1)).inverse
        let expected = try pattern.picture(frame: 3)
            .cropped(to: PixelRect(x: 64, y: 32, width: 128, height: 96)).transformed(turned)
        #expect(try eventually { try weston.screenshot().find(expected) != nil })
        producer.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }

    @Test("sway 1.7 shows the window, its title and its app id")
    func sway() throws {
        let sway = try PrivateCompositor(.sway)
        try sway.floatWindows()
        let bridge = try RunningBridge(vms: ["a"], [], environment: sway.environment)
        let producer = try bridge.produce(
            "a",
            [
                "--frames", "4", "--hold", "--size", "400x300", "--title", "Sway window",
                "--colour", "9",
            ])
        #expect(
            try eventually { try bridge.vm("a").surfaces.contains { $0.shown >= 1 } },
            "\(bridge.program.err)")
        #expect(try eventually { try sway.tree().contains("[a] Sway window") })
        #expect(try sway.tree().contains("vm-bridge.a.produce"))
        let pattern = try TestPattern(
            width: 400, height: 300, format: .xrgb8888, seed: 9, label: "Sway window")
        #expect(try eventually { try sway.screenshot().shownFrame(of: pattern, in: 4...4) == 4 })
        producer.send(SIGTERM)
        #expect(bridge.program.end() == 0)
    }
}
