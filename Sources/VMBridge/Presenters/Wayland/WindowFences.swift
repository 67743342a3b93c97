import Descriptors
import Glibc
import VMBridgeCore
import Wayland

/// What one window says of fences: at most one of the two protocols' objects, made with its first
/// commit that needs it.
final class WindowFences {
    /// The object by which commits get their points, and our timeline that the acquire points are of.
    private var points:
        (
            object: WpLinuxDrmSyncobjSurfaceV1, timeline: SyncTimeline,
            shared: WpLinuxDrmSyncobjTimelineV1
        )?
    private var lastPoint: UInt64 = 0
    private var fences: ZwpLinuxSurfaceSynchronizationV1?
    /// Timelines did not work out for it.
    var isWithoutPoints = false

    /// Gives the next commit its two points (linux-drm-syncobj-v1: both, or a protocol error).
    ///
    /// - Parameters:
    ///   - fence: a sync_file, lent; -1 for content that is complete.
    ///   - whenAvailable: whether the release is told as soon as it has a fence.
    /// - Throws: when the kernel refuses; then nothing was said.
    func setPoints(
        _ fence: Int32, _ image: BufferImage, _ surface: WlSurface,
        _ manager: WpLinuxDrmSyncobjManagerV1, _ device: SyncDevice, _ loop: EventLoop,
        whenAvailable: Bool
    ) throws(KernelError) {
        let timeline: SyncTimeline
        var made = OwnedDescriptor.none
        if let points {
            timeline = points.timeline
        } else {
            timeline = try device.makeTimeline()
            made = try timeline.passable()
        }
        let point = lastPoint + 1
        if fence >= 0 {
            try timeline.put(fence, at: point)
        } else {
            try timeline.signal(point)
        }
        let release = try image.makeReleaseTimeline(manager, device, loop)
        try release.expect(whenAvailable: whenAvailable)
        // From here on nothing can fail: what is said is said whole.
        if made.isValid {
            points = (
                manager.getSurface(surface: surface), timeline, manager.importTimeline(fd: made)
            )
        }
        guard let points else { return }
        lastPoint = point
        points.object.setAcquirePoint(
            timeline: points.shared, pointHi: UInt32(point >> 32),
            pointLo: UInt32(truncatingIfNeeded: point))
        points.object.setReleasePoint(
            timeline: release.shared, pointHi: UInt32(release.point >> 32),
            pointLo: UInt32(truncatingIfNeeded: release.point))
        image.release = .point
    }

    /// Gives the next commit its fence, and asks for that of its release.
    ///
    /// - Returns: whether the fence, if there is one, could be given.
    func setFences(
        _ fence: borrowing OwnedDescriptor, _ image: BufferImage, _ surface: WlSurface,
        _ manager: ZwpLinuxExplicitSynchronizationV1
    ) -> Bool {
        let object = fences ?? manager.getSynchronization(surface: surface)
        fences = object
        image.expectRelease(object.getRelease())
        guard fence.isValid else { return true }
        guard fence.canBePassed() else { return false }
        object.setAcquireFence(fd: fence)
        return true
    }

    /// The next commits carry no fences: their buffers cannot, and on a surface with points that would
    /// be a protocol error. Fences of commits before are not affected.
    func withdraw() {
        points?.object.destroy()
        points?.shared.destroy()
        points = nil
        fences?.destroy()
        fences = nil
    }
}

extension SyncTimeline {
    /// A descriptor of it that can be passed to the compositor.
    fileprivate func passable() throws(KernelError) -> OwnedDescriptor {
        let descriptor = try share()
        guard descriptor.canBePassed() else { throw KernelError("dup", EMFILE) }
        return descriptor
    }
}

/// The timeline by whose points the compositor says that it is done with one image.
final class ReleaseTimeline: EventHandler {
    /// The compositor's object of it.
    let shared: WpLinuxDrmSyncobjTimelineV1
    /// The point that the latest commit of the image will signal.
    private(set) var point: UInt64 = 0
    private let timeline: SyncTimeline
    private let loop: EventLoop
    private let event: OwnedDescriptor
    private var registration: Registration?
    private unowned let image: BufferImage
    private var isFenceExpected = false

    init(
        _ image: BufferImage, _ manager: WpLinuxDrmSyncobjManagerV1, _ device: SyncDevice,
        _ loop: EventLoop
    ) throws(KernelError) {
        self.image = image
        self.loop = loop
        timeline = try device.makeTimeline()
        event = try EventFile.make()
        shared = manager.importTimeline(fd: try timeline.passable())
        do throws(KernelError) {
            // Told once for each point: nothing needs to be read.
            registration = try loop.register(event.number, [.read, .edge], self)
        } catch {
            shared.destroy()
            throw error
        }
    }

    /// Has the next point told of.
    func expect(whenAvailable: Bool) throws(KernelError) {
        try timeline.notify(event.number, at: point + 1, whenAvailable: whenAvailable)
        point += 1
        isFenceExpected = whenAvailable
    }

    func ready(_ registration: Registration, _ readiness: Readiness) {
        guard self.registration != nil else { return }
        guard isFenceExpected else { return image.pointCame(.none) }
        if let fence = try? timeline.fence(at: point) { return image.pointCame(fence) }
        // No descriptor is left for the fence: then it is told of when it has signalled.
        isFenceExpected = false
        do throws(KernelError) {
            try timeline.notify(event.number, at: point, whenAvailable: false)
        } catch {
            image.pointCame(.none)
        }
    }

    /// Nothing is told any more; the compositor's object is the caller's to destroy.
    func end() {
        if let registration { loop.remove(registration) }
        registration = nil
    }
}
