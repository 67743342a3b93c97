/// Reads values of D-Bus from bytes that somebody else has written, each within its bounds (D-Bus specification,
/// "Marshaling"). A value that does not fit or is not well formed is nil; then the place is of no use any longer.
struct DBusReader {
    let bytes: [UInt8]
    /// Where the message begins, to which its values are aligned.
    private let origin: Int
    private let isBigEndian: Bool
    /// Where the next value may begin.
    private(set) var position: Int
    /// Where the readable part ends.
    let end: Int

    /// - Parameters:
    ///   - range: what may be read, within the bytes.
    ///   - origin: where the message begins.
    init(_ bytes: [UInt8], _ range: Range<Int>, origin: Int = 0, isBigEndian: Bool) {
        self.bytes = bytes
        self.origin = origin
        self.isBigEndian = isBigEndian
        let range = range.clamped(to: bytes.indices)
        position = range.lowerBound
        end = range.upperBound
    }

    mutating func align(_ alignment: Int) -> Bool {
        let place = origin + (position - origin + alignment - 1) / alignment * alignment
        guard place <= end else { return false }
        position = place
        return true
    }

    /// - Returns: where the bytes lie.
    mutating func take(_ count: Int) -> Range<Int>? {
        guard count >= 0, count <= end - position else { return nil }
        position += count
        return position - count..<position
    }

    mutating func integer<Value: FixedWidthInteger & UnsignedInteger>(
        _: Value.Type = Value.self
    ) -> Value? {
        let size = Value.bitWidth / 8
        guard align(size), let range = take(size) else { return nil }
        var value: Value = 0
        for index in 0..<size {
            let shift = 8 * (isBigEndian ? size - 1 - index : index)
            value |= Value(bytes[range.lowerBound + index]) << Value(shift)
        }
        return value
    }

    /// A string or an object's path: UTF-8 without a zero, and a zero behind it.
    mutating func text() -> String? {
        guard let count = integer(UInt32.self), count <= DBusLimits.text,
            let range = take(Int(count)),
            let zero = take(1), bytes[zero.lowerBound] == 0, !bytes[range].contains(0)
        else { return nil }
        return String(validating: bytes[range], as: UTF8.self)
    }

    /// A row of complete types.
    mutating func signature() -> [UInt8]? {
        guard let count = integer(UInt8.self), let range = take(Int(count)),
            let zero = take(1), bytes[zero.lowerBound] == 0
        else { return nil }
        let types = Array(bytes[range])
        return DBusType.isValid(types) ? types : nil
    }

    /// Goes to an array's first element.
    ///
    /// - Returns: where it ends.
    mutating func array(of element: UInt8) -> Int? {
        guard let count = integer(UInt32.self), count <= DBusLimits.array,
            let alignment = DBusType.alignment(element), align(alignment),
            Int(count) <= end - position
        else { return nil }
        return position + Int(count)
    }

    /// Passes over one value of the complete type at an index of a signature. What an array holds is not looked at.
    mutating func skip(_ types: [UInt8], at index: Int = 0, depth: Int = 0) -> Bool {
        guard depth < DBusType.depthLimit, index < types.count else { return false }
        if let size = DBusType.size(types[index]) { return align(size) && take(size) != nil }
        switch types[index] {
        case UInt8(ascii: "s"), UInt8(ascii: "o"): return text() != nil
        case UInt8(ascii: "g"): return signature() != nil
        case UInt8(ascii: "a"):
            guard index + 1 < types.count, let end = array(of: types[index + 1]) else {
                return false
            }
            return take(end - position) != nil
        case UInt8(ascii: "v"):
            guard let inner = signature(), DBusType.length(inner, at: 0) == inner.count else {
                return false
            }
            return skip(inner, at: 0, depth: depth + 1)
        default:
            // A structure, or an entry of a dictionary.
            guard align(8), let length = Self.length(types, at: index) else { return false }
            var member = index + 1
            while member < index + length - 1 {
                guard skip(types, at: member, depth: depth + 1),
                    let step = DBusType.length(types, at: member)
                else { return false }
                member += step
            }
            return true
        }
    }

    /// Of a structure, or of an entry with its braces.
    private static func length(_ types: [UInt8], at index: Int) -> Int? {
        guard types[index] == UInt8(ascii: "{") else { return DBusType.length(types, at: index) }
        guard index > 0 else { return nil }
        return DBusType.length(types, at: index - 1).map { $0 - 1 }
    }
}
