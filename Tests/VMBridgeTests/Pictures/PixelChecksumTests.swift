import Testing

@testable import VMBridge

@Suite("checksum of pixels [pure]") struct PixelChecksumTests {
    /// CRC-32 bit by bit.
    private func reference(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0xedb8_8320 }
        }
        return ~crc
    }

    private func noise(_ width: Int, _ height: Int) -> Picture {
        var generator = SplitMix(state: 5)
        var picture = Picture(width: width, height: height)
        picture.withMutablePixels { pixels in
            for index in pixels.indices {
                pixels[index] = UInt32(truncatingIfNeeded: generator.next())
            }
        }
        return picture
    }

    /// Blue, green, red and the last byte of each pixel of a row.
    private func bytes(_ row: ArraySlice<UInt32>, last: UInt8?) -> [UInt8] {
        row.flatMap { word in
            let colour = Colour(word: word)
            return [colour.blue, colour.green, colour.red, last ?? colour.alpha]
        }
    }

    @Test("is CRC-32, by a known value")
    func knownValue() {
        // The check value of CRC-32 is that of the text "123456789"; these are words, so it is told of "1234".
        #expect(reference(Array("123456789".utf8)) == 0xcbf4_3926)
        var checksum = PixelChecksum()
        #expect(checksum.value == 0)
        checksum.add([0x0033_2211])
        #expect(checksum.value == reference([0x11, 0x22, 0x33, 0xff]))
    }

    @Test(
        "rows, pictures and words of the same pixels have the same one, whatever their alpha",
        arguments: [1, 2, 7, 64])
    func sameForAll(width: Int) {
        let picture = noise(width, 5)
        let expected = reference(
            (0..<5).flatMap { bytes(picture.row($0), last: 255) })
        var ofPicture = PixelChecksum()
        ofPicture.add(picture)
        #expect(ofPicture.value == expected)
        var (ofRows, ofWords) = (PixelChecksum(), PixelChecksum())
        for y in 0..<5 {
            // Of odd addresses, too, and with bytes left over.
            let row = [0] + bytes(picture.row(y), last: nil) + [1, 2, 3]
            row.withUnsafeBytes { ofRows.add(xrgb: UnsafeRawBufferPointer(rebasing: $0[1...])) }
            ofWords.add(
                picture.row(y).map { word in
                    let colour = Colour(word: word)
                    return UInt32(colour.red) << 16 | UInt32(colour.green) << 8
                        | UInt32(colour.blue)
                })
        }
        #expect(ofRows.value == expected)
        #expect(ofWords.value == expected)
    }
}
