import Foundation
import Testing

@testable import VMBridge

/// A private weston of this machine, headless and drawn by the CPU; ends with this object's life.
final class TestCompositor {
    /// What went wrong before a test could begin.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Its XDG_RUNTIME_DIR.
    let directory: URL
    /// Path of its socket, good as a display name.
    var display: String { directory.appendingPathComponent("wayland-test").path }
    private var process: Process?
    /// Its number; 0 while it does not run.
    var processNumber: Int32 { process?.processIdentifier ?? 0 }

    init() throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("vmb-\(UInt32.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: directory)
    }

    /// Starts it, again after `kill`.
    func start() throws {
        let configuration = directory.appendingPathComponent("weston.ini")
        try """
        [shell]
        panel-position=none
        background-color=0xff204060
        locking=false
        animation=none
        startup-animation=none
        close-animation=none
        focus-animation=none
        """.write(to: configuration, atomically: true, encoding: .utf8)
        process = try launch(
            "weston",
            [
                "--backend=headless-backend.so", "--use-pixman", "--width=640", "--height=480",
                "--debug", "--idle-time=0", "--socket=wayland-test",
                "--config=\(configuration.path)", "--log=\(directory.path)/weston.log",
            ])
        let end = Date().addingTimeInterval(20)
        while !FileManager.default.fileExists(atPath: display) {
            guard process?.isRunning == true, Date() < end else {
                throw Failure(description: "weston did not start")
            }
            usleep(20_000)
        }
    }

    /// Ends it without warning.
    func kill() {
        guard let process else { return }
        if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        self.process = nil
        try? FileManager.default.removeItem(atPath: display)
        try? FileManager.default.removeItem(atPath: display + ".lock")
    }

    /// The whole output.
    func screenshot() throws -> Picture {
        let folder = directory.appendingPathComponent("shot-\(UInt32.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let shooter = try launch("weston-screenshooter", [], in: folder)
        shooter.waitUntilExit()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        guard let name = names.first(where: { $0.hasSuffix(".png") }) else {
            throw Failure(description: "weston-screenshooter made no picture")
        }
        return try PNGFile.read(folder.appendingPathComponent(name).path)
    }

    /// The scene graph of its debug protocol: titles, app ids, sizes.
    func sceneGraph() throws -> String {
        let pipe = Foundation.Pipe()
        let process = try launch("weston-debug", ["scene-graph"], output: pipe)
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    private func launch(
        _ program: String, _ arguments: [String], in folder: URL? = nil,
        output: Foundation.Pipe? = nil
    ) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.currentDirectoryURL = folder ?? directory
        var environment = ProcessInfo.processInfo.environment
        environment["XDG_RUNTIME_DIR"] = directory.path
        environment["WAYLAND_DISPLAY"] = program == "weston" ? nil : "wayland-test"
        environment["WAYLAND_SOCKET"] = nil
        environment["XDG_PICTURES_DIR"] = nil
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output ?? FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }
}
