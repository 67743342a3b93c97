// Unsafe here: rows of mapped buffers are read word by word, within lengths that are checked first.

/// CRC-32 (polynomial 0xedb88320, as of zlib and PNG) of pixels, whatever they were stored as.
///
/// It is that of the bytes blue, green, red, 255 of each pixel, row after row without padding: XRGB8888
/// little-endian with its unused byte set to 255, so that pictures that look alike have the same one.
package struct PixelChecksum: Sendable {
    private var state: UInt32 = ~0

    /// Of no pixel.
    package init() {}

    /// Of what was added so far.
    package var value: UInt32 { ~state }

    /// Adds a row in XRGB8888 or ARGB8888.
    ///
    /// - Parameter row: 4 bytes a pixel, at any address; what is left over is not looked at.
    package mutating func add(xrgb row: UnsafeRawBufferPointer) {
        var crc = state
        Self.tables.withUnsafeBufferPointer { tables in
            var offset = 0
            while offset + 8 <= row.count {
                // UNSAFE: within the row, by the loop's condition.
                let pixels = row.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                crc = Self.step(crc, UInt64(littleEndian: pixels) | 0xff00_0000_ff00_0000, tables)
                offset += 8
            }
            if offset + 4 <= row.count {
                let pixel = row.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                crc = Self.step(crc, UInt32(littleEndian: pixel) | 0xff00_0000, tables)
            }
        }
        state = crc
    }

    /// Adds a picture's rows.
    package mutating func add(_ picture: Picture) {
        var crc = state
        picture.withPixels { words in
            Self.tables.withUnsafeBufferPointer { tables in
                for word in words {
                    // A picture's word has its bytes in the order R, G, B, A.
                    crc = Self.step(crc, word.byteSwapped >> 8 | 0xff00_0000, tables)
                }
            }
        }
        state = crc
    }

    /// Adds pixels of which each is 0x00RRGGBB.
    package mutating func add(_ pixels: some Sequence<UInt32>) {
        var crc = state
        Self.tables.withUnsafeBufferPointer { tables in
            for pixel in pixels { crc = Self.step(crc, pixel | 0xff00_0000, tables) }
        }
        state = crc
    }

    // MARK: Slices

    /// Table k, at 256 × k, has what a byte does that k others follow.
    private static let tables: [UInt32] = {
        var tables: [UInt32] = (0..<256).map { index in
            (0..<8).reduce(UInt32(index)) { crc, _ in
                crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0xedb8_8320
            }
        }
        for index in 256..<8 * 256 {
            let before = tables[index - 256]
            tables.append(before >> 8 ^ tables[Int(before & 255)])
        }
        return tables
    }()

    @inline(__always)
    private static func step(
        _ crc: UInt32, _ word: UInt64, _ tables: UnsafeBufferPointer<UInt32>
    ) -> UInt32 {
        let mixed = word ^ UInt64(crc)
        // UNSAFE: each index is below the tables' 8 × 256.
        let low =
            tables[1792 + Int(mixed & 255)] ^ tables[1536 + Int(mixed >> 8 & 255)]
            ^ tables[1280 + Int(mixed >> 16 & 255)] ^ tables[1024 + Int(mixed >> 24 & 255)]
        let high =
            tables[768 + Int(mixed >> 32 & 255)] ^ tables[512 + Int(mixed >> 40 & 255)]
            ^ tables[256 + Int(mixed >> 48 & 255)] ^ tables[Int(mixed >> 56)]
        return low ^ high
    }

    @inline(__always)
    private static func step(
        _ crc: UInt32, _ word: UInt32, _ tables: UnsafeBufferPointer<UInt32>
    ) -> UInt32 {
        let mixed = word ^ crc
        return tables[768 + Int(mixed & 255)] ^ tables[512 + Int(mixed >> 8 & 255)]
            ^ tables[256 + Int(mixed >> 16 & 255)] ^ tables[Int(mixed >> 24)]
    }
}
