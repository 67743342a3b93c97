import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

/// An eventfd that is readable from the start.
private func readyEvent() throws -> OwnedDescriptor {
    OwnedDescriptor(owning: try check(vmb_eventfd(1), "eventfd"))
}

private final class Recorder: EventHandler, TimerHandler, SignalHandler, WakeHandler, LoopHook {
    var events: [(Registration, Readiness)] = []
    var timers: [TimerID] = []
    var signals: [Int32] = []
    var wakes = 0
    var order: [String] = []
    var onReady: (Registration) -> Void = { _ in }
    var onTimer: (TimerID) -> Void = { _ in }
    var urgent = false

    func ready(_ registration: Registration, _ readiness: Readiness) {
        events.append((registration, readiness))
        order.append("event")
        onReady(registration)
    }
    func timerFired(_ timer: TimerID, now: UInt64) {
        timers.append(timer)
        onTimer(timer)
    }
    func signalArrived(_ number: Int32, sender: Int32) { signals.append(number) }
    func woken() { wakes += 1 }
    func loopWillWait() -> Bool {
        order.append("before")
        return urgent
    }
    func loopDidDeliver() { order.append("after") }
}

/// Counts, and allocates nothing itself.
private final class Counter: EventHandler, TimerHandler, LoopHook {
    var events = 0
    var fired = 0
    let loop: EventLoop
    init(_ loop: EventLoop) { self.loop = loop }
    func ready(_ registration: Registration, _ readiness: Readiness) { events += 1 }
    func timerFired(_ timer: TimerID, now: UInt64) {
        fired += 1
        loop.arm(timer, at: now)
    }
}

