import Descriptors
import VMBridgeCore

/// What a wait ended with.
package enum GateEvent: Sendable {
    /// The fence signalled, or the target time has come.
    case open(UseID, FrameWaits)
    /// The fence ended with this errno; 0 when the guest said so by message.
    case failed(UseID, Int32)
    /// The fence did not signal within the limit.
    case timedOut(UseID)
}

/// Holds frames in the loop until their acquire fence has signalled or their target time has come.
/// Never blocks: a sync_file is watched like any other descriptor, and every wait has a deadline.
package final class FenceGate {
    /// One wait; kept and used again, so that steady frames allocate nothing.
    fileprivate final class Wait: EventHandler, TimerHandler {
        unowned let gate: FenceGate
        let index: Int
        var use: UseID?
        var kind: FrameWaits = []
        var timer: TimerID?
        var registration: Registration?
        var fence = OwnedDescriptor.none

        init(gate: FenceGate, index: Int) {
            self.gate = gate
            self.index = index
        }

        func ready(_ registration: Registration, _ readiness: Readiness) { gate.fenceEnded(self) }
        func timerFired(_ timer: TimerID, now: UInt64) { gate.deadline(self) }
    }

    private let loop: EventLoop
    private var waits: [Wait] = []
    private var free: [Int] = []
    private let events = Gathered<GateEvent>(capacity: 16)

    /// A gate on a loop.
    package init(loop: EventLoop) {
        self.loop = loop
    }

    /// Waits that have not ended.
    package var count: Int { waits.count - free.count }

    /// Waits for a sync_file; nil when it has signalled already.
    ///
    /// - Returns: whether there is something to wait for.
    /// - Throws: `fenceFailed` when it ended in an error, `badDescriptor` when the kernel says it is none.
    package func wait(
        _ use: UseID, fence: consuming OwnedDescriptor, deadline: UInt64
    ) throws(Refusal) -> Bool {
        switch Self.status(fence.number) {
        case .signalled: return false
        case .error(let code):
            throw Refusal(.fenceFailed, "The acquire fence ended with error \(code).")
        case nil: throw Refusal(.badDescriptor, "The acquire fence is not a sync_file.")
        case .pending: break
        }
        let wait = makeWait(use, .fence)
        let number = fence.number
        wait.fence = fence
        do throws(KernelError) {
            wait.registration = try loop.register(number, .read, wait)
        } catch {
            end(wait)
            throw Refusal(.badDescriptor, "The acquire fence cannot be watched: \(error)")
        }
        arm(wait, at: deadline)
        return true
    }

    /// Waits for a FENCE_SIGNAL record.
    package func waitForMessage(_ use: UseID, deadline: UInt64) {
        arm(makeWait(use, .fence), at: deadline)
    }

    /// Waits until a time.
    package func wait(_ use: UseID, until time: UInt64) {
        arm(makeWait(use, .time), at: time)
    }

    /// The guest says that its fence has ended.
    ///
    /// - Returns: whether a wait for such a message stood open.
    package func message(_ use: UseID, isError: Bool) -> Bool {
        for wait in waits where wait.use == use && wait.kind == .fence && wait.registration == nil {
            end(wait)
            events.append(isError ? .failed(use, 0) : .open(use, .fence))
            return true
        }
        return false
    }

    /// Nobody waits for that use any longer.
    package func cancel(_ use: UseID) {
        for wait in waits where wait.use == use { end(wait) }
    }

    /// Hands the gathered events over and forgets them.
    package func takeEvents(_ body: (GateEvent) -> Void) { events.take(body) }

    private static func status(_ number: Int32) -> FenceStatus? {
        do throws(KernelError) {
            return try FenceStatus.of(number)
        } catch {
            return nil
        }
    }

    private func makeWait(_ use: UseID, _ kind: FrameWaits) -> Wait {
        let wait: Wait
        if let index = free.popLast() {
            wait = waits[index]
        } else {
            wait = Wait(gate: self, index: waits.count)
            waits.append(wait)
            wait.timer = loop.makeTimer(wait)
        }
        wait.use = use
        wait.kind = kind
        return wait
    }

    private func arm(_ wait: Wait, at time: UInt64) {
        if let timer = wait.timer { loop.arm(timer, at: time) }
    }

    private func end(_ wait: Wait) {
        guard wait.use != nil else { return }
        if let registration = wait.registration { loop.remove(registration) }
        if let timer = wait.timer { loop.disarm(timer) }
        wait.registration = nil
        wait.use = nil
        wait.fence = .none
        free.append(wait.index)
    }

    fileprivate func fenceEnded(_ wait: Wait) {
        guard let use = wait.use else { return }
        switch Self.status(wait.fence.number) {
        case .pending: return
        case .signalled: events.append(.open(use, .fence))
        case .error(let code): events.append(.failed(use, code))
        case nil: events.append(.failed(use, 0))
        }
        end(wait)
    }

    fileprivate func deadline(_ wait: Wait) {
        guard let use = wait.use else { return }
        events.append(wait.kind == .time ? .open(use, .time) : .timedOut(use))
        end(wait)
    }

    /// Ends every wait and gives its timers back.
    package func shutDown() {
        for wait in waits {
            end(wait)
            if let timer = wait.timer { loop.remove(timer) }
        }
        waits.removeAll()
        free.removeAll()
        events.removeAll()
    }
}
