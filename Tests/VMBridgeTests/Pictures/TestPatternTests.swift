import Testing

@testable import VMBridge

@Suite("frame mark [pure]") struct FrameMarkTests {
    @Test func numbersSurviveTheCells() {
        var generator = SplitMix(state: 5)
        let random = (0..<1000).map { _ in UInt32(truncatingIfNeeded: generator.next()) }
        for frame in [0, 1, FrameMark.modulus - 1, FrameMark.modulus, .max] + random {
            #expect(
                FrameMark.frame(cells: FrameMark.cells(frame: frame)) == frame % FrameMark.modulus)
        }
    }

    @Test func everyWrongCellIsNoticed() {
        for frame: UInt32 in [0, 1, 0x00a5_5a00, FrameMark.modulus - 1] {
            for bit in 0..<32 {
                #expect(FrameMark.frame(cells: FrameMark.cells(frame: frame) ^ (1 << bit)) == nil)
            }
        }
        #expect(FrameMark.frame(cells: 0) == nil)
        #expect(FrameMark.frame(cells: .max) == nil)
    }

    @Test(
        arguments: [(32, 16), (131, 40), (640, 480), (1920, 1080)], [PixelFormat.xrgb8888, .nv12])
    func everyBandOfAPatternIsRead(size: (Int, Int), format: PixelFormat) throws {
        let pattern = try TestPattern(
            width: size.0, height: size.1, format: format, seed: 3, label: "vm")
        let bands = FrameMark.read(try pattern.picture(frame: 123_456))
        #expect(bands.count == (size.1 + 15) / 16)
        #expect(bands.allSatisfy { $0 == 123_456 })
    }

    @Test func aPatternIsReadInsideAScreenshot() throws {
        let pattern = try TestPattern(width: 200, height: 100, seed: 1)
        var screen = Picture(width: 400, height: 300, fill: Colour(40, 90, 10))
        screen.blit(try pattern.picture(frame: 77), toX: 31, y: 57)
        let rect = PixelRect(x: 31, y: 57, width: 200, height: 100)
        #expect(FrameMark.verdict(screen, rect) == .whole(77))
        #expect(FrameMark.verdict(screen) == .unreadable)
        #expect(
            FrameMark.verdict(screen, PixelRect(x: 300, y: 57, width: 200, height: 100))
                == .unreadable)
    }

    @Test func tornPicturesAreNoticed() throws {
        let pattern = try TestPattern(width: 200, height: 96, seed: 1)
        let (old, new) = (try pattern.picture(frame: 8), try pattern.picture(frame: 9))
        func mixed(from row: Int) -> Picture {
            var picture = old
            picture.blit(
                new, from: PixelRect(x: 0, y: row, width: 200, height: 96), toX: 0, y: row)
            return picture
        }
        #expect(FrameMark.verdict(mixed(from: 32)) == .torn([8, 8, 9, 9, 9, 9]))
        #expect(FrameMark.verdict(mixed(from: 41)) == .torn([8, 8, nil, 9, 9, 9]))
        #expect(FrameMark.verdict(mixed(from: 95)) == .torn([8, 8, 8, 8, 8, nil]))
        #expect(FrameMark.verdict(mixed(from: 96)) == .whole(8))
        #expect(FrameMark.verdict(mixed(from: 0)) == .whole(9))
        #expect("\(FrameMark.verdict(mixed(from: 41)))" == "torn, bands 0-1: 8, 2-2: ?, 3-5: 9")
    }
}

@Suite("test pattern [pure]") struct TestPatternTests {
    /// Memory for one image of a pattern.
    private final class Image {
        let memory: UnsafeMutableRawBufferPointer
        let planes: [WritablePixelPlane]

        init(_ pattern: TestPattern) throws {
            let layout = try pattern.format.linearLayout(
                width: pattern.width, height: pattern.height)
            memory = .allocate(byteCount: layout.size, alignment: 64)
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            planes = try WritablePixelPlane.linear(
                memory, pattern.format, width: pattern.width, height: pattern.height)
        }

        deinit { memory.deallocate() }
        var bytes: [UInt8] { Array(memory) }
    }

