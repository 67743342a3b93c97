import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// The globals of one connection, bound, and the formats that the compositor tells of.
final class WaylandGlobals {
    let compositor: WlCompositor
    let shm: WlShm
    let wmBase: XdgWmBase
    let dmabuf: ZwpLinuxDmabufV1?
    let viewporter: WpViewporter?
    let presentation: WpPresentation?
    let decorationManager: ZxdgDecorationManagerV1?
    let tagManager: XdgToplevelTagManagerV1?
    let syncobjManager: WpLinuxDrmSyncobjManagerV1?
    let explicitSync: ZwpLinuxExplicitSynchronizationV1?
    /// Outputs that windows can be made fullscreen on.
    let outputs: WaylandOutputs
    /// Keyboards, pointers and touch screens.
    let seats: WaylandSeats
    private let registry: WaylandRegistry
    /// What can be imported.
    private(set) var catalog = FormatCatalog()
    /// The clock that presentation times are of; nil before the compositor has said it.
    private(set) var presentationClock: ForeignClock?
    private var feedback: FeedbackObject?
    private let tables = LatestTable()
    private let books: PresenterBooks
    private let logger: Logger
    private var isComplete = false

    /// The interfaces that are bound where they are offered.
    static let used = [
        WlCompositor.interfaceName, WlShm.interfaceName, XdgWmBase.interfaceName,
        ZwpLinuxDmabufV1.interfaceName, WpViewporter.interfaceName, WpPresentation.interfaceName,
        ZxdgDecorationManagerV1.interfaceName, WpLinuxDrmSyncobjManagerV1.interfaceName,
        ZwpLinuxExplicitSynchronizationV1.interfaceName, XdgToplevelTagManagerV1.interfaceName,
        WlOutput.interfaceName, WlSeat.interfaceName, WpCursorShapeManagerV1.interfaceName,
    ]

    /// Names what a compositor lacks, in words; nil when windows can be shown.
    static func missing(in registry: WaylandRegistry) -> String? {
        var missing: [String] = []
        // Damage in buffer pixels came with version 4.
        if registry.first(WlCompositor.self)?.version ?? 0 < 4 {
            missing.append("wl_compositor of version 4")
        }
        if registry.first(WlShm.self) == nil { missing.append("wl_shm") }
        if registry.first(XdgWmBase.self) == nil { missing.append("xdg_wm_base") }
        guard !missing.isEmpty else { return nil }
        return "the compositor does not offer \(missing.joined(separator: ", "))"
    }

    /// Binds what is there; nil when something is missing that must be.
    init?(_ registry: WaylandRegistry, _ books: PresenterBooks, _ logger: Logger) {
        guard Self.missing(in: registry) == nil,
            let compositor = registry.bind(WlCompositor.self),
            let shm = registry.bind(WlShm.self),
            let wmBase = registry.bind(XdgWmBase.self, maximum: 6)
        else { return nil }
        self.books = books
        self.logger = logger
        self.compositor = compositor
        self.shm = shm
        self.wmBase = wmBase
        // Older versions tell no modifiers, and an import of theirs would be a guess.
        let hasModifiers = registry.first(ZwpLinuxDmabufV1.self)?.version ?? 0 >= 3
        dmabuf = hasModifiers ? registry.bind(ZwpLinuxDmabufV1.self, maximum: 5) : nil
        viewporter = registry.bind(WpViewporter.self)
        presentation = registry.bind(WpPresentation.self)
        self.registry = registry
        outputs = WaylandOutputs(registry)
        seats = WaylandSeats(registry, books, PointerArrow(compositor, shm, books, logger))
        decorationManager = registry.bind(ZxdgDecorationManagerV1.self)
        tagManager = registry.bind(XdgToplevelTagManagerV1.self)
        syncobjManager = registry.bind(WpLinuxDrmSyncobjManagerV1.self)
        explicitSync = registry.bind(ZwpLinuxExplicitSynchronizationV1.self)
        listen()
    }

    private func listen() {
        registry.onAdded = { [unowned self] in
            outputs.bind($0)
            seats.bind($0)
        }
        registry.onRemoved = { [unowned self] in
            outputs.remove($0)
            seats.remove($0)
        }
        wmBase.onEvent { [unowned self] event in
            switch consume event {
            case .ping(let serial): books.pinged(serial)
            }
        }
        shm.onEvent { [unowned self] event in
            switch consume event {
            case .format(let format): catalog.addShm(format.rawValue)
            }
        }
        presentation?.onEvent { [unowned self] event in
            switch consume event {
            case .clockId(let clock): presentationClock = ForeignClock(number: clock)
            }
        }
        guard let dmabuf else { return }
        guard dmabuf.version < 4 else {
            feedback = FeedbackObject(
                dmabuf.getDefaultFeedback(), tables, onUnreadable: unreadable
            ) { [unowned self] feedback in
                catalog.apply(feedback.told)
                if isComplete { listChanged() }
            }
            return
        }
        dmabuf.onEvent { [unowned self] event in
            switch consume event {
            case .format: break
            case .modifier(let format, let high, let low):
                catalog.addPair(format, UInt64(high) << 32 | UInt64(low))
            }
        }
    }

    /// The formats of the start are all told.
    func complete() {
        isComplete = true
        _ = catalog.rebuild()
        nameDevice()
    }

    private func listChanged() {
        nameDevice()
        if catalog.rebuild() { books.tell(.formatsChanged) }
    }

    /// A few reads of /sys, when the device is told and when it changes.
    private func nameDevice() {
        guard books.device?.number != catalog.mainDevice else { return }
        books.device = catalog.mainDevice.map { HostDevice(number: $0) }
    }

    /// Asks what suits a surface best; nil when the compositor does not say such things.
    func preference(of surface: WlSurface, _ id: SurfaceID) -> SurfaceFeedback? {
        guard let dmabuf, dmabuf.version >= 4 else { return nil }
        return SurfaceFeedback(
            id, dmabuf.getSurfaceFeedback(surface: surface), tables, books,
            onUnreadable: unreadable)
    }

    private var unreadable: () -> Void {
        { [logger, name = books.vmName] in
            logger.warning("\(name): the compositor's table of dma-buf formats cannot be read")
        }
    }

    /// A frame wants to be cropped or scaled and cannot be.
    func missViewporter() {
        guard !books.hasToldOfMissingViewporter else { return }
        books.hasToldOfMissingViewporter = true
        logger.warning(
            "\(books.vmName): the compositor has no wp_viewporter: frames are shown whole and unscaled"
        )
    }

    /// A window wants to be fullscreen where it cannot.
    func missOutput(_ name: String) {
        guard books.outputsMissed.insert(name).inserted else { return }
        logger.warning(
            "\(books.vmName): the compositor has no output named \(name): it chooses one for what is to be fullscreen there"
        )
    }

    /// Ends the objects; windows and images must be gone.
    func tearDown() {
        books.device = nil
        registry.onAdded = nil
        registry.onRemoved = nil
        seats.tearDown()
        outputs.tearDown()
        feedback?.destroy()
        dmabuf?.destroy()
        viewporter?.destroy()
        presentation?.destroy()
        decorationManager?.destroy()
        tagManager?.destroy()
        syncobjManager?.destroy()
        explicitSync?.destroy()
        wmBase.destroy()
        // These two have no destructor in the versions that are bound.
        shm.destroyProxy()
        compositor.destroyProxy()
    }
}
