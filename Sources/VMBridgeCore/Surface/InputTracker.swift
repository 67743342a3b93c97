/// What is pressed on one surface, so that nothing stays pressed there when the focus leaves: pure.
///
/// It stands between a seat and the guest and is strict with both ends: no key goes down twice, nothing is
/// released that was not pressed, nothing comes without focus, and each loss of focus is told once, after
/// the releases.
public struct InputTracker: Sendable {
    /// Keys, buttons or touches at a time, each.
    public static let most = 32

    private var keys = Pressed()
    private var buttons = Pressed()
    private var touches = Pressed()
    /// Keys go to the surface.
    public private(set) var hasKeyboard = false
    /// The pointer is on it.
    public private(set) var hasPointer = false

    /// A surface without focus.
    public init() {}

    /// Whether a loss of focus would have to be told.
    public var isIdle: Bool { !hasKeyboard && !hasPointer && touches.isEmpty }

    /// Takes an event and passes on what the guest is told.
    ///
    /// - Parameter tell: called for each, in order; at most a few times but for releases.
    public mutating func take(_ event: InputEvent, _ tell: (InputEvent) -> Void) {
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
            tell(hasPointer ? .pointerMotion(place) : event)
            hasPointer = true
        case .pointerLeave: leavePointer(tell)
        case .button(let code, let isPressed):
            guard hasPointer, buttons.change(code, isPressed) else { return }
            tell(event)
        case .pointerMotion, .axis, .axisStop: if hasPointer { tell(event) }
        case .frame: tell(event)
        case .touchDown(let finger, _):
            guard touches.change(finger, true) else { return }
            tell(event)
        case .touchMotion(let finger, _): if touches.contains(finger) { tell(event) }
        case .touchUp(let finger):
            guard touches.change(finger, false) else { return }
            tell(event)
        case .touchCancel: cancelTouches(tell)
        }
    }

    /// All focus is lost: the window goes, the seat or the session is gone.
    public mutating func leave(_ tell: (InputEvent) -> Void) {
        cancelTouches(tell)
        leavePointer(tell)
        leaveKeyboard(tell)
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
        buttons.releaseAll { tell(.button($0, isPressed: false)) }
        tell(.pointerLeave)
    }

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
