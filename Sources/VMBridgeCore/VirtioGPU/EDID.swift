/// A monitor's description for a window: one base block of VESA E-EDID 1.4 whose preferred mode has the window's size.
package enum EDID {
    /// Bytes of a block.
    package static let bytes = 128
    /// The longest side that a detailed timing can say: 12 bits.
    package static let maximumSide: UInt32 = 4095

    /// The block for a window of that size; all zero for one that a timing cannot say, and then a driver takes the mode of
    /// GET_DISPLAY_INFO.
    package static func block(_ size: Size) -> [UInt8] {
        guard (1...maximumSide).contains(size.width), (1...maximumSide).contains(size.height)
        else { return [UInt8](repeating: 0, count: bytes) }
        let millimetres = Size(
            width: max(1, size.width * 254 / 960), height: max(1, size.height * 254 / 960))
        var block: [UInt8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]
        // "VMB" in three times five bits, product 1, no serial number, week 1 of 2024, version 1.4.
        block += [0x59, 0xa2, 1, 0, 0, 0, 0, 0, 1, 34, 1, 4]
        // Digital with 8 bits a colour, centimetres, gamma 2.2, sRGB and a preferred timing that is the native one.
        block += [
            0xa0, UInt8(clamping: (millimetres.width + 5) / 10),
            UInt8(clamping: (millimetres.height + 5) / 10), 120, 0x06,
        ]
        // sRGB's primaries and white point.
        block += [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]
        // No established timings, eight unused standard timings.
        block += [0, 0, 0] + [UInt8](repeating: 1, count: 16)
        block += timing(size, millimetres)
        block += text(0xfc, "vm-bridge")
        // Two dummy descriptors.
        for _ in 0..<2 { block += [0, 0, 0, 0x10, 0] + [UInt8](repeating: 0, count: 13) }
        block.append(0)
        let sum = block.reduce(0 as UInt8) { $0 &+ $1 }
        block.append(0 &- sum)
        return block
    }

    /// A detailed timing at 60 Hz with reduced blanking (as VESA CVT's), slower where the pixel clock's 16 bits end.
    private static func timing(_ size: Size, _ millimetres: Size) -> [UInt8] {
        let (horizontalBlank, horizontalFront, horizontalSync): (UInt32, UInt32, UInt32) =
            (160, 48, 32)
        let (verticalFront, verticalSync): (UInt32, UInt32) = (3, 6)
        // Lines for 460 µs of 1/60 s, at least those of porches and sync.
        let verticalBlank = max(size.height * 460 / (16_667 - 460) + 1, 23)
        let total = UInt64(size.width + horizontalBlank) * UInt64(size.height + verticalBlank)
        let clock = UInt16(clamping: (total * 60 + 5000) / 10_000)
        func low(_ value: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: value) }
        func high(_ first: UInt32, _ second: UInt32) -> UInt8 {
            low((first >> 8) << 4 | second >> 8)
        }
        return [
            low(UInt32(clock)), low(UInt32(clock >> 8)),
            low(size.width), low(horizontalBlank), high(size.width, horizontalBlank),
            low(size.height), low(verticalBlank), high(size.height, verticalBlank),
            low(horizontalFront), low(horizontalSync), low((verticalFront << 4) | verticalSync), 0,
            low(millimetres.width), low(millimetres.height),
            high(millimetres.width, millimetres.height), 0, 0,
            // Digital separate sync, horizontal positive.
            0x1a,
        ]
    }

    private static func text(_ tag: UInt8, _ text: StaticString) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, 0, tag, 0]
        var content = Array("\(text)".utf8.prefix(13))
        if content.count < 13 { content.append(0x0a) }
        while content.count < 13 { content.append(0x20) }
        bytes += content
        return bytes
    }
}
