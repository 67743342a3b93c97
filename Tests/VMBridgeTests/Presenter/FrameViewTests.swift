import Testing

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[pure] views and formats of a Wayland presenter")
struct FrameViewTests {
    private func frame(
        _ transform: UInt32, crop: Rectangle? = nil, destination: Size? = nil
    ) throws -> Frame {
        var record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        record.transform = try #require(Transform(rawValue: transform))
        record.crop = crop
        record.destination = destination
        let slot = SlotIndex(index: 0, generation: 0)
        return Frame(
            record, use: UseID(slot), buffer: BufferID(slot), size: Size(width: 7, height: 5),
            receivedAt: 0, waits: [])
    }

    /// What a compositor shows of a buffer, by the definition of a buffer transform.
    private func shown(_ picture: Picture, _ transform: UInt32) throws -> Picture {
        try picture.transformed(#require(PictureTransform(rawValue: transform)).inverse)
    }

    @Test func cropsAreFoundAgainInTheSurface() throws {
        let picture = noise(7, 5)
        let crop = Rectangle(x: 1, y: 2, width: 4, height: 2)
        let part = picture.cropped(to: PixelRect(x: 1, y: 2, width: 4, height: 2))
        for transform in 0..<8 as Range<UInt32> {
            let view = FrameView(
                try frame(transform, crop: crop), isBottomUp: false, forced: nil)
            let source = try #require(view.source)
            let surface = try shown(picture, transform)
            let found = surface.cropped(
                to: PixelRect(
                    x: Int(source.x), y: Int(source.y), width: Int(source.width),
                    height: Int(source.height)))
            #expect(found == (try shown(part, transform)), "transform \(transform)")
        }
    }

    @Test func partsOfABottomUpPictureCountFromItsTop() throws {
        let size = Size(width: 8, height: 6)
        let part = Rectangle(x: 1, y: 0, width: 3, height: 2)
        let upright = FrameView(try frame(0), isBottomUp: false, forced: nil)
        let bottomUp = FrameView(try frame(0), isBottomUp: true, forced: nil)
        #expect(upright.inMemory(part, of: size) == part)
        #expect(bottomUp.inMemory(part, of: size) == Rectangle(x: 1, y: 4, width: 3, height: 2))
        // Turned over again on the way to the surface, it is where the picture has it.
        #expect(
            FrameView.toSurface(bottomUp.inMemory(part, of: size), of: size, bottomUp.transform)
                == part)
        #expect(bottomUp.opaque(part, of: size) == part)
    }

    @Test func rowsFromTheBottomUpAreTurnedOver() throws {
        let picture = noise(7, 5)
        let stored = picture.transformed(.flipped180)
        for transform in 0..<8 as Range<UInt32> {
            let view = FrameView(try frame(transform), isBottomUp: true, forced: nil)
            #expect(
                try shown(stored, view.transform) == shown(picture, transform),
                "transform \(transform)")
        }
    }

    @Test func forcedSizeWins() throws {
        let forced = Size(width: 640, height: 480)
        let size = Size(width: 3, height: 4)
        #expect(
            FrameView(try frame(0, destination: size), isBottomUp: false, forced: forced)
                .destination == forced)
        #expect(
            FrameView(try frame(0, destination: size), isBottomUp: false, forced: nil)
                .destination == size)
    }

    @Test func opaqueRegionsFollowCropAndScaleInwards() throws {
        let size = Size(width: 7, height: 5)
        let plain = FrameView(try frame(0), isBottomUp: false, forced: nil)
        let region = Rectangle(x: 1, y: 1, width: 3, height: 2)
        #expect(plain.opaque(region, of: size) == region)
        let cropped = FrameView(
            try frame(0, crop: Rectangle(x: 2, y: 0, width: 4, height: 2)), isBottomUp: false,
            forced: nil)
        #expect(
            cropped.opaque(region, of: size) == Rectangle(x: 0, y: 1, width: 2, height: 1))
        let scaled = FrameView(
            try frame(0, destination: Size(width: 10, height: 10)), isBottomUp: false, forced: nil)
        // 1/7…4/7 of ten pixels is 1.4…5.7, and 1/5…3/5 is 2…6.
        #expect(
            scaled.opaque(region, of: size) == Rectangle(x: 2, y: 2, width: 3, height: 4))
        let outside = FrameView(
            try frame(0, crop: Rectangle(x: 5, y: 3, width: 1, height: 1)), isBottomUp: false,
            forced: nil)
        let nothing = outside.opaque(region, of: size)
        #expect(nothing.width == 0 && nothing.height == 0)
    }

    @Test func sharedMemoryFormatsHaveNumbersOfTheirOwn() {
        var catalog = FormatCatalog()
        for number in [0, 1, FourCC.xbgr8888.rawValue, FourCC.nv12.rawValue] {
            catalog.addShm(number)
        }
        let changed5 = catalog.rebuild()
        #expect(changed5)
        #expect(catalog.entries.prefix(3).map(\.format) == [.argb8888, .xrgb8888, .xbgr8888])
        #expect(catalog.entries.prefix(3).allSatisfy { $0.memory == 2 })
        // Then what is copied, without a conversion where that can be.
        let copied = catalog.entries.dropFirst(3)
        #expect(copied.prefix(3).map(\.format) == [.xbgr8888, .argb8888, .xrgb8888])
        #expect(copied.count == PixelFormat.allCases.count)
        #expect(copied.allSatisfy { $0.memory == 1 })
        #expect(catalog.entries.allSatisfy { $0.modifier == .linear })
        #expect(catalog.shmFormat(.argb8888) == 0)
        #expect(catalog.shmFormat(.xrgb8888) == 1)
        #expect(catalog.shmFormat(.abgr8888) == nil)
    }
}
