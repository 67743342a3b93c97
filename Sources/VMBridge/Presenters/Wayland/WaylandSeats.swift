import Descriptors
import VMBridgeCore
import Wayland

/// The seats of one connection: their keyboards, pointers and touch screens, what of them is on which window,
/// and the images that pointers show there.
///
/// Several seats are as several people: all that any of them does is told, each window's focus ends when the
/// last one leaves it. The keymap is that of the keyboard that came to one of the windows last.
final class WaylandSeats {
    private let registry: WaylandRegistry
    private let books: PresenterBooks
    private let arrow: PointerArrow
    private let shapes: WpCursorShapeManagerV1?
    private var seats: [WaylandSeat] = []
    /// The images of pointers, in the order in which they were made.
    private var images: [WaylandWindow] = []
    /// The keyboard whose keymap the VM knows.
    private weak var keyboard: WaylandKeyboard?
    /// Fingers that are down, by the numbers that they are told with.
    var fingers = TouchPlaces<WaylandWindow>()
    /// Finds a window, not a pointer's image, by its wl_surface.
    var findWindow: ((WlSurface) -> WaylandWindow?)?

    init(_ registry: WaylandRegistry, _ books: PresenterBooks, _ arrow: PointerArrow) {
        self.registry = registry
        self.books = books
        self.arrow = arrow
        shapes = registry.bind(WpCursorShapeManagerV1.self, maximum: 1)
        for global in registry.globals { bind(global) }
    }

    // MARK: Coming and going

    /// A global is there, perhaps a seat.
    func bind(_ global: WaylandRegistry.Global) {
        // Version 8 tells wheels in 1/120 of a notch; newer ones tell nothing that is used.
        guard global.interface == WlSeat.interfaceName,
            let object = registry.bind(WlSeat.self, global, maximum: 8)
        else { return }
        seats.append(WaylandSeat(object, global.name, self, books))
    }

    /// A global is gone.
    func remove(_ global: WaylandRegistry.Global) {
        guard let index = seats.firstIndex(where: { $0.global == global.name }) else { return }
        seats.remove(at: index).end()
    }

    /// A window is being taken away: nothing is told of it any more, and nobody shows it.
    func forget(_ window: WaylandWindow) {
        for seat in seats { seat.forget(window) }
        fingers.removeAll { $0 === window }
        guard window.isCursor else { return }
        images.removeAll { $0 === window }
        imageChanged()
    }

    /// Ends the objects of a connection that ends; nothing is told.
    func tearDown() {
        for seat in seats { seat.tearDown() }
        seats = []
        images = []
        fingers.removeAll { _ in true }
        shapes?.destroy()
        arrow.tearDown()
    }

    /// Descriptors that are open.
    var descriptors: Int { seats.reduce(0) { $0 + ($1.keyboard?.keymap == nil ? 0 : 1) } }

    // MARK: Keyboards

    /// The keymap that holds; nil when there is no keyboard.
    var keymap: KeymapRecord? {
        guard let keyboard = spokesman else { return nil }
        return KeymapRecord(
            size: keyboard.keymap?.size ?? 0, repeatRate: keyboard.repeatRate,
            repeatDelay: keyboard.repeatDelay)
    }

    /// A copy of its descriptor.
    func copyKeymap() -> OwnedDescriptor { spokesman?.keymap?.copy() ?? .none }

    private var spokesman: WaylandKeyboard? {
        keyboard ?? seats.lazy.compactMap(\.keyboard).first
    }

    /// A keyboard has another keymap, other repeats, or is new.
    func keymapChanged(of keyboard: WaylandKeyboard) {
        if keyboard === spokesman { books.tellKeymapChanged() }
    }

    /// A keyboard is gone.
    func keyboardEnded(_ ended: WaylandKeyboard) {
        guard keyboard === ended || keyboard == nil else { return }
        keyboard = nil
        books.tellKeymapChanged()
    }

    /// A keyboard's keys go to a window from here on.
    func keyboardEntered(_ window: WaylandWindow, _ keyboard: WaylandKeyboard) {
        if keyboard !== spokesman {
            self.keyboard = keyboard
            books.tellKeymapChanged()
        }
        self.keyboard = keyboard
        books.tell(.input(window.id, .keyboardEnter, time: 0))
    }

    /// They no longer do; its focus is set already.
    func keyboardLeft(_ window: WaylandWindow) {
        books.tell(.input(window.id, .keyboardLeave, time: 0))
        guard seats.contains(where: { $0.keyboard?.focus === window }) else { return }
        books.tell(.input(window.id, .keyboardEnter, time: 0))
    }

    // MARK: Pointers

    /// A pointer is no longer on a window; its focus is set already.
    func pointerLeft(_ window: WaylandWindow) {
        books.tell(.input(window.id, .pointerLeave, time: 0))
        if let other = seats.first(where: { $0.pointer?.focus === window })?.pointer {
            books.tell(.input(window.id, .pointerEnter(other.place), time: 0))
        }
        books.tell(.input(window.id, .frame, time: 0))
    }

    /// How a pointer is given the compositor's own images; nil where there are none.
    func shapeDevice(of pointer: WlPointer) -> WpCursorShapeDeviceV1? {
        shapes?.getPointer(pointer: pointer)
    }

    /// The arrow of ours.
    func arrowSurface() -> WlSurface? { arrow.surface() }

    /// An image is there, without a picture so far: pointers on its window show none.
    func addImage(_ window: WaylandWindow) {
        images.append(window)
        imageChanged()
    }

    /// What pointers show may have changed; sent when the compositor takes it.
    func imageChanged() {
        for seat in seats { seat.pointer?.wantImage() }
    }

    /// What a pointer on a window shows. Of several images of a window the latest counts.
    func image(on window: WaylandWindow) -> PointerImage {
        guard let image = images.last(where: { $0.properties.cursor?.parent == window.id }) else {
            return .arrow
        }
        guard image.hasContent, let surface = image.surface, let view = image.view,
            let hotSpot = image.properties.cursor?.hotSpot
        else { return .nothing }
        let (x, y) = view.pixel(of: hotSpot, in: image.shownSize)
        return .picture(surface, x: x, y: y)
    }
}

/// What a pointer shows on a window.
enum PointerImage: Equatable {
    /// The session's own image.
    case arrow
    /// None: its guest hides it.
    case nothing
    /// The guest's, with the pixel of the surface that the pointer is at.
    case picture(WlSurface, x: Int32, y: Int32)
}
