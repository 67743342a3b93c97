import Descriptors
import Glibc
import Logging
import VMBridgeCore

/// A running bridge: the library's front door.
///
/// Everything happens on the thread that calls `run()`. SIGINT and SIGTERM end it; SIGUSR1 calls
/// `onReport` and SIGHUP `onReload`.
public final class BridgeService {
    /// The loop that everything runs on; for timers and descriptors of an embedding program.
    public let loop: EventLoop
    /// Called on SIGUSR1.
    public var onReport: (() -> Void)?
    /// Called on SIGHUP, to read the configuration anew and `apply` it. While nobody reads one SIGHUP ends
    /// the bridge, as other programs.
    public var onReload: (() -> Void)?
    /// Called when the end has begun, before anything is closed.
    public var onEnding: (() -> Void)?
    private let signals = SignalRelay()
    let running: RunningBridge
    private let hook: HookID
    private let capture: HeadlessCapture?
    private var finalStatus: [VMStatus]?
    private var finalConsumers: [ConsumerStatus] = []
    private var finalDrivers: [DriverStatus] = []

    /// Makes sockets and presenters; nothing is served before `run()`.
    ///
    /// - Parameters:
    ///   - configuration: what to make.
    ///   - passed: sockets that a service manager has opened; those named like a VM are taken.
    ///   - logger: for everything.
    /// - Throws: `KernelError` when a socket or the capture directory cannot be made, or a passed socket is of the wrong kind.
    public init(
        _ configuration: BridgeConfiguration, passed: ListenDescriptors = ListenDescriptors(),
        logger: Logger
    ) throws {
        let loop = try EventLoop()
        self.loop = loop
        // Before any thread starts: a signal goes to whichever thread does not block it.
        try loop.watchSignals([SIGINT, SIGTERM, SIGUSR1, SIGHUP], signals)
        // Peers hang up whenever they like; a write to them must not end us.
        signal(SIGPIPE, SIG_IGN)
        let graphics = configuration.graphicsProgram.map(GraphicsWorkerOptions.init(program:))
        switch configuration.presentation {
        case .headless(let options):
            let capture = try options.captureDirectory.map {
                try HeadlessCapture(directory: $0, logsFrames: options.logsFrames)
            }
            self.capture = capture
            running = .headless(
                try Bridge(configuration, passed: passed, loop: loop, logger: logger) { plan, _ in
                    HeadlessPresenter(
                        vmName: plan.source.vm, options: options, capture: capture, loop: loop,
                        logger: logger.of(vm: plan.source.vm), graphics: graphics)
                })
        case .wayland(let display):
            capture = nil
            running = .wayland(
                try Bridge(configuration, passed: passed, loop: loop, logger: logger) {
                    plan, syncDevice in
                    try WaylandPresenter(
                        display: display, vmName: plan.source.vm, loop: loop,
                        logger: logger.of(vm: plan.source.vm),
                        fenceLimit: plan.limits.fenceLimit, policy: plan.fences,
                        syncDevice: syncDevice,
                        graphics: configuration.blitsAlways ?? graphics,
                        blitsAlways: configuration.blitsAlways != nil)
                })
        }
        hook = loop.addHook(AfterEachBatch(running))
        signals.onSignal = { [unowned self] number in
            if number == SIGUSR1 {
                onReport?()
            } else if number == SIGHUP, let onReload {
                onReload()
            } else {
                logger.info("ending on signal \(number)")
                stop()
            }
        }
    }

    /// Serves until `stop()` or a signal ends it, then closes everything.
    public func run() throws {
        defer { shutDown() }
        try loop.run()
    }

    /// Ends `run()` after the current batch.
    public func stop() { loop.stop() }

    /// Goes on by another configuration. VMs that stay keep their producer and their windows, which
    /// change as far as Wayland lets them; surfaces that a rule now hides lose their window and
    /// those that it shows get one; VMs come and go. To be called on the loop's thread.
    ///
    /// - Returns: what could not be done, as sentences; the rest was.
    public func apply(_ configuration: Configuration) -> [String] {
        running.apply(configuration)
    }

