/// The part of a buffer that differs from the surface's previous frame: the whole of it, or up to
/// eight rectangles in buffer pixels. More are folded together, so that a frame never allocates.
public struct Damage: Sendable {
    /// How many rectangles are kept apart.
    public static let capacity = 8

    /// All of the buffer changed; the rectangles say nothing then.
    public private(set) var isWhole: Bool
    /// How many rectangles there are.
    public private(set) var count = 0
    private var rectangles: InlineArray<8, Rectangle>

    private init(isWhole: Bool) {
        self.isWhole = isWhole
        rectangles = InlineArray(repeating: Rectangle(x: 0, y: 0, width: 0, height: 0))
    }

    /// Everything changed.
    public static let whole = Damage(isWhole: true)
    /// Nothing changed.
    public static let none = Damage(isWhole: false)

    /// Whether nothing changed.
    public var isEmpty: Bool { !isWhole && count == 0 }

    /// The rectangle at a position below `count`.
    public subscript(_ index: Int) -> Rectangle { rectangles[index] }

    /// Adds a rectangle; when there is no room it is folded into the one that grows least by it.
    public mutating func add(_ rectangle: Rectangle) {
        guard !isWhole, rectangle.width > 0, rectangle.height > 0 else { return }
        if count < Damage.capacity {
            rectangles[count] = rectangle
            count += 1
            return
        }
        var best = 0
        var bestGrowth = UInt64.max
        for index in 0..<count {
            let growth = rectangles[index].union(rectangle).area &- rectangles[index].area
            if growth < bestGrowth {
                best = index
                bestGrowth = growth
            }
        }
        rectangles[best] = rectangles[best].union(rectangle)
    }

    /// Adds what a skipped frame had changed, so that the next shown one repaints it too.
    public mutating func merge(_ skipped: Damage) {
        if skipped.isWhole {
            isWhole = true
            count = 0
            return
        }
        for index in 0..<skipped.count { add(skipped.rectangles[index]) }
    }

    /// The same damage without the parts outside a picture of that size.
    public func clipped(to size: Size) -> Damage {
        guard !isWhole else { return self }
        var result = Damage.none
        for index in 0..<count { result.add(rectangles[index].clipped(to: size)) }
        return result
    }
}
