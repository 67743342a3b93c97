import Testing

@testable import VMBridge

@Suite("picture geometry [pure]") struct PictureGeometryTests {
    /// A picture from lines of digits; the digit is the red channel.
    private func picture(_ lines: String...) -> Picture {
        let rows = lines.map(Array.init)
        var picture = Picture(width: rows.first?.count ?? 0, height: rows.count, fill: .black)
        for (y, row) in rows.enumerated() {
            for (x, digit) in row.enumerated() {
                picture[x, y] = Colour(UInt8(digit.wholeNumberValue ?? 99), 0, 0)
            }
        }
        return picture
    }

    private func lines(_ picture: Picture) -> [String] {
        (0..<picture.height).map { picture.row($0).map { "\($0 & 255)" }.joined() }
    }

    private static let turned: [[String]] = [
        ["01", "23", "45"], ["135", "024"], ["54", "32", "10"], ["420", "531"],
        ["10", "32", "54"], ["024", "135"], ["45", "23", "01"], ["531", "420"],
    ]

    @Test(arguments: UInt32(0)...7)
    func transforms(value: UInt32) throws {
        let transform = try #require(PictureTransform(rawValue: value))
        let original = picture("01", "23", "45")
        let turned = original.transformed(transform)
        #expect(lines(turned) == Self.turned[Int(value)])
        #expect(turned.transformed(transform.inverse) == original)
        #expect(transform.swapsSides == (turned.width == 3))
    }

    @Test func fillOutlineAndBlitAreClipped() {
        var target = picture("000", "000", "000")
        target.fill(Colour(1, 0, 0), PixelRect(x: 2, y: -1, width: 5, height: 2))
        #expect(lines(target) == ["001", "000", "000"])
        target.blit(picture("234", "567", "892"), toX: -1, y: 1)
        #expect(lines(target) == ["001", "340", "670"])
        target.blit(
            picture("999", "999", "999"), toX: 0, y: 0,
            clip: PixelRect(x: 1, y: 1, width: 1, height: 9))
        #expect(lines(target) == ["001", "390", "690"])
        target.blit(
            picture("12", "34"), from: PixelRect(x: 1, y: 1, width: 9, height: 9), toX: 2, y: 2)
        #expect(lines(target) == ["001", "390", "694"])
        target.outline(PixelRect(x: 0, y: 0, width: 3, height: 3), Colour(7, 0, 0))
        #expect(lines(target) == ["777", "797", "777"])
        let huge = PixelRect(x: -.max, y: -.max, width: .max, height: .max)
        target.fill(Colour(1, 0, 0), huge)
        target.blit(picture("1"), toX: .max, y: .max)
        #expect(lines(target) == ["777", "797", "777"])
        target.fill(Colour(2, 0, 0))
        #expect(lines(target) == ["222", "222", "222"])
    }

    @Test func copiesDoNotShareChanges() {
        let original = picture("12")
        var copy = original
        copy[0, 0] = .white
        #expect(lines(original) == ["12"])
        #expect(copy != original)
    }

    @Test func crop() {
        let original = picture("123", "456", "789")
        #expect(
            lines(original.cropped(to: PixelRect(x: 1, y: 1, width: 9, height: 1))) == ["56"])
        let nothing = original.cropped(to: PixelRect(x: 5, y: 5, width: 1, height: 1))
        #expect((nothing.width, nothing.height) == (0, 0))
    }

    @Test func nearest() {
        #expect(lines(picture("12", "34").scaledNearest(width: 4, height: 2)) == ["1122", "3344"])
        #expect(lines(picture("12345").scaledNearest(width: 1, height: 1)) == ["3"])
    }

    @Test func areaMeans() {
        // 3 → 2: (2·a + b) / 3 and (b + 2·c) / 3.
        #expect(lines(picture("036").scaledByArea(width: 2, height: 1)) == ["15"])
        #expect(lines(picture("02", "46").scaledByArea(width: 1, height: 1)) == ["3"])
        #expect(lines(picture("13").scaledByArea(width: 4, height: 1)) == ["1133"])
        let same = picture("12", "34")
        #expect(same.scaledByArea(width: 2, height: 2) == same)
    }

    @Test func areaMeansWeighByAlpha() {
        var pair = Picture(width: 2, height: 1)
        pair[0, 0] = Colour(200, 100, 50)
        pair[1, 0] = Colour(9, 9, 9, alpha: 0)
        #expect(pair.scaledByArea(width: 1, height: 1)[0, 0] == Colour(200, 100, 50, alpha: 128))
    }

    @Test func fitting() {
        let wide = Picture(width: 1920, height: 1080)
        #expect(wide.fittingSize(maximumWidth: 640, maximumHeight: 640) == (640, 360))
        #expect(wide.fittingSize(maximumWidth: 4000, maximumHeight: 540) == (960, 540))
        #expect(wide.fittingSize(maximumWidth: 4000, maximumHeight: 4000) == (1920, 1080))
        #expect(
            Picture(width: 10, height: 5).fittingSize(
                maximumWidth: 30, maximumHeight: 30, enlarging: true) == (30, 15))
        #expect(
            Picture(width: 1000, height: 1).fittingSize(maximumWidth: 10, maximumHeight: 10)
                == (10, 1))
    }

    @Test func rectangles() {
        let a = PixelRect(x: 0, y: 0, width: 4, height: 4)
        let b = PixelRect(x: 2, y: 3, width: 4, height: 4)
        #expect(a.intersection(b) == PixelRect(x: 2, y: 3, width: 2, height: 1))
        #expect(a.union(b) == PixelRect(x: 0, y: 0, width: 6, height: 7))
        #expect(a.intersection(PixelRect(x: 4, y: 0, width: 1, height: 1)).isEmpty)
        #expect("\(b)" == "4x4+2+3")
    }
}
