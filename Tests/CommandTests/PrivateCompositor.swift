import Foundation
import Testing

@testable import VMBridge

/// A compositor of this machine, started for one test and ended with it.
final class PrivateCompositor {
    enum Kind: String {
        case weston
        case sway
    }

    let kind: Kind
    let runtime: String
    let socket: String
    private let size: String
    private var keeper: Program?
    private var standardInput: Pipe?

    init(_ kind: Kind, size: String = "1024x768") throws {
        self.kind = kind
        self.size = size
        runtime = try Place.temporary()
        socket = runtime + "/wayland-test"
        try start()
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(atPath: runtime)
    }

    /// The environment in which clients find it.
    var environment: [String: String] {
        ["XDG_RUNTIME_DIR": runtime, "WAYLAND_DISPLAY": socket, "SWAYSOCK": runtime + "/sway.sock"]
    }

    func start() throws {
        let pipe = Pipe()
        standardInput = pipe
        let keeper = try Program(
            [
                kind.rawValue, "--runtime", runtime, "--size", size, "--log",
                runtime + "/compositor.log",
            ], program: Place.root + "/tools/compositor", input: pipe)
        self.keeper = keeper
        try #require(
            eventually(seconds: 30) { keeper.out.contains("ready ") },
            "\(kind.rawValue) did not start: \(keeper.err)")
    }

    /// The compositor's own process.
    var process: Int32? {
        keeper?.out.split(separator: " ").dropFirst().first.flatMap { Int32($0) }
    }

    /// Ends it as a crash would.
    func kill() throws {
        Foundation.kill(try #require(process), SIGKILL)
        stop()
    }

    func stop() {
        try? standardInput?.fileHandleForWriting.close()
        _ = keeper?.wait()
        keeper = nil
    }

    func screenshot() throws -> Picture {
        let file = runtime + "/shot.png"
        let shot = try Program.run(
            ["screenshot", kind.rawValue, file], program: Place.root + "/tools/compositor",
            environment: environment)
        try #require(shot.status == 0, "\(shot.out)\(shot.err)")
        return try PNGFile.read(file)
    }

    /// weston's own list of what it shows.
    func sceneGraph() throws -> String {
        try Program.run(
            ["-k", "1", "1", "weston-debug", "scene-graph"], program: "/usr/bin/timeout",
            environment: environment
        ).out
    }

    /// Lets sway leave windows the size that they choose; in a tile they are scaled to it.
    func floatWindows() throws {
        _ = try Program.run(
            ["for_window [title=\".*\"] floating enable"], program: "/usr/bin/swaymsg",
            environment: environment)
    }

    /// sway's own list.
    func tree() throws -> String {
        try Program.run(
            ["-t", "get_tree"], program: "/usr/bin/swaymsg", environment: environment
        ).out
    }
}

extension Picture {
    /// The frame whose picture stands whole and exact somewhere in a screenshot; nil when none does.
    ///
    /// - Parameter range: frames to look for.
    func shownFrame(of pattern: TestPattern, in range: ClosedRange<UInt32>) throws -> UInt32? {
        for number in range where find(try pattern.picture(frame: number)) != nil { return number }
        return nil
    }
}
