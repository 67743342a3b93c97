import Glibc
import Testing

@testable import VMBridge

@Suite("pixel conversion [pure]") struct PixelConversionTests {
    /// Decodes bytes of a format with one plane.
    private func decode(
        _ format: PixelFormat, _ bytes: [UInt8], width: Int, height: Int = 1, stride: Int? = nil,
        offset: Int = 0, inverted: Bool = false, alpha: AlphaReading = .straight
    ) throws -> [Colour] {
        try bytes.withUnsafeBytes { memory in
            try Picture(
                format, width: width, height: height, memory: memory, offset: offset,
                stride: stride ?? format.rowBytes(plane: 0, width: width), inverted: inverted,
                alpha: alpha
            ).pixels.map(Colour.init(word:))
        }
    }

    private func words(_ words: [UInt32]) -> [UInt8] {
        words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
    }

    @Test func fourccNumbersAreThoseOfTheNames() throws {
        let names: [(PixelFormat, String)] = [
            (.xrgb8888, "XR24"), (.argb8888, "AR24"), (.xbgr8888, "XB24"), (.abgr8888, "AB24"),
            (.rgbx8888, "RX24"), (.rgba8888, "RA24"), (.bgrx8888, "BX24"), (.bgra8888, "BA24"),
            (.xrgb2101010, "XR30"), (.argb2101010, "AR30"), (.xbgr2101010, "XB30"),
            (.rgb565, "RG16"), (.nv12, "NV12"), (.yuyv, "YUYV"), (.p010, "P010"),
        ]
        #expect(names.count == PixelFormat.allCases.count)
        for (format, name) in names {
            #expect(format.description == name)
            #expect(try PixelFormat(fourcc: format.rawValue) == format)
        }
        #expect(throws: PictureError.unsupportedFormat(fourcc: 0x3443_5258)) {
            try PixelFormat(fourcc: 0x3443_5258)
        }
        #expect(PixelFormat.name(ofFourcc: 1) == "0x1")
    }

    @Test(arguments: [
        (PixelFormat.xrgb8888, [0x33, 0x22, 0x11, 0x00] as [UInt8]),
        (.argb8888, [0x33, 0x22, 0x11, 0xff]), (.xbgr8888, [0x11, 0x22, 0x33, 0x00]),
        (.abgr8888, [0x11, 0x22, 0x33, 0xff]), (.rgbx8888, [0x00, 0x33, 0x22, 0x11]),
        (.rgba8888, [0xff, 0x33, 0x22, 0x11]), (.bgrx8888, [0x00, 0x11, 0x22, 0x33]),
        (.bgra8888, [0xff, 0x11, 0x22, 0x33]),
    ])
    func bytesOfOnePixel(format: PixelFormat, bytes: [UInt8]) throws {
        #expect(try decode(format, bytes, width: 1) == [Colour(0x11, 0x22, 0x33)])
    }

    @Test(arguments: [
        (PixelFormat.argb8888, [0x10, 0x20, 0x40, 0x80] as [UInt8]),
        (.abgr8888, [0x40, 0x20, 0x10, 0x80]), (.rgba8888, [0x80, 0x10, 0x20, 0x40]),
        (.bgra8888, [0x80, 0x40, 0x20, 0x10]),
    ])
    func premultipliedAlpha(format: PixelFormat, bytes: [UInt8]) throws {
        // 64·255/128 = 127.5, 32·255/128 = 63.75, 16·255/128 = 31.875
        #expect(try decode(format, bytes, width: 1) == [Colour(128, 64, 32, alpha: 128)])
        #expect(
            try decode(format, bytes, width: 1, alpha: .overBlack) == [Colour(64, 32, 16)])
    }

    @Test func alphaAtItsEnds() throws {
        // Nothing, and colours above their alpha.
        let bytes = words([0x00ff_ffff, 0x40ff_2000])
        #expect(
            try decode(.argb8888, bytes, width: 2) == [.clear, Colour(255, 128, 0, alpha: 64)])
    }

    @Test func tenBits() throws {
        let word: UInt32 = 1023 << 20 | 512 << 10 | 4
        #expect(try decode(.xrgb2101010, words([word]), width: 1) == [Colour(255, 128, 1)])
        #expect(try decode(.xbgr2101010, words([word]), width: 1) == [Colour(1, 128, 255)])
        let half: UInt32 = 2 << 30 | 341 << 20 | 682
        #expect(
            try decode(.argb2101010, words([half]), width: 1)
                == [Colour(128, 0, 255, alpha: 170)])
    }

    @Test func sixteenBits() throws {
        let bytes: [UInt8] = [0x1f, 0xf8, 0xe0, 0x07, 0x10, 0x84]
        #expect(
            try decode(.rgb565, bytes, width: 3)
                == [Colour(255, 0, 255), Colour(0, 255, 0), Colour(132, 130, 132)])
    }

    @Test func packedYUV() throws {
        // Y 81, 145; Cb 90, Cr 240. 1.1644·129 = 150.2 brightness for the second.
        #expect(
            try decode(.yuyv, [81, 90, 145, 240], width: 2)
                == [Colour(254, 0, 0), Colour(255, 74, 74)])
        // An odd width needs the whole last group.
        #expect(
            try decode(.yuyv, [16, 128, 235, 128, 235, 128, 0, 128], width: 3)
                == [.black, .white, .white])
    }

    private func decodeNV12(
        _ luma: [UInt8], _ chroma: [UInt8], width: Int, height: Int,
        encoding: YUVEncoding = .standard, inverted: Bool = false
    ) throws -> [Colour] {
        try luma.withUnsafeBytes { first in
            try chroma.withUnsafeBytes { second in
                try Picture(
                    .nv12, width: width, height: height,
                    planes: [
                        PixelPlane(first, offset: 0, stride: width),
                        PixelPlane(second, offset: 0, stride: (width + 1) / 2 * 2),
                    ], inverted: inverted, encoding: encoding
                ).pixels.map(Colour.init(word:))
            }
        }
    }

    @Test func planarYUV() throws {
        #expect(
            try decodeNV12([16, 235, 81, 81], [128, 128], width: 2, height: 2)
                == [.black, .white, Colour(76, 76, 76), Colour(76, 76, 76)])
        #expect(try decodeNV12([81], [90, 240], width: 1, height: 1) == [Colour(254, 0, 0)])
        #expect(
            try decodeNV12(
                [76], [85, 255], width: 1, height: 1,
                encoding: YUVEncoding(.bt601, fullRange: true)) == [Colour(254, 0, 0)])
        #expect(
            try decodeNV12([63], [102, 240], width: 1, height: 1, encoding: YUVEncoding(.bt709))
                == [Colour(255, 1, 0)])
    }

    @Test func planarYUVWithOddSidesAndUpsideDown() throws {
        // Four colour pairs: grey, red / red, grey for columns 0-1, 2 and rows 0-1, 2.
        let luma: [UInt8] = [16, 16, 81, 16, 16, 81, 81, 81, 235]
        let chroma: [UInt8] = [128, 128, 90, 240, 90, 240, 128, 128]
        let red = Colour(254, 0, 0)
        let upright: [Colour] = [
            .black, .black, red, .black, .black, red, red, red, .white,
        ]
        #expect(try decodeNV12(luma, chroma, width: 3, height: 3) == upright)
        #expect(
            try decodeNV12(luma, chroma, width: 3, height: 3, inverted: true)
                == Array(upright[6..<9] + upright[3..<6] + upright[0..<3]))
    }

    @Test func planarYUVWithTenBits() throws {
        let bytes: [UInt8] = [0x00, 0x10, 0x00, 0xeb, 0x00, 0x80, 0x00, 0x80]
        let colours = try bytes.withUnsafeBytes { memory in
            try Picture(
                .p010, width: 2, height: 1,
                planes: [
                    PixelPlane(memory, offset: 0, stride: 4),
                    PixelPlane(memory, offset: 4, stride: 4),
                ]
            ).pixels.map(Colour.init(word:))
        }
        #expect(colours == [.black, .white])
    }

    @Test func offsetStrideAndInversion() throws {
        // Two rows of one pixel, three bytes before, stride 6: no row is aligned.
        let bytes: [UInt8] = [9, 9, 9, 1, 2, 3, 0, 9, 9, 4, 5, 6, 0]
        let top = Colour(3, 2, 1)
        let bottom = Colour(6, 5, 4)
        #expect(
            try decode(.xrgb8888, bytes, width: 1, height: 2, stride: 6, offset: 3)
                == [top, bottom])
        #expect(
            try decode(
                .xrgb8888, bytes, width: 1, height: 2, stride: 6, offset: 3, inverted: true)
                == [bottom, top])
    }

    // MARK: - Writing

    /// Writes a picture in a format and reads it back.
    private func roundTrip(_ picture: Picture, _ format: PixelFormat) throws -> Picture {
        let size = try format.linearLayout(width: picture.width, height: picture.height).size
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        defer { memory.deallocate() }
        let planes = try WritablePixelPlane.linear(
            memory, format, width: picture.width, height: picture.height)
        try picture.encode(format, into: planes)
        return try Picture(
            format, width: picture.width, height: picture.height, planes: planes.map(\.readable))
    }

    private func noise(width: Int, height: Int, alpha: Bool) -> Picture {
        var generator = SplitMix(state: 7)
        var picture = Picture(width: width, height: height)
        for y in 0..<height {
            for x in 0..<width {
                var colour = Colour(word: UInt32(truncatingIfNeeded: generator.next()))
                if !alpha { colour.alpha = 255 }
                picture[x, y] = colour
            }
        }
        return picture
    }

    @Test(arguments: PixelFormat.allCases)
    func opaquePicturesSurvive(format: PixelFormat) throws {
        if format.halvesColour {
            // Colours of one pair are equal, so that only rounding is lost.
            let picture = noise(width: 5, height: 3, alpha: false).scaledNearest(
                width: 10, height: 6)
            let result = PictureComparison(
                expected: picture, actual: try roundTrip(picture, format))
            #expect(result.maximumDifference <= 4, "\(result)")
        } else {
            let picture = noise(width: 13, height: 7, alpha: false)
            let result = PictureComparison(
                expected: picture, actual: try roundTrip(picture, format))
            #expect(result.maximumDifference <= (format == .rgb565 ? 7 : 0), "\(result)")
        }
    }

    @Test func alphaIsPremultipliedWhereItIsCarried() throws {
        var picture = Picture(width: 1, height: 1)
        picture[0, 0] = Colour(200, 100, 0, alpha: 128)
        var bytes = [UInt8](repeating: 0, count: 4)
        try bytes.withUnsafeMutableBytes { memory in
            try picture.encode(.argb8888, into: [.init(memory, offset: 0, stride: 4)])
        }
        #expect(bytes == [0, 50, 100, 128])
        try bytes.withUnsafeMutableBytes { memory in
            try picture.encode(.xrgb8888, into: [.init(memory, offset: 0, stride: 4)])
        }
        #expect(bytes == [0, 100, 200, 255])
    }

    @Test func redIsWrittenAsTheStandardSays() throws {
        let picture = Picture(width: 2, height: 2, fill: Colour(255, 0, 0))
        var bytes = [UInt8](repeating: 0, count: 6)
        try bytes.withUnsafeMutableBytes { memory in
            try picture.encode(
                .nv12,
                into: [.init(memory, offset: 0, stride: 2), .init(memory, offset: 4, stride: 2)])
        }
        // 16 + 65.481 = 81.5 (BT.601 gives 81), 128 − 37.797, 128 + 112.
        #expect(bytes == [81, 81, 81, 81, 90, 240])
    }

    @Test(arguments: PixelFormat.allCases)
    func onlyThePartIsWritten(format: PixelFormat) throws {
        let (width, height) = (9, 7)
        let size = try format.linearLayout(width: width, height: height).size
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        defer { memory.deallocate() }
        let planes = try WritablePixelPlane.linear(memory, format, width: width, height: height)
        try Picture(width: width, height: height, fill: .black).encode(format, into: planes)
        let white = Picture(width: width, height: height, fill: .white)
        let part = PixelRect(x: 3, y: 2, width: 2, height: 3)
        try white.encode(format, into: planes, part: part)

        let written = format.writableArea(part, in: white.bounds)
        var expected = Picture(width: width, height: height, fill: .black)
        expected.fill(.white, written)
        let actual = try Picture(
            format, width: width, height: height, planes: planes.map(\.readable))
        let result = PictureComparison(expected: expected, actual: actual)
        #expect(result.isEqual, "\(result)")
        #expect(written.intersection(part) == part)
    }
}

/// Numbers that look random and are the same in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