    @Test(arguments: PixelFormat.allCases)
    func anUpdateEqualsAFreshDrawing(format: PixelFormat) throws {
        let pattern = try TestPattern(
            width: 321, height: 203, format: format, seed: 2, label: "vm two")
        let (updated, fresh) = (try Image(pattern), try Image(pattern))
        var shown: UInt32 = 0
        try pattern.draw(frame: shown, into: updated.planes)
        // Touching bars, far apart, wrapped, back, a longer number.
        for next: UInt32 in [1, 2, 60, 100, 101, 3, 1_234_567, .max] {
            try pattern.update(from: shown, to: next, in: updated.planes)
            try pattern.draw(frame: next, into: fresh.planes)
            #expect(updated.bytes == fresh.bytes, "\(shown) to \(next)")
            shown = next
        }
    }

    @Test func nothingOutsideTheDamageChanges() throws {
        let pattern = try TestPattern(width: 640, height: 360, seed: 0)
        for (old, new): (UInt32, UInt32) in [(0, 1), (5, 90), (200, 201), (1, 1)] {
            let before = try pattern.picture(frame: old)
            var patched = before
            let after = try pattern.picture(frame: new)
            let damage = pattern.damage(from: old, to: new)
            for rect in damage {
                #expect(rect.intersection(before.bounds) == rect)
                patched.blit(after, from: rect, toX: rect.x, y: rect.y)
            }
            #expect(patched == after)
            #expect(damage.isEmpty == (old == new))
            let area = damage.reduce(0) { $0 + $1.width * $1.height }
            #expect(area < 640 * 360 / 2)
        }
    }

    @Test func theSameFrameIsTheSamePixelsAndSeedsDiffer() throws {
        let first = try TestPattern(width: 300, height: 200, seed: 4, label: "a")
        let again = try TestPattern(width: 300, height: 200, seed: 4, label: "a")
        let other = try TestPattern(width: 300, height: 200, seed: 5, label: "a")
        #expect(try first.picture(frame: 9) == again.picture(frame: 9))
        #expect(try first.picture(frame: 9) != first.picture(frame: 10))
        #expect(try first.picture(frame: 9) != other.picture(frame: 9))
        #expect(first.accent != other.accent)
    }

    @Test func formatsWithTheSameDepthShowTheSame() throws {
        let plain = try TestPattern(width: 100, height: 60, format: .xrgb8888, seed: 6, label: "")
        // The third line names the format: it has no room here.
        let picture = try plain.picture(frame: 3)
        for format in PixelFormat.allCases where format.byteChannels != nil {
            let pattern = try TestPattern(
                width: 100, height: 60, format: format, seed: 6, label: "")
            #expect(try pattern.picture(frame: 3) == picture)
        }
    }

    @Test func smallestAndOddSizesAreDrawn() throws {
        for (width, height) in [(1, 1), (31, 5), (33, 17), (160, 1), (1, 160)] {
            for format in [PixelFormat.argb8888, .nv12, .yuyv, .rgb565] {
                let pattern = try TestPattern(width: width, height: height, format: format)
                let image = try Image(pattern)
                try pattern.draw(frame: 1, into: image.planes)
                try pattern.update(from: 1, to: 2, in: image.planes)
                #expect(image.bytes.contains { $0 != 0 })
            }
        }
    }

    @Test func memoryThatDoesNotFitIsRefused() throws {
        let pattern = try TestPattern(width: 64, height: 64)
        let image = try Image(pattern)
        let short = UnsafeMutableRawBufferPointer(rebasing: image.memory.dropLast(1))
        #expect(
            throws: PictureError.outOfBounds(plane: 0, end: 64 * 256, length: 64 * 256 - 1)
        ) { try pattern.draw(frame: 0, into: [.init(short, offset: 0, stride: 256)]) }
        #expect(throws: PictureError.misaligned(plane: 0)) {
            let small = try TestPattern(width: 32, height: 32)
            try small.draw(frame: 0, into: [.init(image.memory, offset: 2, stride: 256)])
        }
        #expect(throws: PictureError.size(width: 0, height: 5)) {
            try TestPattern(width: 0, height: 5)
        }
    }
}
