import Foundation
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] configuration: finding and reading files")
struct ConfigurationFilesTests {
    private func places(_ variables: [String: String]) -> [String] {
        ConfigurationFiles.places { variables[$0] }
    }

    @Test func placesByEnvironment() {
        for (variables, expected): ([String: String], [String]) in [
            ([:], ["/etc/xdg/vm-bridge/config"]),
            (
                ["HOME": "/home/a"],
                ["/home/a/.config/vm-bridge/config", "/etc/xdg/vm-bridge/config"]
            ),
            (
                ["HOME": "/home/a", "XDG_CONFIG_HOME": "/c/", "XDG_CONFIG_DIRS": "/s:/t//:/s"],
                ["/c/vm-bridge/config", "/s/vm-bridge/config", "/t/vm-bridge/config"]
            ),
            // What is not absolute does not count.
            (
                ["HOME": "/home/a", "XDG_CONFIG_HOME": "c", "XDG_CONFIG_DIRS": "s::"],
                ["/home/a/.config/vm-bridge/config", "/etc/xdg/vm-bridge/config"]
            ),
            (["HOME": "."], ["/etc/xdg/vm-bridge/config"]),
        ] {
            #expect(places(variables) == expected, "\(variables)")
        }
    }

    @Test func filesAndWhatIsNone() throws {
        let directory = try TemporaryDirectory.make(prefix: "vmb-")
        defer { TemporaryDirectory.remove(directory) }
        let variables = [
            "XDG_CONFIG_HOME": "\(directory)/own", "XDG_CONFIG_DIRS": "\(directory)/s",
        ]
        #expect(try ConfigurationFiles.load { variables[$0] }.isEmpty)
        for (place, text) in [("own", "vm a\n"), ("s", "vm b\n")] {
            let folder = "\(directory)/\(place)/vm-bridge"
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try text.write(toFile: "\(folder)/config", atomically: true, encoding: .utf8)
        }
        let both = try ConfigurationFiles.load { variables[$0] }
        #expect(both.map(\.file) == places(variables))
        #expect(both.map { String(decoding: $0.bytes, as: UTF8.self) } == ["vm a\n", "vm b\n"])
        let named = try ConfigurationFiles.load(named: "\(directory)/s/vm-bridge/config") {
            variables[$0]
        }
        #expect(named.map(\.file) == ["\(directory)/s/vm-bridge/config"])

        #expect(throws: KernelError("open", ENOENT, subject: "\(directory)/none")) {
            try ConfigurationFiles.load(named: "\(directory)/none")
        }
        #expect(throws: KernelError.self) { try ConfigurationFiles.read(directory) }
        // A pipe that nobody writes to would be waited for.
        let pipe = "\(directory)/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        #expect(throws: KernelError.self) { try ConfigurationFiles.read(pipe) }

        let long = "\(directory)/long"
        let bytes = [UInt8](repeating: UInt8(ascii: "\n"), count: ConfigurationReader.limit * 2)
        try Data(bytes).write(to: URL(fileURLWithPath: long))
        let read = try #require(try ConfigurationFiles.read(long))
        #expect(read.bytes.count == ConfigurationReader.limit + 1)
        #expect(ConfigurationReader.read([read]).configuration == nil)
    }

    @Test func noDescriptorStaysOpen() throws {
        let directory = try TemporaryDirectory.make(prefix: "vmb-")
        defer { TemporaryDirectory.remove(directory) }
        let path = "\(directory)/c"
        try "vm a".write(toFile: path, atomically: true, encoding: .utf8)
        // Descriptors of this process come and go with other tests: a leak of each read would show.
        for _ in 0..<5000 {
            _ = try ConfigurationFiles.read(path)
            _ = try? ConfigurationFiles.read(directory)
        }
        #expect(try ConfigurationFiles.read(path)?.bytes == Array("vm a".utf8))
    }
}
