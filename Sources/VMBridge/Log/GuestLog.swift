import VMBridgeCore

/// Lines that a guest brings about: it chooses how often there is a reason for one, not how long our log grows.
struct GuestLog {
    /// Lines a second.
    static let rate = 5
    private var bucket = TokenBucket(rate: GuestLog.rate, now: 0)
    /// Lines left out since the last that was written.
    private(set) var leftOut = 0

    /// Whether one more may be written now; if not it is counted.
    mutating func admits(now: UInt64) -> Bool {
        guard bucket.isOpen(now: now) else {
            leftOut += 1
            return false
        }
        bucket.take(1, now: now)
        return true
    }

    /// What is to be said about lines left out so far, which are forgotten; nil when there were none.
    mutating func takeLeftOut() -> String? {
        defer { leftOut = 0 }
        switch leftOut {
        case 0: return nil
        case 1: return "1 line like these was left out"
        case let count: return "\(count) lines like these were left out"
        }
    }
}
