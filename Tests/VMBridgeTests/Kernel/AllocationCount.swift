import Glibc
import Synchronization

/// Counts the objects, closure contexts and array buffers that Swift allocates on the calling thread during `body`.
///
/// The run time calls its allocator through an exported pointer meant for instruments; this puts a counter in between. For a process of its own only.
enum AllocationCount {
    private typealias Allocate =
        @convention(c) (UnsafeRawPointer?, Int, Int) -> UnsafeMutableRawPointer?
    private nonisolated(unsafe) static var original: Allocate?
    private nonisolated(unsafe) static var thread: pthread_t = 0
    private static let count = Atomic<Int>(0)

    static func during(_ body: () throws -> Void) rethrows -> Int? {
        guard let symbol = dlsym(nil, "_swift_allocObject") else { return nil }
        let hook = symbol.assumingMemoryBound(to: Allocate?.self)
        original = hook.pointee
        thread = pthread_self()
        let counting: Allocate = { type, size, mask in
            if pthread_equal(pthread_self(), AllocationCount.thread) != 0 {
                AllocationCount.count.add(1, ordering: .relaxed)
            }
            return AllocationCount.original?(type, size, mask)
        }
        count.store(0, ordering: .relaxed)
        hook.pointee = counting
        defer { hook.pointee = original }
        try body()
        return count.load(ordering: .relaxed)
    }
}
