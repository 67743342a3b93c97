import VMBridgeCore
import Wayland

/// One toplevel, or one image of a pointer: all its protocol objects, their state and what is pending, in one
/// object that is also the target of all their events. A steady frame touches nothing else of ours but its image.
final class WaylandWindow: HotEventTarget {
    /// What is to be sent; performed in this order, whatever order it was asked for in.
    struct Pending: OptionSet {
        let rawValue: UInt8
        static let create = Pending(rawValue: 1)
        static let update = Pending(rawValue: 2)
        static let acknowledge = Pending(rawValue: 4)
        static let frame = Pending(rawValue: 8)
        static let state = Pending(rawValue: 16)
        static let destroy = Pending(rawValue: 32)
    }

    private struct Configure {
        var serial: UInt32
        var size: Size
        var states: UInt32
    }

    /// Everything, for wl_surface and wl_region requests.
    private static let everything = Rectangle(
        x: 0, y: 0, width: UInt32(Int32.max), height: UInt32(Int32.max))
    private static let nothing = Rectangle(x: 0, y: 0, width: 0, height: 0)
    /// Configures and presentation feedbacks remembered at a time; older ones are given up.
    private static let longestMemory = 16

    let id: SurfaceID
    private let books: PresenterBooks
    private let globals: WaylandGlobals
    private let fencePath: FencePath
    /// It is a pointer's image: a bare wl_surface. That never changes.
    let isCursor: Bool
    private(set) var properties: WindowProperties
    private var sent: WindowProperties?
    /// Smallest and largest size as told.
    private var toldLimits = (smallest: Size.zero, largest: Size.zero)
    /// What of its properties the compositor cannot do, in words.
    private(set) var shortfall: String?
    private(set) var pending: Pending = .create
    /// Whether the queue has it.
    var isQueued = false
    /// The compositor has confirmed its end.
    private(set) var isGone = false

    private(set) var surface: WlSurface?
    private var xdgSurface: XdgSurface?
    private var toplevel: XdgToplevel?
    private var viewport: WpViewport?
    private var decoration: ZxdgToplevelDecorationV1?
    private var fences: WindowFences?
    private var callback: WlCallback?
    private var end: WlCallback?
    /// What the compositor prefers for it; nil when it does not say.
    private(set) var preference: SurfaceFeedback?

    // The frame to commit; the image stays reserved for it.
    private var frame: Frame?
    private var image: BufferImage?
    private(set) var hasContent = false
    /// Something was told that takes effect with a commit only.
    private var needsStateCommit = false
    /// What its commits changed; kept from the first one that copies.
    var history: DamageHistory?
    // What the compositor was told last.
    private(set) var view: FrameView?
    private var opaque = WaylandWindow.nothing
    // Of the frame that is shown.
    private(set) var shownSize = Size.zero
    private var size = WindowSize()
    private var isShownOpaque = false

    private var toldSize = Size.zero
    private var toldStates: UInt32 = 0
    private var configures: ContiguousArray<Configure> = []
    private var serial: UInt32 = 0
    private var feedbacks:
        ContiguousArray<(object: WpPresentationFeedback, sequence: FrameSequence)>

    init(
        _ id: SurfaceID, _ properties: WindowProperties, _ books: PresenterBooks,
        _ globals: WaylandGlobals, _ fencePath: FencePath
    ) {
        self.id = id
        self.fencePath = fencePath
        self.properties = properties
        isCursor = properties.cursor != nil
        self.books = books
        self.globals = globals
        configures = []
        configures.reserveCapacity(Self.longestMemory)
        feedbacks = []
        feedbacks.reserveCapacity(Self.longestMemory)
    }

    // MARK: Wishes

    func wantUpdate(_ properties: WindowProperties) {
        self.properties = properties
        pending.insert(.update)
    }

    /// The same properties once more, since the compositor may take more of them now.
    func wantUpdate() { pending.insert(.update) }

    func wantAcknowledge(_ serial: UInt32) {
        self.serial = serial
        pending.insert(.acknowledge)
    }

    func wantCommit(_ frame: Frame, _ image: BufferImage) {
        image.state = .committed
        image.window = self
        self.frame = frame
        self.image = image
        pending.insert(.frame)
    }

    func wantCommitState() { pending.insert(.state) }
    func wantDestroy() { pending.insert(.destroy) }

    /// Bytes that the pending requests take at most.
    var pendingBytes: Int {
        guard !pending.isDisjoint(with: [.create, .update]) else { return 840 }
        // Title and app id have at most 256 bytes each (source-v1 §5.5), apart from their prefixes.
        let strings =
            properties.identity.title.utf8.count + properties.identity.appID.utf8.count
            + properties.tag.utf8.count
        return min(4096, 1160 + strings)
    }

