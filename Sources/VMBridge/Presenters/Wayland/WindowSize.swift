import VMBridgeCore

/// At which size a window's picture is shown: pure.
///
/// A compositor names a size when a person resizes a window, and its guest needs a while to draw one of
/// that size, or never does. Until then the picture that is there is shown scaled to the size.
struct WindowSize: Equatable {
    /// xdg_toplevel states 1 and 2, maximized and fullscreen: the compositor may end the connection over
    /// any other size. Tiled windows (5 to 8) may be smaller than their place, so these are as any other.
    private static let forcingStates: UInt32 = 1 << 1 | 1 << 2

    /// The size at which the producer wants its last frame shown; zero before the first one.
    private(set) var natural = Size.zero
    /// What it asked for to get that; nil: the picture's own.
    private var wanted: Size?
    /// The size of the last configure, zero for none.
    private var told = Size.zero
    private var isForced = false
    /// What the picture is scaled to until one of another size comes.
    private var held: Size?

    /// A configure is acknowledged, and holds from the next commit on.
    ///
    /// One that repeats the former size, with other states, changes nothing: the guest has been told of it
    /// already, and what is shown is its answer or waits for it. Before the first picture there is nothing to
    /// scale; that is shown at its own size.
    ///
    /// - Parameters:
    ///   - size: zero in either direction lets the window choose.
    ///   - states: xdg_toplevel's, as bits.
    mutating func configured(_ size: Size, states: UInt32) {
        let size = size.width > 0 && size.height > 0 ? size : .zero
        isForced = states & Self.forcingStates != 0 && size != .zero
        guard size != told else { return }
        told = size
        held = size == .zero || natural == .zero ? nil : size
    }

    /// A frame is about to be committed.
    ///
    /// - Parameters:
    ///   - natural: the size at which it is shown when nothing else is asked.
    ///   - wanted: the size that the producer asks for; nil for its picture's own.
    mutating func committed(natural: Size, wanted: Size?) {
        if natural != self.natural { held = nil }
        self.natural = natural
        self.wanted = wanted
    }

    /// wp_viewport's destination; nil for the picture's own size.
    ///
    /// - Parameter isFixed: smallest and largest size are the natural one, so no other is shown but a
    ///   forced one.
    func destination(isFixed: Bool) -> Size? {
        if isForced { return told }
        guard !isFixed, let held, held != natural else { return wanted }
        return held
    }
}
