import VMBridgeCore
import Wayland

/// One seat's pointer, and what it shows.
final class WaylandPointer: HotEventTarget {
    private let object: WlPointer
    private unowned let seats: WaylandSeats
    private let books: PresenterBooks
    private let shape: WpCursorShapeDeviceV1?
    /// Since version 5 events that belong together end with a frame event; before, each stands alone.
    private let hasFrames: Bool
    /// The window that it is on.
    private(set) var focus: WaylandWindow?
    /// Where it was on it last.
    private(set) var place = InputPoint(x: 0, y: 0)
    private var scroll = ScrollFrame()
    /// Something was told since the last frame event.
    private var isFrameOpen = false
    /// Of the last event, nanoseconds.
    private var time: UInt64 = 0
    /// Of the enter event.
    private var serial: UInt32 = 0
    /// What the compositor was told to show since then.
    private var shown: PointerImage?
    /// Whether the queue of requests has it.
    var isQueued = false
    private var isEnded = false

    init(_ object: WlPointer, _ seats: WaylandSeats, _ books: PresenterBooks) {
        self.object = object
        self.seats = seats
        self.books = books
        hasFrames = object.version >= 5
        shape = seats.shapeDevice(of: object)
        super.init()
        object.setTarget(self)
    }

    /// It is gone, and its window is told so.
    func end() {
        release()
        leave()
    }

    /// The connection ends.
    func tearDown() {
        release()
        focus = nil
    }

    private func release() {
        isEnded = true
        shape?.destroy()
        if object.version >= 3 { object.release() } else { object.destroyProxy() }
    }

    /// The window is being taken away, or the image.
    func forget(_ window: WaylandWindow) {
        // Another surface may have the same address later.
        if window.isCursor { shown = nil }
        if focus === window { focus = nil }
    }

    private func leave() {
        guard let left = focus else { return }
        focus = nil
        scroll = ScrollFrame()
        isFrameOpen = false
        seats.pointerLeft(left)
    }

    // MARK: Image

    /// What it shows may have changed; sent when its turn comes.
    func wantImage() {
        guard focus != nil, !isQueued else { return }
        isQueued = true
        books.later(.pointer(self))
    }

    /// Sends what it is to show, if the compositor was not told that already.
    func showImage() {
        isQueued = false
        guard !isEnded, let focus else { return }
        let image = seats.image(on: focus)
        guard image != shown else { return }
        shown = image
        switch image {
        case .picture(let surface, let x, let y):
            object.setCursor(serial: serial, surface: surface, hotspotX: x, hotspotY: y)
        case .nothing:
            object.setCursor(serial: serial, surface: nil, hotspotX: 0, hotspotY: 0)
        case .arrow:
            if let shape { return shape.setShape(serial: serial, shape: .`default`) }
            object.setCursor(
                serial: serial, surface: seats.arrowSurface(), hotspotX: 0, hotspotY: 0)
        }
    }

    // MARK: Events

    private func tell(_ event: InputEvent, _ window: WaylandWindow) {
        books.tell(.input(window.id, event, time: time))
        isFrameOpen = true
    }

    /// Where there are no frame events, what was told stands alone.
    private func endEvent() {
        if !hasFrames { endFrame() }
    }

    private func endFrame() {
        guard let focus else { return }
        scroll.end { tell($0, focus) }
        guard isFrameOpen else { return }
        isFrameOpen = false
        books.tell(.input(focus.id, .frame, time: time))
    }

    private func happened(_ milliseconds: UInt32) {
        time = CompositorTime.nanoseconds(milliseconds, now: MonotonicClock.now())
    }

    override func wlPointerEnter(
        _ sender: WlPointer, serial: UInt32, surface: WlSurface?, surfaceX: WaylandFixed,
        surfaceY: WaylandFixed
    ) {
        leave()
        guard let window = surface.flatMap({ seats.findWindow?($0) }) else { return }
        focus = window
        self.serial = serial
        shown = nil
        time = 0
        place = window.place(surfaceX, surfaceY)
        wantImage()
        tell(.pointerEnter(place), window)
        endEvent()
    }

    override func wlPointerLeave(_ sender: WlPointer, serial: UInt32, surface: WlSurface?) {
        leave()
    }

    override func wlPointerMotion(
        _ sender: WlPointer, time: UInt32, surfaceX: WaylandFixed, surfaceY: WaylandFixed
    ) {
        guard let focus else { return }
        happened(time)
        place = focus.place(surfaceX, surfaceY)
        tell(.pointerMotion(place), focus)
        endEvent()
    }

    override func wlPointerButton(
        _ sender: WlPointer, serial: UInt32, time: UInt32, button: UInt32,
        state: WlPointer.ButtonState
    ) {
        guard let focus else { return }
        happened(time)
        tell(.button(button, isPressed: state == .pressed), focus)
        endEvent()
    }

    override func wlPointerAxis(
        _ sender: WlPointer, time: UInt32, axis: WlPointer.Axis, value: WaylandFixed
    ) {
        guard focus != nil, let axis = ScrollAxis(rawValue: axis.rawValue) else { return }
        happened(time)
        scroll.moved(axis, value.rawValue)
        endEvent()
    }

    override func wlPointerAxisStop(_ sender: WlPointer, time: UInt32, axis: WlPointer.Axis) {
        guard focus != nil, let axis = ScrollAxis(rawValue: axis.rawValue) else { return }
        happened(time)
        scroll.stopped(axis)
    }

    override func wlPointerAxisDiscrete(
        _ sender: WlPointer, axis: WlPointer.Axis, discrete: Int32
    ) {
        guard focus != nil, let axis = ScrollAxis(rawValue: axis.rawValue) else { return }
        scroll.turned(axis, Int32(clamping: Int64(discrete) * 120))
    }

    override func wlPointerAxisValue120(
        _ sender: WlPointer, axis: WlPointer.Axis, value120: Int32
    ) {
        guard focus != nil, let axis = ScrollAxis(rawValue: axis.rawValue) else { return }
        scroll.turned(axis, value120)
    }

    override func wlPointerFrame(_ sender: WlPointer) { endFrame() }
}
