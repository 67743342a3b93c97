import Testing

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[pure] places of a window in its picture")
struct PicturePlaceTests {
    private static let size = Size(width: 7, height: 5)
    private static let crops: [Rectangle?] = [
        nil, Rectangle(x: 0, y: 0, width: 7, height: 5), Rectangle(x: 2, y: 1, width: 4, height: 3),
        Rectangle(x: 6, y: 4, width: 1, height: 1), Rectangle(x: 0, y: 3, width: 5, height: 2),
    ]
    /// As multiples of the natural size, in halves.
    private static let scales: [UInt32?] = [nil, 1, 2, 3, 4, 6, 13]

    private struct Case: CustomStringConvertible {
        var transform: UInt32
        var isBottomUp: Bool
        var crop: Rectangle?
        var destination: Size?
        var description: String {
            "\(transform) \(isBottomUp) \(crop as Any) \(destination as Any)"
        }

        func frame() throws -> Frame {
            let slot = SlotIndex(index: 0, generation: 0)
            let turned = try #require(Transform(rawValue: transform))
            return makeFrame(UseID(slot), BufferID(slot), 1, size: size) {
                $0.transform = turned
                $0.crop = crop
                $0.destination = destination
            }
        }

        /// The size of what is shown, turned and unscaled.
        var natural: Size {
            let part = crop.map { Size(width: $0.width, height: $0.height) } ?? size
            return transform & 1 == 1 ? Size(width: part.height, height: part.width) : part
        }

        func view() throws -> FrameView {
            FrameView(try frame(), isBottomUp: isBottomUp, forced: nil)
        }

        /// The picture's pixel that each pixel of the surface shows: cut, turned and scaled as pictures are, by
        /// code that knows nothing of views. A pixel's colour is its number.
        func shown() throws -> (surface: Picture, numbers: Picture) {
            var numbers = Picture(width: Int(size.width), height: Int(size.height))
            for y in 0..<numbers.height {
                for x in 0..<numbers.width {
                    numbers[x, y] = Colour(word: UInt32(y * 16 + x) | 0xff00_0000)
                }
            }
            let crop = crop ?? Rectangle(size)
            let part = numbers.cropped(
                to: PixelRect(
                    x: Int(crop.x), y: Int(crop.y), width: Int(crop.width), height: Int(crop.height)
                ))
            let turned = part.transformed(
                try #require(PictureTransform(rawValue: transform)).inverse)
            guard let destination else { return (turned, numbers) }
            var scaled = Picture(
                width: Int(destination.width), height: Int(destination.height))
            for y in 0..<scaled.height {
                for x in 0..<scaled.width {
                    scaled[x, y] =
                        turned[
                            (x * 2 + 1) * turned.width / (scaled.width * 2),
                            (y * 2 + 1) * turned.height / (scaled.height * 2)]
                }
            }
            return (scaled, numbers)
        }
    }

    private static func cases() -> [Case] {
        var cases: [Case] = []
        for transform in 0..<8 as Range<UInt32> {
            for isBottomUp in [false, true] {
                for crop in crops {
                    for scale in scales {
                        let part = crop.map { Size(width: $0.width, height: $0.height) } ?? size
                        let natural =
                            transform & 1 == 1
                            ? Size(width: part.height, height: part.width) : part
                        let destination = scale.map {
                            Size(
                                width: max(natural.width * $0 / 2, 1),
                                height: max((natural.height * $0 + 1) / 2, 1))
                        }
                        cases.append(
                            Case(
                                transform: transform, isBottomUp: isBottomUp, crop: crop,
                                destination: destination))
                    }
                }
            }
        }
        return cases
    }

    private func colour(_ point: InputPoint, _ numbers: Picture) -> Colour {
        numbers[Int(point.x >> 8), Int(point.y >> 8)]
    }

    @Test("the place of each pixel's middle is in the pixel of the picture that it shows")
    func middles() throws {
        let cases = Self.cases()
        #expect(cases.count == 8 * 2 * 5 * 7)
        for one in cases {
            let (surface, numbers) = try one.shown()
            let view = try one.view()
            for y in 0..<surface.height {
                for x in 0..<surface.width {
                    let place = view.place(
                        Int32(x * 256 + 128), Int32(y * 256 + 128), in: Self.size)
                    let found = colour(place, numbers)
                    guard found == surface[x, y] else {
                        Issue.record("\(one): \(x), \(y)")
                        return
                    }
                }
            }
        }
    }

