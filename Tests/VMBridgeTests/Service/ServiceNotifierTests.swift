import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] notes to a service manager") struct ServiceNotifierTests {
    private func environment(_ socket: String?, watchdog: String? = nil, process: String? = nil)
        -> ServiceEnvironment
    {
        var environment = ServiceEnvironment()
        environment.notifySocket = socket
        environment.watchdogMicroseconds = watchdog
        environment.watchdogProcess = process
        return environment
    }

    @Test func notesArriveAtAPath() throws {
        try withDirectory { directory throws in
            let receiver = try DatagramReceiver("\(directory)/notify")
            let (logger, lines) = KeptLog.make()
            let notifier = try #require(
                ServiceNotifier(environment("\(directory)/notify"), logger: logger))
            notifier.ready("2 VMs")
            notifier.status("a\nREADY=1")
            notifier.beat()
            notifier.stopping()
            #expect(
                receiver.texts() == [
                    "READY=1\nSTATUS=2 VMs", "STATUS=a READY=1", "WATCHDOG=1",
                    "STOPPING=1\nSTATUS=Ending",
                ])
            #expect(lines.all.isEmpty)
        }
    }

    @Test func notesArriveAtAnAbstractName() throws {
        let name = "@vm-bridge-test-\(getpid())-notify"
        let receiver = try DatagramReceiver(name)
        let (logger, _) = KeptLog.make()
        let notifier = try #require(ServiceNotifier(environment(name), logger: logger))
        let before = MonotonicClock.now() / 1000
        notifier.reloading()
        let note = try #require(receiver.text()).split(separator: "\n")
        #expect(note.first == "RELOADING=1")
        let last = try #require(note.last)
        let time = try #require(UInt64(last.dropFirst("MONOTONIC_USEC=".count)))
        #expect((before...MonotonicClock.now() / 1000).contains(time))
    }

    @Test func whatIsNoSocketIsToldOnceAndThenNothing() throws {
        let long = "/" + String(repeating: "x", count: 107)
        for name in ["", "/", "@", "relative", "vsock:2:1234", "http://x", long] {
            let (logger, lines) = KeptLog.make()
            #expect(ServiceNotifier(environment(name), logger: logger) == nil, "\(name)")
            #expect(lines.all.count == 1, "\(name)")
        }
        let (logger, lines) = KeptLog.make()
        #expect(ServiceNotifier(environment(nil), logger: logger) == nil)
        #expect(lines.all.isEmpty)
        #expect(SocketName(String(long.dropLast())) != nil)
    }

    @Test func nobodyWhoListensAndAFullQueueCostOneLineAndNoTime() throws {
        try withDirectory { directory throws in
            let (logger, lines) = KeptLog.make()
            let notifier = try #require(
                ServiceNotifier(environment("\(directory)/none"), logger: logger))
            for _ in 0..<10 { notifier.beat() }
            #expect(lines.all.count == 1)
            #expect(lines.all[0].contains("nobody listens"))

            let receiver = try DatagramReceiver("\(directory)/full")
            let (second, full) = KeptLog.make()
            let other = try #require(
                ServiceNotifier(environment("\(directory)/full"), logger: second))
            let begin = MonotonicClock.now()
            for _ in 0..<5000 { other.beat() }
            #expect(MonotonicClock.now() - begin < 5_000_000_000)
            #expect(full.all.count == 1)
            #expect(full.all[0].contains("queue is full"))
            let taken = receiver.texts()
            #expect(!taken.isEmpty && taken.count < 5000)
            #expect(taken.allSatisfy { $0 == "WATCHDOG=1" })
            other.status("room again")
            #expect(receiver.texts() == ["STATUS=room again"])
        }
    }

    @Test func halfOfTheWatchdogsTimeIsTheBeat() throws {
        let (logger, _) = KeptLog.make()
        func beat(_ watchdog: String?, _ process: String? = nil) -> UInt64? {
            ServiceNotifier(
                environment("@vm-bridge-nobody", watchdog: watchdog, process: process),
                process: 42, logger: logger)?.beatInterval
        }
        #expect(beat("20000000") == 10_000_000_000)
        #expect(beat("20000000", "42") == 10_000_000_000)
        #expect(beat("20000000", "43") == nil)
        #expect(beat("20000000", "") == nil)
        #expect(beat("20000000", "42x") == nil)
        #expect(beat(nil) == nil)
        #expect(beat("1") == 1_000_000)
        #expect(beat("18446744073709551615") == UInt64.max / 2)
        for nonsense in [
            "", "0", "-1", "+5", " 5", "5 ", "5s", "0x10", "18446744073709551616", "٣",
        ] {
            #expect(beat(nonsense) == nil, "\(nonsense)")
        }
    }

    private func status(connected: Bool = true, presenting: Bool = true, surfaces: Int = 1)
        -> VMStatus
    {
        let surface = SurfaceStatus(
            vm: "a", surface: SurfaceKey(1), title: "t", appID: "x", isGone: false,
            counters: SurfaceCounters())
        var gone = surface
        gone.isGone = true
        return VMStatus(
            name: "a", isConnected: connected, generation: 1, isPresenting: presenting,
            trouble: nil, device: nil, buffers: 0, bytes: 0, uses: 0, refusals: [:],
            surfaces: [gone] + Array(repeating: surface, count: surfaces))
    }

    @Test("[pure] the line of status")
    func line() {
        #expect(ServiceReporter.line([]) == "0 VMs, 0 connected, 0 surfaces")
        #expect(ServiceReporter.line([status()]) == "1 VM, 1 connected, 1 surface")
        let away = status(connected: false, presenting: false, surfaces: 0)
        #expect(
            ServiceReporter.line([status(surfaces: 2), away])
                == "2 VMs, 1 connected, 2 surfaces; no windows for now: a")
        #expect(
            ServiceReporter.line(Array(repeating: away, count: 6)).hasSuffix(
                "no windows for now: a, a, a, a and 2 more"))
    }

    @Test func theLoopBeatsAndAStuckOneDoesNot() throws {
        try withDirectory { directory throws in
            let receiver = try DatagramReceiver("\(directory)/n")
            let (logger, _) = KeptLog.make()
            let loop = try EventLoop()
            // 50 ms between beats.
            let notifier = try #require(
                ServiceNotifier(environment("\(directory)/n", watchdog: "100000"), logger: logger))
            var now = [status()]
            let reporter = ServiceReporter(notifier, loop: loop) { now }
            #expect(
                receiver.texts() == [
                    "READY=1\nSTATUS=1 VM, 1 connected, 1 surface", "WATCHDOG=1",
                ])
            let begin = loop.now()
            var beats = 0
            var turns = 0
            while beats < 5, loop.now() - begin < 5_000_000_000 {
                try loop.runOnce(milliseconds: 1000)
                turns += 1
                beats += receiver.texts().count { $0 == "WATCHDOG=1" }
            }
            #expect(beats == 5)
            // Never before its time, and the loop wakes for nothing else.
            #expect(loop.now() - begin >= 240_000_000)
            #expect(turns <= 7)
            // Nobody runs the loop: silence.
            usleep(200_000)
            #expect(receiver.texts().isEmpty)

            // What changes is told once, with a beat at the latest.
            now = [status(surfaces: 3)]
            loop.waker.wake()
            let change = loop.now()
            var notes: [String] = []
            while notes.isEmpty, loop.now() - change < 5_000_000_000 {
                try loop.runOnce(milliseconds: 1000)
                notes = receiver.texts().filter { $0 != "WATCHDOG=1" }
            }
            #expect(notes == ["STATUS=1 VM, 1 connected, 3 surfaces"])

            var isReloaded = false
            reporter.whileReloading {
                isReloaded = true
                #expect(receiver.texts().contains { $0.hasPrefix("RELOADING=1\nMONOTONIC_USEC=") })
            }
            #expect(isReloaded)
            #expect(receiver.texts() == ["READY=1\nSTATUS=1 VM, 1 connected, 3 surfaces"])

            reporter.ending()
            #expect(receiver.texts() == ["STOPPING=1\nSTATUS=Ending"])
            usleep(120_000)
            try loop.runOnce(milliseconds: 0)
            #expect(receiver.texts().isEmpty)
        }
    }

    @Test func withoutAWatchdogAnIdleLoopSleeps() throws {
        try withDirectory { directory throws in
            let receiver = try DatagramReceiver("\(directory)/n")
            let (logger, _) = KeptLog.make()
            let loop = try EventLoop()
            let notifier = try #require(
                ServiceNotifier(environment("\(directory)/n"), logger: logger))
            var now: [VMStatus] = []
            let reporter = ServiceReporter(notifier, loop: loop) { now }
            // The first batch has its look; after that nothing wakes the loop.
            try loop.runOnce(milliseconds: 0)
            try #require(try loop.runOnce(milliseconds: 3000) == 1)
            #expect(try loop.runOnce(milliseconds: 1500) == 0)
            #expect(receiver.texts() == ["READY=1\nSTATUS=0 VMs, 0 connected, 0 surfaces"])
            // Something happens: a second later there is one look, and then sleep again.
            now = [status()]
            loop.waker.wake()
            let change = loop.now()
            try #require(try loop.runOnce(milliseconds: 0) == 1)
            #expect(receiver.texts().isEmpty)
            try #require(try loop.runOnce(milliseconds: 3000) == 1)
            // The second begins with the batch, which a moment before this clock was read.
            #expect(loop.now() - change >= 900_000_000)
            #expect(receiver.texts() == ["STATUS=1 VM, 1 connected, 1 surface"])
            #expect(try loop.runOnce(milliseconds: 1500) == 0)
            reporter.ending()
        }
    }
}
