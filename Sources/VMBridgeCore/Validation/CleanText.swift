/// Text from a guest, made fit for a title bar, an app id and a log line: valid UTF-8 without control
/// characters, line ends or bidirectional overrides, at most `limit` bytes.
public enum CleanText {
    /// Most bytes that are kept; the cut never splits a character.
    public static let limit = 256

    /// Cleans `count` bytes from an offset that lies inside the span. Reads no further than it keeps.
    public static func clean(
        _ bytes: borrowing Span<UInt8>, from start: Int, count: Int, limit: Int = limit
    ) -> String {
        var raw: [UInt8] = []
        // Four bytes make at least one kept byte or none at all, and what is dropped may be long, so
        // the whole field is looked at; it is bounded by the wire's limit on text.
        raw.reserveCapacity(count)
        for index in start..<start + count {
            if bytes[index] == 0 { break }
            raw.append(bytes[index])
        }
        return clean(String(decoding: raw, as: UTF8.self), limit: limit)
    }

    /// Cleans a string.
    public static func clean(_ text: String, limit: Int = limit) -> String {
        var kept = ""
        var bytes = 0
        for scalar in text.unicodeScalars where !isForbidden(scalar) {
            let width = UTF8.width(scalar)
            guard bytes + width <= limit else { break }
            kept.unicodeScalars.append(scalar)
            bytes += width
        }
        return kept
    }

    /// The same for an app id: only letters, digits, dot, dash and underscore survive; others become "_".
    public static func identifier(_ text: String, limit: Int = 128) -> String {
        var kept = ""
        for scalar in clean(text, limit: limit).unicodeScalars {
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", ".", "-", "_": kept.unicodeScalars.append(scalar)
            default: kept.append("_")
            }
        }
        return kept
    }

    /// Whether a character is dropped: what a terminal or a title bar might obey instead of showing it.
    package static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...0x1f, 0x7f...0x9f: true  // C0, DEL, C1
        case 0x061c, 0x200e, 0x200f, 0x202a...0x202e: true  // bidirectional
        case 0x2028, 0x2029: true  // line and paragraph separator
        case 0x200b...0x200d, 0xfeff: true  // invisible
        case 0x2060...0x206f: true  // invisible, bidirectional isolates, old format controls
        case 0xfff9...0xfffb, 0xe0000...0xe007f: true  // annotation and tag characters
        default: false
        }
    }
}
