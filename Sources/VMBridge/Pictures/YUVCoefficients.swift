/// The factors between YUV and RGB as 16.16 fixed-point numbers, made once per picture.
struct YUVCoefficients {
    // To RGB.
    let offset: Int
    let brightness: Int
    let redFromCr: Int
    let greenFromCb: Int
    let greenFromCr: Int
    let blueFromCb: Int
    // From RGB.
    let yFrom: (red: Int, green: Int, blue: Int)
    let cbFrom: (red: Int, green: Int, blue: Int)
    let crFrom: (red: Int, green: Int, blue: Int)

    init(_ encoding: YUVEncoding) {
        let (kr, kb) = encoding.weights
        let kg = 1 - kr - kb
        let yScale = encoding.fullRange ? 1.0 : 219.0 / 255
        let cScale = encoding.fullRange ? 1.0 : 224.0 / 255
        func fixed(_ value: Double) -> Int { Int((value * 65536).rounded()) }
        offset = encoding.fullRange ? 0 : 16
        brightness = fixed(1 / yScale)
        redFromCr = fixed(2 * (1 - kr) / cScale)
        blueFromCb = fixed(2 * (1 - kb) / cScale)
        greenFromCb = fixed(-2 * (1 - kb) * kb / kg / cScale)
        greenFromCr = fixed(-2 * (1 - kr) * kr / kg / cScale)
        let y = (red: fixed(kr * yScale), blue: fixed(kb * yScale))
        // Green gets what is left, so that grey stays grey and white is exactly the top of the range.
        yFrom = (y.red, fixed(yScale) - y.red - y.blue, y.blue)
        let half = fixed(cScale / 2)
        let cbRed = fixed(-kr / (2 * (1 - kb)) * cScale)
        cbFrom = (cbRed, -half - cbRed, half)
        let crBlue = fixed(-kb / (2 * (1 - kr)) * cScale)
        crFrom = (half, -half - crBlue, crBlue)
    }

    /// A pixel word from 10-bit values (8-bit ones times four).
    @inline(__always)
    func word(y: Int, cb: Int, cr: Int) -> UInt32 {
        let base = (y &- offset &* 4) &* brightness &+ 131_072
        let u = cb &- 512
        let v = cr &- 512
        var red = (base &+ v &* redFromCr) >> 18
        var green = (base &+ u &* greenFromCb &+ v &* greenFromCr) >> 18
        var blue = (base &+ u &* blueFromCb) >> 18
        if red < 0 { red = 0 } else if red > 255 { red = 255 }
        if green < 0 { green = 0 } else if green > 255 { green = 255 }
        if blue < 0 { blue = 0 } else if blue > 255 { blue = 255 }
        return UInt32(truncatingIfNeeded: red | green << 8 | blue << 16) | 0xff00_0000
    }

    /// Brightness of a pixel word in 1/65536 of an 8-bit step, rounding not yet added.
    @inline(__always)
    func y(_ word: UInt32) -> Int {
        offset << 16 &+ Int(word & 255) &* yFrom.red &+ Int((word >> 8) & 255) &* yFrom.green
            &+ Int((word >> 16) & 255) &* yFrom.blue
    }

    /// Colour difference from sums of channels over `1 << shift` pixels, in 1/65536 of an 8-bit step.
    @inline(__always)
    func chroma(_ red: Int, _ green: Int, _ blue: Int, shift: Int) -> (cb: Int, cr: Int) {
        let cb = red &* cbFrom.red &+ green &* cbFrom.green &+ blue &* cbFrom.blue
        let cr = red &* crFrom.red &+ green &* crFrom.green &+ blue &* crFrom.blue
        return ((128 << 16) &+ (cb >> shift), (128 << 16) &+ (cr >> shift))
    }
}
