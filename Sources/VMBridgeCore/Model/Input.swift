/// A place in a surface's picture, in 1/256 of a pixel from its upper left corner, before any transform
/// (source-v1 §2); as wl_fixed.
public struct InputPoint: Sendable, Equatable {
    /// To the right.
    public var x: Int32
    /// Downwards.
    public var y: Int32
    /// A place in 1/256 of a pixel.
    public init(x: Int32, y: Int32) {
        self.x = x
        self.y = y
    }
}

/// Which way a wheel or a finger scrolls; numbers of wl_pointer.axis.
public enum ScrollAxis: UInt32, Sendable {
    /// Up and down.
    case vertical = 0
    /// Left and right.
    case horizontal = 1
}

/// What a person does to a surface, in the terms of the seat of a Wayland session. Keys and buttons are
/// codes of linux/input-event-codes.h; key n of xkb is code n − 8.
public enum InputEvent: Sendable, Equatable {
    /// Keys go to the surface from here on; none is pressed.
    case keyboardEnter
    /// They no longer do; those that were pressed have been released before.
    case keyboardLeave
    /// A key.
    case key(UInt32, isPressed: Bool)
    /// The state of modifiers, as xkb of the session's keymap counts them.
    case modifiers(depressed: UInt32, latched: UInt32, locked: UInt32, group: UInt32)
    /// The pointer is on the surface from here on; no button is pressed.
    case pointerEnter(InputPoint)
    /// It no longer is; buttons that were pressed have been released before.
    case pointerLeave
    /// It moved.
    case pointerMotion(InputPoint)
    /// A button of it.
    case button(UInt32, isPressed: Bool)
    /// Scrolling: distance in 1/256 of a pixel, and in 1/120 of a wheel's notch (0 when no wheel).
    case axis(ScrollAxis, distance: Int32, value120: Int32)
    /// The finger that scrolled was lifted.
    case axisStop(ScrollAxis)
    /// What came of the pointer or of touches since the last one belongs together.
    case frame
    /// A finger touches; its number is free again after its end.
    case touchDown(UInt32, InputPoint)
    /// It moved.
    case touchMotion(UInt32, InputPoint)
    /// It was lifted.
    case touchUp(UInt32)
    /// All touches end and mean nothing.
    case touchCancel
}

/// An input event and when it happened (source-v1 §6.4).
public struct InputRecord: Sendable, Equatable {
    /// What happened.
    public var event: InputEvent
    /// Nanoseconds of the host's CLOCK_MONOTONIC, to the millisecond; 0 when nobody knows.
    public var time: UInt64
    /// An event of a time.
    public init(_ event: InputEvent, time: UInt64 = 0) {
        self.event = event
        self.time = time
    }
}

/// The session's keyboard: a keymap, whose text its record's descriptor holds, and how keys repeat
/// (source-v1 §6.4).
public struct KeymapRecord: Sendable, Equatable {
    /// Bytes of the text of XKB version 1, its final zero included; 0: there is none, and no descriptor.
    public var size: UInt32
    /// Repeats a second; 0: keys do not repeat.
    public var repeatRate: UInt32
    /// Milliseconds before the first.
    public var repeatDelay: UInt32
    /// A keymap.
    public init(size: UInt32, repeatRate: UInt32 = 0, repeatDelay: UInt32 = 0) {
        self.size = size
        self.repeatRate = repeatRate
        self.repeatDelay = repeatDelay
    }
}
