/// A killed helper until the kernel has let go of it; the loop holds it.
final class DepartingProcess: EventHandler {
    private let process: HelperProcess
    private let loop: EventLoop

    private init(_ process: HelperProcess, _ loop: EventLoop) {
        self.process = process
        self.loop = loop
    }

    static func watch(_ process: HelperProcess, _ loop: EventLoop) {
        process.kill()
        guard !process.reap() else { return }
        let departing = DepartingProcess(process, loop)
        // Without a registration, or when the loop ends first, the process's own end takes care of it.
        _ = try? loop.register(process.watchable, .read, departing)
    }

    func ready(_ registration: Registration, _ readiness: Readiness) {
        guard process.reap() else { return }
        loop.remove(registration)
    }
}
