import Descriptors
import VMBridgeCore

/// The fences that came with RELEASED records: a buffer may be written when the last of its own has signalled.
final class ProducerReleases {
    private final class Wait {
        let fence: OwnedDescriptor
        let since: UInt64
        let isEnded: (UInt64) -> Void
        var registration: Registration?

        init(
            _ fence: consuming OwnedDescriptor, since: UInt64, _ isEnded: @escaping (UInt64) -> Void
        ) {
            self.fence = fence
            self.since = since
            self.isEnded = isEnded
        }
    }

    private let loop: EventLoop
    private var waits: [Wait] = []

    init(loop: EventLoop) { self.loop = loop }

    /// Waits for a sync_file without blocking.
    ///
    /// - Parameter isEnded: called once, with the nanoseconds that it took, when the fence was pending.
    /// - Returns: whether it is pending.
    /// - Throws: when it is no sync_file.
    func wait(
        for fence: consuming OwnedDescriptor, _ isEnded: @escaping (UInt64) -> Void
    ) throws(KernelError) -> Bool {
        // One that ended with an error has ended: nobody reads the buffer any more.
        guard try FenceStatus.of(fence.number) == .pending else { return false }
        let wait = Wait(fence, since: loop.now(), isEnded)
        wait.registration = try loop.register(wait.fence.number, .read) {
            [unowned self, unowned wait] _ in self.ready(wait)
        }
        waits.append(wait)
        return true
    }

    private func ready(_ wait: Wait) {
        guard (try? FenceStatus.of(wait.fence.number)) != .pending else { return }
        if let registration = wait.registration { loop.remove(registration) }
        waits.removeAll { $0 === wait }
        wait.isEnded(loop.now() - wait.since)
    }

    /// Waits for nothing any more.
    func shutDown() {
        for wait in waits {
            if let registration = wait.registration { loop.remove(registration) }
        }
        waits.removeAll()
    }
}
