/// A message of the kernel about a device (lib/kobject_uevent.c): "ACTION@DEVPATH" and then KEY=VALUE
/// texts, each ended by a zero byte. Who sent it is looked at where it is received.
public struct KernelUevent: Sendable, Equatable {
    /// What happened.
    public enum Action: Sendable, Equatable {
        /// The device is there.
        case add
        /// It is gone.
        case remove
        /// Something about it changed.
        case change
        /// Something else, like "bind".
        case other
    }

    /// What happened.
    public var action: Action
    /// SUBSYSTEM; empty when it was not told.
    public var subsystem = ""
    /// DEVNAME, below /dev; empty when it has no node.
    public var node = ""
    /// HYPER_DMABUF_ID, where it is 32 hexadecimal digits.
    public var buffer: HyperBufferID?

    /// The most bytes that the kernel's own messages have: two pages of its buffer.
    public static let maximumBytes = 8192
    /// Fields that are looked at; the kernel writes at most 64.
    private static let maximumFields = 128

    /// Reads a message; nil for what is not the kernel's form, udev's own messages among it.
    public init?(_ bytes: borrowing Span<UInt8>) {
        guard bytes.count <= Self.maximumBytes, bytes.count > 0 else { return nil }
        var position = 0
        guard let title = Self.text(bytes, &position) else { return nil }
        let parts = title.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].hasPrefix("/") else { return nil }
        action = Self.action(parts[0])
        var named: Action?
        for _ in 0..<Self.maximumFields {
            guard let field = Self.text(bytes, &position) else { break }
            guard let equals = field.firstIndex(of: "=") else { continue }
            let value = String(field[field.index(after: equals)...])
            switch field[..<equals] {
            case "ACTION": named = Self.action(value[...])
            case "SUBSYSTEM": subsystem = value
            case "DEVNAME": node = value
            case "HYPER_DMABUF_ID": buffer = HyperBufferID(digits: value)
            default: continue
            }
        }
        // Both are the kernel's; a message that contradicts itself is nobody's.
        guard named == action else { return nil }
    }

    private static func action(_ word: Substring) -> Action {
        switch word {
        case "add": .add
        case "remove": .remove
        case "change": .change
        default: .other
        }
    }

    /// The text up to the next zero byte, which must be there; nil at the end.
    private static func text(_ bytes: borrowing Span<UInt8>, _ position: inout Int) -> String? {
        var raw: [UInt8] = []
        var index = position
        while index < bytes.count, bytes[index] != 0 {
            raw.append(bytes[index])
            index += 1
        }
        guard index < bytes.count else { return nil }
        position = index + 1
        return String(decoding: raw, as: UTF8.self)
    }
}
