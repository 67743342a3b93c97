import Testing

@testable import VMBridge

@Suite("picture comparison [pure]") struct PictureComparisonTests {
    private func noise(_ width: Int, _ height: Int, seed: UInt64) -> Picture {
        var generator = SplitMix(state: seed)
        var picture = Picture(width: width, height: height)
        picture.withMutablePixels { pixels in
            for index in pixels.indices {
                pixels[index] = UInt32(truncatingIfNeeded: generator.next()) | 0xff00_0000
            }
        }
        return picture
    }

    @Test func equalPictures() {
        let picture = noise(20, 10, seed: 1)
        let result = PictureComparison(expected: picture, actual: picture)
        #expect(result.isEqual)
        #expect("\(result)" == "equal: all 200 pixels")
    }

    @Test func differencesAreCountedAndTheFirstIsNamed() throws {
        let expected = Picture(width: 20, height: 10, fill: Colour(10, 20, 30))
        var actual = expected
        actual[7, 3] = Colour(10, 25, 30)
        actual[2, 8] = Colour(0, 20, 37)
        let result = PictureComparison(expected: expected, actual: actual)
        #expect(!result.isEqual)
        #expect(result.count == 2)
        #expect(result.maximumDifference == 10)
        let first = try #require(result.first)
        #expect((first.x, first.y) == (7, 3))
        #expect(first.actual == Colour(10, 25, 30))
        #expect(
            "\(result)" == "2 of 200 pixels differ, by at most 10; first at (7, 3): "
                + "expected (10, 20, 30, 255), got (10, 25, 30, 255)")

        let crop = PixelRect(x: 0, y: 4, width: 20, height: 4)
        #expect(PictureComparison(expected: expected, actual: actual, crop: crop).isEqual)
        let below = PixelRect(x: 0, y: 4, width: 20, height: 6)
        #expect(PictureComparison(expected: expected, actual: actual, crop: below).first?.y == 8)
    }

    @Test func alphaCanBeIgnored() {
        let opaque = Picture(width: 2, height: 2, fill: Colour(1, 2, 3))
        let clear = Picture(width: 2, height: 2, fill: Colour(1, 2, 3, alpha: 0))
        #expect(
            PictureComparison(expected: opaque, actual: clear).maximumDifference == 255)
        #expect(
            PictureComparison(expected: opaque, actual: clear, ignoringAlpha: true).isEqual)
    }

    @Test func sizesMustAgree() {
        let result = PictureComparison(
            expected: Picture(width: 2, height: 3), actual: Picture(width: 3, height: 2))
        #expect(!result.isEqual)
        #expect("\(result)" == "sizes differ: expected 2x3, got 3x2")
    }

    @Test(arguments: [(0, 0), (13, 7), (50, 38), (0, 38), (50, 0)])
    func aPartIsFound(x: Int, y: Int) throws {
        let screen = noise(60, 40, seed: 2)
        let part = screen.cropped(to: PixelRect(x: x, y: y, width: 10, height: 2))
        let place = try #require(screen.find(part))
        #expect(place == (x, y))
    }

    @Test func aPartThatDiffersInItsLastPixelIsNotFound() {
        let screen = noise(60, 40, seed: 3)
        var part = screen.cropped(to: PixelRect(x: 5, y: 5, width: 10, height: 10))
        part[9, 9] = .clear
        #expect(screen.find(part) == nil)
        #expect(screen.find(Picture(width: 61, height: 1)) == nil)
        #expect(screen.find(Picture(width: 0, height: 0)) == nil)
    }

    @Test func allPlacesInOrderAndWithin() {
        var screen = Picture(width: 30, height: 30, fill: .black)
        let part = noise(3, 3, seed: 4)
        for (x, y) in [(20, 1), (2, 10), (27, 27)] { screen.blit(part, toX: x, y: y) }
        let all = screen.places(of: part, limit: 9)
        #expect(all.map(\.x) == [20, 2, 27])
        #expect(all.map(\.y) == [1, 10, 27])
        let low = PixelRect(x: 0, y: 11, width: 30, height: 19)
        #expect(screen.places(of: part, within: low, limit: 9).map(\.y) == [27])
    }
}
