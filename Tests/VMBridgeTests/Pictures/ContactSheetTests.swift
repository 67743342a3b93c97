import Testing

@testable import VMBridge

@Suite("contact sheet [pure]") struct ContactSheetTests {
    private func window(_ index: Int, _ width: Int, _ height: Int) throws -> ContactSheet.Window {
        let pattern = try TestPattern(width: width, height: height, seed: UInt32(index))
        return ContactSheet.Window(
            title: "[vm\(index)] window", subtitle: "\(width)x\(height)",
            picture: try pattern.picture(frame: UInt32(index)), accent: pattern.accent)
    }

    private static let sizes = [(640, 480), (1920, 1080), (300, 500), (64, 64), (800, 600)]

    @Test(arguments: [1, 2, 3, 5], [320, 800, 1600])
    func windowsLieInTheSheetAndApart(count: Int, maximumWidth: Int) throws {
        let windows = try (0..<count).map { try window($0, Self.sizes[$0].0, Self.sizes[$0].1) }
        let sheet = ContactSheet(windows, maximumWidth: maximumWidth, heading: "vm-bridge")
        let bounds = PixelRect(x: 0, y: 0, width: sheet.width, height: sheet.height)
        #expect(sheet.width <= maximumWidth)
        #expect(sheet.places.count == count)
        for (index, place) in sheet.places.enumerated() {
            #expect(place.frame.intersection(bounds) == place.frame)
            #expect(place.content.intersection(place.frame) == place.content)
            for other in sheet.places.dropFirst(index + 1) {
                #expect(place.frame.intersection(other.frame).isEmpty)
            }
            let picture = windows[index].picture
            #expect(place.content.width <= picture.width)
            #expect(place.content.height <= picture.height)
            // The shape is kept to the pixel.
            let ideal = place.content.width * picture.height / picture.width
            #expect(abs(place.content.height - ideal) <= picture.height / picture.width + 1)
        }
        let picture = sheet.draw()
        #expect((picture.width, picture.height) == (sheet.width, sheet.height))
        #expect(picture.pixels.allSatisfy { $0 >> 24 == 255 })
        for (place, window) in zip(sheet.places, windows) {
            // The picture itself, scaled (without the border's column and the rounded corners).
            let inner = PixelRect(
                x: place.content.x + 1, y: place.content.y + 1, width: place.content.width - 2,
                height: place.content.height - 2)
            let scaled = window.picture.scaledByArea(
                width: place.content.width, height: place.content.height
            ).cropped(
                to: PixelRect(x: 1, y: 1, width: inner.width, height: inner.height))
            let result = PictureComparison(expected: scaled, actual: picture.cropped(to: inner))
            #expect(result.isEqual, "\(result)")
            // Title bar: the VM's colour, and the title in it.
            let bar = picture.cropped(
                to: PixelRect(
                    x: place.frame.x + 10, y: place.frame.y + 4, width: place.frame.width - 20,
                    height: 22))
            let ground = window.accent.mixed(with: .black, 60)
            #expect(bar[0, 0] == ground)
            let ink = ground.luminance > 150 ? Colour(20, 22, 27) : Colour.white
            var title = Picture(width: 12 * 8, height: 16, fill: ground)
            title.draw(text: "[vm", x: 0, y: 0, colour: ink, weight: .bold)
            #expect(bar.find(title.cropped(to: .init(x: 0, y: 0, width: 24, height: 16))) != nil)
        }
    }

    @Test func aSmallPictureIsShownAsItIs() throws {
        let small = try window(0, 200, 100)
        let sheet = ContactSheet([small])
        let place = try #require(sheet.places.first)
        #expect((place.content.width, place.content.height) == (200, 100))
        #expect(place.frame.width == 202)
    }

    @Test func rowsAreFilledInOrder() throws {
        let windows = try (0..<5).map { try window($0, 640, 480) }
        let places = ContactSheet(windows).places
        #expect(Set(places[0..<3].map(\.frame.y)).count == 1)
        #expect(Set(places[3..<5].map(\.frame.y)).count == 1)
        #expect(places[3].frame.y >= places[0].frame.bottom)
        #expect(places[0].frame.x < places[1].frame.x)
    }

    @Test func anEmptySheetSaysSo() {
        let sheet = ContactSheet([])
        let picture = sheet.draw()
        #expect(sheet.places.isEmpty)
        #expect(picture.pixels.contains(Colour(150, 156, 166).word))
    }

    @Test func clearPartsShowChecks() throws {
        let clear = ContactSheet.Window(
            title: "clear", subtitle: "", picture: Picture(width: 200, height: 100),
            accent: .white)
        let sheet = ContactSheet([clear])
        let place = try #require(sheet.places.first)
        let content = sheet.draw().cropped(to: place.content)
        #expect(content[4, 4] == Colour(92, 97, 106))
        #expect(content[12, 4] == Colour(74, 79, 88))
    }
}
