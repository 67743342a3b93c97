import Glibc

/// A picture in memory: 8 bits a channel, straight alpha, rows without padding from the top.
///
/// A value: copies share their pixels until one of them changes.
package struct Picture: Sendable, Equatable {
    /// The largest width and height, the bridge's limit for a surface.
    package static let maximumSide = 16_384

    package let width: Int
    package let height: Int
    /// Row after row; a pixel is `Colour.word`: bytes R, G, B, A in memory.
    package private(set) var pixels: [UInt32]

    /// A picture of one colour.
    /// - Precondition: both sides within 0…`maximumSide`. Check sizes from outside with `checkSize`.
    package init(width: Int, height: Int, fill: Colour = .clear) {
        precondition((0...Self.maximumSide).contains(width), "width \(width)")
        precondition((0...Self.maximumSide).contains(height), "height \(height)")
        self.width = width
        self.height = height
        let word = fill.word
        pixels = Array(unsafeUninitializedCapacity: width * height) { buffer, count in
            if let base = buffer.baseAddress { PixelCanvas.fill(base, width * height, word) }
            count = width * height
        }
    }

    /// Refuses sizes that no picture can have.
    package static func checkSize(width: Int, height: Int) throws(PictureError) {
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
            throw .size(width: width, height: height)
        }
    }

    /// The whole picture.
    package var bounds: PixelRect { PixelRect(x: 0, y: 0, width: width, height: height) }

    /// One pixel. For tests and small corners; whole rows go through `row` or the unsafe access.
    package subscript(x: Int, y: Int) -> Colour {
        get {
            precondition(x >= 0 && x < width && y >= 0 && y < height, "pixel \(x),\(y)")
            return Colour(word: pixels[y * width + x])
        }
        set {
            precondition(x >= 0 && x < width && y >= 0 && y < height, "pixel \(x),\(y)")
            pixels[y * width + x] = newValue.word
        }
    }

    /// The pixels of a row, `width` of them.
    package func row(_ y: Int) -> ArraySlice<UInt32> {
        precondition(y >= 0 && y < height, "row \(y)")
        return pixels[y * width..<(y + 1) * width]
    }

    /// Reads all pixels in place: `width` × `height` words, row after row.
    package func withPixels<Result>(
        _ body: (UnsafeBufferPointer<UInt32>) throws -> Result
    ) rethrows -> Result {
        try pixels.withUnsafeBufferPointer(body)
    }

    /// Changes all pixels in place: `width` × `height` words, row after row.
    package mutating func withMutablePixels<Result>(
        _ body: (UnsafeMutableBufferPointer<UInt32>) throws -> Result
    ) rethrows -> Result {
        try pixels.withUnsafeMutableBufferPointer { try body($0) }
    }

    /// Draws on the pixels; nothing happens on an empty picture.
    mutating func draw(_ body: (PixelCanvas) -> Void) {
        let (width, height) = (width, height)
        pixels.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
            body(PixelCanvas(base: base, width: width, height: height, stride: width))
        }
    }

    /// Sets every pixel of a rectangle (the whole picture by default); clipped, not blended.
    package mutating func fill(_ colour: Colour, _ rect: PixelRect? = nil) {
        let area = rect ?? bounds
        draw { $0.fill(area, colour.word) }
    }

    /// The one-colour outline of a rectangle, drawn inside it.
    package mutating func outline(_ rect: PixelRect, _ colour: Colour, thickness: Int = 1) {
        let (word, line) = (colour.word, thickness)
        draw { canvas in
            let inside = canvas.clipped(to: rect)
            inside.fill(PixelRect(x: rect.x, y: rect.y, width: rect.width, height: line), word)
            inside.fill(
                PixelRect(x: rect.x, y: rect.bottom - line, width: rect.width, height: line), word)
            inside.fill(PixelRect(x: rect.x, y: rect.y, width: line, height: rect.height), word)
            inside.fill(
                PixelRect(x: rect.right - line, y: rect.y, width: line, height: rect.height), word)
        }
    }

    /// Copies (a part of) another picture so that the part's corner lands on (`x`, `y`).
    ///
    /// Pixels are replaced, not blended. Clipped to the source, to this picture and to `clip`
    /// (coordinates of this picture).
    package mutating func blit(
        _ source: Picture, from part: PixelRect? = nil, toX x: Int, y: Int,
        clip: PixelRect? = nil
    ) {
        let wanted = part ?? source.bounds
        let area = wanted.intersection(source.bounds)
        guard !area.isEmpty else { return }
        let limit = clip ?? bounds
        source.withPixels { pixels in
            guard let base = pixels.baseAddress else { return }
            draw { canvas in
                canvas.clipped(to: limit).copy(
                    base, sourceStride: source.width, area,
                    toX: x + area.x - wanted.x, y: y + area.y - wanted.y)
            }
        }
    }

    /// The part within `rect`; smaller when the rectangle reaches beyond the picture.
    package func cropped(to rect: PixelRect) -> Picture {
        let area = rect.intersection(bounds)
        var result = Picture(width: area.width, height: area.height)
        result.blit(self, from: area, toX: 0, y: 0)
        return result
    }

    /// Equal size and every pixel equal, alpha too.
    package static func == (left: Picture, right: Picture) -> Bool {
        guard left.width == right.width, left.height == right.height else { return false }
        return left.withPixels { a in
            right.withPixels { b in
                guard let first = a.baseAddress, let second = b.baseAddress else { return true }
                return memcmp(first, second, a.count * 4) == 0
            }
        }
    }
}