@Suite("[kernel] event loop") struct LoopTests {
    @Test func deliversReadinessUntilRead() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let event = try readyEvent()
        let registration = try loop.register(event.number, .read, recorder)
        try loop.runOnce(milliseconds: 0)
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.events.map(\.0) == [registration, registration])
        #expect(recorder.events.allSatisfy { $0.1 == .readable })
        var value: UInt64 = 0
        #expect(read(event.number, &value, 8) == 8)
        let count = try loop.runOnce(milliseconds: 0)
        #expect(count == 0)
        loop.remove(registration)
    }

    @Test func changesInterest() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let event = try readyEvent()
        let registration = try loop.register(event.number, .read, recorder)
        try loop.setInterest(registration, [.read, .write])
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.events.map(\.1) == [[.readable, .writable]])
        try loop.setInterest(registration, .write)
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.events.last?.1 == .writable)
        #expect(loop.interest(registration) == .write)
        loop.remove(registration)
        #expect(loop.interest(registration) == nil)
    }

    @Test func aPausedDescriptorIsSilentEvenAfterAHangUp() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        var pair = try SeqPacketPair()
        var near = pair.takeFirst()
        let number = near?.number ?? -1
        let registration = try loop.register(number, .read, recorder)
        try loop.setInterest(registration, [])
        _ = pair.takeSecond()
        let paused = try loop.runOnce(milliseconds: 0)
        #expect(paused == 0)
        try loop.setInterest(registration, .read)
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.events.map(\.1) == [[.readable, .hangUp]])
        loop.remove(registration)
        near = nil
    }

    @Test func pausedByAnEarlierHandlerOfTheSameBatch() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let first = try readyEvent()
        let second = try readyEvent()
        let one = try loop.register(first.number, .read, recorder)
        let two = try loop.register(second.number, .read, recorder)
        recorder.onReady = { came in try? loop.setInterest(came == one ? two : one, []) }
        let count = try loop.runOnce(milliseconds: 0)
        #expect(count == 2)
        #expect(recorder.events.count == 1)
        recorder.onReady = { _ in }
        loop.remove(one)
        loop.remove(two)
    }

    @Test func aStaleEventReachesNobody() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let successor = Recorder()
        let first = try readyEvent()
        let second = try readyEvent()
        let third = try readyEvent()
        let one = try loop.register(first.number, .read, recorder)
        let two = try loop.register(second.number, .read, recorder)
        var replacement: Registration?
        // Whichever comes first removes the other, whose event is already fetched, and a new registration takes its slot.
        recorder.onReady = { came in
            let other = came == one ? two : one
            loop.remove(other)
            replacement = try? loop.register(third.number, .read, successor)
            #expect(replacement?.slot == other.slot)
            #expect(replacement != other)
        }
        let count = try loop.runOnce(milliseconds: 0)
        #expect(count == 2)
        #expect(recorder.events.count == 1)
        #expect(successor.events.isEmpty)
        #expect(loop.staleEvents == 1)
        recorder.onReady = { _ in }
        try loop.runOnce(milliseconds: 0)
        #expect(successor.events.map(\.0) == [try #require(replacement)])
    }

    @Test func removingTwiceAndFromItsOwnHandler() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let event = try readyEvent()
        let registration = try loop.register(event.number, .read, recorder)
        recorder.onReady = {
            loop.remove($0)
            loop.remove($0)
        }
        try loop.runOnce(milliseconds: 0)
        let again = try loop.runOnce(milliseconds: 0)
        #expect(recorder.events.count == 1)
        #expect(again == 0)
        let new = try loop.register(event.number, .read, Recorder())
        loop.remove(registration)
        #expect(loop.interest(new) == .read)
    }

    @Test func refusesWhatEpollRefuses() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let memory = try MemoryFile.create(size: 4096)
        #expect(
            code { () throws(KernelError) in _ = try loop.register(memory.number, .read, recorder) }
                == EPERM)
        #expect(
            code { () throws(KernelError) in _ = try loop.register(-1, .read, recorder) } == EBADF)
        let event = try readyEvent()
        _ = try loop.register(event.number, .read, recorder)
        #expect(
            code { () throws(KernelError) in _ = try loop.register(event.number, .read, recorder) }
                == EEXIST)
    }

    @Test func timersFireInOrder() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let timers = (0..<6).map { _ in loop.makeTimer(recorder) }
        let start = loop.now()
        // Reverse order of deadlines; the last two are equal and fire in the order of arming.
        for (place, timer) in timers.enumerated() {
            loop.arm(timer, at: start + UInt64(max(5 - place, 1)) * 1_000_000)
        }
        loop.disarm(timers[2])
        #expect(loop.deadline(timers[2]) == nil)
        #expect(loop.deadline(timers[0]) == start + 5_000_000)
        while recorder.timers.count < 5 { try loop.runOnce(milliseconds: 1000) }
        #expect(recorder.timers == [timers[4], timers[5], timers[3], timers[1], timers[0]])
        #expect(loop.now() >= start + 5_000_000)
        #expect(timers.allSatisfy { loop.deadline($0) == nil })
    }

    @Test func aTimerIsMovedAndRemoved() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let late = loop.makeTimer(recorder)
        let early = loop.makeTimer(recorder)
        loop.arm(late, after: 3_600_000_000_000)
        loop.arm(early, at: 1)
        loop.remove(early)
        let quiet = try loop.runOnce(milliseconds: 5)
        #expect(quiet == 0)
        loop.arm(late, at: 0)
        try loop.runOnce(milliseconds: 1000)
        #expect(recorder.timers == [late])
        // The slot is used again; the old name means nothing.
        let next = loop.makeTimer(recorder)
        #expect(next.slot == early.slot)
        loop.arm(early, at: 1)
        #expect(loop.deadline(next) == nil)
        loop.arm(next, after: .max)
        #expect(loop.deadline(next) == .max)
    }

    @Test func rearmingInThePastDoesNotStarveTheLoop() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let greedy = loop.makeTimer(recorder)
        let other = loop.makeTimer(recorder)
        recorder.onTimer = { if $0 == greedy { loop.arm(greedy, at: 0) } }
        loop.arm(greedy, at: 1)
        loop.arm(other, at: 2)
        try loop.runOnce(milliseconds: 1000)
        #expect(recorder.timers == [greedy, other])
        try loop.runOnce(milliseconds: 1000)
        #expect(recorder.timers == [greedy, other, greedy])
        recorder.onTimer = { _ in }
    }

    @Test func aThousandTimersAgainstASortedList() throws {
        var heap = TimerHeap()
        var generator = SystemRandomNumberGenerator()
        let recorder = Recorder()
        let timers = (0..<1000).map { _ in heap.add(recorder) }
        var expected: [TimerID: UInt64] = [:]
        for _ in 0..<5000 {
            let timer = timers[Int.random(in: 0..<1000, using: &generator)]
            if Bool.random(using: &generator) {
                let deadline = UInt64.random(in: 1...100_000, using: &generator)
                heap.arm(timer, at: deadline)
                expected[timer] = deadline
            } else {
                heap.disarm(timer)
                expected[timer] = nil
            }
        }
        #expect(heap.count == expected.count)
        var fired: [UInt64] = []
        while let due = heap.popDue(.max) {
            let deadline = expected.removeValue(forKey: due.timer)
            fired.append(try #require(deadline))
        }
        #expect(fired == fired.sorted())
        #expect(expected.isEmpty)
    }

    @Test func wokenFromAnotherThread() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let id = loop.addWakeHandler(recorder)
        var thread = pthread_t()
        let waker = Unmanaged.passRetained(loop.waker).toOpaque()
        let made = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let waker = Unmanaged<LoopWaker>.fromOpaque(argument).takeRetainedValue()
                usleep(2000)
                waker.wake()
                waker.wake()
                return nil
            }, waker)
        #expect(made == 0)
        while recorder.wakes == 0 { try loop.runOnce(milliseconds: 5000) }
        pthread_join(thread, nil)
        try loop.runOnce(milliseconds: 0)
        #expect((1...2).contains(recorder.wakes))
        let quiet = try loop.runOnce(milliseconds: 0)
        #expect(quiet == 0)
        let before = recorder.wakes
        loop.remove(id)
        loop.waker.wake()
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.wakes == before)
    }

    @Test func hooksRunAroundEveryBatch() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let event = try readyEvent()
        let hook = loop.addHook(recorder)
        let registration = try loop.register(event.number, .read, recorder)
        try loop.runOnce(milliseconds: 0)
        loop.remove(registration)
        recorder.urgent = true
        // Would wait for ever if the hook's answer were not heard.
        try loop.runOnce(milliseconds: -1)
        #expect(recorder.order == ["before", "event", "after", "before", "after"])
        loop.remove(hook)
        try loop.runOnce(milliseconds: 0)
        #expect(recorder.order.count == 5)
    }

    @Test func runEndsAfterTheBatchThatStopsIt() throws {
        let loop = try EventLoop()
        let recorder = Recorder()
        let first = try readyEvent()
        let second = try readyEvent()
        _ = try loop.register(first.number, .read, recorder)
        _ = try loop.register(second.number, .read, recorder)
        recorder.onReady = { _ in loop.stop() }
        try loop.run()
        #expect(recorder.events.count == 2)
        recorder.onReady = { _ in }
    }

    @Test func handlersAreLetGo() throws {
        let loop = try EventLoop()
        let event = try readyEvent()
        var recorder: Recorder? = Recorder()
        weak let seen = recorder
        let registration = try loop.register(event.number, .read, try #require(recorder))
        let timer = loop.makeTimer(try #require(recorder))
        let hook = loop.addHook(try #require(recorder))
        recorder = nil
        #expect(seen != nil)
        loop.remove(registration)
        loop.remove(timer)
        loop.remove(hook)
        #expect(seen == nil)
    }

    @Test func signalsArriveOnTheLoop() async {
        await #expect(processExitsWith: .success) {
            var before = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &before)
            try withoutLeaks {
                let loop = try EventLoop()
                let recorder = Recorder()
                try loop.watchSignals([SIGINT, SIGTERM, SIGHUP, SIGCHLD], recorder)
                #expect(
                    code { () throws(KernelError) in try loop.watchSignals([SIGINT], recorder) }
                        == EEXIST)
                // To this thread: the run time's others did not inherit the mask.
                for number in [SIGHUP, SIGTERM, SIGINT] { pthread_kill(pthread_self(), number) }
                try loop.runOnce(milliseconds: 1000)
                #expect(recorder.signals.sorted() == [SIGHUP, SIGINT, SIGTERM].sorted())
            }
            var after = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &after)
            for number in 1...31 {
                #expect(sigismember(&after, Int32(number)) == sigismember(&before, Int32(number)))
            }
        }
    }

    @Test func anEventAllocatesNothing() async {
        await #expect(processExitsWith: .success) {
            let loop = try EventLoop()
            let counter = Counter(loop)
            let descriptors = try (0..<4).map { _ in try readyEvent().release() }
            let registrations = try descriptors.map { try loop.register($0, .read, counter) }
            let timer = loop.makeTimer(counter)
            loop.addHook(counter)
            loop.arm(timer, at: 1)
            for _ in 0..<10 { try loop.runOnce(milliseconds: 0) }
            counter.events = 0
            counter.fired = 0
            // Made here: a literal of two options is an array on the way.
            let both: Interest = [.read, .write]
            let starved = try withoutMemory {
                for round in 0..<1000 {
                    try loop.setInterest(registrations[0], round % 2 == 0 ? .write : both)
                    try loop.runOnce(milliseconds: 0)
                }
            }
            #expect(starved)
            #expect(counter.events == 8000)
            #expect(counter.fired > 1800)
        }
        // The means would find one: a single object is the end.
        await #expect(processExitsWith: .failure) {
            _ = withoutMemory { Recorder().wakes += 1 }
        }
    }

    @Test func aLoopLeavesNothingOpen() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let loop = try EventLoop()
                let event = try readyEvent()
                _ = try loop.register(event.number, .read) { _ in }
                loop.arm(loop.makeTimer { _ in }, after: 1)
                try loop.runOnce(milliseconds: 10)
            }
        }
    }
}
