/// The rules of linux-explicit-synchronization-unstable-v1 and linux-drm-syncobj-v1 that a client can
/// break, kept over a client's requests: for a compositor inside a test, which ends the connection over
/// them as a real one does.
package struct FenceRules {
    /// What a client did wrong.
    package struct Breach {
        package let object: UInt32
        package let code: UInt32
        package let text: String
    }

    /// Points or fences that the next commit of a surface takes.
    private struct Pending {
        var hasFence = false
        var hasRelease = false
        var acquire: (timeline: UInt32, point: UInt64)?
        var release: (timeline: UInt32, point: UInt64)?
    }

    private enum Kind { case explicit, points }

    private struct Extension {
        var surface: UInt32
        var kind: Kind
        var pending = Pending()
    }

    /// By number of the surface's extension object.
    private var extensions: [UInt32: Extension] = [:]
    /// Attached and not committed; 0 for none.
    private var attached: [UInt32: UInt32] = [:]
    private var surfaces: Set<UInt32> = []
    private var sharedMemory: Set<UInt32> = []
    private var timelines: Set<UInt32> = []

    /// How many commits carried what, for a test to look at.
    package private(set) var commitsWithPoints = 0
    package private(set) var commitsWithFence = 0
    package private(set) var commitsWithRelease = 0

    /// Takes a request; nil when it is within the rules.
    mutating func take(_ request: FakeCompositor.Request) -> Breach? {
        func breach(_ code: UInt32, _ text: String) -> Breach {
            Breach(object: request.object, code: code, text: text)
        }
        switch "\(request.interface).\(request.name)" {
        case "wl_compositor.create_surface": surfaces.insert(request.created)
        case "wl_shm_pool.create_buffer": sharedMemory.insert(request.created)
        case "wl_buffer.destroy": sharedMemory.remove(request.object)
        case "wl_surface.attach": attached[request.object] = request.number(0)
        case "wl_surface.destroy":
            surfaces.remove(request.object)
            attached[request.object] = nil
        case "wl_surface.commit": return commit(request.object)
        case "zwp_linux_explicit_synchronization_v1.get_synchronization":
            return extend(request, .explicit, "synchronization_exists")
        case "wp_linux_drm_syncobj_manager_v1.get_surface":
            return extend(request, .points, "surface_exists")
        case "zwp_linux_surface_synchronization_v1.destroy",
            "wp_linux_drm_syncobj_surface_v1.destroy":
            extensions[request.object] = nil
        case "zwp_linux_surface_synchronization_v1.set_acquire_fence":
            guard hasSurface(request.object) else { return breach(3, "no_surface") }
            guard extensions[request.object]?.pending.hasFence != true else {
                return breach(1, "duplicate_fence")
            }
            extensions[request.object]?.pending.hasFence = true
        case "zwp_linux_surface_synchronization_v1.get_release":
            guard hasSurface(request.object) else { return breach(3, "no_surface") }
            guard extensions[request.object]?.pending.hasRelease != true else {
                return breach(2, "duplicate_release")
            }
            extensions[request.object]?.pending.hasRelease = true
        case "wp_linux_drm_syncobj_manager_v1.import_timeline": timelines.insert(request.created)
        case "wp_linux_drm_syncobj_timeline_v1.destroy": timelines.remove(request.object)
        case "wp_linux_drm_syncobj_surface_v1.set_acquire_point":
            guard hasSurface(request.object) else { return breach(1, "no_surface") }
            guard timelines.contains(request.number(0)) else { return breach(1, "no timeline") }
            extensions[request.object]?.pending.acquire = (request.number(0), request.point)
        case "wp_linux_drm_syncobj_surface_v1.set_release_point":
            guard hasSurface(request.object) else { return breach(1, "no_surface") }
            guard timelines.contains(request.number(0)) else { return breach(1, "no timeline") }
            extensions[request.object]?.pending.release = (request.number(0), request.point)
        default: break
        }
        return nil
    }

    private func hasSurface(_ object: UInt32) -> Bool {
        extensions[object].map { surfaces.contains($0.surface) } ?? false
    }

    private mutating func extend(
        _ request: FakeCompositor.Request, _ kind: Kind, _ error: String
    ) -> Breach? {
        let surface = request.number(1)
        guard !extensions.values.contains(where: { $0.surface == surface && $0.kind == kind })
        else { return Breach(object: request.object, code: 0, text: error) }
        extensions[request.created] = Extension(surface: surface, kind: kind)
        return nil
    }

    private mutating func commit(_ surface: UInt32) -> Breach? {
        let buffer = attached.removeValue(forKey: surface)
        for (object, one) in extensions where one.surface == surface {
            extensions[object]?.pending = Pending()
            let broken =
                one.kind == .points
                ? judge(points: one.pending, buffer) : judge(fences: one.pending, buffer)
            if let (code, text) = broken { return Breach(object: object, code: code, text: text) }
            if one.pending.acquire != nil { commitsWithPoints += 1 }
            if one.pending.hasFence { commitsWithFence += 1 }
            if one.pending.hasRelease { commitsWithRelease += 1 }
        }
        return nil
    }

    private func judge(fences: Pending, _ buffer: UInt32?) -> (UInt32, String)? {
        guard fences.hasFence || fences.hasRelease else { return nil }
        guard let buffer, buffer != 0 else { return (5, "no_buffer") }
        return sharedMemory.contains(buffer) ? (4, "unsupported_buffer") : nil
    }

    private func judge(points: Pending, _ buffer: UInt32?) -> (UInt32, String)? {
        guard let buffer, buffer != 0 else {
            return points.acquire != nil || points.release != nil ? (3, "no_buffer") : nil
        }
        if sharedMemory.contains(buffer) { return (2, "unsupported_buffer") }
        guard let acquire = points.acquire else { return (4, "no_acquire_point") }
        guard let release = points.release else { return (5, "no_release_point") }
        guard acquire.timeline != release.timeline || acquire.point < release.point else {
            return (6, "conflicting_points")
        }
        return nil
    }
}

extension FakeCompositor.Request {
    /// An object or number among the arguments; 0 for another kind.
    package func number(_ index: Int) -> UInt32 {
        switch arguments[index] {
        case .object(let number), .newID(let number), .uint(let number): number
        default: 0
        }
    }

    /// A descriptor among the arguments, lent; -1 if there is none.
    package var descriptor: Int32 {
        for case .descriptor(let number) in arguments { return number }
        return -1
    }

    /// The point of a timeline that stands in the last two arguments.
    package var point: UInt64 { UInt64(number(1)) << 32 | UInt64(number(2)) }
}
