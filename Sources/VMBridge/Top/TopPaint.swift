/// Lines as what a terminal is sent (ECMA-48). Pure.
package enum TopPaint {
    /// To the other screen, cursor hidden, no wrap at the right edge.
    package static let enter = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J"
    /// And back.
    package static let leave = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"

    /// The whole screen, drawn over what is there.
    ///
    /// - Parameters:
    ///   - lines: from the top; what is below them is cleared.
    ///   - hasColours: else only bold, faint and inverse are used.
    package static func screen(
        _ lines: [TopLine], width: Int, height: Int, hasColours: Bool
    ) -> String {
        var text = ""
        for (row, line) in lines.prefix(height).enumerated() {
            text += "\u{1b}[\(row + 1);1H"
            write(line, hasColours, isScreen: true, to: &text)
            // At the edge this would clear the last cell.
            if line.width < width { text += "\u{1b}[K" }
        }
        if lines.count < height { text += "\u{1b}[\(lines.count + 1);1H\u{1b}[J" }
        return text
    }

    /// One line for a terminal that is not drawn upon in place.
    package static func line(_ line: TopLine, hasColours: Bool) -> String {
        guard hasColours else { return line.plain }
        var text = ""
        write(line, true, isScreen: false, to: &text)
        return text
    }

    private static func write(
        _ line: TopLine, _ hasColours: Bool, isScreen: Bool, to text: inout String
    ) {
        var isSure = true
        for part in line.parts {
            // Only ASCII is as wide as we think on every terminal.
            if isScreen, !isSure { text += "\u{1b}[\(part.column + 1)G" }
            let code = code(part.style, hasColours)
            text += code.isEmpty ? part.text : "\u{1b}[\(code)m\(part.text)\u{1b}[0m"
            isSure = isSure && part.text.utf8.allSatisfy { $0 < 0x80 }
        }
        // So that what comes behind the line begins where it ends.
        if isScreen, !isSure { text += "\u{1b}[\(line.width + 1)G" }
    }

    private static func code(_ style: TopStyle, _ hasColours: Bool) -> String {
        switch style {
        case .plain: ""
        case .inverse: "7"
        case .strong: "1"
        case .faint: "2"
        case .warning: hasColours ? "33" : "1"
        case .bad: hasColours ? "31" : "1"
        }
    }
}
