import VMBridgeCore
import Wayland

/// One seat's touch screen. A finger belongs to the window that it went down on, wherever it moves.
final class WaylandTouch: HotEventTarget {
    private let object: WlTouch
    private unowned let seats: WaylandSeats
    private let books: PresenterBooks
    /// The windows that were told something since the last frame event.
    private var told: ContiguousArray<SurfaceID> = []

    init(_ object: WlTouch, _ seats: WaylandSeats, _ books: PresenterBooks) {
        self.object = object
        self.seats = seats
        self.books = books
        super.init()
        told.reserveCapacity(TouchPlaces<WaylandWindow>.most)
        object.setTarget(self)
    }

    /// It is gone, and the windows that it touches are told so.
    func end() {
        tearDown()
        cancel()
    }

    /// The connection ends.
    func tearDown() {
        if object.version >= 3 { object.release() } else { object.destroyProxy() }
    }

    /// The window is being taken away.
    func forget(_ window: WaylandWindow) { told.removeAll { $0 == window.id } }

    private func tell(_ event: InputEvent, _ window: WaylandWindow, _ milliseconds: UInt32) {
        let time = CompositorTime.nanoseconds(milliseconds, now: MonotonicClock.now())
        books.tell(.input(window.id, event, time: time))
        if !told.contains(window.id) { told.append(window.id) }
    }

    private func cancel() {
        seats.fingers.removeAll(of: ObjectIdentifier(self)) {
            books.tell(.input($0.id, .touchCancel, time: 0))
        }
        told.removeAll(keepingCapacity: true)
    }

    // MARK: Events

    override func wlTouchDown(
        _ sender: WlTouch, serial: UInt32, time: UInt32, surface: WlSurface?, id: Int32,
        x: WaylandFixed, y: WaylandFixed
    ) {
        guard let window = surface.flatMap({ seats.findWindow?($0) }),
            let number = seats.fingers.add(ObjectIdentifier(self), id, window)
        else { return }
        tell(.touchDown(number, window.place(x, y)), window, time)
    }

    override func wlTouchUp(_ sender: WlTouch, serial: UInt32, time: UInt32, id: Int32) {
        guard let finger = seats.fingers.find(ObjectIdentifier(self), id) else { return }
        seats.fingers.remove(finger.number)
        tell(.touchUp(finger.number), finger.place, time)
    }

    override func wlTouchMotion(
        _ sender: WlTouch, time: UInt32, id: Int32, x: WaylandFixed, y: WaylandFixed
    ) {
        guard let finger = seats.fingers.find(ObjectIdentifier(self), id) else { return }
        tell(.touchMotion(finger.number, finger.place.place(x, y)), finger.place, time)
    }

    override func wlTouchFrame(_ sender: WlTouch) {
        for id in told { books.tell(.input(id, .frame, time: 0)) }
        told.removeAll(keepingCapacity: true)
    }

    override func wlTouchCancel(_ sender: WlTouch) { cancel() }
}
