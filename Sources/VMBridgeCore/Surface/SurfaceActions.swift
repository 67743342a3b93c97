/// What a surface machine wants done, in this order.
public enum SurfaceAction: Sendable, Equatable {
    /// Make the window and ask for its first configure.
    case createWindow
    /// Take the window away; `windowGone` follows. May be followed by `createWindow` for a new one.
    case destroyWindow
    /// Answer a configure.
    case acknowledge(serial: UInt32)
    /// Commit the machine's `current` frame and ask for a frame callback.
    case commit
    /// Commit without a new frame, so that an acknowledged configure takes effect.
    case commitState
    /// A use that was never committed, or whose consumer is lost, is over.
    case end(UseID, UseOutcome)
    /// A frame that lives on has no need of its image now.
    case giveBackImage(UseID)
    /// Nobody waits any longer for what that frame lacked.
    case cancelWaits(UseID)
    /// Tell the producer what the window should be.
    case tellConfigure(ConfigureRecord)
    /// Tell the producer that a frame will never be seen.
    case tellDiscarded(FrameSequence)
    /// Tell the producer that its window was asked to close.
    case tellClose
}

/// Up to twelve actions, held in place: a steady frame allocates nothing.
public struct SurfaceActions: Sendable {
    private var actions: InlineArray<12, SurfaceAction> = InlineArray(repeating: .tellClose)
    /// How many there are.
    public private(set) var count = 0

    /// No actions.
    public init() {}

    /// The action at a position below `count`.
    public subscript(_ index: Int) -> SurfaceAction { actions[index] }

    mutating func append(_ action: SurfaceAction) {
        actions[count] = action
        count += 1
    }

    /// The actions as an array, for tests and logs.
    public var list: [SurfaceAction] { (0..<count).map { actions[$0] } }
}
