import Glibc

/// A value that several threads look at, one at a time and each for a moment.
package final class Guarded<Value: Sendable>: @unchecked Sendable {
    // UNSAFE (@unchecked): the value is only touched between lock and unlock; the mutex has an address of its own for life.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    /// Guards a value.
    package init(_ value: Value) {
        self.value = value
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Lends the value; whoever else wants it waits for the closure, so it must be short.
    package func with<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&value)
    }
}

/// Work that the loop hands to one other thread. Putting something in never waits: what is above the limit is not taken, and the
/// caller is told.
package final class BoundedQueue<Item: Sendable>: @unchecked Sendable {
    // UNSAFE (@unchecked): everything below is only touched under the mutex, which has an address of its own for life, as has the
    // condition.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let filled: UnsafeMutablePointer<pthread_cond_t>
    private var items: ContiguousArray<(item: Item, cost: Int)?> = []
    private var head = 0
    private var cost = 0
    private var isClosed = false
    private var isDone = false
    private let limit: Int

    /// An empty queue.
    ///
    /// - Parameter limit: of the costs of all that waits; what a cost is, bytes for instance, is the caller's choice.
    package init(limit: Int) {
        self.limit = limit
        mutex = .allocate(capacity: 1)
        filled = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(filled, nil)
    }

    deinit {
        pthread_cond_destroy(filled)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        filled.deallocate()
    }

    /// Puts one behind the others; false when it is not taken, since the limit is reached or the queue is closed.
    ///
    /// - Parameter limit: a lower one than the queue's, for what may be left out first.
    package func append(_ item: Item, cost: Int, within limit: Int? = nil) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard !isClosed, self.cost + cost <= limit ?? self.limit else { return false }
        self.cost += cost
        items.append((item, cost))
        if items.count - head == 1 { pthread_cond_signal(filled) }
        return true
    }

    /// Nothing more is taken; what waits is still handed out.
    package func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_signal(filled)
        pthread_mutex_unlock(mutex)
    }

    /// The first one.
    ///
    /// - Parameter waits: for one to come. Else nil says that there is none at the moment.
    /// - Returns: nil when the queue is closed and empty.
    package func take(waits: Bool) -> Item? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while head == items.count {
            guard waits, !isClosed else { return nil }
            pthread_cond_wait(filled, mutex)
        }
        let first = items[head]
        items[head] = nil
        head += 1
        if head == items.count {
            items.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
        cost -= first?.cost ?? 0
        return first?.item
    }

    /// The thread at the other end has ended.
    package func markDone() {
        pthread_mutex_lock(mutex)
        isDone = true
        pthread_mutex_unlock(mutex)
    }

    /// Waits for ``markDone()``, at the end of a program.
    ///
    /// - Parameter milliseconds: how long at most.
    /// - Returns: whether it came.
    package func waitUntilDone(milliseconds: Int) -> Bool {
        for _ in 0...max(milliseconds, 0) {
            pthread_mutex_lock(mutex)
            let isDone = isDone
            pthread_mutex_unlock(mutex)
            if isDone { return true }
            usleep(1000)
        }
        return false
    }
}

/// A thread for what may wait.
package enum BackgroundThread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs a closure on a thread of its own, which nobody waits for.
    package static func start(_ body: @escaping @Sendable () -> Void) throws(KernelError) {
        var thread = pthread_t()
        // UNSAFE: the retained box is what the thread takes over and releases; when there is no thread we release it.
        let box = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            box.release()
            throw KernelError("pthread_create", code)
        }
        pthread_detach(thread)
    }
}
