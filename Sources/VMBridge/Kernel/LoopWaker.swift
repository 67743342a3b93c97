import Descriptors
import Glibc

/// Wakes a loop from any thread. May outlive the loop; it wakes nobody then.
public final class LoopWaker: @unchecked Sendable {
    // UNSAFE (@unchecked): the owner type is not Sendable, but this one is never changed, and write(2) on an eventfd is safe from
    // every thread.
    private let descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// The eventfd, lent.
    var number: Int32 { descriptor.number }

    /// Makes the loop call its wake handlers soon. Never waits.
    public func wake() {
        // The write fails only when the counter is full, and then the loop is due to wake anyway.
        _ = withUnsafeBytes(of: UInt64(1)) { write(number, $0.baseAddress, $0.count) }
    }

    /// Takes all pending wake-ups.
    func drain() {
        var count: UInt64 = 0
        _ = withUnsafeMutableBytes(of: &count) { read(number, $0.baseAddress, $0.count) }
    }
}
