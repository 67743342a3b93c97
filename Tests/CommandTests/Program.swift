import Foundation
import Testing

/// Where the tests find what they run.
enum Place {
    /// Root of the checkout.
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    /// The program, built beside this test.
    static let program =
        URL(
            fileURLWithPath: (try? FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        )
        .deletingLastPathComponent().appendingPathComponent("vm-bridge").path

    /// A fresh directory, short enough for sockets.
    static func temporary() throws -> String {
        var template = Array("/tmp/vmb-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A process that a test started; it is ended with this object.
final class Program {
    let process = Process()
    private let output: String
    private let errors: String

    init(
        _ arguments: [String], program path: String = Place.program,
        environment: [String: String] = [:], input: Pipe? = nil
    ) throws {
        let directory = try Place.temporary()
        output = directory + "/out"
        errors = directory + "/err"
        for file in [output, errors] {
            try #require(FileManager.default.createFile(atPath: file, contents: nil))
        }
        process.executableURL = URL(fileURLWithPath: path)
        // The usual control socket is one for the whole session; tests run side by side.
        let isBare =
            arguments.first == "run"
            && !arguments.contains { $0.hasSuffix("-control") || $0 == "--control" }
        process.arguments = arguments + (isBare ? ["--no-control"] : [])
        var all = ProcessInfo.processInfo.environment
        for name in ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"] { all[name] = nil }
        all.merge(environment) { $1 }
        process.environment = all
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errors))
        process.standardInput = input ?? FileHandle.nullDevice
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(
            atPath: URL(fileURLWithPath: output).deletingLastPathComponent().path)
    }

    var out: String { (try? String(contentsOfFile: output, encoding: .utf8)) ?? "" }
    var err: String { (try? String(contentsOfFile: errors, encoding: .utf8)) ?? "" }

    /// Waits for the end; nil when it does not come in time.
    func wait(seconds: Double = 20) -> Int32? {
        guard eventually(seconds: seconds, { !self.process.isRunning }) else { return nil }
        return process.terminationStatus
    }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Ends it as a service manager would and gives its status.
    func end() -> Int32? {
        send(SIGTERM)
        return wait()
    }

    /// Runs to the end.
    static func run(
        _ arguments: [String], program path: String = Place.program,
        environment: [String: String] = [:], seconds: Double = 30
    ) throws -> (status: Int32?, out: String, err: String) {
        let program = try Program(arguments, program: path, environment: environment)
        let status = program.wait(seconds: seconds)
        return (status, program.out, program.err)
    }

    /// Kinds of its open descriptors, sorted.
    var descriptors: [String] {
        let directory = "/proc/\(process.processIdentifier)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + $0)
        }.map { String($0.prefix { $0 != ":" && $0 != "(" }) }.sorted()
    }
}

/// Asks again until it is so; false after a number of seconds.
func eventually(seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while true {
        if try condition() { return true }
        if Date() > end { return false }
        usleep(20_000)
    }
}

/// A running bridge with its sockets in a directory of its own.
final class RunningBridge {
    let directory: String
    let program: Program

    init(
        vms: [String], _ arguments: [String], environment: [String: String] = [:]
    ) throws {
        let directory = try Place.temporary()
        self.directory = directory
        let sources = vms.flatMap { ["--source", "\($0)=socket:\(directory)/\($0).sock"] }
        program = try Program(
            ["run", "--report", directory + "/report.json", "--control", directory + "/control"]
                + sources + arguments,
            environment: environment)
        let last = directory + "/\(vms.last ?? "").sock"
        try #require(
            eventually { FileManager.default.fileExists(atPath: last) }, "\(program.err)")
    }

    /// One with a configuration file, whose text is given the directory.
    ///
    /// - Parameter vm: whose socket, VM.sock in the directory, is waited for.
    init(
        configuration: (String) -> String, awaiting vm: String, _ arguments: [String],
        environment: [String: String] = [:]
    ) throws {
        let directory = try Place.temporary()
        self.directory = directory
        try configuration(directory).write(
            toFile: directory + "/config", atomically: true, encoding: .utf8)
        program = try Program(
            [
                "run", "--report", directory + "/report.json", "--config", directory + "/config",
                "--control", directory + "/control",
            ] + arguments, environment: environment)
        let path = directory + "/\(vm).sock"
        try #require(
            eventually { FileManager.default.fileExists(atPath: path) }, "\(program.err)")
    }

    /// Replaces the configuration file as an editor does.
    func configure(_ text: String) throws {
        try text.write(toFile: directory + "/config", atomically: true, encoding: .utf8)
    }

    deinit {
        program.send(SIGKILL)
        try? FileManager.default.removeItem(atPath: directory)
    }

    func socket(_ vm: String) -> String { "\(directory)/\(vm).sock" }

    /// Runs a command that asks this bridge.
    func ask(
        _ arguments: [String], seconds: Double = 30
    ) throws -> (status: Int32?, out: String, err: String) {
        try Program.run(arguments + ["--socket", directory + "/control"], seconds: seconds)
    }

    func produce(_ vm: String, _ arguments: [String]) throws -> Program {
        try Program(["produce", "--socket", socket(vm)] + arguments)
    }

    struct Surface: Decodable {
        var title: String
        var app_id: String
        var gone: Bool
        var visibility: String
        var route: String
        var size: String
        var shown: Int
        var superseded: Int
        var refused: Int
        var lost: Int
        var presented: Int
        var import_path: String
        var sync_path: String
        var frames_per_second: Double
    }

    struct VM: Decodable {
        var name: String
        var connected: Bool
        var generation: Int
        var buffers: Int
        var uses: Int
        var refusals: [String: Int]
        var surfaces: [Surface]
    }

    struct Report: Decodable {
        var vms: [VM]
    }

    /// The state now, asked for with SIGUSR1.
    func report() throws -> Report {
        let path = directory + "/report.json"
        try? FileManager.default.removeItem(atPath: path)
        program.send(SIGUSR1)
        var report: Report?
        _ = eventually {
            report = (try? Data(contentsOf: URL(fileURLWithPath: path))).flatMap {
                try? JSONDecoder().decode(Report.self, from: $0)
            }
            return report != nil
        }
        return try #require(report, "no report; \(program.err)")
    }

    func vm(_ name: String) throws -> VM {
        try #require(try report().vms.first { $0.name == name })
    }
}
