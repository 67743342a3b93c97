/// The words of the configuration language, by the block that they stand in, each with how it is written.
enum ConfigurationWords: CaseIterable {
    case file
    case vm
    case consumer
    case budget
    case rule
    case match
    case show

    /// The block's name in a sentence.
    var place: String {
        switch self {
        case .file: "a file's top level"
        case .vm: "a vm block"
        case .consumer: "a consumer block"
        case .budget: "a budget block"
        case .rule: "a rule block"
        case .match: "match"
        case .show: "show"
        }
    }

    /// Each word and how it is written.
    var usages: KeyValuePairs<String, String> {
        switch self {
        case .file:
            ["vm": "vm NAME { … }", "consumer": "consumer NAME { … }", "rule": "rule { … }"]
        case .vm:
            [
                "source": "source KIND [PLACE] [qmp PATH]", "colour": "colour \"#RRGGBB\"",
                "label": "label TEXT", "budget": "budget { … }",
                "fences": "fences auto|pass|hold", "fullscreen": "fullscreen [OUTPUT]",
            ]
        case .consumer: ["socket": "socket PATH", "budget": "budget { … }"]
        case .budget:
            [
                "surfaces": "surfaces NUMBER", "buffers": "buffers NUMBER",
                "bytes": "bytes NUMBER[K|M|G]", "rate": "rate NUMBER",
                "surface-rate": "surface-rate NUMBER", "fence-limit": "fence-limit MILLISECONDS",
            ]
        case .rule:
            [
                "match": "match CONDITION VALUE … or match { … }",
                "show": "show [PROPERTY …] or show { … }", "hide": "hide",
                "refuse": "refuse [SENTENCE]", "hand-to": "hand-to consumer|vm NAME",
            ]
        case .match:
            [
                "vm": "vm PATTERN", "source": "source KIND", "role": "role toplevel",
                "content": "content graphics|data", "tag": "tag PATTERN",
                "title": "title PATTERN", "app-id": "app-id PATTERN",
                "size": "size WIDTHxHEIGHT", "transform": "transform NAME",
            ]
        case .show:
            [
                "title": "title TEMPLATE", "app-id": "app-id TEMPLATE", "maximized": "maximized",
                "fullscreen": "fullscreen [OUTPUT]", "size": "size fixed|free",
                "frame": "frame on|off",
            ]
        }
    }

    /// The words alone.
    var words: [String] { usages.map(\.key) }

    /// How a word is written.
    func usage(_ word: String) -> String { usages.first { $0.key == word }?.value ?? word }

    /// Whether a word may stand there more than once.
    var mayRepeat: Bool { self == .file }

    /// Words that people may look for in vain, because no Wayland client can do it, and why.
    func impossible(_ word: String) -> String? {
        guard self == .show || self == .vm else { return nil }
        switch word {
        case "output", "monitor", "display":
            return
                "Wayland lets a window name an output only for fullscreen: write fullscreen OUTPUT, or leave it to a rule of the compositor on the window's app id"
        case "position", "place", "x", "y", "workspace", "desktop", "floating", "opacity", "above",
            "below", "sticky", "minimized", "focus":
            return
                "Wayland does not let a window choose its “\(word)”; a rule of the compositor on the window's app id can"
        default: return nil
        }
    }
}
