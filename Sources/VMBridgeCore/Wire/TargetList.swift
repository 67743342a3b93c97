/// The list of a TARGETS record: `consumer:NAME` and `vm:NAME`, a space between two (source-v1 §5.4).
enum TargetList {
    /// The names as they go onto the wire. Names that no list can hold are left out, and so is what does
    /// not fit.
    static func text(_ targets: [HandTarget]) -> String {
        var text = ""
        for target in targets.prefix(SourceProtocol.maximumTargets) {
            let word =
                switch target {
                case .consumer(let name): "consumer:\(name)"
                case .vm(let name): "vm:\(name)"
                }
            guard isName(word.utf8.drop { $0 != UInt8(ascii: ":") }.dropFirst()),
                text.utf8.count + word.utf8.count < SourceProtocol.maximumText
            else { continue }
            text += text.isEmpty ? word : " " + word
        }
        return text
    }

    /// The names that stand in a list; words of another shape are passed over.
    static func read(
        _ bytes: borrowing Span<UInt8>, from start: Int, count: Int
    ) -> [HandTarget] {
        var targets: [HandTarget] = []
        var word: [UInt8] = []
        for index in 0...count {
            // What ends the last word is its end.
            let byte = index < count ? bytes[start + index] : UInt8(ascii: " ")
            guard byte == UInt8(ascii: " ") else {
                word.append(byte)
                continue
            }
            if let target = target(word), targets.count < SourceProtocol.maximumTargets {
                targets.append(target)
            }
            word.removeAll(keepingCapacity: true)
        }
        return targets
    }

    private static func target(_ word: [UInt8]) -> HandTarget? {
        let text = String(decoding: word, as: UTF8.self)
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, isName(parts[1].utf8) else { return nil }
        switch parts[0] {
        case "consumer": return .consumer(String(parts[1]))
        case "vm": return .vm(String(parts[1]))
        default: return nil
        }
    }

    /// Whether it has the characters and the length of the names of VMs and consumers.
    private static func isName(_ bytes: some Collection<UInt8>) -> Bool {
        (1...64).contains(bytes.count)
            && bytes.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
