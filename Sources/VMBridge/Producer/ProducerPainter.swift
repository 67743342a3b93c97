import VMBridgeCore

/// Draws the frames of one surface: a pattern, or a still picture with the moving mark.
final class ProducerPainter {
    private enum Content {
        case pattern(TestPattern)
        case rows(RowsPattern)
        case picture(Picture)
        /// Without the moving mark.
        case still(Picture)
    }

    let width: Int
    let height: Int
    let format: PixelFormat
    private var content: Content

    /// - Parameters:
    ///   - picture: shown instead of a pattern, scaled to the size.
    ///   - seed: gives the test pattern's colour, and stands in each row of the rows.
    ///   - label: stands in the test pattern.
    init(
        size: Size, format: PixelFormat, pattern: ProducerPattern = .test, picture: Picture?,
        seed: UInt32, label: String
    ) throws(PictureError) {
        width = Int(size.width)
        height = Int(size.height)
        self.format = format
        if let picture {
            let fits = picture.width == width && picture.height == height
            content = .picture(
                fits ? picture : picture.scaledByArea(width: width, height: height))
        } else if pattern == .rows {
            content = .rows(
                try RowsPattern(width: width, height: height, format: format, seed: seed))
        } else {
            content = .pattern(
                try TestPattern(
                    width: width, height: height, format: format, seed: seed, label: label))
        }
    }

    /// One that draws the same picture in every frame.
    init(still picture: Picture, format: PixelFormat) {
        width = picture.width
        height = picture.height
        self.format = format
        content = .still(picture)
    }

    /// Draws a frame into planes that hold `previous`, or nothing yet.
    func draw(
        _ frame: UInt32, over previous: UInt32?, into planes: [WritablePixelPlane]
    ) throws(PictureError) {
        switch content {
        case .pattern(let pattern):
            if let previous {
                try pattern.update(from: previous, to: frame, in: planes)
            } else {
                try pattern.draw(frame: frame, into: planes)
            }
        case .rows(let rows): try rows.draw(frame: frame, into: planes)
        case .still(let picture): try picture.encode(format, into: planes, part: nil)
        case .picture(var picture):
            FrameMark.draw(frame, on: &picture)
            content = .picture(picture)
            let area = FrameMark.area(width: width, height: height)
            try picture.encode(format, into: planes, part: previous == nil ? nil : area)
        }
    }

    /// Where two frames may differ.
    func damage(from previous: UInt32, to next: UInt32) -> Damage {
        let areas: [PixelRect] =
            switch content {
            case .pattern(let pattern): pattern.damage(from: previous, to: next)
            case .still: []
            case .rows:
                previous == next ? [] : [PixelRect(x: 0, y: 0, width: width, height: height)]
            case .picture:
                [
                    format.writableArea(
                        FrameMark.area(width: width, height: height),
                        in: PixelRect(x: 0, y: 0, width: width, height: height))
                ]
            }
        var damage = Damage.none
        for area in areas {
            damage.add(
                Rectangle(
                    x: UInt32(area.x), y: UInt32(area.y), width: UInt32(area.width),
                    height: UInt32(area.height)))
        }
        return damage
    }
}

extension FrameMark {
    /// Draws the mark of a frame on a picture's left edge; nothing on one that is too narrow.
    static func draw(_ frame: UInt32, on picture: inout Picture) {
        guard let width = cellWidth(pictureWidth: picture.width) else { return }
        let cells = cells(frame: frame)
        for index in 0..<cellCount {
            let isWhite = cells >> UInt32(cellCount - 1 - index) & 1 == 1
            picture.fill(
                isWhite ? .white : .black,
                PixelRect(x: index * width, y: 0, width: width, height: picture.height))
        }
    }
}

extension Colour {
    /// The seed of `accent(seed:)` for a colour's name, or for a number; nil for anything else.
    package static func seed(named text: String) -> UInt32? {
        if let number = UInt32(text) { return number }
        // The accent wheel has 1536 steps, 256 from one of these to the next but one.
        let wheel: [String: UInt64] = [
            "red": 0, "orange": 128, "yellow": 256, "lime": 384, "green": 512, "teal": 640,
            "cyan": 768, "azure": 896, "blue": 1024, "violet": 1152, "magenta": 1280, "pink": 1408,
        ]
        guard let hue = wheel[text.lowercased()] else { return nil }
        return (0..<1536).first { (UInt64($0) * 587 + 910) % 1536 == hue }
    }

    /// The names that `seed(named:)` knows, around the wheel.
    package static let accentNames = [
        "red", "orange", "yellow", "lime", "green", "teal", "cyan", "azure", "blue", "violet",
        "magenta", "pink",
    ]
}
