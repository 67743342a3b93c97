/// A text with places for what is known of a surface: `{vm}`, `{label}`, `{title}`, `{app-id}`, `{tag}`.
/// `{{` and `}}` stand for the braces themselves.
public struct TextTemplate: Sendable, Equatable {
    /// A place in a template.
    public enum Place: String, Sendable, CaseIterable {
        /// The VM's name.
        case vm
        /// The VM's label, which is its name when it has none.
        case label
        /// The guest's title.
        case title
        /// The guest's app id.
        case appID = "app-id"
        /// The guest's routing tag.
        case tag
    }

    /// A part of a template.
    public enum Piece: Sendable, Equatable {
        /// Stands for itself.
        case text(String)
        /// Is filled in.
        case place(Place)
    }

    /// What it consists of, in order.
    public let pieces: [Piece]

    /// A template of given parts.
    public init(pieces: [Piece]) { self.pieces = pieces }

    /// The text with its places filled in; what is not known is empty.
    public func filled(_ value: (Place) -> String?) -> String {
        pieces.reduce(into: "") { text, piece in
            switch piece {
            case .text(let part): text += part
            case .place(let place): text += value(place) ?? ""
            }
        }
    }
}
