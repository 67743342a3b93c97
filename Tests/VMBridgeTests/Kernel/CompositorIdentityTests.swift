import Descriptors
import Foundation
import Testing
import WaylandTestSupport

@testable import VMBridge

@Suite("[kernel] who the compositor is")
struct CompositorIdentityTests {
    /// A directory that looks like /proc.
    private func withProcesses(
        _ command: String?, executable: String?, _ body: (String) throws -> Void
    ) throws {
        let root = FileManager.default.temporaryDirectory
            .appendingPathComponent("vmb-proc-\(UInt32.random(in: 0 ... .max))")
        let process = root.appendingPathComponent("77")
        try FileManager.default.createDirectory(at: process, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: root) }
        if let command {
            try "\(command)\n".write(
                to: process.appendingPathComponent("comm"), atomically: false, encoding: .utf8)
        }
        if let executable {
            try FileManager.default.createSymbolicLink(
                atPath: process.appendingPathComponent("exe").path,
                withDestinationPath: executable)
        }
        try body(root.path)
    }

    @Test func theOtherEndOfASocketIsNamed() throws {
        let fake = FakeCompositor()
        let end = fake.takeClientEnd()
        let identity = try #require(CompositorIdentity(peerOf: end.number))
        let own = try #require(SystemFiles.line("/proc/self/comm"))
        #expect(identity.process == getpid() && identity.command == own)
        #expect(identity.executable == SystemFiles.linkName("/proc/self/exe"))
        #expect(identity.isCalled(identity.name))
        #expect(identity.description == "\(identity.name), process \(getpid())")
    }

    @Test func whoCannotBeSeenIsUnknown() throws {
        let pipe = try Pipe()
        #expect(CompositorIdentity(peerOf: pipe.reading.number) == nil)
        #expect(CompositorIdentity(peerOf: -1) == nil)
        // What the kernel says of a process outside of our namespace.
        #expect(CompositorIdentity(process: 0) == nil)
        #expect(CompositorIdentity(process: -1) == nil)
        #expect(CompositorIdentity(process: .max) == nil)
        try withProcesses(nil, executable: "/usr/bin/sway") {
            #expect(CompositorIdentity(process: 77, processes: $0) == nil)
        }
    }

    @Test func theExecutableDecidesAndItsCommandStandsIn() throws {
        try withProcesses("renamed", executable: "/usr/bin/sway (deleted)") {
            let identity = try #require(CompositorIdentity(process: 77, processes: $0))
            #expect(identity.executable == "sway" && identity.name == "sway")
            #expect(identity.isCalled("sway") && !identity.isCalled("renamed"))
        }
        try withProcesses("kwin_wayland_wr", executable: nil) {
            let identity = try #require(CompositorIdentity(process: 77, processes: $0))
            #expect(identity.executable == nil && identity.name == "kwin_wayland_wr")
            #expect(identity.isCalled("kwin_wayland_wrapper") && !identity.isCalled("kwin_wayland"))
        }
    }
}
