import Foundation
import Testing

@testable import VMBridge

@Suite("[kernel] the command as a service", .serialized)
struct ServiceCommandTests {
    /// A service manager: hands two descriptors over and listens to notes.
    private final class Manager {
        let directory: String
        let notes: Int32
        private(set) var process: pid_t = 0
        private(set) var heard: [String] = []
        var socket: String { directory + "/work.sock" }
        var errors: String {
            (try? String(contentsOfFile: directory + "/err", encoding: .utf8)) ?? ""
        }

        init(_ listener: borrowing SeqPacketListener, in directory: String, names: String) throws {
            self.directory = directory
            notes = try Self.bound(SOCK_DGRAM, directory + "/notify")
            let control = try Self.bound(SOCK_STREAM, directory + "/control")
            defer { close(control) }
            try #require(listen(control, 8) == 0)
            // Out of the way of the numbers that are given to the child.
            let passed = fcntl(listener.number, F_DUPFD_CLOEXEC, 100)
            let second = fcntl(control, F_DUPFD_CLOEXEC, 100)
            defer {
                close(passed)
                close(second)
            }
            try #require(passed >= 100 && second >= 100)
            let script = """
                export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES='\(names)'
                export NOTIFY_SOCKET='\(directory)/notify' WATCHDOG_USEC=400000
                exec '\(Place.program)' run --headless --no-config 2>'\(directory)/err' >/dev/null
                """
            process = try ProgramStart.spawn("/bin/sh", ["-c", script]) { files in
                posix_spawn_file_actions_adddup2(&files, passed, 3)
                posix_spawn_file_actions_adddup2(&files, passed, 4)
                posix_spawn_file_actions_adddup2(&files, second, 5)
            }
        }

        /// A socket at a path.
        private static func bound(_ type: __socket_type, _ path: String) throws -> Int32 {
            let number = Glibc.socket(AF_UNIX, Int32(type.rawValue) | O_NONBLOCK | O_CLOEXEC, 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let answer = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(answer == 0)
            return number
        }

        deinit {
            if process > 0 { kill(process, SIGKILL) }
            close(notes)
        }

        /// Whether a note that contains the text has come by now.
        func hears(_ text: String) -> Bool {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = recv(notes, &buffer, buffer.count, 0)
                guard count > 0 else { break }
                heard.append(String(decoding: buffer.prefix(count), as: UTF8.self))
            }
            return heard.contains { $0.contains(text) }
        }

        /// Ends it; its status, or nil if it was killed or does not end.
        func end() -> Int32? {
            kill(process, SIGTERM)
            var status: Int32 = 0
            guard eventually({ waitpid(self.process, &status, WNOHANG) == self.process }) else {
                return nil
            }
            process = 0
            return status & 0x7f == 0 ? status >> 8 & 0xff : nil
        }
    }

    @Test("a passed socket makes its VM; ready, status, signs of life and the end are told")
    func activation() throws {
        let directory = try Place.temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let listener = try SeqPacketListener(path: directory + "/work.sock")
        let manager = try Manager(listener, in: directory, names: "work:no use:control")
        #expect(eventually { manager.hears("READY=1\nSTATUS=1 VM, 0 connected, 0 surfaces") })
        #expect(manager.heard.first?.hasPrefix("READY=1") == true)
        let producer = try Program([
            "produce", "--socket", manager.socket, "--frames", "3", "--hold",
        ])
        #expect(eventually { manager.hears("STATUS=1 VM, 1 connected, 1 surface") })
        #expect(
            eventually {
                _ = manager.hears("WATCHDOG=1")
                return manager.heard.count { $0 == "WATCHDOG=1" } >= 3
            })
        let status = try Program.run(["status", "--socket", directory + "/control"])
        #expect(status.status == 0, "\(status.err)")
        #expect(status.out.contains("work"))
        #expect(producer.end() == 0)
        #expect(manager.end() == 0)
        #expect(manager.hears("STOPPING=1"))
        #expect(manager.heard.last?.hasPrefix("STOPPING=1") == true)
        #expect(FileManager.default.fileExists(atPath: manager.socket))
        let lines = manager.errors.split(separator: "\n")
        #expect(lines.count { $0.contains("“no_use” is of no use") } == 1)
        #expect(lines.count { $0.contains("work: listening on the socket") } == 1)
        _ = consume listener
    }

    @Test("a passed socket that lost its way is closed, and without a VM there is nothing to run")
    func unused() throws {
        let none = try Program.run(
            ["run", "--headless", "--no-config"],
            environment: ["LISTEN_PID": "1", "LISTEN_FDS": "1"])
        #expect(none.status == 64)
        #expect(none.err.contains("--source"))
        let nonsense = try Program.run(
            [
                "run", "--headless", "--no-config", "--seconds", "0.1", "--source",
                "a=socket:/tmp/vmb-\(getpid()).sock",
            ],
            environment: [
                "LISTEN_PID": "-5", "LISTEN_FDS": "99999999999", "NOTIFY_SOCKET": "tcp://x",
                "WATCHDOG_USEC": "-1",
            ])
        #expect(nonsense.status == 0)
        #expect(nonsense.err.contains("LISTEN_PID is no number"))
        #expect(nonsense.err.contains("NOTIFY_SOCKET names no unix socket"))
    }
}
