import Foundation
import Testing

@testable import VMBridge

@Suite("PNG files [kernel]") struct PNGFileTests {
    /// A directory of its own, removed afterwards.
    private func inDirectory(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "/vm-bridge-png-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    private func names(_ directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    private func noise(width: Int, height: Int) -> Picture {
        var generator = SplitMix(state: 99)
        var picture = Picture(width: width, height: height)
        picture.withMutablePixels { pixels in
            for index in pixels.indices {
                pixels[index] = UInt32(truncatingIfNeeded: generator.next())
            }
        }
        return picture
    }

    @Test(arguments: [(1, 1), (3, 5), (257, 129)], [false, true])
    func everyPixelComesBack(size: (Int, Int), fast: Bool) throws {
        try inDirectory { directory in
            let picture = noise(width: size.0, height: size.1)
            let path = directory + "/a.png"
            try PNGFile.write(picture, to: path, fast: fast)
            let result = PictureComparison(expected: picture, actual: try PNGFile.read(path))
            #expect(result.isEqual, "\(result)")
            #expect(try names(directory) == ["a.png"])
        }
    }

    @Test func theBytesAreThoseOfAPNGWithAlpha() throws {
        try inDirectory { directory in
            let path = directory + "/a.png"
            try PNGFile.write(Picture(width: 258, height: 3, fill: .white), to: path)
            let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
            #expect(bytes.prefix(8) == [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
            // IHDR: width, height, 8 bits, colour type 6.
            #expect(bytes[16..<26] == [0, 0, 1, 2, 0, 0, 0, 3, 8, 6])
        }
    }

    @Test func anOldFileIsReplaced() throws {
        try inDirectory { directory in
            let path = directory + "/a.png"
            try PNGFile.write(Picture(width: 2, height: 2, fill: .white), to: path)
            let newer = Picture(width: 3, height: 1, fill: Colour(1, 2, 3, alpha: 4))
            try PNGFile.write(newer, to: path)
            #expect(try PNGFile.read(path) == newer)
        }
    }

    @Test func failuresOfWritingNameThePathAndLeaveNothing() throws {
        try inDirectory { directory in
            let picture = Picture(width: 2, height: 2, fill: .white)
            let missing = directory + "/none/a.png"
            #expect(
                throws: PictureError.file(path: missing, operation: "create", code: ENOENT)
            ) { try PNGFile.write(picture, to: missing) }
            let taken = directory + "/taken"
            try FileManager.default.createDirectory(
                atPath: taken, withIntermediateDirectories: false)
            #expect(throws: PictureError.file(path: taken, operation: "rename", code: EISDIR)) {
                try PNGFile.write(picture, to: taken)
            }
            #expect(throws: PictureError.size(width: 0, height: 0)) {
                try PNGFile.write(Picture(width: 0, height: 0), to: directory + "/b.png")
            }
            #expect(try names(directory) == ["taken"])
        }
    }

    @Test func aFullDiskIsReported() throws {
        let stream = try #require(fopen("/dev/full", "wb"))
        #expect(throws: PictureError.self) {
            try PNGFile.write(
                noise(width: 64, height: 64), to: stream, path: "full.png", fast: true)
        }
        // A picture that fits the stream's own buffer fails only when that is closed.
        let second = try #require(fopen("/dev/full", "wb"))
        #expect(throws: PictureError.self) {
            try PNGFile.write(noise(width: 1, height: 1), to: second, path: "full.png", fast: true)
        }
    }

    @Test func whatIsNoPictureIsRefused() throws {
        try inDirectory { directory in
            let path = directory + "/a.png"
            #expect(throws: PictureError.file(path: path, operation: "open", code: ENOENT)) {
                try PNGFile.read(path)
            }
            #expect(throws: PictureError.png(path: directory, reason: "not a regular file")) {
                try PNGFile.read(directory)
            }
            #expect(mkfifo(path, 0o600) == 0)
            #expect(throws: PictureError.png(path: path, reason: "not a regular file")) {
                try PNGFile.read(path)
            }
            unlink(path)
            try Data("no picture at all".utf8).write(to: URL(fileURLWithPath: path))
            #expect(throws: PictureError.self) { try PNGFile.read(path) }
        }
    }

    @Test func everyShortenedFileIsRefused() throws {
        try inDirectory { directory in
            let path = directory + "/a.png"
            try PNGFile.write(noise(width: 8, height: 8), to: path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            let end = try #require(whole.range(of: Data("IDAT".utf8))).lowerBound
            var refused = 0
            for length in stride(from: 0, to: whole.count - 24, by: 3) {
                try whole.prefix(length).write(to: URL(fileURLWithPath: path))
                do throws(PictureError) {
                    _ = try PNGFile.read(path)
                } catch {
                    #expect("\(error)".hasPrefix(path))
                    refused += 1
                }
            }
            #expect(end > 0)
            #expect(refused == (whole.count - 24 + 2) / 3)
        }
    }
}
