import Logging
import VMBridgeCore

/// What a headless presenter is made with.
public struct HeadlessOptions: Sendable {
    /// Refreshes a second of the virtual output.
    public var refreshRate: Double = 60
    /// Size that windows are asked to take; zero lets each choose its own. Maximized and fullscreen ones
    /// then get 1920x1080.
    public var windowSize = Size.zero
    /// Directory for each surface's last frame as PNG and the log of commits; nil for none.
    public var captureDirectory: String?
    /// Whether each frame's pixels are read when it is committed, for a line in the capture's `frames.log`.
    public var logsFrames = false
    /// The usual virtual output without a capture.
    public init() {}
}

/// A consumer without a compositor: a virtual output that takes what was committed at each refresh,
/// releases what it replaces, and reads pixels only to write a picture of them. It has no seat, so images of
/// pointers are taken and captured, and seen on no window.
package final class HeadlessPresenter: Presenter {
    private struct Window {
        var properties: WindowProperties
        /// Committed, to be taken at the next refresh.
        var committed: Frame?
        /// Taken at a refresh before; held until the next one replaces it.
        var shown: Frame?
        /// The use of `shown` was ended by the session.
        var isShownCancelled = false
    }

    /// The name of the virtual output.
    static let outputName = "HEADLESS-1"

    private let vmName: String
    private let loop: EventLoop
    private let logger: Logger
    private let interval: UInt64
    private let windowSize: Size
    private let capture: HeadlessCapture?
    /// For pictures of what cannot be mapped; nil where there is no program for it.
    private let blits: HeadlessBlits?
    private var hasToldOfBlits = false
    private var timer: TimerID?
    private var isArmed = false
    private var nextRefresh: UInt64
    private var windows: [SurfaceID: Window] = [:]
    private var memories: [BufferID: BufferMemory] = [:]
    private var events: [PresenterEvent] = []
    private var serial: UInt32 = 0

    /// What can be shown: every format that can be turned into a picture, from either memory.
    package let formats: [ImportableFormat] = PixelFormat.allCases.map {
        ImportableFormat(
            format: FourCC($0.rawValue), modifier: .linear,
            memory: $0.planeCount == 1 ? 3 : ImportableFormat.bit(.dmaBuf))
    }

    /// A virtual output of one VM.
    ///
    /// - Parameters:
    ///   - capture: shared by all VMs of a bridge; nil when nothing is to be written.
    ///   - graphics: of the worker that draws what cannot be mapped; nil for none.
    package init(
        vmName: String, options: HeadlessOptions, capture: HeadlessCapture?, loop: EventLoop,
        logger: Logger, graphics: GraphicsWorkerOptions? = nil,
        launcher: @escaping (EventLoop) -> any GraphicsWorkerLauncher = { _ in ProgramLauncher() }
    ) {
        self.vmName = vmName
        self.loop = loop
        self.logger = logger
        self.capture = capture
        blits = graphics.map { HeadlessBlits(loop, $0, launcher: launcher) }
        interval = UInt64(1e9 / min(max(options.refreshRate, 0.1), 1000))
        windowSize = options.windowSize
        nextRefresh = loop.now()
        events.reserveCapacity(32)
        timer = loop.makeTimer { [unowned self] in self.refresh($0) }
    }

    package var isReady: Bool { true }
    package var trouble: String? { nil }
    package var name: String { "the virtual output" }

    package func importPath(of buffer: BufferID) -> String {
        switch memories[buffer]?.layout.memory {
        case .dmaBuf: "dma-buf, mapped for captures only"
        case .memfd: "memfd, mapped for captures only"
        case nil: "none"
        }
    }

    // MARK: Buffers

    package func addBuffer(_ id: BufferID, _ memory: BufferMemory) { memories[id] = memory }

    package func forgetBuffer(_ id: BufferID) { memories[id] = nil }

    package func memory(of buffer: BufferID) -> BufferMemory? { memories[buffer] }

    package func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer { .ready }

    package func cancelImage(_ use: UseID) {
        blits?.forget(use)
        // A use that the session ended while the output holds it is not reported again.
        for (id, window) in windows where window.shown?.use == use {
            windows[id]?.isShownCancelled = true
        }
        for (id, window) in windows where window.committed?.use == use {
            windows[id]?.committed = nil
        }
    }

    // MARK: Windows

    package func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        windows[id] = Window(properties: properties)
        configure(id, properties)
    }

    package func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        guard let former = windows[id]?.properties else { return }
        windows[id]?.properties = properties
        if former.mode != properties.mode { configure(id, properties) }
    }

    private func configure(_ id: SurfaceID, _ properties: WindowProperties) {
        guard properties.cursor == nil else {
            let none = ConfigureRecord(size: .zero, states: 0)
            return events.append(.configured(id, none, serial: 0))
        }
        let whole = windowSize == .zero ? Size(width: 1920, height: 1080) : windowSize
        // xdg_toplevel's states: 1 maximized, 2 fullscreen, 4 activated.
        let (size, state): (Size, UInt32) =
            switch properties.mode {
            case .normal: (windowSize, 0)
            case .maximized: (whole, 1 << 1)
            case .fullscreen: (whole, 1 << 2)
            }
        serial &+= 1
        events.append(
            .configured(id, ConfigureRecord(size: size, states: state | 1 << 4), serial: serial))
    }

    package func shortfall(of id: SurfaceID) -> String? {
        guard case .fullscreen(.output(let name)) = windows[id]?.properties.mode,
            name != Self.outputName
        else { return nil }
        return "no output \(name) is there, but \(Self.outputName)"
    }

    package func acknowledge(_ id: SurfaceID, serial: UInt32) {}

    package func commitState(_ id: SurfaceID) {}

    package func commit(_ id: SurfaceID, _ frame: Frame) {
        windows[id]?.committed = frame
        if let capture, let window = windows[id], let memory = memories[frame.buffer] {
            capture.log(
                vm: vmName, window.properties, frame, memory, slot: id.slot, now: loop.now())
            capture.logFrame(vm: vmName, frame, memory, slot: id.slot)
        }
        arm()
    }

    package func destroyWindow(_ id: SurfaceID) {
        guard let window = windows.removeValue(forKey: id) else { return }
        var held: [UseID] = []
        if let shown = window.shown, !window.isShownCancelled { held.append(shown.use) }
        if let committed = window.committed { held.append(committed.use) }
        if !keepPicture(id, window, held: held) { end(id, held) }
    }

    private func end(_ id: SurfaceID, _ held: [UseID]) {
        for use in held { events.append(.released(use)) }
        events.append(.windowGone(id))
    }

    /// Writes every window's picture as it is now.
    package func keepPictures() {
        for (id, window) in windows { _ = keepPicture(id, window, held: []) }
    }

    /// - Parameter held: uses that end with the window.
    /// - Returns: whether the picture is still to be drawn, after which the window ends.
    private func keepPicture(_ id: SurfaceID, _ window: Window, held: [UseID]) -> Bool {
        guard let capture, let frame = window.committed ?? window.shown,
            let memory = memories[frame.buffer]
        else { return false }
        do {
            try capture.keep(vm: vmName, window.properties, frame, memory, slot: id.slot)
            events.append(.copied(id, bytes: memory.pixelBytes))
        } catch let error as KernelError where memory.layout.memory == .dmaBuf && blits != nil {
            let picture = UnreadPicture(
                id: id, properties: window.properties, frame: frame, memory: memory, why: error,
                held: held)
            do throws(KernelError) {
                try blits?.draw(picture)
                return true
            } catch { lack(picture, "\(error)") }
        } catch { lack(window.properties, "\(error)") }
        return false
    }

    private func lack(_ properties: WindowProperties, _ why: String) {
        logger.warning("\(vmName): no picture of \(properties.identity.title): \(why)")
    }

    private func lack(_ picture: UnreadPicture, _ why: String) {
        logger.warning(
            "\(vmName): no picture of \(picture.properties.identity.title): \(picture.why); EGL does not draw it either: \(why)"
        )
    }

    /// Writes a picture that the graphics worker has drawn.
    private func keep(
        _ picture: UnreadPicture, _ drawn: Result<BufferMemory, GraphicsRefusal>
    ) {
        do {
            let pixels = try drawn.get()
            try capture?.keep(
                vm: vmName, picture.properties, picture.frame, pixels, slot: picture.id.slot)
            events.append(.copied(picture.id, bytes: picture.memory.pixelBytes))
            guard !hasToldOfBlits else { return }
            hasToldOfBlits = true
            logger.warning(
                "\(vmName): a dma-buf cannot be mapped (\(picture.why)): EGL draws its pictures, in a process of its own"
            )
        } catch let refusal as GraphicsRefusal {
            lack(picture, refusal.sentence)
        } catch { lack(picture, "\(error)") }
    }

    // MARK: Refresh

    private func arm() {
        guard !isArmed, let timer else { return }
        isArmed = true
        let now = loop.now()
        // Refreshes keep their beat, whoever commits when.
        if nextRefresh <= now { nextRefresh += ((now - nextRefresh) / interval + 1) * interval }
        loop.arm(timer, at: nextRefresh)
    }

    private func refresh(_ now: UInt64) {
        isArmed = false
        for id in windows.keys {
            guard let window = windows[id], let frame = window.committed else { continue }
            if let shown = window.shown, !window.isShownCancelled {
                events.append(.released(shown.use))
            }
            windows[id]?.shown = frame
            windows[id]?.committed = nil
            windows[id]?.isShownCancelled = false
            if window.properties.cursor == nil {
                events.append(
                    .presented(
                        id, frame.sequence, time: now, refresh: UInt32(clamping: interval), flags: 0
                    ))
            }
            events.append(.frameCallback(id))
        }
    }

    package var graphicsStatus: GraphicsWorkerStatus? { blits?.status }

    package func takeEvents(_ body: (PresenterEvent) -> Void) {
        repeat {
            blits?.settle { picture, drawn in
                keep(picture, drawn)
                end(picture.id, picture.held)
            }
            deliver(body)
        } while blits?.hasEvents == true
    }

    private func deliver(_ body: (PresenterEvent) -> Void) {
        var index = 0
        while index < events.count {
            body(events[index])
            index += 1
        }
        events.removeAll(keepingCapacity: true)
    }

    package func flush() {}

    package func shutDown() {
        blits?.beginEnding()
        keepPictures()
        blits?.finish { keep($0, $1) }
        capture?.flush()
        if let timer { loop.remove(timer) }
        timer = nil
        windows.removeAll()
        memories.removeAll()
        events.removeAll()
    }
}
