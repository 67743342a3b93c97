import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// Starts a shell in place of our program: it has the socket as descriptor 3, and a word written there is a
/// datagram.
private struct ShellLauncher: GraphicsWorkerLauncher {
    var script: String

    func launch(
        _ socket: consuming SeqPacketSocket, options: GraphicsWorkerOptions
    ) throws(KernelError) -> HelperProcess? {
        try HelperProcess(path: "/bin/sh", arguments: ["-c", script], passing: socket.number)
    }
}

@Suite("[kernel] GraphicsWorker processes", .serialized)
struct WorkerProcessTests {
    private func isThere(_ process: Int32) -> Bool { kill(process, 0) == 0 }

    /// The reason of a refusal by a process that runs this script, which is gone and reaped afterwards.
    private func reason(_ script: String) throws -> GraphicsReason? {
        let fixture = try WorkerFixture(launcher: ShellLauncher(script: script)) {
            $0.startLimit = 5_000_000_000
        }
        let request = fixture.worker.allocate(WorkerFixture.wanted)
        let process = fixture.worker.status.process
        // One that ends before it is sent anything is found out at once, and is not named any more.
        #expect(process == 0 || isThere(process))
        let reason = try fixture.reason(request)
        for _ in 0..<200 where process > 0 && isThere(process) { try fixture.turn(10) }
        #expect(process == 0 || !isThere(process), "\(script): the process is still there")
        return reason
    }

    @Test("A process that ends, by itself or by a signal, is a crash")
    func crashes() throws {
        #expect(try reason("head -c 16 <&3 >/dev/null; exit 0") == .crashed)
        #expect(try reason("head -c 16 <&3 >/dev/null; kill -SEGV $$") == .crashed)
        #expect(try reason("head -c 16 <&3 >/dev/null; exec 3>&-; exec sleep 100") == .crashed)
    }

    @Test("A process that writes rubbish is malformed")
    func rubbish() throws {
        #expect(try reason("echo rubbish >&3; exec sleep 100") == .malformed)
        #expect(try reason("head -c 100 /dev/zero >&3; exec sleep 100") == .malformed)
    }

    @Test("A silent process is killed, also one that ignores every signal it can")
    func silent() throws {
        let fixture = try WorkerFixture(
            launcher: ShellLauncher(script: "trap '' TERM INT HUP; while :; do sleep 1; done"))
        let request = fixture.worker.allocate(WorkerFixture.wanted)
        let process = fixture.worker.status.process
        #expect(try fixture.reason(request) == .timedOut)
        for _ in 0..<200 where isThere(process) { try fixture.turn(10) }
        #expect(!isThere(process))
    }

    @Test("A program that is not there is a refusal")
    func missing() throws {
        let fixture = try WorkerFixture(launcher: ProgramLauncher()) {
            $0.program = "/nowhere/vm-bridge"
        }
        let reason = try fixture.reason(fixture.worker.allocate(WorkerFixture.wanted))
        #expect(reason == .notStarted)
    }

    @Test("Our own program answers on whatever machine, and ends with the bridge's socket")
    func program() throws {
        let directory = try #require(
            SystemFilesForTests.directory(of: "/proc/self/exe"), "no /proc")
        let fixture = try WorkerFixture(launcher: ProgramLauncher()) {
            $0.program = directory + "/vm-bridge"
            $0.startLimit = 20_000_000_000
            $0.allocationLimit = 10_000_000_000
            $0.openLimit = 20_000_000_000
        }
        // What this machine has decides whether memory comes; an answer there is always.
        switch try fixture.event(fixture.worker.allocate(WorkerFixture.wanted), seconds: 40) {
        case .allocated(_, let memory, _)?: #expect(memory.bytes >= 8192)
        case .refused(_, let refusal)?: #expect(refusal.reason == .noMemory)
        default: Issue.record("no answer to an allocation")
        }
        let process = fixture.worker.status.process
        var contiguous = WorkerFixture.wanted
        contiguous.isContiguous = true
        switch try fixture.event(fixture.worker.allocate(contiguous), seconds: 40) {
        case .allocated(_, _, let allocator)?: #expect(allocator == .contiguousHeap)
        case .refused(_, let refusal)?: #expect(refusal.reason == .noContiguous)
        default: Issue.record("no answer to a contiguous allocation")
        }
        // The worker looks at descriptors itself: this one is a memfd.
        #expect(try fixture.reason(fixture.worker.open(WorkerFixture.source())) == .badRequest)
        #expect(fixture.worker.status.process == process && fixture.worker.status.starts == 1)
        fixture.worker.shutDown()
        for _ in 0..<200 where isThere(process) { try fixture.turn(10) }
        #expect(!isThere(process))
    }

    /// A zombie also keeps the testing library from seeing its own children end.
    @Test("A process that nobody watches any more is taken from the process table")
    func unwatched() throws {
        let socket = try EventFile.make()
        var process: Int32 = 0
        do {
            let helper = try HelperProcess(
                path: "/bin/sh", arguments: ["-c", "exec sleep 100"], passing: socket.number)
            process = helper.number
            #expect(isThere(process))
        }
        for _ in 0..<5000 where isThere(process) { usleep(1000) }
        #expect(!isThere(process))
    }

    @Test("Nothing of a worker stays behind")
    func leaks() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let fixture = try WorkerFixture(launcher: ShellLauncher(script: "exit 1"))
                for _ in 0..<3 {
                    _ = try fixture.reason(fixture.worker.open(try WorkerFixture.source()))
                }
                try fixture.turn(300)
            }
        }
    }
}

/// Where the program under test lies.
enum SystemFilesForTests {
    static func directory(of link: String) -> String? {
        var bytes = [CChar](repeating: 0, count: 4096)
        let length = readlink(link, &bytes, bytes.count - 1)
        guard length > 0 else { return nil }
        let path = String(
            decoding: bytes.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) }
    }
}
