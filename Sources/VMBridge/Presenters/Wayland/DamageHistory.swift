import VMBridgeCore

/// What the last commits of one window changed: pure.
///
/// A frame's damage counts from the window's frame before. An image that was brought up to date some
/// commits ago lacks what all commits since then changed.
struct DamageHistory {
    /// Commits remembered; an image that is older is copied whole.
    static let longest: UInt64 = 8

    private var damages = InlineArray<8, Damage>(repeating: .whole)
    /// Commits so far, above what no other window's history comes to: an image that was brought up to
    /// date for another window of the same surface is as old as can be.
    private(set) var count: UInt64

    /// A history without commits.
    ///
    /// - Parameter window: a number that no other window of the presenter has.
    init(window: UInt64 = 0) { count = window << 32 }

    /// Books a commit.
    mutating func commit(_ damage: Damage) {
        damages[Int(count % Self.longest)] = damage
        count += 1
    }

    /// What changed after a commit.
    ///
    /// - Parameter number: `count` as it was then; nil for never.
    func since(_ number: UInt64?) -> Damage {
        guard let number, number <= count, count - number <= Self.longest else { return .whole }
        var changed = Damage.none
        for commit in number..<count { changed.merge(damages[Int(commit % Self.longest)]) }
        return changed
    }
}