    /// Descriptors that they pass at most.
    var pendingDescriptors: Int { pending.contains(.frame) ? fencePath.descriptorsPerCommit : 0 }

    /// Sends what is pending, after room was made for it.
    ///
    /// - Parameter connection: asked for a sync after the window's end, whose answer makes it `gone`.
    func perform(_ connection: WaylandConnection) {
        isQueued = false
        let now = pending
        pending = []
        if now.contains(.destroy) { return destroy(connection) }
        if now.contains(.create) {
            create()
        } else if now.contains(.update) {
            update()
        }
        guard let surface else { return }
        if now.contains(.acknowledge), let xdgSurface { acknowledge(xdgSurface) }
        if now.contains(.frame), let frame, let image {
            self.frame = nil
            self.image = nil
            if commit(frame, image, surface) { return }
        }
        if now.contains(.state) || needsStateCommit { commitState(surface) }
    }

    // MARK: Making and changing

    private func create() {
        let surface = globals.compositor.createSurface()
        guard !isCursor else {
            self.surface = surface
            viewport = globals.viewporter?.getViewport(surface: surface)
            sent = properties
            return
        }
        let xdgSurface = globals.wmBase.getXdgSurface(surface: surface)
        xdgSurface.setTarget(self)
        let toplevel = xdgSurface.getToplevel()
        toplevel.setTarget(self)
        self.surface = surface
        self.xdgSurface = xdgSurface
        self.toplevel = toplevel
        viewport = globals.viewporter?.getViewport(surface: surface)
        preference = globals.preference(of: surface, id)
        tell(toplevel)
        if let manager = globals.decorationManager {
            let decoration = manager.getToplevelDecoration(toplevel: toplevel)
            decoration.setMode(mode: properties.hasFrame ? .serverSide : .clientSide)
            self.decoration = decoration
        }
        // Without a buffer: asks for the first configure.
        surface.commit()
        needsStateCommit = false
    }

    private func update() {
        guard let toplevel else { return updateCursor() }
        if let sent, sent.hasFrame != properties.hasFrame {
            decoration?.setMode(mode: properties.hasFrame ? .serverSide : .clientSide)
        }
        tell(toplevel)
    }

    private func updateCursor() {
        guard surface != nil else { return }
        if sent?.opaqueRegion != properties.opaqueRegion { needsStateCommit = hasContent }
        sent = properties
    }

    private func tell(_ toplevel: XdgToplevel) {
        let identity = properties.identity
        if sent?.identity.title != identity.title { toplevel.setTitle(title: identity.title) }
        if sent?.identity.appID != identity.appID { toplevel.setAppId(appId: identity.appID) }
        if !properties.tag.isEmpty, sent?.tag != properties.tag {
            globals.tagManager?.setToplevelTag(toplevel: toplevel, tag: properties.tag)
        }
        tellLimits(toplevel)
        if let sent, sent.opaqueRegion != properties.opaqueRegion {
            needsStateCommit = hasContent
        }
        let mode = sent?.mode ?? .normal
        if mode != properties.mode || shortfall != nil { tellMode(toplevel, after: mode) }
        sent = properties
    }

    private func tellLimits(_ toplevel: XdgToplevel) {
        var smallest = properties.minimumSize
        var largest = properties.maximumSize
        if properties.isFixedSize, size.natural != .zero {
            (smallest, largest) = (size.natural, size.natural)
        }
        // A largest size below the smallest is a protocol error.
        if largest.width > 0 { largest.width = max(largest.width, smallest.width) }
        if largest.height > 0 { largest.height = max(largest.height, smallest.height) }
        guard (smallest, largest) != toldLimits else { return }
        toldLimits = (smallest, largest)
        toplevel.setMinSize(
            width: Int32(clamping: smallest.width), height: Int32(clamping: smallest.height))
        toplevel.setMaxSize(
            width: Int32(clamping: largest.width), height: Int32(clamping: largest.height))
        needsStateCommit = hasContent
    }

    /// Asks for the state that it is to have. A person may change it again, as that of any window.
    private func tellMode(_ toplevel: XdgToplevel, after former: ShowProperties.Mode) {
        shortfall = nil
        var isFullscreen = false
        switch properties.mode {
        case .normal: break
        case .maximized: toplevel.setMaximized()
        case .fullscreen(let place):
            isFullscreen = true
            var output: WlOutput?
            if case .output(let name) = place {
                output = globals.outputs[name]
                if output == nil {
                    shortfall = "no output \(name) is there, so the compositor chose"
                    globals.missOutput(name)
                }
            }
            toplevel.setFullscreen(output: output)
        }
        if case .fullscreen = former, !isFullscreen { toplevel.unsetFullscreen() }
        if former == .maximized, properties.mode != .maximized { toplevel.unsetMaximized() }
    }

