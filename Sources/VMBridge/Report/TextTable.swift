import VMBridgeCore

/// Rows of text in columns that stand below each other.
package struct TextTable: Sendable {
    /// One for each column.
    package let headings: [String]
    /// Columns whose text stands at their right: numbers.
    package let right: Set<Int>
    /// Between columns.
    package static let gap = "  "

    /// A table without rows.
    package init(headings: [String], right: Set<Int> = []) {
        self.headings = headings
        self.right = right
    }

    /// The line of headings and one for each row, without spaces at their ends.
    ///
    /// - Parameters:
    ///   - rows: each with a text for every column; without control characters (`TerminalText.escaped`).
    ///   - paint: changes a cell that is laid out already, for colours: what it adds must take no room
    ///     on the screen. Row -1 is the headings'.
    package func lines(
        _ rows: [[String]], paint: (_ row: Int, _ column: Int, _ cell: String) -> String = { $2 }
    ) -> [String] {
        let all = [headings] + rows
        let widths = headings.indices.map { column in
            all.map { DisplayText.width($0[column]) }.max() ?? 0
        }
        return all.indices.map { index in
            let row = all[index]
            let last = row.indices.last { !row[$0].isEmpty } ?? 0
            let cells = row.indices.prefix(last + 1).map { column in
                let missing = widths[column] - DisplayText.width(row[column])
                let space = String(repeating: " ", count: missing)
                let cell = row[column].isEmpty ? "" : paint(index - 1, column, row[column])
                if right.contains(column) { return space + cell }
                return column == last ? cell : cell + space
            }
            return cells.joined(separator: Self.gap)
        }
    }
}

/// Text as a terminal shows it.
package enum TerminalText {
    /// The text with everything that a terminal might obey, or show in the wrong place, written as
    /// `\u{…}`: control characters, line ends, bidirectional and invisible characters.
    package static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: CleanText.isForbidden) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            if CleanText.isForbidden(scalar) {
                escaped += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
