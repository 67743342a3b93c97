/// A source as people write it, "KIND[:PLACE][,qmp=PATH]", taken apart.
public struct SourceWords: Sendable, Equatable {
    /// The kind.
    public var kind: String
    /// Where it is; empty when nothing is said.
    public var place: String
    /// The path of a VMM's QMP socket.
    public var qmp: String?

    /// Takes a text apart; what the parts mean is for others to say.
    public init(_ text: String) {
        var rest = Substring(text)
        let mark = ",qmp="
        if let found = Self.last(mark, in: rest) {
            qmp = String(rest[found...].dropFirst(mark.count))
            rest = rest[..<found]
        }
        let colon = rest.firstIndex(of: ":") ?? rest.endIndex
        kind = String(rest[..<colon])
        place = String(rest[colon...].dropFirst())
    }

    /// The parts in one text again.
    public var text: String { "\(kind):\(place)" + (qmp.map { ",qmp=\($0)" } ?? "") }

    private static func last(_ mark: String, in text: Substring) -> Substring.Index? {
        var index = text.endIndex
        while index > text.startIndex {
            index = text.index(before: index)
            if text[index...].hasPrefix(mark) { return index }
        }
        return nil
    }
}