    private func acknowledge(_ xdgSurface: XdgSurface) {
        xdgSurface.ackConfigure(serial: serial)
        guard let index = configures.firstIndex(where: { $0.serial == serial }) else { return }
        size.configured(configures[index].size, states: configures[index].states)
        configures.removeFirst(index + 1)
    }

    // MARK: Commits

    private func commit(_ frame: Frame, _ image: BufferImage, _ surface: WlSurface) -> Bool {
        guard image.state == .committed, let wlBuffer = image.wlBuffer, let buffer = image.buffer
        else {
            // Given back while the commit waited.
            if image.state == .orphan { image.state = .idle }
            return false
        }
        size.committed(natural: frame.shownSize, wanted: frame.destination)
        shownSize = frame.size
        if properties.isFixedSize, let toplevel { tellLimits(toplevel) }
        isShownOpaque = buffer.isOpaque
        let view = FrameView(frame, isBottomUp: buffer.layout.isBottomUp, forced: destination)
        show(view, surface)
        setOpaque(surface)
        if image.carriesFences || fences != nil {
            let fences = fences ?? WindowFences()
            self.fences = fences
            fencePath.prepare(fences, image, surface, globals)
        }
        surface.attach(buffer: wlBuffer, x: 0, y: 0)
        damage(frame.damage, view, of: frame.size, surface)
        if isCursor {
            // One that is hidden, or not pointed with, would get no callback.
            books.tell(.frameCallback(id))
        } else {
            askEvents(frame, surface)
        }
        surface.commit()
        hasContent = true
        needsStateCommit = false
        if isCursor { globals.seats.imageChanged() }
        return true
    }

    private func askEvents(_ frame: Frame, _ surface: WlSurface) {
        callback?.destroyProxy()
        let callback = surface.frame()
        callback.setTarget(self)
        self.callback = callback
        if let presentation = globals.presentation { askFeedback(presentation, frame, surface) }
    }

    private var destination: Size? { size.destination(isFixed: properties.isFixedSize) }

    private func commitState(_ surface: WlSurface) {
        if var view {
            view.destination = destination
            show(view, surface)
            setOpaque(surface)
        }
        surface.commit()
        needsStateCommit = false
    }

    /// Sends what of a view differs from the former one.
    private func show(_ wanted: FrameView, _ surface: WlSurface) {
        var view = wanted
        if view.transform != self.view?.transform ?? 0 {
            surface.setBufferTransform(transform: WlOutput.Transform(rawValue: view.transform))
        }
        if let viewport {
            if view.source != self.view?.source { Self.setSource(view.source, viewport) }
            if view.destination != self.view?.destination {
                viewport.setDestination(
                    width: view.destination.map { Int32(clamping: $0.width) } ?? -1,
                    height: view.destination.map { Int32(clamping: $0.height) } ?? -1)
            }
        } else if view.source != nil || view.destination != nil {
            globals.missViewporter()
            (view.source, view.destination) = (nil, nil)
        }
        self.view = view
    }

    private static func setSource(_ source: Rectangle?, _ viewport: WpViewport) {
        guard let source else {
            let none = WaylandFixed(-1)
            return viewport.setSource(x: none, y: none, width: none, height: none)
        }
        viewport.setSource(
            x: WaylandFixed(Double(source.x)), y: WaylandFixed(Double(source.y)),
            width: WaylandFixed(Double(source.width)), height: WaylandFixed(Double(source.height)))
    }

    /// Tells the opaque region, if it changed; to be called after `show`.
    private func setOpaque(_ surface: WlSurface) {
        var wanted = Self.nothing
        if isShownOpaque {
            wanted = Self.everything
        } else if let region = properties.opaqueRegion, let view {
            wanted = view.opaque(region, of: shownSize)
        }
        guard wanted != opaque else { return }
        opaque = wanted
        guard wanted.width > 0, wanted.height > 0 else {
            return surface.setOpaqueRegion(region: nil)
        }
        let region = globals.compositor.createRegion()
        region.add(
            x: Int32(clamping: wanted.x), y: Int32(clamping: wanted.y),
            width: Int32(clamping: wanted.width), height: Int32(clamping: wanted.height))
        surface.setOpaqueRegion(region: region)
        region.destroy()
    }

    private func damage(
        _ damage: Damage, _ view: FrameView, of size: Size, _ surface: WlSurface
    ) {
        if damage.isWhole {
            surface.damageBuffer(x: 0, y: 0, width: Int32.max, height: Int32.max)
        }
        for index in 0..<damage.count {
            let part = view.inMemory(damage[index], of: size)
            surface.damageBuffer(
                x: Int32(clamping: part.x), y: Int32(clamping: part.y),
                width: Int32(clamping: part.width), height: Int32(clamping: part.height))
        }
    }

