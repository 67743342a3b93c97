/// Text in the cells of a terminal: how wide it is, and what of a guest's text may be shown there.
///
/// Terminals do not agree on everything, so whatever they are known to differ in is replaced, and
/// whoever draws sets the cursor anew after a guest's text.
package enum DisplayText {
    /// What stands for a character that is not shown.
    private static let replacement: Unicode.Scalar = "?"
    /// Marks that a character may carry; more are left out.
    private static let markLimit = 2

    /// Scalars that take two cells: East Asian wide and full-width ones, and emoji (Unicode 15,
    /// EastAsianWidth.txt, classes W and F).
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115f, 0x231a...0x231b, 0x2329...0x232a, 0x23e9...0x23ec, 0x23f0...0x23f0,
        0x23f3...0x23f3, 0x25fd...0x25fe, 0x2614...0x2615, 0x2648...0x2653, 0x267f...0x267f,
        0x2693...0x2693, 0x26a1...0x26a1, 0x26aa...0x26ab, 0x26bd...0x26be, 0x26c4...0x26c5,
        0x26ce...0x26ce, 0x26d4...0x26d4, 0x26ea...0x26ea, 0x26f2...0x26f3, 0x26f5...0x26f5,
        0x26fa...0x26fa, 0x26fd...0x26fd, 0x2705...0x2705, 0x270a...0x270b, 0x2728...0x2728,
        0x274c...0x274c, 0x274e...0x274e, 0x2753...0x2755, 0x2757...0x2757, 0x2795...0x2797,
        0x27b0...0x27b0, 0x27bf...0x27bf, 0x2b1b...0x2b1c, 0x2b50...0x2b50, 0x2b55...0x2b55,
        0x2e80...0x303e, 0x3041...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3, 0xf900...0xfaff,
        0xfe10...0xfe19, 0xfe30...0xfe6f, 0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18cff,
        0x1aff0...0x1b2ff, 0x1f004...0x1f004, 0x1f0cf...0x1f0cf, 0x1f18e...0x1f18e,
        0x1f191...0x1f19a, 0x1f200...0x1f265, 0x1f300...0x1f64f, 0x1f680...0x1f6ff,
        0x1f7e0...0x1f7f0, 0x1f900...0x1f9ff, 0x1fa70...0x1faff, 0x20000...0x3fffd,
    ]

    /// Cells that a scalar takes: 0 for a mark over the one before; nil for what is not shown.
    private static func cells(_ scalar: Unicode.Scalar) -> Int? {
        if (0x20...0x7e).contains(scalar.value) { return 1 }
        // Marks that every terminal puts over the character before them.
        if (0x300...0x36f).contains(scalar.value) { return 0 }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator, .nonspacingMark, .enclosingMark, .spacingMark:
            return nil
        default: break
        }
        // The second and third parts of a Korean syllable, which some draw into the first.
        if (0x1160...0x11ff).contains(scalar.value) || (0xd7b0...0xd7ff).contains(scalar.value) {
            return nil
        }
        return wide.contains { $0.contains(scalar.value) } ? 2 : 1
    }

    /// Text that is safe on a terminal: nothing in it moves the cursor, changes colours or hides.
    package static func clean(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var marks = 0
        for scalar in text.unicodeScalars {
            switch cells(scalar) {
            case 0?:
                marks += 1
                if !result.isEmpty, marks <= markLimit { result.append(scalar) }
            case nil:
                // Selectors of how an emoji looks and joiners are part of no text that we show.
                if !(0xfe00...0xfe0f).contains(scalar.value), scalar.value != 0x200d {
                    result.append(replacement)
                    marks = markLimit
                }
            default:
                result.append(scalar)
                marks = 0
            }
        }
        return String(result)
    }

    /// Cells that a text without control characters takes; exact for a clean one.
    package static func width(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { sum, scalar in
            if let cells = cells(scalar) { return sum + cells }
            return sum + (scalar.properties.generalCategory == .nonspacingMark ? 0 : 1)
        }
    }

    /// A clean text in exactly so many cells: cut, with "~" at its end, or filled up with spaces.
    ///
    /// - Parameter isRight: whether it stands at the right of them, as numbers do.
    package static func fit(_ text: String, _ count: Int, isRight: Bool = false) -> String {
        guard count > 0 else { return "" }
        let full = width(text)
        if full <= count {
            let space = String(repeating: " ", count: count - full)
            return isRight ? space + text : text + space
        }
        var kept = String.UnicodeScalarView()
        var used = 0
        for scalar in text.unicodeScalars {
            let width = cells(scalar) ?? 1
            guard used + width <= count - 1 else { break }
            kept.append(scalar)
            used += width
        }
        return String(kept) + "~" + String(repeating: " ", count: count - 1 - used)
    }
}

/// Numbers in few cells.
package enum ShortNumber {
    /// Milliseconds of nanoseconds, with three digits that count: "0.012", "1.23", "16.7", "1234".
    package static func milliseconds(_ nanoseconds: UInt64) -> String {
        decimal(Double(nanoseconds) / 1e6)
    }

    /// A number with at most three digits that count behind a point, and at most three such digits.
    package static func decimal(_ value: Double) -> String {
        switch value {
        case ..<0.9995: digits(value, 3)
        case ..<9.995: digits(value, 2)
        case ..<99.95: digits(value, 1)
        default: digits(value, 0)
        }
    }

    /// A number a second: one digit behind the point below a thousand.
    package static func rate(_ value: Double) -> String { digits(value, value < 999.95 ? 1 : 0) }

    /// Bytes in the unit that suits them: "512 B", "4.2 MiB".
    package static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        var value = Double(count) / 1024
        var unit = 0
        let units = ["KiB", "MiB", "GiB", "TiB"]
        while value >= 1023.95, unit + 1 < units.count {
            value /= 1024
            unit += 1
        }
        return "\(digits(value, 1)) \(units[unit])"
    }

    private static func digits(_ value: Double, _ places: Int) -> String {
        guard value.isFinite, value >= 0, value < 1e15 else { return "-" }
        var scale: UInt64 = 1
        for _ in 0..<places { scale *= 10 }
        let scaled = UInt64((value * Double(scale)).rounded())
        guard places > 0 else { return "\(scaled)" }
        let fraction = "\(scaled % scale)"
        return "\(scaled / scale)." + String(repeating: "0", count: places - fraction.count)
            + fraction
    }
}
