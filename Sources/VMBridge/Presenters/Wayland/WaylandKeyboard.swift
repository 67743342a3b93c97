import Descriptors
import VMBridgeCore
import Wayland

/// One seat's keyboard.
final class WaylandKeyboard: HotEventTarget {
    /// Keys that only mean something while they are held (linux/input-event-codes.h): Ctrl, Shift, Alt and Meta
    /// of both sides.
    private static let held: [UInt32] = [29, 42, 54, 56, 97, 100, 125, 126]

    private let object: WlKeyboard
    private unowned let seats: WaylandSeats
    private let books: PresenterBooks
    private(set) var keymap: SessionKeymap?
    /// Repeats a second, and milliseconds before the first. Before version 4 nobody tells them: what is usual.
    private(set) var repeatRate: UInt32
    private(set) var repeatDelay: UInt32
    /// The window that keys go to.
    private(set) var focus: WaylandWindow?

    init(_ object: WlKeyboard, _ seats: WaylandSeats, _ books: PresenterBooks) {
        self.object = object
        self.seats = seats
        self.books = books
        (repeatRate, repeatDelay) = object.version < 4 ? (25, 600) : (0, 0)
        super.init()
        object.setTarget(self)
    }

    /// It is gone, and its window is told so.
    func end() {
        release()
        leave()
        seats.keyboardEnded(self)
    }

    /// The connection ends.
    func tearDown() {
        release()
        focus = nil
    }

    private func release() {
        if object.version >= 3 { object.release() } else { object.destroyProxy() }
    }

    /// The window is being taken away.
    func forget(_ window: WaylandWindow) {
        if focus === window { focus = nil }
    }

    private func leave() {
        guard let left = focus else { return }
        focus = nil
        seats.keyboardLeft(left)
    }

    // MARK: Events

    override func wlKeyboardKeymap(
        _ sender: WlKeyboard, format: WlKeyboard.KeymapFormat, fd: consuming OwnedDescriptor,
        size: UInt32
    ) {
        let told = format == .xkbV1 ? SessionKeymap(fd, size: size) : nil
        if let told, let keymap, told.isSame(as: keymap) { return }
        keymap = told
        seats.keymapChanged(of: self)
    }

    override func wlKeyboardRepeatInfo(_ sender: WlKeyboard, rate: Int32, delay: Int32) {
        let told = (UInt32(clamping: rate), UInt32(clamping: delay))
        guard told != (repeatRate, repeatDelay) else { return }
        (repeatRate, repeatDelay) = told
        seats.keymapChanged(of: self)
    }

    /// Of the keys that are down already only those are told that change what others mean, so that the release of
    /// what led here, as the Tab of Alt+Tab or the Return of a launcher, means nothing in the guest.
    override func wlKeyboardEnter(
        _ sender: WlKeyboard, serial: UInt32, surface: WlSurface?, keys: Span<UInt32>
    ) {
        leave()
        guard let window = surface.flatMap({ seats.findWindow?($0) }) else { return }
        focus = window
        seats.keyboardEntered(window, self)
        for index in 0..<keys.count where Self.held.contains(keys[index]) {
            books.tell(.input(window.id, .key(keys[index], isPressed: true), time: 0))
        }
    }

    override func wlKeyboardLeave(_ sender: WlKeyboard, serial: UInt32, surface: WlSurface?) {
        leave()
    }

    override func wlKeyboardKey(
        _ sender: WlKeyboard, serial: UInt32, time: UInt32, key: UInt32, state: WlKeyboard.KeyState
    ) {
        guard let focus, state == .pressed || state == .released else { return }
        let time = CompositorTime.nanoseconds(time, now: MonotonicClock.now())
        books.tell(.input(focus.id, .key(key, isPressed: state == .pressed), time: time))
    }

    override func wlKeyboardModifiers(
        _ sender: WlKeyboard, serial: UInt32, modsDepressed: UInt32, modsLatched: UInt32,
        modsLocked: UInt32, group: UInt32
    ) {
        guard let focus else { return }
        let event = InputEvent.modifiers(
            depressed: modsDepressed, latched: modsLatched, locked: modsLocked, group: group)
        books.tell(.input(focus.id, event, time: 0))
    }
}
