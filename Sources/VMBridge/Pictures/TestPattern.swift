/// The moving picture of the reference producer: a gradient with a grid in the VM's colour, a bar
/// that wanders to the right, a panel with a label and the frame number, and a `FrameMark` at the
/// left edge. The same frame number gives the same pixels, always.
///
/// Made once for a size and format; then a frame is drawn whole, or an older frame in a buffer is
/// turned into a newer one by drawing only what differs.
package final class TestPattern {
    package let width: Int
    package let height: Int
    package let format: PixelFormat
    package let label: String
    /// The colour that the seed gave.
    package let accent: Colour

    /// Without bar, panel and mark; words in the format's own order when it can be drawn directly.
    private var background: Picture
    /// Where formats that cannot be drawn directly are drawn before they are encoded.
    private var scratch: Picture?
    private let order: WordOrder
    private let mark: PixelRect
    private let panel: Panel?

    /// Prepares a pattern.
    /// - Parameters:
    ///   - format: any format of `PixelFormat`. Those with 8-bit channels in 32 bits are drawn in
    ///     place, the others by way of a picture.
    ///   - seed: gives the colour, see `Colour.accent(seed:)`.
    ///   - label: a line of text on the panel; left out with the panel in very small pictures.
    /// - Throws: `PictureError.size` outside 1…`Picture.maximumSide`.
    package init(
        width: Int, height: Int, format: PixelFormat = .xrgb8888, seed: UInt32 = 0,
        label: String = "test pattern"
    ) throws(PictureError) {
        try Picture.checkSize(width: width, height: height)
        self.width = width
        self.height = height
        self.format = format
        self.label = label
        accent = .accent(seed: seed)
        order = WordOrder(format)
        mark = FrameMark.area(width: width, height: height)
        panel = Panel(
            lines: [label, Self.numberText(0), "\(width)x\(height) \(format)"],
            area: PixelRect(
                x: mark.width, y: 0, width: width - mark.width, height: height))
        background = Self.background(width: width, height: height, accent: accent, order: order)
        if format.byteChannels == nil { scratch = Picture(width: width, height: height) }
    }

    /// Draws a whole frame.
    /// - Parameter planes: the format's planes; validated like a guest's. Rows of formats drawn in
    ///   place must begin on multiples of four bytes.
    package func draw(
        frame: UInt32, into planes: [WritablePixelPlane]
    ) throws(PictureError) {
        let everything = PixelRect(x: 0, y: 0, width: width, height: height)
        try draw(frame: frame, into: planes, areas: [everything])
    }

    /// Turns a buffer that holds frame `previous` into frame `next`.
    /// - Returns: the rectangles that were redrawn. With several buffers in turn this is not the
    ///   damage of the surface: that is `damage(from:to:)` with the frame committed before.
    @discardableResult
    package func update(
        from previous: UInt32, to next: UInt32, in planes: [WritablePixelPlane]
    ) throws(PictureError) -> [PixelRect] {
        let areas = damage(from: previous, to: next)
        try draw(frame: next, into: planes, areas: areas)
        return areas
    }

    /// The rectangles in which two frames may differ; empty for the same frame.
    package func damage(from previous: UInt32, to next: UInt32) -> [PixelRect] {
        if previous == next { return [] }
        let (old, new) = (bar(previous), bar(next))
        let both = old.union(new)
        // One rectangle where the bars touch; two after a jump or a wrap.
        var areas = both.width <= old.width + new.width ? [both] : [old, new]
        if let panel { areas.append(panel.number) }
        areas.append(mark)
        let bounds = PixelRect(x: 0, y: 0, width: width, height: height)
        return areas.filter { !$0.isEmpty }.map { format.writableArea($0, in: bounds) }
    }

    /// A frame as somebody who reads the buffer sees it (with what YUV and 16 bits lose).
    package func picture(frame: UInt32) throws(PictureError) -> Picture {
        try Picture(format, width: width, height: height) { (planes) throws(PictureError) in
            try draw(frame: frame, into: planes)
        }
    }

    // MARK: - Drawing

    private func draw(
        frame: UInt32, into planes: [WritablePixelPlane], areas: [PixelRect]
    ) throws(PictureError) {
        try format.validate(
            width: width, height: height,
            planes: planes.map { ($0.memory.count, $0.offset, $0.stride) })
        if format.byteChannels != nil {
            guard let canvas = canvas(over: planes[0]) else {
                throw .misaligned(plane: 0)
            }
            for area in areas { render(frame, canvas.clipped(to: area)) }
            return
        }
        guard var picture = scratch.take() else { return }
        defer { scratch = picture }
        for area in areas {
            picture.draw { render(frame, $0.clipped(to: area)) }
            try picture.encode(format, into: planes, part: area)
        }
    }

    /// Unsafe: the words of a plane that was validated; `nil` when they are not aligned.
    private func canvas(over plane: WritablePixelPlane) -> PixelCanvas? {
        guard let base = plane.memory.baseAddress, plane.stride % 4 == 0,
            (Int(bitPattern: base) + plane.offset) % 4 == 0
        else { return nil }
        return PixelCanvas(
            base: (base + plane.offset).assumingMemoryBound(to: UInt32.self), width: width,
            height: height, stride: plane.stride / 4)
    }

    /// Everything of a frame that lies in the canvas's clip.
    private func render(_ frame: UInt32, _ canvas: PixelCanvas) {
        background.withPixels { pixels in
            guard let base = pixels.baseAddress else { return }
            let area = canvas.clip
            canvas.copy(base, sourceStride: width, area, toX: area.x, y: area.y)
        }
        drawBar(frame, canvas)
        if let panel {
            panel.draw(number: Self.numberText(frame), accent: accent, order: order, canvas)
        }
        drawMark(frame, canvas)
    }

    /// Where the bar stands, cut at the mark and at the right edge; empty where it is out of sight.
    private func bar(_ frame: UInt32) -> PixelRect {
        let room = width - mark.width
        let thickness = max(4, room / 24 & ~1)
        let step = max(2, room / 200 & ~1)
        let travel = room + thickness
        let left = mark.width - thickness + Int(frame) * step % travel
        return PixelRect(x: left, y: 0, width: thickness, height: height).intersection(
            PixelRect(x: mark.width, y: 0, width: room, height: height))
    }

    private func drawBar(_ frame: UInt32, _ canvas: PixelCanvas) {
        let area = bar(frame)
        guard !area.isEmpty else { return }
        canvas.fill(area, order.word(accent.mixed(with: .white, 160)))
        // A light core, as long as the bar is whole.
        let core = area.width / 3
        canvas.fill(
            PixelRect(x: area.x + core, y: 0, width: area.width - core * 2, height: height),
            order.word(.white))
    }

    private func drawMark(_ frame: UInt32, _ canvas: PixelCanvas) {
        let area = canvas.clip.intersection(mark)
        guard !area.isEmpty else { return }
        let cell = mark.width / FrameMark.cellCount
        let cells = FrameMark.cells(frame: frame)
        let (white, black) = (order.word(.white), order.word(.black))
        var index = 0
        while index < FrameMark.cellCount {
            let isWhite = cells >> UInt32(FrameMark.cellCount - 1 - index) & 1 == 1
            canvas.fill(
                PixelRect(x: index * cell, y: 0, width: cell, height: height),
                isWhite ? white : black)
            index += 1
        }
    }

    private static func numberText(_ frame: UInt32) -> String {
        let digits = String(frame)
        return "frame " + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    /// A diagonal gradient with grid lines: every row is a window on one long ramp, one further
    /// each row, so that it takes a copy a row.
    private static func background(
        width: Int, height: Int, accent: Colour, order: WordOrder
    ) -> Picture {
        let pitch = 64
        let length = width + height
        let (dark, light) = (accent.mixed(with: .black, 190), accent.mixed(with: .black, 30))
        let plain = (0..<length).map { dark.mixed(with: light, $0 * 256 / length) }
        let ramp = plain.map { order.word($0) }
        let lines = plain.map { order.word($0.mixed(with: .white, 50)) }
        var picture = Picture(width: width, height: height)
        ramp.withUnsafeBufferPointer { ramp in
            lines.withUnsafeBufferPointer { lines in
                guard let ramp = ramp.baseAddress, let lines = lines.baseAddress else { return }
                picture.draw { canvas in
                    for y in 0..<height {
                        let source = y % pitch == 0 ? lines : ramp
                        canvas.copy(
                            source, sourceStride: 0,
                            PixelRect(x: y, y: 0, width: width, height: 1), toX: 0, y: y)
                        var x = 0
                        while x < width {
                            canvas.base[y * width + x] = lines[x + y]
                            x += pitch
                        }
                    }
                }
            }
        }
        return picture
    }
}

/// How a colour becomes a word of the target: the format's own order, or `Picture`'s.
private struct WordOrder {
    private let channels: (red: UInt32, green: UInt32, blue: UInt32, alpha: UInt32)

    init(_ format: PixelFormat) {
        channels = format.byteChannels ?? (0, 8, 16, 24)
    }

    func word(_ colour: Colour) -> UInt32 {
        UInt32(colour.red) << channels.red | UInt32(colour.green) << channels.green
            | UInt32(colour.blue) << channels.blue | UInt32(colour.alpha) << channels.alpha
    }
}

/// The panel in the middle: three lines, of which the second is the frame number.
private struct Panel {
    private let lines: [String]
    private let box: PixelRect
    private let scale: Int
    /// The line that changes from frame to frame, room for ten digits included.
    let number: PixelRect

    /// `nil` when there is no room at the smallest scale.
    init?(lines: [String], area: PixelRect) {
        let cells = max(lines.map(\.count).max() ?? 0, "frame 4294967295".count)
        let lineHeight = BitmapFont.cellHeight
        func size(_ scale: Int) -> (width: Int, height: Int) {
            (
                (cells + 2) * BitmapFont.cellWidth * scale,
                (lines.count + 1) * lineHeight * scale
            )
        }
        var scale = 6
        while scale > 1,
            size(scale).width > area.width * 6 / 10
                || size(scale).height > area.height * 6 / 10
        {
            scale -= 1
        }
        let (width, height) = size(scale)
        guard width <= area.width, height <= area.height else { return nil }
        self.lines = lines
        self.scale = scale
        box = PixelRect(
            x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2,
            width: width, height: height)
        number = PixelRect(
            x: box.x + BitmapFont.cellWidth * scale,
            y: box.y + lineHeight * scale * 3 / 2, width: width - 2 * BitmapFont.cellWidth * scale,
            height: lineHeight * scale)
    }

    func draw(number: String, accent: Colour, order: WordOrder, _ canvas: PixelCanvas) {
        guard !canvas.clip.intersection(box).isEmpty else { return }
        canvas.fill(box, order.word(accent.mixed(with: .white, 110)))
        let line = max(1, scale)
        canvas.fill(
            PixelRect(
                x: box.x + line, y: box.y + line, width: box.width - 2 * line,
                height: box.height - 2 * line), order.word(Colour(20, 22, 27)))
        for (index, text) in lines.enumerated() {
            let shown = index == 1 ? number : text
            let colour = index == 0 ? Colour.white : Colour(190, 196, 206)
            canvas.draw(
                shown, x: box.x + (box.width - BitmapFont.width(of: shown, scale: scale)) / 2,
                y: box.y + BitmapFont.cellHeight * scale / 2
                    + index * BitmapFont.cellHeight * scale, word: order.word(colour),
                scale: scale, weight: index == 0 ? .bold : .regular)
        }
    }
}
