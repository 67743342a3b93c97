import Testing

@testable import VMBridge

@Suite("[pure] text in a terminal's cells")
struct DisplayTextTests {
    @Test(
        "what could move the cursor, hide or be drawn differently is replaced",
        arguments: [
            ("plain title", "plain title"), ("a\u{1b}[2Jb", "a?[2Jb"), ("bell\u{7}", "bell?"),
            ("tab\tline\nend\r", "tab?line?end?"), ("c1 \u{9b}31m", "c1 ?31m"),
            ("rtl \u{202e}evil", "rtl ?evil"), ("zero\u{200b}width", "zero?width"),
            ("heart \u{2764}\u{fe0f}", "heart \u{2764}"), ("e\u{301}a", "e\u{301}a"),
            ("\u{301}first", "first"), ("z\u{301}\u{301}\u{301}\u{301}!", "z\u{301}\u{301}!"),
            ("\u{e000}private", "?private"), ("\u{2028}", "?"), ("日本語", "日本語"),
            ("\u{1f468}\u{200d}\u{1f469}", "\u{1f468}\u{1f469}"), ("क\u{93f}", "क?"),
            ("a\u{20dd}", "a?"),
        ])
    func clean(_ given: String, _ expected: String) {
        #expect(DisplayText.clean(given) == expected)
    }

    @Test(
        "widths", arguments: [("", 0), ("abc", 3), ("日本", 4), ("e\u{301}", 1), ("한글", 4), ("🚀", 2)])
    func widths(_ text: String, _ cells: Int) {
        #expect(DisplayText.width(text) == cells)
    }

    @Test("whatever fits into a number of cells takes exactly that many")
    func fit() {
        #expect(DisplayText.fit("abc", 5) == "abc  ")
        #expect(DisplayText.fit("abc", 5, isRight: true) == "  abc")
        #expect(DisplayText.fit("abcdef", 4) == "abc~")
        #expect(DisplayText.fit("日本語", 4) == "日~ ")
        #expect(DisplayText.fit("日本語", 6) == "日本語")
        #expect(DisplayText.fit("x", 0) == "")
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var raw = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let range: ClosedRange<UInt32> =
                    [0...0x7f, 0...0x2ff, 0x300...0x1fff, 0x2000...0xffff, 0x10000...0x10ffff][
                        Int.random(in: 0...4, using: &random)]
                if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) {
                    raw.append(scalar)
                }
            }
            let text = DisplayText.clean(String(raw))
            #expect(DisplayText.clean(text) == text)
            #expect(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
            let count = Int.random(in: 1...24, using: &random)
            #expect(
                DisplayText.width(DisplayText.fit(text, count)) == count, "\(text.debugDescription)"
            )
        }
    }

    @Test(
        "numbers in few digits",
        arguments: [
            (0, "0.000"), (12_300, "0.012"), (999_400, "0.999"), (999_600, "1.00"),
            (1_234_000, "1.23"), (9_996_000, "10.0"), (16_666_000, "16.7"), (99_960_000, "100"),
            (1_234_000_000, "1234"),
        ])
    func milliseconds(_ nanoseconds: UInt64, _ expected: String) {
        #expect(ShortNumber.milliseconds(nanoseconds) == expected)
    }

    @Test("bytes and rates")
    func others() {
        #expect(ShortNumber.bytes(0) == "0 B")
        #expect(ShortNumber.bytes(1023) == "1023 B")
        #expect(ShortNumber.bytes(4_404_019) == "4.2 MiB")
        #expect(ShortNumber.bytes(1 << 30) == "1.0 GiB")
        #expect(ShortNumber.bytes((1 << 30) - 1) == "1.0 GiB")
        #expect(ShortNumber.bytes(.max) == "16777216.0 TiB")
        #expect(ShortNumber.rate(59.94) == "59.9")
        #expect(ShortNumber.rate(0) == "0.0")
        #expect(ShortNumber.rate(1234.4) == "1234")
        #expect(ShortNumber.rate(.infinity) == "-")
    }
}
