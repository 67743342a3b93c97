/// Finds the word that a misspelt one was meant to be.
enum Spelling {
    /// Longer words than this are not compared: a file must not buy time with them.
    private static let longest = 40

    /// The known word that is nearest, if one is near enough to be meant.
    static func nearest(to word: String, of known: [String]) -> String? {
        let wanted = Array(word.lowercased().unicodeScalars.prefix(longest + 1))
        guard !wanted.isEmpty, wanted.count <= longest else { return nil }
        var best: (word: String, distance: Int)?
        for candidate in known where candidate != word {
            let scalars = Array(candidate.lowercased().unicodeScalars.prefix(longest + 1))
            // A third of the letters may be wrong; more is another word.
            let most = min(3, (max(wanted.count, scalars.count) + 1) / 3)
            guard abs(scalars.count - wanted.count) <= most else { continue }
            let distance = distance(wanted, scalars)
            guard distance <= most, distance < best?.distance ?? .max else { continue }
            best = (candidate, distance)
        }
        return best?.word
    }

    /// Letters to insert, drop, replace, or swap with their neighbour.
    static func distance(_ one: [Unicode.Scalar], _ other: [Unicode.Scalar]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...other.count)
        for (row, letter) in one.enumerated() {
            var current = [row + 1]
            for (column, wanted) in other.enumerated() {
                var cost = min(last[column + 1], current[column]) + 1
                cost = min(cost, last[column] + (letter == wanted ? 0 : 1))
                if row > 0, column > 0, letter == other[column - 1], one[row - 1] == wanted {
                    cost = min(cost, beforeLast[column - 1] + 1)
                }
                current.append(cost)
            }
            beforeLast = last
            last = current
        }
        return last[other.count]
    }
}
