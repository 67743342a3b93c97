/// The seats that a fake compositor's client uses, what it shows as pointers' images, and whether it keeps the rules
/// about these.
package struct FakeSeats {
    /// The objects of one seat; nil where there is none at the moment.
    package struct Devices: Equatable {
        package let seat: UInt32
        package var pointer: UInt32?
        package var keyboard: UInt32?
        package var touch: UInt32?
        /// It has none of the three.
        package var isEmpty: Bool { pointer == nil && keyboard == nil && touch == nil }
    }

    /// What a pointer shows.
    package enum Image: Equatable {
        case surface(UInt32, x: Int32, y: Int32)
        case hidden
        case shape(UInt32)
    }

    /// In the order in which they were bound.
    package private(set) var all: [Devices] = []
    /// By pointer, since its last enter event; nil: the client has not said.
    package private(set) var images: [UInt32: Image] = [:]
    private var serials: [UInt32: UInt32] = [:]
    private var shapeDevices: [UInt32: UInt32] = [:]
    private var shells: Set<UInt32> = []

    mutating func entered(_ pointer: UInt32, _ serial: UInt32) {
        serials[pointer] = serial
        images[pointer] = nil
    }

    /// Follows a request.
    ///
    /// - Returns: what is wrong with it.
    mutating func take(_ request: FakeCompositor.Request) -> String? {
        let (object, arguments) = (request.object, request.arguments)
        switch (request.interface, request.name) {
        case ("wl_registry", "bind") where arguments[1] == .string("wl_seat"):
            all.append(Devices(seat: request.created))
        case ("wl_seat", "get_pointer"): change(object) { $0.pointer = request.created }
        case ("wl_seat", "get_keyboard"): change(object) { $0.keyboard = request.created }
        case ("wl_seat", "get_touch"): change(object) { $0.touch = request.created }
        case ("wl_seat", "release"): all.removeAll { $0.seat == object }
        case ("wl_pointer", "release"), ("wl_keyboard", "release"), ("wl_touch", "release"):
            for index in all.indices {
                if all[index].pointer == object { all[index].pointer = nil }
                if all[index].keyboard == object { all[index].keyboard = nil }
                if all[index].touch == object { all[index].touch = nil }
            }
        case ("xdg_wm_base", "get_xdg_surface"):
            if case .object(let surface) = arguments[1] { shells.insert(surface) }
        case ("wl_surface", "destroy"):
            shells.remove(object)
            for (pointer, image) in images {
                if case .surface(object, _, _) = image { images[pointer] = .hidden }
            }
        case ("wp_cursor_shape_manager_v1", "get_pointer"):
            if case .object(let pointer) = arguments[1] { shapeDevices[request.created] = pointer }
        case ("wp_cursor_shape_device_v1", "set_shape"):
            guard let pointer = shapeDevices[object], case .uint(let shape) = arguments[1] else {
                return "a shape for no pointer"
            }
            return set(pointer, arguments[0], .shape(shape))
        case ("wl_pointer", "set_cursor"):
            guard case .object(let surface) = arguments[1], case .int(let x) = arguments[2],
                case .int(let y) = arguments[3]
            else { return "malformed" }
            if shells.contains(surface) { return "the surface has another role" }
            return set(
                object, arguments[0], surface == 0 ? .hidden : .surface(surface, x: x, y: y))
        default: break
        }
        return nil
    }

    private mutating func set(
        _ pointer: UInt32, _ serial: FakeArgument, _ image: Image
    ) -> String? {
        guard let known = serials[pointer], serial == .uint(known) else {
            return "the serial is not that of the latest enter event"
        }
        images[pointer] = image
        return nil
    }

    private mutating func change(_ seat: UInt32, _ change: (inout Devices) -> Void) {
        guard let index = all.firstIndex(where: { $0.seat == seat }) else { return }
        change(&all[index])
    }
}

extension FakeCompositor {
    private static func fixed(_ value: Double) -> FakeArgument { .fixed(Int32(value * 256)) }

    private func devices(_ seat: Int) -> FakeSeats.Devices {
        guard seats.all.indices.contains(seat) else { fatalError("the client has no seat \(seat)") }
        return seats.all[seat]
    }

    /// The pointer of a seat; 0 for none.
    package func pointer(_ seat: Int = 0) -> UInt32 { devices(seat).pointer ?? 0 }
    /// The keyboard of a seat; 0 for none.
    package func keyboard(_ seat: Int = 0) -> UInt32 { devices(seat).keyboard ?? 0 }
    /// The touch screen of a seat; 0 for none.
    package func touch(_ seat: Int = 0) -> UInt32 { devices(seat).touch ?? 0 }
    /// What a seat's pointer shows.
    package func image(_ seat: Int = 0) -> FakeSeats.Image? { seats.images[pointer(seat)] }

    /// Puts a seat's pointer on a surface.
    package func pointerEnter(_ surface: UInt32, _ x: Double, _ y: Double, seat: Int = 0) {
        let serial = nextSerial()
        seats.entered(pointer(seat), serial)
        send(
            pointer(seat), "enter", .uint(serial), .object(surface), Self.fixed(x), Self.fixed(y))
        pointerFrame(seat: seat)
    }

    /// Takes it away from there.
    package func pointerLeave(_ surface: UInt32, seat: Int = 0) {
        send(pointer(seat), "leave", .uint(nextSerial()), .object(surface))
        pointerFrame(seat: seat)
    }

    /// Moves it.
    package func pointerMotion(_ x: Double, _ y: Double, time: UInt32 = 0, seat: Int = 0) {
        send(pointer(seat), "motion", .uint(time), Self.fixed(x), Self.fixed(y))
        pointerFrame(seat: seat)
    }

    /// Ends a frame, where the version has them.
    package func pointerFrame(seat: Int = 0) {
        if version(of: pointer(seat)) ?? 0 >= 5 { send(pointer(seat), "frame") }
    }

    /// Gives a seat's keys to a surface.
    package func keyboardEnter(_ surface: UInt32, keys: [UInt8] = [], seat: Int = 0) {
        send(
            keyboard(seat), "enter", .uint(nextSerial()), .object(surface),
            .array(keys.flatMap { [$0, 0, 0, 0] }))
    }

    /// Takes them away.
    package func keyboardLeave(_ surface: UInt32, seat: Int = 0) {
        send(keyboard(seat), "leave", .uint(nextSerial()), .object(surface))
    }

    /// Presses or releases a key.
    package func key(_ code: UInt32, _ isPressed: Bool, time: UInt32 = 0, seat: Int = 0) {
        send(
            keyboard(seat), "key", .uint(nextSerial()), .uint(time), .uint(code),
            .uint(isPressed ? 1 : 0))
    }

    /// Puts a finger down.
    package func touchDown(
        _ surface: UInt32, _ id: Int32, _ x: Double, _ y: Double, time: UInt32 = 0, seat: Int = 0
    ) {
        send(
            touch(seat), "down", .uint(nextSerial()), .uint(time), .object(surface), .int(id),
            Self.fixed(x), Self.fixed(y))
    }
}