    private func askFeedback(_ presentation: WpPresentation, _ frame: Frame, _ surface: WlSurface) {
        if feedbacks.count == Self.longestMemory {
            let oldest = feedbacks.removeFirst()
            oldest.object.destroyProxy()
            books.tell(.discarded(id, oldest.sequence))
        }
        let object = presentation.feedback(surface: surface)
        object.setTarget(self)
        feedbacks.append((object, frame.sequence))
    }

    /// The place of its picture that a place of it shows; the view of the last commit is in force.
    func place(_ x: WaylandFixed, _ y: WaylandFixed) -> InputPoint {
        view?.place(x.rawValue, y.rawValue, in: shownSize) ?? InputPoint(x: 0, y: 0)
    }

    // MARK: Ending

    private func destroy(_ connection: WaylandConnection) {
        guard surface != nil else { return confirmEnd() }
        destroyObjects()
        let end = connection.sync()
        end.setTarget(self)
        self.end = end
    }

    /// Ends its objects in the order that the protocols ask for.
    private func destroyObjects() {
        callback?.destroyProxy()
        callback = nil
        for feedback in feedbacks { feedback.object.destroyProxy() }
        feedbacks.removeAll(keepingCapacity: true)
        fences?.withdraw()
        fences = nil
        preference?.destroy()
        preference = nil
        decoration?.destroy()
        viewport?.destroy()
        toplevel?.destroy()
        xdgSurface?.destroy()
        surface?.destroy()
        (decoration, viewport, toplevel, xdgSurface, surface) = (nil, nil, nil, nil, nil)
    }

    /// The connection ends.
    func tearDown() {
        destroyObjects()
        end?.destroyProxy()
        end = nil
        frame = nil
        image = nil
        pending = []
        isGone = true
    }

    /// The compositor reads none of its buffers any more: what it did not release ends now. Their
    /// images are not used again, since a late release would then end a wrong use.
    private func confirmEnd() {
        frame = nil
        image = nil
        for image in books.images.objects where image.window === self {
            guard let use = image.use else { continue }
            image.buffer?.drop(image)
            books.tell(.released(use))
        }
        isGone = true
        books.tell(.windowGone(id))
    }

    // MARK: Events

    /// Its end waits for the compositor to read: what it is told meanwhile is not for the window that
    /// took its place.
    var isLeaving: Bool { pending.contains(.destroy) }

    override func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) {
        if sender == callback {
            callback = nil
            if !isLeaving { books.tell(.frameCallback(id)) }
        } else if sender == end {
            end = nil
            confirmEnd()
        }
    }

    override func xdgToplevelConfigure(
        _ sender: XdgToplevel, width: Int32, height: Int32, states: Span<UInt32>
    ) {
        toldSize = Size(width: UInt32(clamping: width), height: UInt32(clamping: height))
        toldStates = 0
        for index in 0..<states.count where states[index] < 32 {
            toldStates |= 1 << states[index]
        }
    }

    override func xdgSurfaceConfigure(_ sender: XdgSurface, serial: UInt32) {
        guard !isLeaving else { return }
        if configures.count == Self.longestMemory { configures.removeFirst() }
        configures.append(Configure(serial: serial, size: toldSize, states: toldStates))
        books.tell(
            .configured(id, ConfigureRecord(size: toldSize, states: toldStates), serial: serial))
    }

    override func xdgToplevelClose(_ sender: XdgToplevel) {
        if !isLeaving { books.tell(.closeRequested(id)) }
    }

    override func wpPresentationFeedbackPresented(
        _ sender: WpPresentationFeedback, tvSecHi: UInt32, tvSecLo: UInt32, tvNsec: UInt32,
        refresh: UInt32, seqHi: UInt32, seqLo: UInt32, flags: WpPresentationFeedback.Kind
    ) {
        guard let sequence = take(sender) else { return }
        let seconds = UInt64(tvSecHi) << 32 | UInt64(tvSecLo)
        let told = seconds &* 1_000_000_000 &+ UInt64(tvNsec)
        // 0 says that the time is not known.
        let time = globals.presentationClock?.monotonic(told) ?? 0
        books.tell(
            .presented(id, sequence, time: time, refresh: refresh, flags: flags.rawValue))
    }

    override func wpPresentationFeedbackDiscarded(_ sender: WpPresentationFeedback) {
        if let sequence = take(sender) { books.tell(.discarded(id, sequence)) }
    }

    private func take(_ sender: WpPresentationFeedback) -> FrameSequence? {
        for index in feedbacks.indices where feedbacks[index].object == sender {
            return feedbacks.remove(at: index).sequence
        }
        return nil
    }
}
