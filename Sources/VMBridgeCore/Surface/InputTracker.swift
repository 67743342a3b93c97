/// What is pressed on one surface, so that nothing stays pressed there when the focus leaves: pure.
///
/// It stands between a seat and the guest and is strict with both ends: no key goes down twice, nothing is
/// released that was not pressed, nothing comes without focus, and each loss of focus is told once, after
/// the releases. While the guest does not listen it is paused: the focus is taken from the guest, and given
/// back as the seat has it then.
public struct InputTracker: Sendable {
    /// Keys, buttons or touches at a time, each.
    public static let most = 32

    private var keys = Pressed()
    private var buttons = Pressed()
    private var touches = Pressed()
    /// The guest was told that keys go to the surface.
    public private(set) var hasKeyboard = false
    /// The guest was told that the pointer is on it.
    public private(set) var hasPointer = false
    /// The guest is told nothing.
    public private(set) var isPaused = false
    /// Something of the pointer or of touches was told since the last `frame`.
    private var isGroupOpen = false
    /// As the seat has it, whatever the guest was told.
    private var seat = Seat()

    private struct Seat: Sendable {
        var hasKeyboard = false
        var modifiers: InputEvent?
        var pointer: InputPoint?
    }

    /// A surface without focus.
    public init() {}

    /// Whether the seat and the guest know of no focus.
    public var isIdle: Bool {
        !hasKeyboard && !hasPointer && touches.isEmpty && !seat.hasKeyboard && seat.pointer == nil
    }

    /// Takes an event and passes on what the guest is told.
    ///
    /// - Parameter tell: called for each, in order; at most a few times but for releases.
    public mutating func take(_ event: InputEvent, _ tell: (InputEvent) -> Void) {
        remember(event)
        guard !isPaused else { return }
        switch event {
        case .keyboardEnter:
            guard !hasKeyboard else { return }
            hasKeyboard = true
            tell(event)
        case .keyboardLeave: leaveKeyboard(tell)
        case .key(let code, let isPressed):
            guard hasKeyboard, keys.change(code, isPressed) else { return }
            tell(event)
        case .modifiers: if hasKeyboard { tell(event) }
        case .pointerEnter(let place):
            tellGrouped(hasPointer ? .pointerMotion(place) : event, tell)
            hasPointer = true
        case .pointerLeave: leavePointer(tell)
        case .button(let code, let isPressed):
            guard hasPointer, buttons.change(code, isPressed) else { return }
            tellGrouped(event, tell)
        case .pointerMotion, .axis, .axisStop: if hasPointer { tellGrouped(event, tell) }
        case .frame: closeGroup(tell)
        case .touchDown(let finger, _):
            guard touches.change(finger, true) else { return }
            tellGrouped(event, tell)
        case .touchMotion(let finger, _): if touches.contains(finger) { tellGrouped(event, tell) }
        case .touchUp(let finger):
            guard touches.change(finger, false) else { return }
            tellGrouped(event, tell)
        case .touchCancel: cancelTouches(tell)
        }
    }

    /// All focus is lost: the window goes, the seat or the session is gone.
    public mutating func leave(_ tell: (InputEvent) -> Void) {
        seat = Seat()
        takeAway(tell)
    }

    /// The guest does not listen from here on: it loses all focus as by `leave`.
    public mutating func pause(_ tell: (InputEvent) -> Void) {
        guard !isPaused else { return }
        isPaused = true
        takeAway(tell)
    }

    /// It listens again: the focus that the seat has now is told anew, with nothing pressed. What is still held
    /// down on the host, or touches, is never told; nor is its release.
    public mutating func resume(_ tell: (InputEvent) -> Void) {
        guard isPaused else { return }
        isPaused = false
        if seat.hasKeyboard {
            hasKeyboard = true
            tell(.keyboardEnter)
            if let modifiers = seat.modifiers { tell(modifiers) }
        }
        guard let place = seat.pointer else { return }
        hasPointer = true
        tellGrouped(.pointerEnter(place), tell)
        closeGroup(tell)
    }

    private mutating func remember(_ event: InputEvent) {
        switch event {
        case .keyboardEnter: seat.hasKeyboard = true
        case .keyboardLeave: (seat.hasKeyboard, seat.modifiers) = (false, nil)
        case .modifiers: if seat.hasKeyboard { seat.modifiers = event }
        case .pointerEnter(let place): seat.pointer = place
        case .pointerMotion(let place): if seat.pointer != nil { seat.pointer = place }
        case .pointerLeave: seat.pointer = nil
        default: break
        }
    }

    private mutating func takeAway(_ tell: (InputEvent) -> Void) {
        cancelTouches(tell)
        leavePointer(tell)
        closeGroup(tell)
        leaveKeyboard(tell)
    }

    private mutating func tellGrouped(_ event: InputEvent, _ tell: (InputEvent) -> Void) {
        isGroupOpen = true
        tell(event)
    }

    private mutating func closeGroup(_ tell: (InputEvent) -> Void) {
        guard isGroupOpen else { return }
        isGroupOpen = false
        tell(.frame)
    }

    private mutating func leaveKeyboard(_ tell: (InputEvent) -> Void) {
        guard hasKeyboard else { return }
        hasKeyboard = false
        keys.releaseAll { tell(.key($0, isPressed: false)) }
        tell(.keyboardLeave)
    }

    private mutating func leavePointer(_ tell: (InputEvent) -> Void) {
        guard hasPointer else { return }
        hasPointer = false
        isGroupOpen = true
        buttons.releaseAll { tell(.button($0, isPressed: false)) }
        tell(.pointerLeave)
    }

    /// Stands for itself: no `frame` follows.
    private mutating func cancelTouches(_ tell: (InputEvent) -> Void) {
        guard !touches.isEmpty else { return }
        touches.releaseAll { _ in }
        tell(.touchCancel)
    }
}

/// A few numbers that are down, in the order in which they went down.
private struct Pressed: Sendable {
    private var numbers: InlineArray<32, UInt32> = InlineArray(repeating: 0)
    private var count = 0

    var isEmpty: Bool { count == 0 }

    func contains(_ number: UInt32) -> Bool { index(of: number) != nil }

    private func index(of number: UInt32) -> Int? {
        for index in 0..<count where numbers[index] == number { return index }
        return nil
    }

    /// - Returns: whether that changed anything; a number that finds no room goes down for nobody.
    mutating func change(_ number: UInt32, _ isPressed: Bool) -> Bool {
        let known = index(of: number)
        if isPressed {
            guard known == nil, count < InputTracker.most else { return false }
            numbers[count] = number
            count += 1
            return true
        }
        guard let known else { return false }
        for index in known..<count - 1 { numbers[index] = numbers[index + 1] }
        count -= 1
        return true
    }

    mutating func releaseAll(_ body: (UInt32) -> Void) {
        while count > 0 {
            count -= 1
            body(numbers[count])
        }
    }
}
