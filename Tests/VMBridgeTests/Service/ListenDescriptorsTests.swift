import CLinux
import Descriptors
import Glibc
import Logging
import Synchronization
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] sockets handed over by a service manager") struct ListenDescriptorsTests {
    /// Blocks of numbers, so that tests beside each other do not share any; near the limit, since the kernel
    /// gives others the lowest that is free, and all tests together have had more than 900 open.
    private static let next = Atomic<Int32>(lowest)
    private static let lowest: Int32 = {
        let limit = (try? DescriptorLimit.current().soft) ?? 1024
        return max(900, Int32(clamping: min(limit, 65_536)) - 2000)
    }()

    /// Duplicates of some descriptors in a row, without close-on-exec, as a service manager leaves them.
    private func row(_ descriptors: [Int32]) throws -> Int32 {
        let first = Self.next.add(8, ordering: .relaxed).oldValue
        for (index, descriptor) in descriptors.enumerated() {
            try #require(!isOpen(first + Int32(index)), "another test's descriptor")
            try #require(dup2(descriptor, first + Int32(index)) == first + Int32(index))
        }
        return first
    }

    private func environment(_ process: String?, _ count: String?, _ names: String?)
        -> ServiceEnvironment
    {
        var environment = ServiceEnvironment()
        environment.listenProcess = process
        environment.listenCount = count
        environment.listenNames = names
        return environment
    }

    private func isOpen(_ number: Int32) -> Bool { fcntl(number, F_GETFD) >= 0 }

    /// Takes one, closes it, and says which number it had.
    private func takeNumber(_ name: String, _ passed: ListenDescriptors) -> Int32? {
        guard let taken = passed.take(named: name) else { return nil }
        return taken.number
    }

    @Test func descriptorsComeByNameAndCloseOnExec() throws {
        let pipe = try Pipe()
        let first = try row([pipe.reading.number, pipe.writing.number, pipe.reading.number])
        let passed = ListenDescriptors(
            environment("7", "3", "work:control:work"), process: 7, first: first)
        #expect(passed.names == ["work", "control", "work"])
        #expect(passed.complaints.isEmpty)
        for index in 0..<3 as Range<Int32> {
            #expect(fcntl(first + index, F_GETFD) & FD_CLOEXEC != 0)
        }
        #expect(takeNumber("control", passed) == first + 1)
        #expect(!isOpen(first + 1))
        #expect(takeNumber("control", passed) == nil)
        #expect(takeNumber("play", passed) == nil)
        #expect(takeNumber("work", passed) == first)
        #expect(!isOpen(first))
        let (logger, lines) = KeptLog.make()
        passed.closeRest(logger)
        #expect(!isOpen(first + 2))
        #expect(lines.all.count == 1)
        #expect(lines.all[0].contains("“work”"))
        #expect(passed.names.isEmpty)
        passed.closeRest(logger)
        #expect(lines.all.count == 1)
    }

    @Test func whatIsSaidToAnotherProcessIsLeftAlone() throws {
        let pipe = try Pipe()
        let first = try row([pipe.reading.number])
        defer { close(first) }
        for process in ["8", "0", "2147483647"] {
            let passed = ListenDescriptors(
                environment(process, "1", "work"), process: 7, first: first)
            #expect(passed.names.isEmpty)
            #expect(passed.complaints.isEmpty)
        }
        #expect(fcntl(first, F_GETFD) & FD_CLOEXEC == 0)
    }

    @Test func hostileValuesTouchNoDescriptor() throws {
        let pipe = try Pipe()
        let first = try row([pipe.reading.number])
        defer { close(first) }
        for process in ["", "-7", "+7", " 7", "7 ", "7x", "0x7", "99999999999999999999", "７"] {
            let passed = ListenDescriptors(environment(process, "1", "a"), process: 7, first: first)
            #expect(passed.names.isEmpty && passed.complaints.count == 1, "\(process)")
        }
        for count in [
            "", "-1", "+1", "1025", "2147483648", "99999999999999999999", "1 ", "one", nil,
        ] {
            let passed = ListenDescriptors(environment("7", count, "a"), process: 7, first: first)
            #expect(passed.names.isEmpty && passed.complaints.count == 1, "\(count ?? "nil")")
        }
        #expect(
            ListenDescriptors(environment("7", "0", ""), process: 7, first: first).names.isEmpty)
        #expect(
            ListenDescriptors(environment(nil, nil, "a"), process: 7, first: first).names.isEmpty)
        #expect(isOpen(first))
        #expect(fcntl(first, F_GETFD) & FD_CLOEXEC == 0)
    }

    @Test func namesThatDoNotMatchAreNoNames() throws {
        let pipe = try Pipe()
        let cases: [(String?, Bool)] = [("a:b", true), ("::", true), ("", false), (nil, false)]
        for (names, isWrong) in cases {
            let first = try row([pipe.reading.number])
            let passed = ListenDescriptors(environment("7", "1", names), process: 7, first: first)
            #expect(passed.names == [names == "" ? "" : "unknown"])
            #expect(passed.complaints.isEmpty == !isWrong)
            let (logger, lines) = KeptLog.make()
            passed.closeRest(logger)
            #expect(lines.all.count == (isWrong ? 2 : 1))
            #expect(!isOpen(first))
        }
    }

    @Test func whatIsNotOpenIsToldAndNotOwned() throws {
        let pipe = try Pipe()
        let first = try row([pipe.reading.number])
        let passed = ListenDescriptors(
            environment("7", "2", "work:a\u{1b}[2J"), process: 7, first: first)
        #expect(passed.names == ["work"])
        #expect(passed.complaints.count == 1)
        #expect(!passed.complaints.joined().contains("\u{1b}"))
        passed.closeRest(KeptLog.make().0)
        #expect(!isOpen(first))
    }

    @Test func onlyListenersWithAVMsNameMakeAVM() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            let listener = try SeqPacketListener(path: path)
            let stranger = try Pipe()
            let first = try row(
                Array(repeating: listener.number, count: 6) + [stranger.reading.number])
            let passed = ListenDescriptors(
                environment("7", "7", "control:known:work:no name::work:pipe"), process: 7,
                first: first)
            let sources = passed.sources(besides: ["known"])
            #expect(sources == [SourceSpecification(vm: "work", socketPath: path)])
            passed.closeRest(KeptLog.make().0)
        }
    }

    @Test func anAdoptedListenerServesAndLeavesItsPath() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/work.sock"
            let manager = try SeqPacketListener(path: path)
            let first = try row([manager.number])
            let passed = ListenDescriptors(environment("7", "1", "work"), process: 7, first: first)
            let (logger, lines) = KeptLog.make()
            let service = try BridgeService(
                BridgeConfiguration(
                    sources: passed.sources(besides: []), presentation: .headless(HeadlessOptions())
                ),
                passed: passed, logger: logger)
            #expect(passed.names.isEmpty)
            #expect(
                lines.all.contains { $0.hasPrefix("info vm=work: work: listening on the socket") })
            let producer = try SeqPacketSocket(connectingTo: path)
            for _ in 0..<100 where service.status.first?.isConnected != true {
                try service.loop.runOnce(milliseconds: 20)
            }
            #expect(service.status.first?.isConnected == true)
            _ = consume producer
            let timer = service.loop.makeTimer { _ in service.stop() }
            service.loop.arm(timer, after: 1)
            try service.run()
            #expect(!isOpen(first))
            #expect(FileIdentity(path: path) != nil)
            // Who comes now waits in the manager's queue.
            #expect(throws: Never.self) { _ = try SeqPacketSocket(connectingTo: path) }
        }
    }

    @Test func aDescriptorOfAnotherKindStopsTheStart() throws {
        let pipe = try Pipe()
        let first = try row([pipe.reading.number])
        let passed = ListenDescriptors(environment("7", "1", "work"), process: 7, first: first)
        let (logger, _) = KeptLog.make()
        #expect(throws: KernelError.self) {
            _ = try BridgeService(
                BridgeConfiguration(
                    sources: [SourceSpecification(vm: "work", socketPath: "/nonexistent/s")],
                    presentation: .headless(HeadlessOptions())),
                passed: passed, logger: logger)
        }
        #expect(!isOpen(first))
    }

    @Test func theVariablesAreTakenAwayFromTheEnvironment() async {
        await #expect(processExitsWith: .success) {
            setenv("LISTEN_PID", "1", 1)
            setenv("LISTEN_FDS", "2", 1)
            setenv("LISTEN_FDNAMES", "a:b", 1)
            setenv("LISTEN_PIDFDID", "9", 1)
            setenv("NOTIFY_SOCKET", "@n", 1)
            setenv("WATCHDOG_USEC", "3", 1)
            setenv("WATCHDOG_PID", "4", 1)
            let environment = ServiceEnvironment.take()
            #expect(environment.listenProcess == "1")
            #expect(environment.listenCount == "2")
            #expect(environment.listenNames == "a:b")
            #expect(environment.notifySocket == "@n")
            #expect(environment.watchdogMicroseconds == "3")
            #expect(environment.watchdogProcess == "4")
            for name in [
                "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "NOTIFY_SOCKET",
                "WATCHDOG_USEC", "WATCHDOG_PID",
            ] {
                #expect(getenv(name) == nil, "\(name)")
            }
            #expect(ServiceEnvironment.take() == ServiceEnvironment())
        }
    }
}
