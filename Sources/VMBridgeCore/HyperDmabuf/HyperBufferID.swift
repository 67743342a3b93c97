/// The name of a buffer between domains (hyper_dmabuf.h, `hyper_dmabuf_id_t`): 16 bytes, compared as a
/// whole. The counter in it is used again and again; only the 96 random bits tell its uses apart.
public struct HyperBufferID: Hashable, Sendable, CustomStringConvertible {
    /// Bytes of an id.
    public static let bytes = 16

    /// Exporting domain in the highest byte, a counter below it; signed in the driver.
    public var number: UInt32
    /// The random words.
    public var key: InlineKey

    /// Three words that compare and hash by value.
    public struct InlineKey: Hashable, Sendable {
        /// As they stand in memory.
        public var first: UInt32
        /// The second.
        public var second: UInt32
        /// The third.
        public var third: UInt32
        /// Three words.
        public init(_ first: UInt32, _ second: UInt32, _ third: UInt32) {
            self.first = first
            self.second = second
            self.third = third
        }
    }

    /// An id of its parts.
    public init(number: UInt32, key: InlineKey) {
        self.number = number
        self.key = key
    }

    /// The id at an offset of bytes from the driver; 16 of them lie behind it.
    public init(_ bytes: borrowing Span<UInt8>, at offset: Int) {
        self.init(
            number: bytes.u32(offset),
            key: InlineKey(
                bytes.u32(offset + 4), bytes.u32(offset + 8), bytes.u32(offset + 12)))
    }

    /// Reads the 32 hexadecimal digits of a uevent's HYPER_DMABUF_ID, bytes in memory order; nil for
    /// anything else.
    public init?(digits: String) {
        let characters = Array(digits.utf8)
        guard characters.count == 32 else { return nil }
        var words: [UInt32] = [0, 0, 0, 0]
        for (index, character) in characters.enumerated() {
            guard let digit = Self.value(of: character) else { return nil }
            // Two digits a byte, the high one first; bytes of a word from the low end.
            let shift = UInt32(index % 8 / 2 * 8) + (index % 2 == 0 ? 4 : 0)
            words[index / 8] |= digit << shift
        }
        self.init(number: words[0], key: InlineKey(words[1], words[2], words[3]))
    }

    private static func value(of character: UInt8) -> UInt32? {
        switch character {
        case 0x30...0x39: UInt32(character) - 0x30
        case 0x41...0x46: UInt32(character) - 0x37
        case 0x61...0x66: UInt32(character) - 0x57
        default: nil
        }
    }

    /// The exporting domain, as far as the id tells: its lowest eight bits.
    public var domain: UInt8 { UInt8(truncatingIfNeeded: number >> 24) }

    /// Whether it says "no id": −1 where an allocation failed, 0 where nothing was written.
    public var isNone: Bool { number == .max || number == 0 && key == InlineKey(0, 0, 0) }

    /// As in a uevent: 32 digits.
    public var digits: String {
        var text = ""
        for word in [number, key.first, key.second, key.third] {
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                let byte = UInt8(truncatingIfNeeded: word >> shift)
                text += byte < 16 ? "0" : ""
                text += String(byte, radix: 16)
            }
        }
        return text
    }

    /// Its bytes in memory order are appended.
    public func put(to bytes: inout [UInt8]) {
        bytes.put32(number)
        bytes.put32(key.first)
        bytes.put32(key.second)
        bytes.put32(key.third)
    }

    /// Domain and counter for people; the key is nobody's business.
    public var description: String { "\(domain)/\(number & 0xff_ffff)" }
}
