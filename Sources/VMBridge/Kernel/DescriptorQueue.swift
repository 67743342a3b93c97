import Descriptors

/// Descriptors that wait to be passed on, in order; it owns them. Steady use allocates nothing.
package final class DescriptorQueue {
    private var numbers: ContiguousArray<Int32> = []
    private var head = 0

    /// An empty queue.
    package init() {}

    deinit { removeAll() }

    /// How many wait.
    package var count: Int { numbers.count - head }

    /// Puts one behind the others.
    package func append(_ descriptor: consuming OwnedDescriptor) {
        numbers.append(descriptor.release())
    }

    /// Hands the first one over; nil when there is none.
    package func takeFirst() -> OwnedDescriptor? {
        guard head < numbers.count else { return nil }
        let number = numbers[head]
        head += 1
        if head == numbers.count {
            numbers.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head * 2 >= numbers.count {
            numbers.removeFirst(head)
            head = 0
        }
        return OwnedDescriptor(owning: number)
    }

    /// Lends the first ones for a call.
    package func withFirst<Result>(
        _ count: Int, _ body: (UnsafeBufferPointer<Int32>) -> Result
    ) -> Result {
        // UNSAFE: the numbers are lent for the call, which reads no more than are there.
        numbers.withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[head..<head + min(count, self.count)]))
        }
    }

    /// Closes the first ones, which were passed on.
    package func removeFirst(_ count: Int) {
        for _ in 0..<count { _ = takeFirst() }
    }

    /// Closes all.
    package func removeAll() {
        while takeFirst() != nil {}
    }
}