    @Test("unscaled, the first and the last place of a pixel are in the same pixel of the picture")
    func corners() throws {
        for one in Self.cases() where one.destination == nil {
            let (surface, numbers) = try one.shown()
            let view = try one.view()
            for y in 0..<surface.height {
                for x in 0..<surface.width {
                    for (dx, dy) in [(0, 0), (255, 0), (0, 255), (255, 255), (17, 99)] {
                        let place = view.place(
                            Int32(x * 256 + dx), Int32(y * 256 + dy), in: Self.size)
                        #expect(colour(place, numbers) == surface[x, y], "\(one)")
                    }
                }
            }
        }
    }

    @Test("places outside become the nearest that is shown")
    func outside() throws {
        for one in Self.cases() {
            let (surface, numbers) = try one.shown()
            let view = try one.view()
            let (right, bottom) = (surface.width - 1, surface.height - 1)
            for (x, y, nearest) in [
                (-1, -1, surface[0, 0]), (Int32.min, Int32.min, surface[0, 0]),
                (Int32(right + 1) * 256, -1, surface[right, 0]),
                (Int32.max, Int32.max, surface[right, bottom]),
                (0, Int32(bottom + 1) * 256, surface[0, bottom]),
            ] as [(Int32, Int32, Colour)] {
                // Scaled down, the outermost place may be of a pixel that no middle shows.
                let place = view.place(x, y, in: Self.size)
                let crop = one.crop ?? Rectangle(Self.size)
                #expect(
                    place.x >= 0 && UInt32(place.x >> 8) - crop.x < crop.width
                        && UInt32(place.y >> 8) - crop.y < crop.height, "\(one)")
                let natural = one.natural
                if one.destination?.width ?? .max >= natural.width,
                    one.destination?.height ?? .max >= natural.height
                {
                    #expect(colour(place, numbers) == nearest, "\(one)")
                }
            }
        }
    }

    @Test("a pixel is found again where it is shown, as a hot spot is")
    func hotSpots() throws {
        for one in Self.cases() {
            let (surface, numbers) = try one.shown()
            let view = try one.view()
            let crop = one.crop ?? Rectangle(Self.size)
            for y in crop.y..<crop.y + crop.height {
                for x in crop.x..<crop.x + crop.width {
                    let (column, row) = view.pixel(of: HotSpot(x: x, y: y), in: Self.size)
                    let isInside =
                        (0..<Int32(surface.width)).contains(column)
                        && (0..<Int32(surface.height)).contains(row)
                    #expect(isInside, "\(one)")
                    let natural = one.natural
                    // Whole multiples show each pixel from its first place on.
                    guard isInside, UInt32(surface.width) % natural.width == 0,
                        UInt32(surface.height) % natural.height == 0
                    else { continue }
                    #expect(
                        surface[Int(column), Int(row)] == numbers[Int(x), Int(y)], "\(one)")
                }
            }
        }
    }

    @Test(
        "a hot spot outside of its picture is at the nearest pixel, and sizes at the limit do not overflow"
    )
    func limits() throws {
        let one = Case(transform: 0, isBottomUp: false, crop: nil, destination: nil)
        let view = try one.view()
        let far = view.pixel(of: HotSpot(x: .max, y: 9), in: Self.size)
        #expect(far.x == 6 && far.y == 4)
        #expect(view.pixel(of: HotSpot(x: 1, y: 1), in: .zero) == (0, 0))
        var huge = view
        huge.destination = Size(width: UInt32(Int32.max), height: 1)
        let place = huge.place(.max, .max, in: Size(width: 65536, height: 65536))
        // A 256th of the width, so that much of the picture.
        #expect(place == InputPoint(x: 65536, y: 65536 * 255))
        huge.destination = Size(width: 0, height: 0)
        #expect(huge.place(5, 5, in: Self.size) == InputPoint(x: 0, y: 0))
    }
}
