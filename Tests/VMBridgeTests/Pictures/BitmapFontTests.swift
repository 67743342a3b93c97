import Testing

@testable import VMBridge

@Suite("bitmap font [pure]") struct BitmapFontTests {
    private func drawn(
        _ text: String, scale: Int = 1, weight: BitmapFont.Weight = .regular
    ) -> Picture {
        var picture = Picture(
            width: BitmapFont.width(of: text, scale: scale), height: 16 * scale, fill: .black)
        picture.draw(text: text, x: 0, y: 0, colour: .white, scale: scale, weight: weight)
        return picture
    }

    /// The picture as lines of '#' and '.'.
    private func art(_ picture: Picture) -> [String] {
        (0..<picture.height).map { y in
            String(picture.row(y).map { $0 == Colour.white.word ? "#" : "." })
        }
    }

    @Test func drawingsHaveTheirShape() {
        let lines = FontArt.drawings.description.split(
            separator: "\n", omittingEmptySubsequences: false)
        let strips = lines.split(separator: "")
        #expect(strips.count == FontArt.glyphCount / FontArt.glyphsPerStrip)
        for strip in strips {
            #expect(strip.count == FontArt.rowsPerGlyph)
            for line in strip {
                let glyphs = line.split(separator: " ")
                #expect(glyphs.map(\.count) == Array(repeating: 7, count: 8))
                #expect(line.allSatisfy { "#. ".contains($0) })
            }
        }
    }

    @Test func everyGlyphIsThereAndLikeNoOther() {
        let characters = (32...127).map { Character(UnicodeScalar(UInt8($0))) }
        let shapes = characters.map { drawn(String($0)).pixels }
        #expect(Set(shapes).count == 96)
        #expect(drawn(" ") == Picture(width: 8, height: 16, fill: .black))
        for shape in shapes.dropFirst() {
            #expect(shape.contains(Colour.white.word))
            // The last column and the first and last rows part the glyphs.
            #expect((0..<16).allSatisfy { shape[$0 * 8 + 7] == Colour.black.word })
            #expect(shape.prefix(8).allSatisfy { $0 == Colour.black.word })
            #expect(shape.suffix(8).allSatisfy { $0 == Colour.black.word })
        }
    }

    @Test func anLLooksLikeAnL() {
        let expected =
            ["........", "........"] + Array(repeating: "#.......", count: 9) + ["######.."]
            + Array(repeating: "........", count: 4)
        #expect(art(drawn("L")) == expected)
    }

    @Test func unknownCharactersAreBoxes() {
        let box = drawn("\u{7f}")
        for text in ["ä", "\u{1f600}", "\n", "\u{0}", "e\u{301}"] {
            #expect(drawn(text) == box)
        }
        #expect(box != drawn("?"))
    }

    @Test func widthsAreMeasured() {
        #expect(BitmapFont.width(of: "") == 0)
        #expect(BitmapFont.width(of: "abc") == 24)
        #expect(BitmapFont.width(of: "äb", scale: 3) == 48)
        var picture = Picture(width: 4, height: 4)
        #expect(picture.draw(text: "abcd", x: 0, y: 0, colour: .white, scale: 2) == 64)
    }

    @Test func scaledTextIsTheTextEnlarged() {
        for scale in [2, 3, 5] {
            #expect(
                drawn("Rg8@", scale: scale)
                    == drawn("Rg8@").scaledNearest(width: 32 * scale, height: 16 * scale))
        }
    }

    @Test func boldIsWiderAndGlyphsStayApart() {
        for scale in [1, 2, 4] {
            let (regular, bold) = (
                drawn("MWm@L", scale: scale), drawn("MWm@L", scale: scale, weight: .bold)
            )
            #expect(bold != regular)
            for (thin, thick) in zip(regular.pixels, bold.pixels)
            where thin == Colour.white.word {
                #expect(thick == thin)
            }
            for cell in 1...5 {
                for y in 0..<bold.height {
                    #expect(bold[cell * 8 * scale - 1, y] == .black)
                }
            }
        }
    }

    @Test func textIsClippedAtEveryEdge() {
        let whole = drawn("Wq@j", scale: 2)
        for (x, y) in [(-5, -3), (-30, 4), (9, 20), (60, -31), (0, 0)] {
            var window = Picture(width: 40, height: 28, fill: .black)
            window.draw(text: "Wq@j", x: x, y: y, colour: .white, scale: 2)
            var expected = Picture(width: 40, height: 28, fill: .black)
            expected.blit(whole, toX: x, y: y)
            #expect(window == expected, "at \(x), \(y)")
        }
        var untouched = Picture(width: 40, height: 28, fill: .black)
        for (x, y) in [(40, 0), (-64, 0), (0, 28), (0, -32)] {
            untouched.draw(text: "Wq@j", x: x, y: y, colour: .white, scale: 2)
        }
        #expect(untouched == Picture(width: 40, height: 28, fill: .black))
    }

    @Test func longTextIsShortened() {
        #expect(BitmapFont.shortened("window", toWidth: 48) == "window")
        #expect(BitmapFont.shortened("window!", toWidth: 48) == "win...")
        #expect(BitmapFont.shortened("window", toWidth: 24) == "")
    }
}
