import VMBridgeCore
import Wayland

/// One seat and the devices that it has at the moment.
final class WaylandSeat {
    /// The registry's number of it.
    let global: UInt32
    private let object: WlSeat
    private unowned let seats: WaylandSeats
    private let books: PresenterBooks
    private(set) var pointer: WaylandPointer?
    private(set) var keyboard: WaylandKeyboard?
    private var touch: WaylandTouch?

    init(_ object: WlSeat, _ global: UInt32, _ seats: WaylandSeats, _ books: PresenterBooks) {
        self.object = object
        self.global = global
        self.seats = seats
        self.books = books
        object.onEvent { [unowned self] event in
            switch consume event {
            case .capabilities(let capabilities): follow(capabilities)
            default: break
            }
        }
    }

    private func follow(_ capabilities: WlSeat.Capability) {
        if capabilities.contains(.keyboard) {
            if keyboard == nil { keyboard = WaylandKeyboard(object.getKeyboard(), seats, books) }
        } else {
            endKeyboard()
        }
        if capabilities.contains(.pointer) {
            if pointer == nil { pointer = WaylandPointer(object.getPointer(), seats, books) }
        } else {
            endPointer()
        }
        if capabilities.contains(.touch) {
            if touch == nil { touch = WaylandTouch(object.getTouch(), seats, books) }
        } else {
            endTouch()
        }
    }

    // Gone from the seat before the end is told, so that nobody finds them there.

    private func endKeyboard() {
        guard let ended = keyboard else { return }
        keyboard = nil
        ended.end()
        books.retire(ended)
    }

    private func endPointer() {
        guard let ended = pointer else { return }
        pointer = nil
        ended.end()
        books.retire(ended)
    }

    private func endTouch() {
        guard let ended = touch else { return }
        touch = nil
        ended.end()
        books.retire(ended)
    }

    /// The seat is gone; windows that it was on are told so.
    func end() {
        endKeyboard()
        endPointer()
        endTouch()
        release()
    }

    private func release() {
        if object.version >= 5 { object.release() } else { object.destroyProxy() }
    }

    /// A window is no longer told anything.
    func forget(_ window: WaylandWindow) {
        pointer?.forget(window)
        keyboard?.forget(window)
        touch?.forget(window)
    }

    /// The connection ends.
    func tearDown() {
        keyboard?.tearDown()
        pointer?.tearDown()
        touch?.tearDown()
        release()
    }
}
