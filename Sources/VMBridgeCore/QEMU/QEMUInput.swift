/// A button as QEMU numbers it: QMP's `InputButton`, which org.qemu.Display1.Mouse takes by its place.
public enum QEMUButton: UInt32, Sendable, CaseIterable {
    /// BTN_LEFT.
    case left = 0
    /// BTN_MIDDLE.
    case middle = 1
    /// BTN_RIGHT.
    case right = 2
    /// A notch of the wheel away from the person.
    case wheelUp = 3
    /// A notch towards the person.
    case wheelDown = 4
    /// BTN_SIDE or BTN_BACK.
    case side = 5
    /// BTN_EXTRA or BTN_FORWARD.
    case extra = 6
    /// A notch to the left.
    case wheelLeft = 7
    /// A notch to the right.
    case wheelRight = 8

    /// The button of a code of linux/input-event-codes.h; nil for one that QEMU does not know.
    public init?(evdev: UInt32) {
        switch evdev {
        case 0x110: self = .left
        case 0x111: self = .right
        case 0x112: self = .middle
        case 0x113, 0x116: self = .side
        case 0x114, 0x115: self = .extra
        default: return nil
        }
    }

    /// QMP's word for it.
    public var word: String {
        switch self {
        case .left: "left"
        case .middle: "middle"
        case .right: "right"
        case .wheelUp: "wheel-up"
        case .wheelDown: "wheel-down"
        case .side: "side"
        case .extra: "extra"
        case .wheelLeft: "wheel-left"
        case .wheelRight: "wheel-right"
        }
    }
}

/// One thing that QEMU is told of keyboard, mouse or touch screen.
public enum QEMUInputCall: Sendable, Equatable {
    /// What a finger does; numbers of org.qemu.Display1.MultiTouch.
    public enum Touch: UInt32, Sendable {
        /// It touches.
        case begin = 0
        /// It moves.
        case update = 1
        /// It is lifted.
        case end = 2
        /// It means nothing.
        case cancel = 3
    }

    /// A key by QEMU's number.
    case key(UInt32, isPressed: Bool)
    /// A button.
    case button(QEMUButton, isPressed: Bool)
    /// The pointer is at a place inside the console's picture.
    case position(InputPoint)
    /// The pointer moved by whole pixels.
    case motion(x: Int32, y: Int32)
    /// A finger, by slot.
    case touch(Touch, slot: UInt32, InputPoint)
}

/// Turns a seat's events for one console into what QEMU is told, and knows what is pressed.
public struct QEMUInputTranslator: Sendable {
    /// Size of the console's picture.
    public var size: Size
    /// Whether the guest takes places; else it takes motion.
    public private(set) var isAbsolute: Bool
    /// Fingers that the guest can tell apart; 0: the first one is a pointer with its left button.
    public var touchSlots: UInt32 = 0

    private var keys: Set<UInt32> = []
    private var buttons: Set<QEMUButton> = []
    /// Slot by the seat's number of a finger, with its last place.
    private var touches: [UInt32: (slot: UInt32, point: InputPoint)] = [:]
    /// The finger that is a pointer.
    private var pointerFinger: UInt32?
    private var last: InputPoint?
    /// Parts of a pixel that relative motion still owes.
    private var rest = InputPoint(x: 0, y: 0)
    /// Parts of a notch by axis, in 1/120.
    private var notches: [Int32] = [0, 0]

    /// Scrolling of that many 1/256 pixels counts as a wheel's notch when no wheel did it: ten pixels, as
    /// compositors reckon.
    static let notchDistance: Int64 = 2560
    /// Notches of one event above which the rest is left out.
    static let notchLimit: Int32 = 32

    /// A translator with nothing pressed.
    public init(size: Size, isAbsolute: Bool) {
        self.size = size
        self.isAbsolute = isAbsolute
    }

    /// Whether a key, a button or a finger is down.
    public var isPressed: Bool { !keys.isEmpty || !buttons.isEmpty || !touches.isEmpty }

    /// The guest takes places from now on, or motion.
    public mutating func setAbsolute(_ isAbsolute: Bool) {
        self.isAbsolute = isAbsolute
        rest = InputPoint(x: 0, y: 0)
    }

    /// What QEMU is to be told of an event, in order.
    public mutating func translate(_ event: InputEvent) -> [QEMUInputCall] {
        switch event {
        case .keyboardEnter, .modifiers, .frame, .axisStop: return []
        case .keyboardLeave: return releaseKeys()
        case .key(let code, let isPressed): return key(code, isPressed)
        case .pointerEnter(let point):
            last = nil
            return move(to: point)
        case .pointerLeave:
            last = nil
            return releaseButtons()
        case .pointerMotion(let point): return move(to: point)
        case .button(let code, let isPressed):
            return QEMUButton(evdev: code).map { button($0, isPressed) } ?? []
        case .axis(let axis, let distance, let value120):
            return scroll(axis, distance: distance, value120: value120)
        case .touchDown(let finger, let point): return touchDown(finger, point)
        case .touchMotion(let finger, let point): return touchMotion(finger, point)
        case .touchUp(let finger): return touchEnd(finger, .end)
        case .touchCancel: return releaseTouches()
        }
    }

