import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// The ways of fences between a VM's producer and one compositor, the best one first.
enum FenceWay {
    /// linux-drm-syncobj-v1: points of timelines, both ways.
    case timelines
    /// linux-explicit-synchronization-v1: a fence with the commit, another with the release.
    case explicit
    /// The fences that dma-bufs carry themselves.
    case implicit
    /// None: frames are held until their fence has signalled.
    case hold
}

/// Takes fences to the compositor with a commit and brings those of releases back, by the best way that
/// compositor, kernel and policy have. What is asked of the kernel here returns at once.
///
/// Only dma-bufs that were imported carry fences; shared memory on a surface that has points or
/// fences would be a protocol error.
final class FencePath {
    let policy: FencePolicy
    private(set) var way = FenceWay.hold
    /// Whether pending acquire fences are passed on.
    private(set) var passesPending = false
    /// Releases are wanted as soon as there is a fence for them.
    var wantsReleaseFences = false
    private let device: SyncDevice?
    private let books: PresenterBooks
    private let loop: EventLoop
    private let logger: Logger
    private var hasTold = false

    /// - Parameter device: for timelines; nil where no device knows them.
    init(
        _ policy: FencePolicy, _ device: SyncDevice?, _ books: PresenterBooks, _ loop: EventLoop,
        _ logger: Logger
    ) {
        self.policy = policy
        self.device = device
        self.books = books
        self.loop = loop
        self.logger = logger
    }

    // MARK: Choice

    /// Chooses for a compositor.
    ///
    /// - Parameter compositor: what is known of it; nil for nothing.
    func choose(_ globals: WaylandGlobals, compositor: CompositorIdentity?) {
        var why = "the compositor takes no fences with a commit"
        if policy == .hold {
            way = .hold
            why = "as configured"
        } else if globals.syncobjManager != nil, device != nil {
            way = .timelines
            why = "by points of timelines (drm-syncobj)"
        } else if globals.explicitSync != nil {
            way = .explicit
            why = "by explicit-synchronization"
            if globals.syncobjManager != nil { why += ", since no device here knows timelines" }
        } else {
            way = .implicit
            if globals.syncobjManager != nil { why = "no device here knows timelines" }
        }
        switch policy {
        case .hold: passesPending = false
        case .pass: passesPending = true
        case .auto:
            passesPending = way == .timelines && PatientCompositors.contains(compositor)
        }
        let pending = passesPending ? "passed on" : "held here"
        logger.info("\(books.vmName): fences: \(why); pending ones are \(pending)")
    }

    /// The way in the words of status, for a buffer that may carry fences.
    var words: String {
        switch way {
        case .timelines: "drm-syncobj point"
        case .explicit: "explicit-synchronization"
        case .implicit, .hold: "wl_buffer.release and the dma-buf's own fences"
        }
    }

    // MARK: Commits

    /// Descriptors that a commit passes at most: two timelines, or a fence.
    var descriptorsPerCommit: Int {
        switch way {
        case .timelines: 2
        case .explicit: 1
        case .implicit, .hold: 0
        }
    }

    /// Says what the next commit of a window has to say beside its buffer.
    func prepare(
        _ window: WindowFences, _ image: BufferImage, _ surface: WlSurface,
        _ globals: WaylandGlobals
    ) {
        let fence = image.takeAcquireFence()
        image.release = .message
        guard image.carriesFences else { return window.withdraw() }
        switch way {
        case .timelines:
            if !window.isWithoutPoints, let device, let manager = globals.syncobjManager {
                do throws(KernelError) {
                    try window.setPoints(
                        fence.number, image, surface, manager, device, loop,
                        whenAvailable: wantsReleaseFences)
                    return
                } catch {
                    window.isWithoutPoints = true
                    window.withdraw()
                    tell("a surface goes on without timelines: \(error)")
                }
            }
            attach(fence, image)
        case .explicit:
            guard let manager = globals.explicitSync else { return }
            if !window.setFences(fence, image, surface, manager) { attach(fence, image) }
        case .implicit, .hold: attach(fence, image)
        }
    }

    /// A pending fence becomes the dma-bufs' own: who reads waits for whoever writes until then.
    private func attach(_ fence: borrowing OwnedDescriptor, _ image: BufferImage) {
        guard fence.isValid, let memory = image.buffer?.memory else { return }
        for index in 0..<memory.descriptorCount {
            do throws(KernelError) {
                try LinuxKernelBuffers().importFence(
                    fence.number, dmaBuf: memory.descriptor(at: index), as: .write)
            } catch {
                tell("a fence could not be given to its dma-buf and is not waited for: \(error)")
            }
        }
    }

    private func tell(_ what: String) {
        guard !hasTold else { return }
        hasTold = true
        logger.warning("\(books.vmName): \(what)")
    }

    // MARK: Releases

    /// The compositor let go of a dma-buf by message; its work on it may still be under way.
    ///
    /// - Returns: what to wait for; no descriptor when there is nothing.
    static func leftover(_ memory: BufferMemory) -> OwnedDescriptor {
        var isBusy = false
        for index in 0..<memory.descriptorCount {
            isBusy = isBusy || BufferFences.isBusy(memory.descriptor(at: index))
        }
        guard isBusy else { return .none }
        do throws(KernelError) {
            return try BufferFences.gather(for: .write, memory.descriptorCount) {
                memory.descriptor(at: $0)
            }
        } catch {
            // Out of descriptors: the message is all that there is to go by, as with older kernels.
            return .none
        }
    }
}

/// Compositors that were seen to keep all other surfaces going while one of them waits for the fence of
/// a timeline's point, each with its test. To all others a pending fence is passed on only on demand.
enum PatientCompositors {
    static let names: [(name: String, test: String)] = []

    static func contains(_ compositor: CompositorIdentity?) -> Bool {
        guard let compositor else { return false }
        return names.contains { compositor.isCalled($0.name) }
    }
}
