import CWayland
import Foundation
import Testing
import Wayland

@testable import WaylandScanner

/// One interface of the run-time tables, read back.
private struct Table {
    let pointer: UnsafePointer<wl_interface>

    init?(_ name: String) {
        for number in 0..<InterfaceTables.interfaceCount
        where String(cString: InterfaceTables.table(number).pointee.name) == name {
            pointer = InterfaceTables.table(number)
            return
        }
        return nil
    }

    private static func list(_ messages: UnsafePointer<wl_message>?, _ count: Int32) -> String {
        guard let messages else { return "" }
        return (0..<Int(count)).map {
            "\(String(cString: messages[$0].name)):\(String(cString: messages[$0].signature))"
        }.joined(separator: " ")
    }

    var requests: String { Self.list(pointer.pointee.methods, pointer.pointee.method_count) }
    var events: String { Self.list(pointer.pointee.events, pointer.pointee.event_count) }
}

@Suite("[pure] interface tables")
struct TableTests {
    /// Written down by hand from the protocols' specifications; the generator has no part in it.
    @Test(arguments: [
        ("wl_display", "sync:n get_registry:n", "error:ous delete_id:u"),
        ("wl_registry", "bind:usun", "global:usu global_remove:u"),
        ("wl_callback", "", "done:u"),
        ("wl_shm", "create_pool:nhi", "format:u"),
        ("wl_buffer", "destroy:", "release:"),
        (
            "zwp_linux_dmabuf_v1",
            "destroy: create_params:n get_default_feedback:4n get_surface_feedback:4no",
            "format:u modifier:3uuu"
        ),
        (
            "zwp_linux_buffer_params_v1",
            "destroy: add:huuuuu create:iiuu create_immed:2niiuu", "created:n failed:"
        ),
        (
            "zwp_linux_dmabuf_feedback_v1", "destroy:",
            "done: format_table:hu main_device:a tranche_done: tranche_target_device:a "
                + "tranche_formats:a tranche_flags:u"
        ),
        (
            "zwp_linux_surface_synchronization_v1",
            "destroy: set_acquire_fence:h get_release:n", ""
        ),
        ("zwp_linux_buffer_release_v1", "", "fenced_release:h immediate_release:"),
        ("wp_linux_drm_syncobj_manager_v1", "destroy: get_surface:no import_timeline:nh", ""),
        ("wp_linux_drm_syncobj_timeline_v1", "destroy:", ""),
        (
            "wp_linux_drm_syncobj_surface_v1",
            "destroy: set_acquire_point:ouu set_release_point:ouu", ""
        ),
        ("wp_presentation", "destroy: feedback:on", "clock_id:u"),
        (
            "wp_presentation_feedback", "", "sync_output:o presented:uuuuuuu discarded:"
        ),
        ("wp_viewport", "destroy: set_source:ffff set_destination:ii", ""),
        (
            "xdg_surface",
            "destroy: get_toplevel:n get_popup:n?oo set_window_geometry:iiii ack_configure:u",
            "configure:u"
        ),
        (
            "xdg_toplevel",
            "destroy: set_parent:?o set_title:s set_app_id:s show_window_menu:ouii move:ou "
                + "resize:ouu set_max_size:ii set_min_size:ii set_maximized: unset_maximized: "
                + "set_fullscreen:?o unset_fullscreen: set_minimized:",
            "configure:iia close: configure_bounds:4ii wm_capabilities:5a"
        ),
    ])
    func hasTheOpcodesOfTheSpecification(name: String, requests: String, events: String) throws {
        let table = try #require(Table(name))
        #expect(table.requests == requests)
        #expect(table.events == events)
    }

