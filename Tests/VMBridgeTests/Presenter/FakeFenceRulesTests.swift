import Descriptors
import Testing
import VMBridgeCore
import Wayland
import WaylandTestSupport

@testable import VMBridge

/// A client that breaks each rule about fences: the fake compositor of the other tests must see it.
@Suite("[kernel] the fake compositor's rules about fences")
struct FakeFenceRulesTests {
    /// A client with a surface and a buffer of each kind.
    private final class Client {
        let compositor = FakeCompositor(globals: [
            ("wl_compositor", 4), ("wl_shm", 1), ("zwp_linux_dmabuf_v1", 3),
            ("zwp_linux_explicit_synchronization_v1", 2), ("wp_linux_drm_syncobj_manager_v1", 1),
        ])
        let connection: WaylandConnection
        let surface: WlSurface
        let dmabuf: WlBuffer
        let shared: WlBuffer
        let explicit: ZwpLinuxExplicitSynchronizationV1
        let manager: WpLinuxDrmSyncobjManagerV1

        init() throws {
            compositor.keepsFenceRules = true
            connection = try WaylandConnection.connect(to: compositor.takeClientEnd())
            let registry = WaylandRegistry(connection)
            compositor.settle(connection)
            surface = try #require(registry.bind(WlCompositor.self)).createSurface()
            let memory = try MemoryFile.create(size: 4096)
            shared = try #require(registry.bind(WlShm.self)).createPool(fd: memory, size: 4096)
                .createBuffer(offset: 0, width: 4, height: 4, stride: 16, format: .xrgb8888)
            let params = try #require(registry.bind(ZwpLinuxDmabufV1.self)).createParams()
            params.add(
                fd: memory, planeIdx: 0, offset: 0, stride: 16, modifierHi: 0, modifierLo: 0)
            dmabuf = params.createImmed(
                width: 4, height: 4, format: FourCC.xrgb8888.rawValue, flags: [])
            explicit = try #require(registry.bind(ZwpLinuxExplicitSynchronizationV1.self))
            manager = try #require(registry.bind(WpLinuxDrmSyncobjManagerV1.self))
            compositor.settle(connection)
        }

        func attach(_ buffer: WlBuffer?) { surface.attach(buffer: buffer, x: 0, y: 0) }

        func timeline() -> WpLinuxDrmSyncobjTimelineV1 {
            guard let memory = try? MemoryFile.create(size: 4096) else { fatalError("no memory") }
            return manager.importTimeline(fd: memory)
        }

        /// What the compositor complained of, the last word of it, and whether it ended the connection.
        func verdict() -> [String] {
            compositor.settle(connection)
            return compositor.complaints.map {
                $0.split(separator: " ").last.map(String.init) ?? ""
            }
        }
    }

    private func fence() throws -> OwnedDescriptor { try MemoryFile.create(size: 4096) }

    private func check(_ wanted: String?, _ story: (Client) throws -> Void) throws {
        let client = try Client()
        try story(client)
        #expect(client.verdict() == (wanted.map { [$0] } ?? []))
        #expect((client.connection.failure != nil) == (wanted != nil))
    }

    @Test func explicitSynchronization() throws {
        try check(nil) {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            for _ in 0..<2 {
                _ = object.getRelease()
                object.setAcquireFence(fd: try fence())
                $0.attach($0.dmabuf)
                $0.surface.commit()
            }
            // Without fences, also shared memory.
            $0.attach($0.shared)
            $0.surface.commit()
            // Taken back with their object.
            object.setAcquireFence(fd: try fence())
            object.destroy()
            $0.attach($0.shared)
            $0.surface.commit()
            _ = $0.explicit.getSynchronization(surface: $0.surface)
        }
        try check("synchronization_exists") {
            _ = $0.explicit.getSynchronization(surface: $0.surface)
            _ = $0.explicit.getSynchronization(surface: $0.surface)
        }
        try check("duplicate_fence") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            object.setAcquireFence(fd: try fence())
            object.setAcquireFence(fd: try fence())
        }
        try check("duplicate_release") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            _ = object.getRelease()
            _ = object.getRelease()
        }
        try check("no_buffer") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            _ = object.getRelease()
            $0.surface.commit()
        }
        try check("no_buffer") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            object.setAcquireFence(fd: try fence())
            $0.attach(nil)
            $0.surface.commit()
        }
        try check("unsupported_buffer") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            _ = object.getRelease()
            $0.attach($0.shared)
            $0.surface.commit()
        }
        try check("no_surface") {
            let object = $0.explicit.getSynchronization(surface: $0.surface)
            $0.surface.destroy()
            object.setAcquireFence(fd: try fence())
        }
    }

    private func points(
        _ object: WpLinuxDrmSyncobjSurfaceV1, _ acquire: (WpLinuxDrmSyncobjTimelineV1, UInt32)?,
        _ release: (WpLinuxDrmSyncobjTimelineV1, UInt32)?
    ) {
        if let (timeline, point) = acquire {
            object.setAcquirePoint(timeline: timeline, pointHi: 0, pointLo: point)
        }
        if let (timeline, point) = release {
            object.setReleasePoint(timeline: timeline, pointHi: 0, pointLo: point)
        }
    }

    @Test func timelines() throws {
        /// A commit of a buffer with points on one timeline, by their numbers.
        func commit(_ acquire: UInt32?, _ release: UInt32?, _ buffer: KeyPath<Client, WlBuffer>?)
            -> (Client) throws -> Void
        {
            { client in
                let object = client.manager.getSurface(surface: client.surface)
                let timeline = client.timeline()
                points(object, acquire.map { (timeline, $0) }, release.map { (timeline, $0) })
                if let buffer { client.attach(client[keyPath: buffer]) }
                client.surface.commit()
            }
        }
        try check(nil, commit(1, 2, \.dmabuf))
        try check(nil, commit(nil, nil, nil))
        try check("no_buffer", commit(1, 2, nil))
        try check("no_buffer", commit(1, nil, nil))
        try check("no_acquire_point", commit(nil, nil, \.dmabuf))
        try check("no_acquire_point", commit(nil, 2, \.dmabuf))
        try check("no_release_point", commit(1, nil, \.dmabuf))
        try check("conflicting_points", commit(2, 2, \.dmabuf))
        try check("conflicting_points", commit(3, 2, \.dmabuf))
        try check("unsupported_buffer", commit(1, 2, \.shared))
        try check("surface_exists") {
            _ = $0.manager.getSurface(surface: $0.surface)
            _ = $0.manager.getSurface(surface: $0.surface)
        }
        try check("no_surface") {
            let object = $0.manager.getSurface(surface: $0.surface)
            $0.surface.destroy()
            points(object, ($0.timeline(), 1), nil)
        }
        // Of two timelines any points go; the next commit needs its own; none after the object's end.
        try check("no_acquire_point") {
            let object = $0.manager.getSurface(surface: $0.surface)
            points(object, ($0.timeline(), 9), ($0.timeline(), 1))
            $0.attach($0.dmabuf)
            $0.surface.commit()
            $0.attach($0.dmabuf)
            $0.surface.commit()
        }
        try check(nil) {
            let object = $0.manager.getSurface(surface: $0.surface)
            points(object, ($0.timeline(), 9), nil)
            object.destroy()
            $0.attach($0.shared)
            $0.surface.commit()
        }
    }
}
