/// The embedded bitmap font: cells of 8x16 pixels, ASCII 32…126 and a box for everything else.
package enum BitmapFont {
    package static let cellWidth = 8
    package static let cellHeight = 16
    /// Rows of a cell above the baseline.
    package static let ascent = 12

    package enum Weight: Sendable {
        case regular
        /// Every stroke half a dot (at least a pixel) wider to the right; glyphs never touch.
        case bold
    }

    /// Width in pixels of a text on one line: one cell a character.
    package static func width(of text: String, scale: Int = 1) -> Int {
        text.count * cellWidth * max(scale, 1)
    }

    /// The text, shortened with "..." so that it is at most `maximum` pixels wide; empty when
    /// not even that has room.
    package static func shortened(_ text: String, toWidth maximum: Int, scale: Int = 1) -> String {
        if width(of: text, scale: scale) <= maximum { return text }
        let cells = maximum / (cellWidth * max(scale, 1))
        return cells > 3 ? String(text.prefix(cells - 3)) + "..." : ""
    }

    /// Sixteen rows for each of the 96 glyphs; bit 7 is the leftmost column.
    static let rows: [UInt8] = parse(FontArt.drawings)

    /// The first of a character's rows in `rows`.
    static func start(of character: Character) -> Int {
        let box = FontArt.glyphCount - 1
        guard let code = character.asciiValue, code >= 32, code < 127 else {
            return box * cellHeight
        }
        return Int(code - 32) * cellHeight
    }

    /// Reads the drawings: line by line, a mark for each '#', a separator between two glyphs.
    private static func parse(_ drawings: StaticString) -> [UInt8] {
        var rows = [UInt8](repeating: 0, count: FontArt.glyphCount * cellHeight)
        let pitch = FontArt.columnsPerGlyph + 1
        var line = 0
        var column = 0
        let text = drawings.description.utf8
        for byte in text {
            if byte == UInt8(ascii: "\n") {
                // Blank lines part the strips.
                if column > 0 { line += 1 }
                column = 0
                continue
            }
            if byte == UInt8(ascii: "#") {
                let glyph = line / FontArt.rowsPerGlyph * FontArt.glyphsPerStrip + column / pitch
                // The drawings begin on the second row of the cell.
                let index = glyph * cellHeight + line % FontArt.rowsPerGlyph + 1
                if index < rows.count { rows[index] |= 0x80 >> UInt8(column % pitch) }
            }
            column += 1
        }
        return rows
    }
}

extension PixelCanvas {
    /// Draws one line of text; (`x`, `y`) is the top left of the first cell.
    func draw(
        _ text: String, x: Int, y: Int, word: UInt32, scale: Int, weight: BitmapFont.Weight
    ) {
        let size = max(scale, 1)
        guard y < clip.bottom, y + BitmapFont.cellHeight * size > clip.y else { return }
        var left = x
        for character in text {
            if left >= clip.right { break }
            if left + BitmapFont.cellWidth * size > clip.x {
                drawGlyph(
                    BitmapFont.start(of: character), x: left, y: y, word: word, scale: size,
                    weight: weight)
            }
            left += BitmapFont.cellWidth * size
        }
    }

    private func drawGlyph(
        _ start: Int, x: Int, y: Int, word: UInt32, scale: Int, weight: BitmapFont.Weight
    ) {
        let extra = weight == .bold ? max(1, scale / 2) : 0
        let limit = BitmapFont.cellWidth * scale - 1
        for row in 0..<BitmapFont.cellHeight {
            var bits = BitmapFont.rows[start + row]
            var column = 0
            while bits != 0 {
                // Runs of marks are drawn as one rectangle.
                let skip = bits.leadingZeroBitCount
                bits <<= UInt8(skip)
                column += skip
                let run = (~bits).leadingZeroBitCount
                let end = min((column + run) * scale + extra, limit)
                fill(
                    PixelRect(
                        x: x + column * scale, y: y + row * scale, width: end - column * scale,
                        height: scale), word)
                bits = run < 8 ? bits << UInt8(run) : 0
                column += run
            }
        }
    }
}

extension Picture {
    /// Draws one line of text in the embedded font, clipped; not blended.
    /// - Parameters:
    ///   - x: left edge of the first cell.
    ///   - y: top edge of the cells.
    ///   - scale: every dot is a square of this many pixels; at least 1.
    /// - Returns: the width of the text in pixels, also where it was clipped.
    @discardableResult
    package mutating func draw(
        text: String, x: Int, y: Int, colour: Colour, scale: Int = 1,
        weight: BitmapFont.Weight = .regular
    ) -> Int {
        draw { $0.draw(text, x: x, y: y, word: colour.word, scale: scale, weight: weight) }
        return BitmapFont.width(of: text, scale: scale)
    }
}
