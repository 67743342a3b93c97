/// The body of INPUT (source-v1 §6.4): 32 bytes, whose places depend on the kind.
enum InputWire {
    static let bodyBytes = 32

    /// The kinds, as they stand on the wire.
    enum Kind: UInt32 {
        case keyboardEnter = 1
        case keyboardLeave = 2
        case key = 3
        case modifiers = 4
        case pointerEnter = 5
        case pointerLeave = 6
        case pointerMotion = 7
        case button = 8
        case axis = 9
        case axisStop = 10
        case frame = 11
        case touchDown = 12
        case touchMotion = 13
        case touchUp = 14
        case touchCancel = 15
    }

    /// What stands in the places behind kind and time.
    private struct Places {
        var kind: Kind
        var detail: UInt32 = 0
        var a: UInt32 = 0
        var b: UInt32 = 0
        var c: UInt32 = 0
        var d: UInt32 = 0

        init(_ kind: Kind, _ detail: UInt32 = 0) {
            self.kind = kind
            self.detail = detail
        }

        init(_ kind: Kind, _ detail: UInt32 = 0, at place: InputPoint) {
            self.init(kind, detail)
            a = UInt32(bitPattern: place.x)
            b = UInt32(bitPattern: place.y)
        }

        init(_ kind: Kind, _ detail: UInt32, isPressed: Bool) {
            self.init(kind, detail)
            a = isPressed ? 1 : 0
        }
    }

    static func put(_ input: InputRecord, _ room: inout OutputSpan<UInt8>) {
        let places = places(of: input.event)
        room.put32(places.kind.rawValue)
        room.put32(places.detail)
        room.put64(input.time)
        room.put32(places.a)
        room.put32(places.b)
        room.put32(places.c)
        room.put32(places.d)
    }

    private static func places(of event: InputEvent) -> Places {
        switch event {
        case .keyboardEnter: return Places(.keyboardEnter)
        case .keyboardLeave: return Places(.keyboardLeave)
        case .key(let code, let isPressed): return Places(.key, code, isPressed: isPressed)
        case .modifiers(let depressed, let latched, let locked, let group):
            var places = Places(.modifiers)
            (places.a, places.b, places.c, places.d) = (depressed, latched, locked, group)
            return places
        case .pointerEnter(let place): return Places(.pointerEnter, at: place)
        case .pointerLeave: return Places(.pointerLeave)
        case .pointerMotion(let place): return Places(.pointerMotion, at: place)
        case .button(let code, let isPressed): return Places(.button, code, isPressed: isPressed)
        case .axis(let axis, let distance, let value120):
            var places = Places(.axis, axis.rawValue)
            (places.a, places.b) = (UInt32(bitPattern: distance), UInt32(bitPattern: value120))
            return places
        case .axisStop(let axis): return Places(.axisStop, axis.rawValue)
        case .frame: return Places(.frame)
        case .touchDown(let finger, let place): return Places(.touchDown, finger, at: place)
        case .touchMotion(let finger, let place): return Places(.touchMotion, finger, at: place)
        case .touchUp(let finger): return Places(.touchUp, finger)
        case .touchCancel: return Places(.touchCancel)
        }
    }

    // MARK: Reading

    /// Reads a body; nil for a kind, an axis or a state of a button that this version does not know.
    ///
    /// - Parameter at: where its 32 bytes begin.
    static func read(_ bytes: borrowing Span<UInt8>, at: Int) -> InputRecord? {
        guard let kind = Kind(rawValue: bytes.u32(at)) else { return nil }
        let (detail, a, b) = (bytes.u32(at + 4), bytes.u32(at + 16), bytes.u32(at + 20))
        guard let event = event(kind, detail, a, b, (bytes.u32(at + 24), bytes.u32(at + 28))) else {
            return nil
        }
        return InputRecord(event, time: bytes.u64(at + 8))
    }

    private static func event(
        _ kind: Kind, _ detail: UInt32, _ a: UInt32, _ b: UInt32, _ rest: (UInt32, UInt32)
    ) -> InputEvent? {
        let place = InputPoint(x: Int32(bitPattern: a), y: Int32(bitPattern: b))
        switch kind {
        case .keyboardEnter: return .keyboardEnter
        case .keyboardLeave: return .keyboardLeave
        case .key: return a <= 1 ? .key(detail, isPressed: a == 1) : nil
        case .modifiers:
            return .modifiers(depressed: a, latched: b, locked: rest.0, group: rest.1)
        case .pointerEnter: return .pointerEnter(place)
        case .pointerLeave: return .pointerLeave
        case .pointerMotion: return .pointerMotion(place)
        case .button: return a <= 1 ? .button(detail, isPressed: a == 1) : nil
        case .axis:
            return ScrollAxis(rawValue: detail).map {
                .axis($0, distance: place.x, value120: place.y)
            }
        case .axisStop: return ScrollAxis(rawValue: detail).map { .axisStop($0) }
        case .frame: return .frame
        case .touchDown: return .touchDown(detail, place)
        case .touchMotion: return .touchMotion(detail, place)
        case .touchUp: return .touchUp(detail)
        case .touchCancel: return .touchCancel
        }
    }
}