    /// Does what a person asks of a VM's surfaces. To be called on the loop's thread.
    ///
    /// - Parameter surface: the guest's name of it; nil for all that the VM has at the moment.
    /// - Returns: how many surfaces it concerned: 0 when there is no such VM or surface.
    public func perform(_ wish: SurfaceWish, vm: String, surface: SurfaceKey?) -> Int {
        running.perform(wish, vm: vm, surface: surface)
    }

    /// Serves one vhost-user-gpu front end and ends `run()` with it. To be called before `run()`.
    ///
    /// - Parameters:
    ///   - connection: a connected stream socket; none: whoever connects to the source's own.
    ///   - vm: a VM with a source of that kind.
    package func serveOnce(_ connection: consuming OwnedDescriptor, vm: String) {
        let end = { [unowned self] in stop() }
        switch running {
        case .wayland(let bridge): bridge.serveOnce(connection, vm: vm, onEnd: end)
        case .headless(let bridge): bridge.serveOnce(connection, vm: vm, onEnd: end)
        }
    }

    /// What every VM has and did; after the end, as it was then.
    public var status: [VMStatus] {
        if let finalStatus { return finalStatus }
        return running.status
    }

    /// Those that surfaces can be handed to, and what each has and did; after the end, as it was then.
    public var consumers: [ConsumerStatus] {
        finalStatus == nil ? running.consumers : finalConsumers
    }

    /// Drivers of this host that VMs come by; after the end, as they were then.
    public var drivers: [DriverStatus] {
        finalStatus == nil ? running.drivers : finalDrivers
    }

    /// The last pictures of a headless bridge with a capture directory, by file name.
    package var captured: [String: CapturedWindow] { capture?.windows ?? [:] }

    private func shutDown() {
        guard finalStatus == nil else { return }
        onEnding?()
        finalConsumers = consumers
        finalDrivers = drivers
        finalStatus = status
        loop.remove(hook)
        running.shutDown()
    }
}

/// A bridge with one kind of presenter or the other.
enum RunningBridge {
    case wayland(Bridge<WaylandPresenter>)
    case headless(Bridge<HeadlessPresenter>)

    func settle() {
        switch self {
        case .wayland(let bridge): bridge.settle()
        case .headless(let bridge): bridge.settle()
        }
    }

    func apply(_ configuration: Configuration) -> [String] {
        switch self {
        case .wayland(let bridge): bridge.apply(configuration)
        case .headless(let bridge): bridge.apply(configuration)
        }
    }

    func perform(_ wish: SurfaceWish, vm: String, surface: SurfaceKey?) -> Int {
        switch self {
        case .wayland(let bridge): bridge.perform(wish, vm: vm, surface: surface)
        case .headless(let bridge): bridge.perform(wish, vm: vm, surface: surface)
        }
    }

    var consumers: [ConsumerStatus] {
        switch self {
        case .wayland(let bridge): bridge.consumers
        case .headless(let bridge): bridge.consumers
        }
    }

    var drivers: [DriverStatus] {
        switch self {
        case .wayland(let bridge): bridge.drivers
        case .headless(let bridge): bridge.drivers
        }
    }

    var status: [VMStatus] {
        switch self {
        case .wayland(let bridge): bridge.status
        case .headless(let bridge): bridge.status
        }
    }

    func shutDown() {
        switch self {
        case .wayland(let bridge): bridge.shutDown()
        case .headless(let bridge): bridge.shutDown()
        }
    }
}

/// What the loop calls after each batch. Not the generic bridge itself: called through `any LoopHook`
/// all of the frame path below it would be code for any presenter, which asks for its types at each step.
private final class AfterEachBatch: LoopHook {
    private let bridge: RunningBridge

    init(_ bridge: RunningBridge) { self.bridge = bridge }

    func loopDidDeliver() { bridge.settle() }
}

/// Passes signals on, once there is somebody to pass them to.
private final class SignalRelay: SignalHandler {
    var onSignal: ((Int32) -> Void)?

    func signalArrived(_ number: Int32, sender: Int32) { onSignal?(number) }
}