    /// Releases everything that is pressed.
    public mutating func releaseAll() -> [QEMUInputCall] {
        releaseTouches() + releaseButtons() + releaseKeys()
    }

    // MARK: Keys and buttons

    private mutating func key(_ code: UInt32, _ isPressed: Bool) -> [QEMUInputCall] {
        guard let number = QEMUKeyCode.number(evdev: code) else { return [] }
        let isNew = isPressed ? keys.insert(number).inserted : keys.remove(number) != nil
        return isNew ? [.key(number, isPressed: isPressed)] : []
    }

    private mutating func releaseKeys() -> [QEMUInputCall] {
        defer { keys.removeAll() }
        return keys.sorted().map { .key($0, isPressed: false) }
    }

    private mutating func button(_ button: QEMUButton, _ isPressed: Bool) -> [QEMUInputCall] {
        let isNew = isPressed ? buttons.insert(button).inserted : buttons.remove(button) != nil
        return isNew ? [.button(button, isPressed: isPressed)] : []
    }

    private mutating func releaseButtons() -> [QEMUInputCall] {
        defer { buttons.removeAll() }
        return buttons.sorted { $0.rawValue < $1.rawValue }
            .map { .button($0, isPressed: false) }
    }

    // MARK: Pointer

    private func inside(_ point: InputPoint) -> InputPoint {
        InputPoint(
            x: Self.inside(point.x, size.width), y: Self.inside(point.y, size.height))
    }

    private static func inside(_ place: Int32, _ length: UInt32) -> Int32 {
        Int32(clamping: max(0, min(Int64(place), Int64(length) * 256 - 1)))
    }

    private mutating func move(to point: InputPoint) -> [QEMUInputCall] {
        defer { last = point }
        if isAbsolute { return [.position(inside(point))] }
        // Where the pointer enters says nothing of how it moved.
        guard let last else { return [] }
        let x = Self.whole(Int64(point.x) - Int64(last.x) + Int64(rest.x))
        let y = Self.whole(Int64(point.y) - Int64(last.y) + Int64(rest.y))
        rest = InputPoint(x: x.rest, y: y.rest)
        return x.pixels == 0 && y.pixels == 0 ? [] : [.motion(x: x.pixels, y: y.pixels)]
    }

    private static func whole(_ distance: Int64) -> (pixels: Int32, rest: Int32) {
        (Int32(clamping: distance / 256), Int32(distance % 256))
    }

    private mutating func scroll(
        _ axis: ScrollAxis, distance: Int32, value120: Int32
    ) -> [QEMUInputCall] {
        let index = Int(axis.rawValue)
        let more = value120 != 0 ? Int64(value120) : Int64(distance) * 120 / Self.notchDistance
        let sum = Int64(notches[index]) + more
        notches[index] = Int32(sum % 120)
        let count = min(Self.notchLimit, Int32(clamping: (sum / 120).magnitude))
        let button: QEMUButton =
            switch (axis, sum > 0) {
            case (.vertical, true): .wheelDown
            case (.vertical, false): .wheelUp
            case (.horizontal, true): .wheelRight
            case (.horizontal, false): .wheelLeft
            }
        var calls: [QEMUInputCall] = []
        for _ in 0..<count {
            calls.append(.button(button, isPressed: true))
            calls.append(.button(button, isPressed: false))
        }
        return calls
    }

    // MARK: Fingers

    private mutating func touchDown(_ finger: UInt32, _ point: InputPoint) -> [QEMUInputCall] {
        guard touchSlots > 0 else {
            guard pointerFinger == nil, isAbsolute else { return [] }
            pointerFinger = finger
            return move(to: point) + button(.left, true)
        }
        guard touches[finger] == nil else { return touchMotion(finger, point) }
        let taken = Set(touches.values.map(\.slot))
        guard let slot = (0..<min(touchSlots, 64)).first(where: { !taken.contains($0) }) else {
            return []
        }
        let point = inside(point)
        touches[finger] = (slot, point)
        return [.touch(.begin, slot: slot, point)]
    }

    private mutating func touchMotion(_ finger: UInt32, _ point: InputPoint) -> [QEMUInputCall] {
        if finger == pointerFinger { return move(to: point) }
        guard let slot = touches[finger]?.slot else { return [] }
        let point = inside(point)
        touches[finger] = (slot, point)
        return [.touch(.update, slot: slot, point)]
    }

    private mutating func touchEnd(
        _ finger: UInt32, _ kind: QEMUInputCall.Touch
    ) -> [QEMUInputCall] {
        if finger == pointerFinger {
            pointerFinger = nil
            return button(.left, false)
        }
        guard let touch = touches.removeValue(forKey: finger) else { return [] }
        return [.touch(kind, slot: touch.slot, touch.point)]
    }

    private mutating func releaseTouches() -> [QEMUInputCall] {
        let fingers = touches.sorted { $0.value.slot < $1.value.slot }.map(\.key)
        return fingers.flatMap { touchEnd($0, .cancel) }
            + (pointerFinger.map { touchEnd($0, .cancel) } ?? [])
    }
}
