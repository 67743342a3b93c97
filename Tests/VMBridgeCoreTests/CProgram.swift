import Foundation

/// A C or C++ program, compiled for a test by the machine's compiler with warnings as errors.
final class CProgram {
    /// The languages in which the header must work.
    enum Language: String, CaseIterable, Sendable {
        case c11 = "c11"
        case cxx17 = "c++17"

        fileprivate var compilers: [String] {
            self == .c11 ? ["cc", "gcc", "clang"] : ["c++", "g++", "clang++"]
        }
    }

    /// The compiler's or the program's complaint.
    struct Failed: Error, CustomStringConvertible {
        var description: String
    }

    /// Where the header stands.
    static let header = repositoryRoot.appendingPathComponent("Protocols/vm_bridge_source.h")

    /// Where this program and what belongs to it lie; taken away with it.
    let directory: URL
    private var program: URL { directory.appendingPathComponent("program") }

    /// Compiles a source text that includes the header.
    convenience init(_ text: String, as language: Language) throws {
        let folder = try Self.makeDirectory()
        let file = folder.appendingPathComponent("program.c")
        let include = "#include \"\(Self.header.path)\"\n#include <stdio.h>\n"
        try (include + text).write(to: file, atomically: false, encoding: .utf8)
        try self.init(file: file, as: language, in: folder)
    }

    /// Compiles a file of the repository.
    convenience init(file: URL, as language: Language) throws {
        try self.init(file: file, as: language, in: Self.makeDirectory())
    }

    private init(file: URL, as language: Language, in directory: URL) throws {
        self.directory = directory
        var arguments = ["-std=\(language.rawValue)", "-Wall", "-Wextra", "-Werror", "-O1"]
        arguments += ["-x", language == .c11 ? "c" : "c++", file.path, "-o", program.path]
        let (status, output) = try Self.run(Self.find(language.compilers), arguments)
        guard status == 0 else {
            throw Failed(description: String(decoding: output, as: UTF8.self))
        }
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// Runs it to its end; its exit status and what it wrote to both outputs.
    func run(_ arguments: [String] = []) throws -> (status: Int32, output: Data) {
        try Self.run(program, arguments)
    }

    /// Starts it; its outputs go to the pipe.
    func start(_ arguments: [String], output: Pipe) throws -> Process {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
        return process
    }

    private static func run(_ file: URL, _ arguments: [String]) throws -> (Int32, Data) {
        let process = Process()
        let output = Pipe()
        process.executableURL = file
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, data)
    }

    private static func find(_ names: [String]) throws -> URL {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for name in names {
            for folder in path.split(separator: ":") {
                let file = "\(folder)/\(name)"
                if FileManager.default.isExecutableFile(atPath: file) {
                    return URL(fileURLWithPath: file)
                }
            }
        }
        throw Failed(description: "No compiler: none of \(names) is in PATH. Install gcc and g++.")
    }

    private static func makeDirectory() throws -> URL {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("vmb-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}