    @Test func surfaceOpcodes() throws {
        let table = try #require(Table("wl_surface"))
        // Newer files append requests and events.
        #expect(
            table.requests.hasPrefix(
                "destroy: attach:?oii damage:iiii frame:n set_opaque_region:?o set_input_region:?o "
                    + "commit: set_buffer_transform:2i set_buffer_scale:3i damage_buffer:4iiii "
                    + "offset:5ii"))
        #expect(table.events.hasPrefix("enter:o leave:o"))
    }

    /// References between interfaces, in cycles and across files, are addresses in the same block.
    @Test func referencesLeadIntoTheBlock() throws {
        let first = InterfaceTables.table(0)
        let count = InterfaceTables.interfaceCount
        var references = 0
        for number in 0..<count {
            let interface = InterfaceTables.table(number).pointee
            for (messages, length) in [
                (interface.methods, interface.method_count),
                (interface.events, interface.event_count),
            ] {
                for index in 0..<Int(length) {
                    let message = messages![index]
                    let letters = String(cString: message.signature).filter(\.isLetter)
                    for position in 0..<letters.count {
                        guard let type = message.types[position] else { continue }
                        let distance = first.distance(to: type)
                        #expect(distance >= 0 && distance < count)
                        references += 1
                    }
                }
            }
        }
        #expect(references > 80)
        // data_device → data_offer (an event's new object) → the same tables again.
        let device = try #require(Table("wl_data_device"))
        let offer = try #require(Table("wl_data_offer"))
        #expect(device.pointer.pointee.events[0].types[0] == offer.pointer)
        // xdg_popup ↔ xdg_surface, and xdg_surface → wl_surface's file.
        let surface = try #require(Table("xdg_surface"))
        let popup = try #require(Table("xdg_popup"))
        #expect(surface.pointer.pointee.methods[2].types[0] == popup.pointer)
        #expect(surface.pointer.pointee.methods[2].types[1] == surface.pointer)
    }

    /// The generated tables and the installed files agree in every name, signature and version.
    @Test(arguments: [
        ["/usr/share/wayland/wayland.xml"],
        ["/usr/share/wayland-protocols/stable/xdg-shell/xdg-shell.xml"],
        ["/usr/share/wayland-protocols/stable/viewporter/viewporter.xml"],
        ["/usr/share/wayland-protocols/stable/presentation-time/presentation-time.xml"],
        [
            "/usr/share/wayland-protocols/stable/linux-dmabuf/linux-dmabuf-v1.xml",
            "/usr/share/wayland-protocols/unstable/linux-dmabuf/linux-dmabuf-unstable-v1.xml",
        ],
        [ProtocolFiles.syncobj],
    ])
    func agreesWithTheFile(candidates: [String]) throws {
        let path = try #require(candidates.first { FileManager.default.fileExists(atPath: $0) })
        let description = try ProtocolReader.read(contentsOf: path)
        #expect(!description.interfaces.isEmpty)
        for interface in description.interfaces {
            let table = try #require(Table(interface.name))
            #expect(UInt32(table.pointer.pointee.version) == interface.version)
            let list = { (messages: [MessageDescription]) in
                messages.map { "\($0.name):\(FileWriters.signature(of: $0))" }
                    .joined(separator: " ")
            }
            #expect(table.requests == list(interface.requests))
            #expect(table.events == list(interface.events))
        }
    }

    @Test func enumerationsKeepUnknownValues() {
        #expect(XdgToplevel.State(rawValue: 9).rawValue == 9)
        #expect(XdgToplevel.State(rawValue: 77) != .activated)
        #expect(WlShm.Format(rawValue: 0x3432_5258).rawValue == 0x3432_5258)
        let kinds = WpPresentationFeedback.Kind(rawValue: 0x8000_0008)
        #expect(kinds.contains(.zeroCopy))
        #expect(kinds.rawValue == 0x8000_0008)
        #expect(WpLinuxDrmSyncobjSurfaceV1.ErrorCode.conflictingPoints.rawValue == 6)
        #expect(ZwpLinuxBufferParamsV1.ErrorCode.outOfBounds.rawValue == 6)
    }
}

enum ProtocolFiles {
    /// Our transcription, found from this file's place in the package.
    static let syncobj = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Protocols/linux-drm-syncobj-v1.xml").path
}
