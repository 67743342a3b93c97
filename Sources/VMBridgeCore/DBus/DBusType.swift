/// Types in signatures (D-Bus specification, "Type System").
enum DBusType {
    /// Containers inside containers, the most there may be.
    static let depthLimit = 64

    /// A value of the type begins at a multiple of so many bytes; nil for what is no type.
    static func alignment(_ type: UInt8) -> Int? {
        switch type {
        case UInt8(ascii: "y"), UInt8(ascii: "g"), UInt8(ascii: "v"): 1
        case UInt8(ascii: "n"), UInt8(ascii: "q"): 2
        case UInt8(ascii: "b"), UInt8(ascii: "i"), UInt8(ascii: "u"), UInt8(ascii: "h"),
            UInt8(ascii: "s"), UInt8(ascii: "o"), UInt8(ascii: "a"):
            4
        case UInt8(ascii: "x"), UInt8(ascii: "t"), UInt8(ascii: "d"), UInt8(ascii: "("),
            UInt8(ascii: "{"):
            8
        default: nil
        }
    }

    /// Bytes of a value whose type says it all; nil for others.
    static func size(_ type: UInt8) -> Int? {
        switch type {
        case UInt8(ascii: "s"), UInt8(ascii: "o"), UInt8(ascii: "g"), UInt8(ascii: "v"),
            UInt8(ascii: "a"), UInt8(ascii: "("), UInt8(ascii: "{"):
            nil
        default: alignment(type)
        }
    }

    /// Letters of the complete type that begins at an index; nil when none does.
    static func length(_ types: [UInt8], at index: Int, depth: Int = 0) -> Int? {
        guard index < types.count, depth < depthLimit, alignment(types[index]) != nil else {
            return nil
        }
        switch types[index] {
        case UInt8(ascii: "a"):
            if index + 1 < types.count, types[index + 1] == UInt8(ascii: "{") {
                return entryLength(types, at: index + 1, depth: depth + 1).map { $0 + 1 }
            }
            return length(types, at: index + 1, depth: depth + 1).map { $0 + 1 }
        case UInt8(ascii: "("):
            var end = index + 1
            while end < types.count, types[end] != UInt8(ascii: ")") {
                guard let member = length(types, at: end, depth: depth + 1) else { return nil }
                end += member
            }
            return end < types.count && end > index + 1 ? end + 1 - index : nil
        // Entries of a dictionary stand in an array only.
        case UInt8(ascii: "{"): return nil
        default: return 1
        }
    }

    /// The same for an entry of a dictionary.
    private static func entryLength(_ types: [UInt8], at index: Int, depth: Int) -> Int? {
        guard index + 2 < types.count, isBasic(types[index + 1]),
            let value = length(types, at: index + 2, depth: depth + 1),
            index + 2 + value < types.count, types[index + 2 + value] == UInt8(ascii: "}")
        else { return nil }
        return 3 + value
    }

    private static func isBasic(_ type: UInt8) -> Bool {
        size(type) != nil || type == UInt8(ascii: "s") || type == UInt8(ascii: "o")
            || type == UInt8(ascii: "g")
    }

    /// Whether a signature is a row of complete types.
    static func isValid(_ types: [UInt8]) -> Bool {
        var index = 0
        while index < types.count {
            guard let length = length(types, at: index) else { return false }
            index += length
        }
        return true
    }
}
