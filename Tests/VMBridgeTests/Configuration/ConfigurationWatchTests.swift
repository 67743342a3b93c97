import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] configuration files are watched")
struct ConfigurationWatchTests {
    private final class Scene {
        let directory: String
        let loop: EventLoop
        var told = 0
        private var watch: ConfigurationWatch?
        var file: String { directory + "/inner/config" }

        init() throws {
            // Links on the way there are looked through, so none is left in the path.
            directory = try #require(
                ResolvedPath.of(try TemporaryDirectory.make(prefix: "vm-bridge-test-")))
            loop = try EventLoop()
            watch = try ConfigurationWatch([directory + "/inner/config"], loop: loop) {
                [unowned self] in told += 1
            }
        }

        deinit {
            watch?.end()
            TemporaryDirectory.remove(directory)
        }

        var directories: Set<String> { watch?.directories ?? [] }

        func until(_ condition: () -> Bool) throws -> Bool {
            let end = loop.now() + 5_000_000_000
            while !condition() {
                guard loop.now() < end else { return false }
                try loop.runOnce(milliseconds: 20)
            }
            return true
        }

        /// Does something and waits until it is told.
        func isTold(_ body: () throws -> Void) throws -> Bool {
            let before = told
            try body()
            return try until { told > before }
        }

        func isQuiet() throws -> Bool {
            let before = told
            let end = loop.now() + 300_000_000
            while loop.now() < end { try loop.runOnce(milliseconds: 20) }
            return told == before
        }
    }

    /// The answer of a call that must not fail.
    private func must(_ answer: Int32) throws { try #require(answer == 0) }

    private func write(_ text: String, to path: String) throws {
        try FileWriter.write(text, to: path)
    }

    @Test("a file that comes with its directory, is edited, replaced, taken away and comes back")
    func life() throws {
        let scene = try Scene()
        #expect(scene.directories == [scene.directory])
        #expect(try scene.isQuiet())
        let inner = scene.directory + "/inner"
        #expect(try scene.isTold { try must(mkdir(inner, 0o700)) })
        #expect(scene.directories == [inner])
        #expect(try scene.isTold { try write("one", to: scene.file) })
        #expect(try scene.isTold { try write("two", to: scene.file) })
        #expect(
            try scene.isTold {
                try write("three", to: inner + "/.config.swp")
                try must(rename(inner + "/.config.swp", scene.file))
            })
        #expect(try scene.isTold { try must(unlink(scene.file)) })
        #expect(try scene.isTold { try must(rmdir(inner)) })
        #expect(scene.directories == [scene.directory])
        #expect(try scene.isTold { try must(mkdir(inner, 0o700)) })
        #expect(try scene.isTold { try write("four", to: scene.file) })
        #expect(try scene.isQuiet())
    }

    @Test("another directory in the place of the watched one is watched instead")
    func replacedDirectory() throws {
        let scene = try Scene()
        let inner = scene.directory + "/inner"
        #expect(try scene.isTold { try must(mkdir(inner, 0o700)) })
        #expect(mkdir(scene.directory + "/other", 0o700) == 0)
        #expect(
            try scene.isTold {
                try must(rename(inner, scene.directory + "/old"))
                try must(rename(scene.directory + "/other", inner))
            })
        #expect(try scene.isTold { try write("one", to: scene.file) })
    }

    @Test("a file behind a link is watched where it lies")
    func link() throws {
        let scene = try Scene()
        let store = scene.directory + "/store"
        #expect(mkdir(store, 0o700) == 0)
        try write("one", to: store + "/real")
        #expect(try scene.isTold { try must(mkdir(scene.directory + "/inner", 0o700)) })
        #expect(try scene.isTold { try must(symlink("../store/real", scene.file)) })
        #expect(scene.directories == [scene.directory + "/inner", store])
        #expect(try scene.isTold { try write("two", to: store + "/real") })
    }

    @Test("many changes at once are told once or twice")
    func gathered() throws {
        let scene = try Scene()
        #expect(try scene.isTold { try must(mkdir(scene.directory + "/inner", 0o700)) })
        let before = scene.told
        for number in 0..<200 { try write("\(number)", to: scene.file) }
        #expect(try scene.until { scene.told > before })
        _ = try scene.isQuiet()
        #expect(scene.told <= before + 2)
    }

    @Test("nothing of it is left at the end")
    func leaks() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let scene = try Scene()
                let isMade = mkdir(scene.directory + "/inner", 0o700) == 0
                let isTold = try scene.until { scene.told > 0 }
                #expect(isMade && isTold)
            }
        }
    }
}
