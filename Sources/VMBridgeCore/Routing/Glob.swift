/// A pattern for text: `*` stands for any characters, `?` for one, a backslash takes the next one as it
/// is. The whole text must match, letter case counts.
///
/// Guests choose the text, so the time is bounded by the product of both lengths and nothing is allocated.
public struct Glob: Sendable, Equatable {
    private enum Piece: Sendable, Equatable {
        case anything
        case anyScalar
        case scalar(Unicode.Scalar)
    }
    private let pieces: [Piece]
    /// As it was written.
    public let text: String

    /// Reads a pattern; every text is one.
    public init(_ text: String) {
        self.text = text
        var pieces: [Piece] = []
        var isEscaped = false
        for scalar in text.unicodeScalars {
            switch scalar {
            case _ where isEscaped:
                pieces.append(.scalar(scalar))
                isEscaped = false
            case "\\": isEscaped = true
            case "?": pieces.append(.anyScalar)
            case "*": if pieces.last != .anything { pieces.append(.anything) }
            default: pieces.append(.scalar(scalar))
            }
        }
        if isEscaped { pieces.append(.scalar("\\")) }
        self.pieces = pieces
    }

    /// Whether it matches every text.
    var matchesAll: Bool { pieces == [.anything] }

    /// Whether the whole text matches.
    public func matches(_ text: String) -> Bool {
        let scalars = text.unicodeScalars
        var position = scalars.startIndex
        var piece = 0
        // Where to go on after a mismatch: behind the last star, one scalar later each time.
        var retry: (piece: Int, position: String.UnicodeScalarView.Index)?
        while position < scalars.endIndex {
            if piece < pieces.count {
                switch pieces[piece] {
                case .anything:
                    retry = (piece, position)
                    piece += 1
                    continue
                case .anyScalar:
                    piece += 1
                    position = scalars.index(after: position)
                    continue
                case .scalar(let wanted) where wanted == scalars[position]:
                    piece += 1
                    position = scalars.index(after: position)
                    continue
                case .scalar: break
                }
            }
            guard let (star, start) = retry else { return false }
            position = scalars.index(after: start)
            retry = (star, position)
            piece = star + 1
        }
        while piece < pieces.count, pieces[piece] == .anything { piece += 1 }
        return piece == pieces.count
    }
}
