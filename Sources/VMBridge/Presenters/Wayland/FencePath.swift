import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// Takes fences to the compositor with a commit and brings those of releases back, by the best way that
/// compositor, kernel and policy have. What is asked of the kernel here returns at once.
///
/// Only dma-bufs that were imported carry fences; shared memory on a surface that has points or
/// fences would be a protocol error.
final class FencePath {
    private(set) var policy: FencePolicy
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

    /// Chooses by another policy, from the next frame on; `choose` follows where there is a compositor.
    func setPolicy(_ policy: FencePolicy) { self.policy = policy }

    /// Chooses for a compositor.
    ///
    /// - Parameter compositor: what is known of it; nil for nothing.
    func choose(_ globals: WaylandGlobals, compositor: CompositorIdentity?) {
        let choice = FenceChoice(
            policy: policy, hasTimelines: globals.syncobjManager != nil,
            hasDevice: device != nil, hasExplicit: globals.explicitSync != nil,
            isPatient: PatientCompositors.contains(compositor))
        way = choice.way
        passesPending = choice.passesPending
        logger.info("\(books.vmName): fences: \(choice.words)")
    }

    /// The way in the words of status, for a buffer that may carry fences.
    var words: String { way.releaseWords }

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
        case .implicit, .hold:
            // Made by another policy: points and fences would be missed from here on.
            window.withdraw()
            attach(fence, image)
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
            isBusy = isBusy || BufferFences.isBusy(memory.descriptor(at: index), for: .write)
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
