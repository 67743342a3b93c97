import Glibc
import VMBridge
import VMBridgeCore

/// Colours of what is printed: on a terminal that knows them, unless NO_COLOR says otherwise
/// (no-color.org: any text but none).
struct TerminalColours {
    /// Whether standard output wants them.
    static var areWanted: Bool {
        guard StandardOutput.isTerminal else { return false }
        let refusal = getenv("NO_COLOR").map { String(cString: $0) } ?? ""
        let terminal = getenv("TERM").map { String(cString: $0) } ?? ""
        return refusal.isEmpty && terminal != "dumb"
    }

    private let vms: [String: RGB]
    private let isOn: Bool

    /// - Parameter reply: has "colours", as replies to `status`, `list` and `watch` do.
    init(_ reply: JSONValue, isOn: Bool = areWanted) {
        var vms: [String: RGB] = [:]
        for member in reply["colours"]?.members ?? [] {
            vms[member.name] = member.value.text.flatMap { RGB(hexadecimal: $0) }
        }
        self.vms = vms
        self.isOn = isOn
    }

    /// A VM's name in its colour.
    func vm(_ name: String, _ text: String) -> String {
        guard isOn, let colour = vms[name] else { return text }
        return "\u{1b}[38;2;\(colour.red);\(colour.green);\(colour.blue)m\(text)\u{1b}[0m"
    }

    /// A heading.
    func heading(_ text: String) -> String { isOn ? "\u{1b}[1m\(text)\u{1b}[0m" : text }
}
