import Foundation
import Testing

@testable import VMBridgeCore

/// Examples/minimal-producer.c, made from the header alone, against a bridge with nothing behind it.
@Suite("[kernel] the minimal producer in C")
struct MinimalProducerTests {
    static let source = repositoryRoot.appendingPathComponent("Examples/minimal-producer.c")

    private func run(
        _ scenario: FakeBridge.Scenario, frames: Int
    ) throws -> (status: Int32, output: String, record: FakeBridge.Record) {
        let program = try CProgram(file: Self.source, as: .c11)
        let path = program.directory.appendingPathComponent("socket").path
        let bridge = try FakeBridge(path: path, scenario: scenario)
        let output = Pipe()
        let process = try program.start([path, "\(frames)"], output: output)
        defer { if process.isRunning { process.terminate() } }
        try bridge.serve()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: text, as: UTF8.self), bridge.record)
    }

    @Test("it shows its frames, gets all of them back and ends")
    func plain() throws {
        let (status, output, record) = try run(.plain, frames: 20)
        #expect(status == 0)
        #expect(output == "")
        #expect(record.producer == "minimal-producer")
        #expect(record.title == "Hello from C")
        #expect(record.frames == 20)
        #expect(record.released == 20)
        #expect(record.seals == [2])
        #expect(Set(record.sizes) == [Size(width: 640, height: 480)])
        #expect(record.isSurfaceDestroyed)
        #expect(record.refusals.isEmpty)
    }

    @Test("it follows a new size with new buffers")
    func resize() throws {
        let (status, _, record) = try run(.resize, frames: 20)
        #expect(status == 0)
        #expect(record.frames == 20)
        #expect(record.released == 20)
        #expect(record.sizes.prefix(5).allSatisfy { $0 == Size(width: 640, height: 480) })
        #expect(record.sizes.last == Size(width: 200, height: 100))
        #expect(record.refusals.isEmpty)
    }

    @Test("it ends when its window is asked to close")
    func close() throws {
        let (status, _, record) = try run(.close, frames: 100_000)
        #expect(status == 0)
        #expect((5...7).contains(record.frames))
        #expect(record.released == record.frames)
        #expect(record.isSurfaceDestroyed)
    }

    @Test("it says why it was refused")
    func refused() throws {
        let (status, output, record) = try run(.refuse, frames: 20)
        #expect(status == 1)
        #expect(output == "refused (33): Not today.\n")
        #expect(record.released == 0)
    }

    @Test("it learns that it is not wanted from a bridge that hangs up without reading")
    func busy() throws {
        let (status, output, record) = try run(.busy, frames: 20)
        #expect(status == 1)
        #expect(output == "refused (1): Another producer is connected.\n")
        #expect(record.producer == nil)
    }

    @Test("it says where it could not connect")
    func nobody() throws {
        let program = try CProgram(file: Self.source, as: .c11)
        let (status, output) = try program.run(["/nowhere/at/all"])
        #expect(status == 1)
        #expect(String(decoding: output, as: UTF8.self).hasPrefix("/nowhere/at/all: "))
    }

    @Test("its README names the line that compiles it, and it stays short")
    func readme() throws {
        let readme = try String(
            contentsOf: repositoryRoot.appendingPathComponent("Examples/README.md"), encoding: .utf8
        )
        #expect(
            readme.contains(
                "\ncc -std=c11 -O2 -Wall -Wextra -Werror -o minimal-producer minimal-producer.c\n"))
        let text = try String(contentsOf: Self.source, encoding: .utf8)
        #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= 151)
        let includes = text.matches(of: /#include "(.+)"/).map { String($0.1) }
        #expect(includes == ["../Protocols/vm_bridge_source.h"])
    }
}
