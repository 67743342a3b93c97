/// Little-endian numbers out of untrusted bytes. The offset and its width must lie inside the span:
/// callers check lengths first, and the span's own bounds check backs them.
extension Span<UInt8> {
    @inline(__always)
    func u16(_ offset: Int) -> UInt16 {
        let bytes = extracting(offset..<offset + 2)
        return UInt16(bytes[0]) | UInt16(bytes[1]) << 8
    }

    @inline(__always)
    func u32(_ offset: Int) -> UInt32 {
        // One check of bounds for all: within a part of known length the compiler needs no other,
        // and loads it at once.
        let bytes = extracting(offset..<offset + 4)
        return UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16
            | UInt32(bytes[3]) << 24
    }

    @inline(__always)
    func u64(_ offset: Int) -> UInt64 {
        let bytes = extracting(offset..<offset + 8)
        return UInt64(bytes.u32(0)) | UInt64(bytes.u32(4)) << 32
    }
}

/// Appends little-endian numbers; the mirror of reading. Each makes room once.
extension [UInt8] {
    mutating func put16(_ value: UInt16) {
        append(addingCapacity: 2) { (room: inout OutputSpan<UInt8>) in room.put16(value) }
    }

    mutating func put32(_ value: UInt32) {
        append(addingCapacity: 4) { (room: inout OutputSpan<UInt8>) in room.put32(value) }
    }

    mutating func put64(_ value: UInt64) {
        append(addingCapacity: 8) { (room: inout OutputSpan<UInt8>) in room.put64(value) }
    }
}

extension OutputSpan<UInt8> {
    @inline(__always)
    mutating func put16(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    @inline(__always)
    mutating func put32(_ value: UInt32) {
        put16(UInt16(truncatingIfNeeded: value))
        put16(UInt16(truncatingIfNeeded: value >> 16))
    }

    @inline(__always)
    mutating func put64(_ value: UInt64) {
        put32(UInt32(truncatingIfNeeded: value))
        put32(UInt32(truncatingIfNeeded: value >> 32))
    }
}
