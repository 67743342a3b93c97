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
    /// The release fence has signalled: the use is over.
    case released(UseID)
}

/// Watches fences: frames are held until their acquire fence has signalled or their target time has
/// come, fences that were passed on are told of when they end, and uses last until their release fence.
/// Never blocks: a sync_file is watched like any other descriptor, and every wait has a deadline.
package final class FenceGate {
    fileprivate enum Kind {
        /// For an acquire fence, or for the guest's message.
        case fence
        /// For a point of a timeline to get its fence.
        case point(SyncTimeline, UInt64)
        /// For a target time.
        case time
        /// For a release fence.
        case release

        var isFence: Bool { if case .fence = self { true } else { false } }
        var isRelease: Bool { if case .release = self { true } else { false } }
    }

    /// One wait; kept and used again, so that steady frames allocate nothing.
    fileprivate final class Wait: EventHandler, TimerHandler {
        unowned let gate: FenceGate
        let index: Int
        var use: UseID?
        var kind = Kind.fence
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

    /// Descriptors that are watched.
    package var descriptors: Int { waits.count { $0.fence.isValid } }

    /// Waits for a sync_file.
    ///
    /// - Parameter status: its state, if that was asked for just now.
    /// - Returns: whether there is something to wait for.
    /// - Throws: `fenceFailed` when it ended in an error, `badDescriptor` when the kernel says it is none.
    package func wait(
        _ use: UseID, fence: consuming OwnedDescriptor, _ status: FenceStatus? = nil,
        deadline: UInt64
    ) throws(Refusal) -> Bool {
        switch status ?? Self.status(fence.number) {
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

    /// Waits for a point of a guest's timeline: for its fence, and then for that.
    ///
    /// - Returns: whether there is something to wait for.
    /// - Throws: `badDescriptor` when the kernel cannot watch it.
    package func wait(
        _ use: UseID, for timeline: SyncTimeline, point: UInt64, deadline: UInt64
    ) throws(Refusal) -> Bool {
        if let fence = try? timeline.fence(at: point) {
            return try wait(use, fence: fence, deadline: deadline)
        }
        let wait = makeWait(use, .point(timeline, point))
        do throws(KernelError) {
            wait.fence = try EventFile.make()
            try timeline.notify(wait.fence.number, at: point, whenAvailable: true)
            wait.registration = try loop.register(wait.fence.number, .read, wait)
        } catch {
            end(wait)
            throw Refusal(.badDescriptor, "The timeline's point cannot be watched: \(error)")
        }
        arm(wait, at: deadline)
        return true
    }

    /// Watches a release fence.
    ///
    /// - Parameter deadline: when it is waited for no longer; nil for as long as it takes.
    /// - Returns: whether there is something to wait for; not for a fence that cannot be watched.
    package func waitForRelease(
        _ use: UseID, _ fence: consuming OwnedDescriptor, deadline: UInt64? = nil
    ) -> Bool {
        guard Self.status(fence.number) == .pending else { return false }
        let wait = makeWait(use, .release)
        let number = fence.number
        wait.fence = fence
        wait.registration = try? loop.register(number, .read, wait)
        if wait.registration == nil { end(wait) } else if let deadline { arm(wait, at: deadline) }
        return wait.registration != nil
    }

    /// Whether a use lasts until its release fence.
    package func isReleasing(_ use: UseID) -> Bool {
        count > 0 && waits.contains { $0.use == use && $0.kind.isRelease }
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
        for wait in waits
        where wait.use == use && wait.kind.isFence && wait.registration == nil {
            end(wait)
            events.append(isError ? .failed(use, 0) : .open(use, .fence))
            return true
        }
        return false
    }

    /// Nobody waits for what that frame lacked. Its release fence, if it is that far, goes on.
    package func cancel(_ use: UseID) {
        for wait in waits where wait.use == use && !wait.kind.isRelease { end(wait) }
    }

    /// Nobody waits for anything.
    package func cancelAll() {
        for wait in waits { end(wait) }
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

    private func makeWait(_ use: UseID, _ kind: Kind) -> Wait {
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
        wait.kind = .fence
        free.append(wait.index)
    }

    fileprivate func fenceEnded(_ wait: Wait) {
        guard let use = wait.use else { return }
        if case .point(let timeline, let point) = wait.kind {
            return pointCame(wait, use, timeline, point)
        }
        if wait.kind.isRelease {
            events.append(.released(use))
            return end(wait)
        }
        switch Self.status(wait.fence.number) {
        case .pending: return
        case .signalled: events.append(.open(use, .fence))
        case .error(let code): events.append(.failed(use, code))
        case nil: events.append(.failed(use, 0))
        }
        end(wait)
    }

    /// The point has a fence: that is what is watched from now on.
    private func pointCame(_ wait: Wait, _ use: UseID, _ timeline: SyncTimeline, _ point: UInt64) {
        if let registration = wait.registration { loop.remove(registration) }
        wait.registration = nil
        wait.kind = .fence
        do throws(KernelError) {
            wait.fence = try timeline.fence(at: point)
            wait.registration = try loop.register(wait.fence.number, .read, wait)
        } catch {
            events.append(.failed(use, error.code))
            return end(wait)
        }
        // It may have ended already, with or without an error.
        fenceEnded(wait)
    }

    fileprivate func deadline(_ wait: Wait) {
        guard let use = wait.use else { return }
        switch wait.kind {
        case .time: events.append(.open(use, .time))
        case .release: events.append(.released(use))
        case .fence, .point: events.append(.timedOut(use))
        }
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
