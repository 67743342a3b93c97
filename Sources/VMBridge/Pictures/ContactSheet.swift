/// One picture of many windows, each with a title bar drawn by us: what a user sees of the VMs'
/// surfaces where there is no compositor.
package struct ContactSheet: Sendable {
    /// A window on the sheet.
    package struct Window: Sendable {
        package var title: String
        /// A quieter line under the picture; none when empty.
        package var subtitle: String
        package var picture: Picture
        /// The VM's colour, for the title bar and the border.
        package var accent: Colour

        package init(title: String, subtitle: String, picture: Picture, accent: Colour) {
            self.title = title
            self.subtitle = subtitle
            self.picture = picture
            self.accent = accent
        }
    }

    /// Where a window went: `frame` with title and border, `content` the picture alone.
    package struct Place: Equatable, Sendable {
        package let frame: PixelRect
        package let content: PixelRect
    }

    package let windows: [Window]
    package let heading: String
    /// Size of the sheet in pixels.
    package let width: Int
    package let height: Int
    /// As many as windows, in their order.
    package let places: [Place]

    static let margin = 32
    static let gap = 32
    static let titleHeight = 30
    static let subtitleHeight = 26
    static let headingHeight = 40
    private static let smallestFrame = 180
    /// The border is one pixel.
    private static let border = 1

    /// Lays windows out in a grid, row by row. Pictures are made smaller to fit, never larger.
    /// - Parameters:
    ///   - maximumWidth: of the sheet, pixels; at least 320 is used.
    ///   - heading: a line above; none when empty.
    package init(_ windows: [Window], maximumWidth: Int = 1600, heading: String = "") {
        self.windows = windows
        self.heading = heading
        var columns = 1
        while columns * columns < windows.count { columns += 1 }
        let limit = min(max(maximumWidth, 320), Picture.maximumSide)
        let room = limit - 2 * Self.margin
        columns = min(columns, (room + Self.gap) / (Self.smallestFrame + Self.gap))

        // Sizes first, then places row by row; every row is centred.
        var sizes: [(width: Int, height: Int)] = []
        var rows: [(range: Range<Int>, width: Int)] = []
        var widest = BitmapFont.width(of: heading, scale: 2)
        for start in stride(from: 0, to: windows.count, by: columns) {
            let range = start..<min(start + columns, windows.count)
            let row = Self.rowSizes(windows[range].map(\.picture), room: room, columns: columns)
            sizes += row
            let width = Self.rowWidth(row)
            rows.append((range, width))
            widest = max(widest, width)
        }
        var places: [Place] = []
        var rowTop = Self.margin + (heading.isEmpty ? 0 : Self.headingHeight)
        self.width = min(max(widest + 2 * Self.margin, 320), limit)
        for row in rows {
            var left = (self.width - row.width) / 2
            var tallest = 0
            for index in row.range {
                let size = sizes[index]
                let frameWidth = Self.frameWidth(size.width)
                let below = windows[index].subtitle.isEmpty ? Self.border : Self.subtitleHeight
                let frame = PixelRect(
                    x: left, y: rowTop, width: frameWidth,
                    height: Self.titleHeight + size.height + below)
                let content = PixelRect(
                    x: left + (frameWidth - size.width) / 2, y: rowTop + Self.titleHeight,
                    width: size.width, height: size.height)
                places.append(Place(frame: frame, content: content))
                left += frameWidth + Self.gap
                tallest = max(tallest, frame.height)
            }
            rowTop += tallest + Self.gap
        }
        self.places = places
        let end = windows.isEmpty ? rowTop + 80 : rowTop - Self.gap
        height = min(end + Self.margin, Picture.maximumSide)
    }

    private static func frameWidth(_ content: Int) -> Int {
        max(content + 2 * border, smallestFrame)
    }

    private static func rowWidth(_ sizes: [(width: Int, height: Int)]) -> Int {
        sizes.reduce(0) { $0 + frameWidth($1.width) } + (sizes.count - 1) * gap
    }

    /// Sizes for the pictures of a row: one height for all (but no picture is enlarged), the
    /// largest that leaves the row narrow enough, and at most three quarters of a grid cell's width
    /// so that rows look alike.
    private static func rowSizes(
        _ pictures: [Picture], room: Int, columns: Int
    ) -> [(width: Int, height: Int)] {
        let cell = (room - (columns - 1) * gap) / columns
        var rowHeight = max(cell * 3 / 4, 1)
        while true {
            let sizes = pictures.map {
                $0.fittingSize(maximumWidth: room - 2 * border, maximumHeight: rowHeight)
            }
            if rowWidth(sizes) <= room || rowHeight == 1 { return sizes }
            rowHeight = max(1, min(rowHeight - 1, rowHeight * 99 / 100))
        }
    }

    /// Draws the sheet; opaque.
    package func draw() -> Picture {
        var sheet = Picture(width: width, height: height)
        let (top, bottom) = (Colour(52, 57, 66), Colour(34, 37, 44))
        for y in 0..<height {
            sheet.fill(
                top.mixed(with: bottom, y * 256 / max(height, 1)),
                PixelRect(x: 0, y: y, width: width, height: 1))
        }
        if !heading.isEmpty {
            let text = BitmapFont.shortened(heading, toWidth: width - 2 * Self.margin, scale: 2)
            sheet.draw(
                text: text, x: Self.margin, y: Self.margin - 8, colour: Colour(232, 235, 240),
                scale: 2, weight: .bold)
        }
        if windows.isEmpty {
            let text = "no windows"
            sheet.draw(
                text: text, x: (width - BitmapFont.width(of: text)) / 2, y: height / 2 - 8,
                colour: Colour(150, 156, 166))
        }
        for (window, place) in zip(windows, places) {
            let chrome = WindowChrome(frame: place.frame)
            chrome.drawShadow(on: &sheet)
            chrome.place(drawn(window, place), on: &sheet)
        }
        return sheet
    }

    /// A window by itself, with square corners.
    private func drawn(_ window: Window, _ place: Place) -> Picture {
        let frame = place.frame
        var picture = Picture(width: frame.width, height: frame.height, fill: Colour(24, 26, 31))
        let bar = window.accent.mixed(with: .black, 60)
        let edge = window.accent.mixed(with: .black, 120)

        picture.fill(bar, PixelRect(x: 0, y: 0, width: frame.width, height: Self.titleHeight))
        picture.fill(
            bar.mixed(with: .white, 60), PixelRect(x: 0, y: 0, width: frame.width, height: 1))
        let ink = bar.luminance > 150 ? Colour(20, 22, 27) : Colour.white
        let title = BitmapFont.shortened(window.title, toWidth: frame.width - 24)
        picture.draw(text: title, x: 12, y: 7, colour: ink, weight: .bold)

        let (x, y) = (place.content.x - frame.x, place.content.y - frame.y)
        let scaled = window.picture.scaledByArea(
            width: place.content.width, height: place.content.height)
        picture.blit(Self.onChecks(scaled), toX: x, y: y)

        if !window.subtitle.isEmpty {
            let top = frame.height - Self.subtitleHeight
            picture.fill(
                Colour(24, 26, 31),
                PixelRect(x: 0, y: top, width: frame.width, height: Self.subtitleHeight))
            let text = BitmapFont.shortened(window.subtitle, toWidth: frame.width - 24)
            picture.draw(text: text, x: 12, y: top + 5, colour: Colour(176, 182, 192))
        }
        // The border leaves the title bar, which has its own colour, alone.
        picture.fill(
            edge,
            PixelRect(x: 0, y: Self.titleHeight - 1, width: frame.width, height: 1))
        let body = PixelRect(
            x: 0, y: Self.titleHeight - 1, width: frame.width,
            height: frame.height - Self.titleHeight + 1)
        picture.outline(body, edge)
        return picture
    }

    /// The picture over a quiet chequerboard where it is not opaque.
    private static func onChecks(_ picture: Picture) -> Picture {
        let opaque = picture.pixels.withUnsafeBufferPointer { buffer in
            var all: UInt32 = 0xff00_0000
            var index = 0
            while index < buffer.count {
                all &= buffer[index]
                index += 1
            }
            return all == 0xff00_0000
        }
        if opaque { return picture }
        var result = picture
        result.withMutablePixels { pixels in
            for index in pixels.indices {
                let colour = Colour(word: pixels[index])
                if colour.alpha == 255 { continue }
                let (x, y) = (index % picture.width, index / picture.width)
                let under =
                    (x / 8 + y / 8) % 2 == 0 ? Colour(92, 97, 106) : Colour(74, 79, 88)
                var solid = colour
                solid.alpha = 255
                pixels[index] =
                    under.mixed(with: solid, Int(colour.alpha) * 256 / 255).word
            }
        }
        return result
    }
}

