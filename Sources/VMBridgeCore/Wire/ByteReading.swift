/// Little-endian numbers out of untrusted bytes. The offset and its width must lie inside the span:
/// callers check lengths first, and the span's own bounds check backs them.
extension Span<UInt8> {
    @inline(__always)
    func u16(_ offset: Int) -> UInt16 {
        UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
    }

    @inline(__always)
    func u32(_ offset: Int) -> UInt32 {
        UInt32(u16(offset)) | UInt32(u16(offset + 2)) << 16
    }

    @inline(__always)
    func u64(_ offset: Int) -> UInt64 {
        UInt64(u32(offset)) | UInt64(u32(offset + 4)) << 32
    }
}

/// Appends little-endian numbers; the mirror of reading.
extension [UInt8] {
    mutating func put16(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    mutating func put32(_ value: UInt32) {
        put16(UInt16(truncatingIfNeeded: value))
        put16(UInt16(truncatingIfNeeded: value >> 16))
    }

    mutating func put64(_ value: UInt64) {
        put32(UInt32(truncatingIfNeeded: value))
        put32(UInt32(truncatingIfNeeded: value >> 32))
    }
}
