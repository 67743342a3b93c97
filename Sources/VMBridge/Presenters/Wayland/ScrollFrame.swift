import VMBridgeCore

/// What one frame of a pointer scrolls: pure. The distance of an axis and the notches of its wheel come as
/// events of their own, and are told as one.
struct ScrollFrame {
    private struct Axis {
        var distance: Int32 = 0
        var value120: Int32 = 0
        var isMoved = false
        var isStopped = false
    }

    private var vertical = Axis()
    private var horizontal = Axis()

    /// wl_pointer.axis; the numbers are the compositor's, so sums stay in bounds.
    mutating func moved(_ axis: ScrollAxis, _ distance: Int32) {
        change(axis) {
            $0.distance = Self.sum($0.distance, distance)
            $0.isMoved = true
        }
    }

    /// wl_pointer.axis_value120 (version 8), or 120 for each notch of axis_discrete (version 5).
    mutating func turned(_ axis: ScrollAxis, _ value120: Int32) {
        change(axis) {
            $0.value120 = Self.sum($0.value120, value120)
            $0.isMoved = true
        }
    }

    /// wl_pointer.axis_stop.
    mutating func stopped(_ axis: ScrollAxis) { change(axis) { $0.isStopped = true } }

    /// The frame ends: tells it, vertical first, and forgets it.
    mutating func end(_ tell: (InputEvent) -> Void) {
        Self.tell(.vertical, vertical, tell)
        Self.tell(.horizontal, horizontal, tell)
        self = ScrollFrame()
    }

    private static func tell(_ axis: ScrollAxis, _ told: Axis, _ tell: (InputEvent) -> Void) {
        if told.isMoved { tell(.axis(axis, distance: told.distance, value120: told.value120)) }
        if told.isStopped { tell(.axisStop(axis)) }
    }

    private mutating func change(_ axis: ScrollAxis, _ change: (inout Axis) -> Void) {
        switch axis {
        case .vertical: change(&vertical)
        case .horizontal: change(&horizontal)
        }
    }

    private static func sum(_ a: Int32, _ b: Int32) -> Int32 {
        Int32(clamping: Int64(a) + Int64(b))
    }
}
