import Foundation
import Testing

@testable import VMBridge

/// What `vm-bridge doctor --json` says, as its help describes it.
private struct DoctorAnswer: Decodable {
    struct Check: Decodable {
        var id: String
        var state: String
        var fatal: Bool
        var text: String
        var advice: String
    }

    var version: Int
    var works: Bool
    var degraded: Bool
    var verdict: String
    var checks: [Check]

    init(_ text: String) throws {
        self = try JSONDecoder().decode(DoctorAnswer.self, from: Data(text.utf8))
    }

    func check(_ id: String) throws -> Check { try #require(checks.first { $0.id == id }) }
}

@Suite("[kernel] the doctor, headless")
struct DoctorCommandTests {
    @Test("headless it works, says what devices are missing and what to do, and has no colours")
    func headless() throws {
        let doctor = try Program.run(["doctor", "--headless"])
        #expect(doctor.status == 0, "\(doctor.err)")
        #expect(doctor.err.isEmpty)
        #expect(doctor.out.contains("vm-bridge run --headless works here"))
        #expect(!doctor.out.contains("\u{1b}"))
        let lines = doctor.out.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.count <= 100 })
        for heading in ["kernel", "devices", "limits", "sources"] {
            #expect(lines.contains { $0 == heading })
        }
        #expect(!lines.contains("compositor"))
        let answer = try DoctorAnswer(try Program.run(["doctor", "--headless", "--json"]).out)
        #expect(answer.version == 1)
        #expect(answer.works)
        let udmabuf = try answer.check("devices.udmabuf")
        if FileManager.default.fileExists(atPath: "/dev/udmabuf") {
            #expect(udmabuf.state == "ok" || !udmabuf.advice.isEmpty)
        } else {
            #expect(udmabuf.state == "missing")
            #expect(udmabuf.text.contains("/dev/udmabuf is not there"))
            #expect(!udmabuf.advice.isEmpty)
            #expect(lines.contains { $0.contains("missing  udmabuf") })
            #expect(doctor.out.contains("→ \(udmabuf.advice.prefix(20))"))
            #expect(answer.degraded)
        }
        if !FileManager.default.fileExists(atPath: "/dev/dri") {
            #expect(try answer.check("devices.gpu").text.contains("/dev/dri"))
        }
        let sealing = try answer.check("kernel.memfd-sealing")
        #expect(sealing.state == "ok")
    }

    @Test("states are coloured on a terminal, unless NO_COLOR or the terminal's kind forbids it")
    func colours() throws {
        func onTerminal(_ environment: [String: String]) throws -> String {
            let terminal = try Program.run(
                ["-qec", "\(Place.program) doctor --headless", "/dev/null"],
                program: "/usr/bin/script", environment: environment)
            #expect(terminal.status == 0, "\(terminal.err)")
            #expect(terminal.out.contains("works here"))
            return terminal.out
        }
        #expect(
            try onTerminal(["TERM": "xterm", "NO_COLOR": ""]).contains("\u{1b}[32mok\u{1b}[0m"))
        #expect(try !onTerminal(["TERM": "xterm", "NO_COLOR": "1"]).contains("\u{1b}"))
        #expect(try !onTerminal(["TERM": "dumb", "NO_COLOR": ""]).contains("\u{1b}"))
    }

    @Test("without a compositor it ends with 1, says why, and what would work")
    func nowhere() throws {
        let unnamed = try Program.run(["doctor"])
        #expect(unnamed.status == 1)
        #expect(unnamed.out.contains("WAYLAND_DISPLAY is not set"))
        #expect(unnamed.out.contains("--headless would."))
        let gone = try Program.run(["doctor", "--json", "--display", "/nonexistent/wayland-9"])
        #expect(gone.status == 1)
        let answer = try DoctorAnswer(gone.out)
        #expect(!answer.works)
        let connection = try answer.check("compositor.connection")
        #expect(connection.fatal)
        #expect(connection.text.contains("/nonexistent/wayland-9"))
        #expect(answer.verdict.contains("/nonexistent/wayland-9"))
        // The help documents the shape, wrong usage has a status of its own.
        let help = try Program.run(["doctor", "--help"])
        #expect(help.status == 0)
        for member in ["version", "works", "degraded", "verdict", "checks", "fatal", "values"] {
            #expect(help.out.contains(member))
        }
        #expect(try Program.run(["doctor", "--headless", "--display", "x"]).status == 64)
        #expect(try Program.run(["doctor", "--colour"]).status == 64)
    }
}

@Suite("[compositor] the doctor on real compositors", .serialized)
struct DoctorCompositorTests {
    @Test("weston 10 has no linux-dmabuf: dma-bufs are copied, all else works")
    func weston() throws {
        let weston = try PrivateCompositor(.weston)
        let text = try Program.run(["doctor"], environment: weston.environment)
        #expect(text.status == 0, "\(text.out)\(text.err)")
        #expect(text.out.contains("dma-bufs are copied by damage, memfds are not"))
        let answer = try DoctorAnswer(
            try Program.run(["doctor", "--json"], environment: weston.environment).out)
        #expect(answer.works)
        #expect(answer.degraded)
        #expect(try answer.check("compositor.zwp_linux_dmabuf_v1").state == "missing")
        #expect(try answer.check("sources.socket.dma-buf").text.contains("copied by damage"))
        #expect(try answer.check("sources.socket.memfd").state == "ok")
        #expect(try answer.check("compositor.xdg_wm_base").state == "ok")
        #expect(try answer.check("compositor.clock").text.contains("CLOCK_MONOTONIC_RAW"))
        #expect(try answer.check("limits.runtime-directory").state == "ok")
        // The compositor goes on.
        #expect(try Program.run(["doctor"], environment: weston.environment).status == 0)

        // Stopped, it takes connections and says nothing.
        let process = try #require(weston.process)
        kill(process, SIGSTOP)
        let silent = try Program.run(["doctor"], environment: weston.environment)
        kill(process, SIGCONT)
        #expect(silent.status == 1)
        #expect(silent.out.contains("has not answered in time"))
    }

    @Test("sway 1.7 draws title bars, and is named by --display too")
    func sway() throws {
        let sway = try PrivateCompositor(.sway)
        let answer = try DoctorAnswer(
            try Program.run(["doctor", "--json", "--display", sway.socket]).out)
        #expect(answer.works)
        #expect(try answer.check("compositor.zxdg_decoration_manager_v1").state == "ok")
        #expect(try answer.check("compositor.zwp_linux_dmabuf_v1").state == "missing")
        #expect(try answer.check("compositor.clock").text.contains("CLOCK_MONOTONIC, as"))
    }
}
