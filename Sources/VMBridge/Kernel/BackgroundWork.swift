import Glibc

/// Work that may wait or take long, on a thread of its own, so that the loop does neither.
enum BackgroundWork {
    /// Runs `body` on a new thread that ends with it. The loop's signals are blocked there too.
    static func start(_ body: @escaping @Sendable () -> Void) throws(KernelError) {
        let box = Unmanaged.passRetained(WorkBox(body))
        var thread = pthread_t()
        // UNSAFE: the box travels as the thread's argument, retained; the thread lets go of it.
        let code = pthread_create(
            &thread, nil,
            { argument in
                if let argument {
                    Unmanaged<WorkBox>.fromOpaque(argument).takeRetainedValue().body()
                }
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            box.release()
            throw KernelError("pthread_create", code)
        }
        pthread_detach(thread)
    }
}

private final class WorkBox: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