/// The rounded outline of a window and its shadow.
private struct WindowChrome {
    let frame: PixelRect
    private let radius = 8.0
    private let reach = 22

    /// Distance of a pixel's centre from the outline, in pixels; negative inside.
    private func distance(_ x: Int, _ y: Int, droppedBy drop: Double = 0) -> Double {
        let centreX = Double(frame.x) + Double(frame.width) / 2
        let centreY = Double(frame.y) + Double(frame.height) / 2 + drop
        let dx = abs(Double(x) + 0.5 - centreX) - Double(frame.width) / 2 + radius
        let dy = abs(Double(y) + 0.5 - centreY) - Double(frame.height) / 2 + radius
        let (outX, outY) = (max(dx, 0), max(dy, 0))
        return (outX * outX + outY * outY).squareRoot() + min(max(dx, dy), 0) - radius
    }

    func drawShadow(on sheet: inout Picture) {
        let area = PixelRect(
            x: frame.x - reach, y: frame.y - reach, width: frame.width + 2 * reach,
            height: frame.height + 2 * reach + 6
        ).intersection(sheet.bounds)
        let inside = PixelRect(
            x: frame.x + 8, y: frame.y + 8, width: frame.width - 16, height: frame.height - 16)
        for y in area.y..<max(area.y, area.bottom) {
            var x = area.x
            while x < area.right {
                // What the window will cover needs no shadow.
                if y >= inside.y, y < inside.bottom, x >= inside.x, x < inside.right {
                    x = inside.right
                    continue
                }
                let away = max(0, distance(x, y, droppedBy: 6)) / Double(reach)
                if away < 1 {
                    let strength = Int((1 - away) * (1 - away) * 120)
                    sheet[x, y] = sheet[x, y].mixed(with: .black, strength)
                }
                x += 1
            }
        }
    }

    /// Copies the window with its corners rounded, edges smoothed.
    func place(_ window: Picture, on sheet: inout Picture) {
        let under = sheet.cropped(to: frame)
        sheet.blit(window, toX: frame.x, y: frame.y)
        let side = Int(radius)
        guard frame.width > 2 * side, frame.height > 2 * side else { return }
        for cornerY in [0, frame.height - side] {
            for cornerX in [0, frame.width - side] {
                for y in cornerY..<cornerY + side {
                    for x in cornerX..<cornerX + side {
                        let place = (x: frame.x + x, y: frame.y + y)
                        guard place.x < sheet.width, place.y < sheet.height,
                            x < under.width, y < under.height
                        else { continue }
                        let cover = min(max(0.5 - distance(place.x, place.y), 0), 1)
                        sheet[place.x, place.y] = under[x, y].mixed(
                            with: window[x, y], Int(cover * 256))
                    }
                }
            }
        }
    }
}
