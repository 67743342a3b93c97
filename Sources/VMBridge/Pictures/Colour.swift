/// A colour with straight (not premultiplied) alpha, 8 bits a channel.
package struct Colour: Equatable, Hashable, Sendable, CustomStringConvertible {
    package var red: UInt8
    package var green: UInt8
    package var blue: UInt8
    /// 255 is opaque.
    package var alpha: UInt8

    package init(_ red: UInt8, _ green: UInt8, _ blue: UInt8, alpha: UInt8 = 255) {
        self.red = red
        self.green = green
        self.blue = blue
        self.alpha = alpha
    }

    /// The colour of a pixel as `Picture` stores it: red in the lowest byte, alpha in the highest.
    package init(word: UInt32) {
        red = UInt8(truncatingIfNeeded: word)
        green = UInt8(truncatingIfNeeded: word >> 8)
        blue = UInt8(truncatingIfNeeded: word >> 16)
        alpha = UInt8(truncatingIfNeeded: word >> 24)
    }

    /// The pixel as `Picture` stores it: bytes R, G, B, A in memory on a little-endian machine.
    package var word: UInt32 {
        UInt32(red) | UInt32(green) << 8 | UInt32(blue) << 16 | UInt32(alpha) << 24
    }

    package static let clear = Colour(0, 0, 0, alpha: 0)
    package static let black = Colour(0, 0, 0)
    package static let white = Colour(255, 255, 255)

    /// A saturated, fairly bright colour for a seed. Neighbouring seeds are far apart on the
    /// colour wheel (the golden angle), so that two VMs are told apart at a glance.
    package static func accent(seed: UInt32) -> Colour {
        // Seed 0 starts at blue. The wheel has 1536 steps: six ramps of 256.
        let hue = Int((UInt64(seed) * 587 + 910) % 1536)
        let ramp = hue & 255
        let wheel: (Int, Int, Int) =
            switch hue >> 8 {
            case 0: (255, ramp, 0)
            case 1: (255 - ramp, 255, 0)
            case 2: (0, 255, ramp)
            case 3: (0, 255 - ramp, 255)
            case 4: (ramp, 0, 255)
            default: (255, 0, 255 - ramp)
            }
        // Between 50 and 215: no glaring primaries.
        func soften(_ channel: Int) -> UInt8 { UInt8(50 + channel * 165 / 255) }
        return Colour(soften(wheel.0), soften(wheel.1), soften(wheel.2))
    }

    /// This colour moved towards another: 0 gives this one, 256 the other. Alpha moves too.
    package func mixed(with other: Colour, _ share: Int) -> Colour {
        let part = min(max(share, 0), 256)
        func mix(_ from: UInt8, _ to: UInt8) -> UInt8 {
            UInt8((Int(from) * (256 - part) + Int(to) * part + 128) >> 8)
        }
        return Colour(
            mix(red, other.red), mix(green, other.green), mix(blue, other.blue),
            alpha: mix(alpha, other.alpha))
    }

    /// Perceived brightness, 0…255 (BT.601 weights).
    package var luminance: Int {
        (Int(red) * 299 + Int(green) * 587 + Int(blue) * 114) / 1000
    }

    package var description: String { "(\(red), \(green), \(blue), \(alpha))" }
}

/// A rectangle of pixels, origin at the top left.
package struct PixelRect: Equatable, Hashable, Sendable, CustomStringConvertible {
    package var x: Int
    package var y: Int
    package var width: Int
    package var height: Int

    package init(x: Int, y: Int, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }

    package var isEmpty: Bool { width <= 0 || height <= 0 }
    /// One past the last column (the largest integer where the sum has no room).
    package var right: Int { Self.end(x, width) }
    /// One past the last row (the largest integer where the sum has no room).
    package var bottom: Int { Self.end(y, height) }

    /// The common part; width and height 0 when there is none.
    package func intersection(_ other: PixelRect) -> PixelRect {
        let left = max(x, other.x)
        let top = max(y, other.y)
        let rightmost = min(right, other.right)
        let lowest = min(bottom, other.bottom)
        guard left < rightmost, top < lowest else {
            return PixelRect(x: left, y: top, width: 0, height: 0)
        }
        return PixelRect(x: left, y: top, width: rightmost - left, height: lowest - top)
    }

    /// The smallest rectangle around both; an empty one adds nothing.
    package func union(_ other: PixelRect) -> PixelRect {
        if isEmpty { return other }
        if other.isEmpty { return self }
        let left = min(x, other.x)
        let top = min(y, other.y)
        return PixelRect(
            x: left, y: top, width: max(right, other.right) - left,
            height: max(bottom, other.bottom) - top)
    }

    private static func end(_ start: Int, _ length: Int) -> Int {
        let (sum, overflow) = start.addingReportingOverflow(max(length, 0))
        return overflow ? .max : sum
    }

    package var description: String { "\(width)x\(height)+\(x)+\(y)" }
}
