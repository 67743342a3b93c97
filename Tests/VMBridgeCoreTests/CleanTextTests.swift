import Testing
import VMBridgeCore

/// Text of a guest cannot leave its line, turn its direction, hide, or grow.
@Suite("[pure] clean text")
struct CleanTextTests {
    private func clean(_ bytes: [UInt8]) -> String {
        CleanText.clean(bytes.span, from: 0, count: bytes.count)
    }

    @Test func everyControlCharacterGoes() {
        for value in Array(0 as UInt32..<0x20) + Array(0x7f..<0xa0) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            #expect(CleanText.clean("a\(Character(scalar))b") == "ab", "U+\(value)")
        }
        #expect(CleanText.clean("a\u{1b}[31mb\r\nc\td") == "a[31mbcd")
    }

    @Test func everyBidirectionalControlGoes() {
        var found = 0
        for value in 0...0x10ffff as ClosedRange<UInt32> {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let properties = scalar.properties
            let isHarmful =
                properties.isBidiControl || properties.generalCategory == .control
                || properties.generalCategory == .lineSeparator
                || properties.generalCategory == .paragraphSeparator
            guard isHarmful else { continue }
            found += 1
            var text = "x"
            text.unicodeScalars.append(scalar)
            if CleanText.clean(text) != "x" { Issue.record("U+\(String(value, radix: 16)) stays") }
        }
        #expect(found == 65 + 12 + 2)
    }

    @Test func invisibleCharactersGo() {
        for value: UInt32 in [
            0x200b, 0x200c, 0x200d, 0x2060, 0x2064, 0x206a, 0x206f, 0xfeff, 0xfff9, 0xfffb, 0xe0001,
            0xe007f,
        ] {
            guard let scalar = Unicode.Scalar(value) else { continue }
            var text = "x"
            text.unicodeScalars.append(scalar)
            #expect(CleanText.clean(text) == "x", "U+\(String(value, radix: 16))")
        }
        #expect(CleanText.clean("Grüße 你好 🙂 ё") == "Grüße 你好 🙂 ё")
    }

    @Test func brokenBytesAreRepaired() {
        for bytes: [UInt8] in [
            [0xff], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x99], [0xc0, 0xaf], [0xed, 0xa0, 0x80],
            [0xf4, 0x90, 0x80, 0x80], [0x80],
        ] {
            let text = clean([0x61] + bytes + [0x62])
            #expect(text.first == "a" && text.last == "b", "\(bytes)")
            #expect(text.unicodeScalars.dropFirst().dropLast().allSatisfy { $0 == "\u{fffd}" })
            #expect(text.unicodeScalars.count >= 3, "\(bytes)")
        }
        // C1 controls in their two-byte form are valid UTF-8 and still go.
        #expect(clean([0x61, 0xc2, 0x9b, 0x62]) == "ab")
        #expect(clean([0x61, 0, 0x62]) == "a")
        #expect(clean([]) == "")
    }

    @Test func theCutIsOnACharacterBoundary() {
        let widths: [(String, Int)] = [("a", 1), ("é", 2), ("€", 3), ("🙂", 4)]
        for (character, width) in widths {
            for lead in 0..<4 {
                let text =
                    String(repeating: "x", count: lead) + String(repeating: character, count: 300)
                let cut = CleanText.clean(text)
                #expect(cut.utf8.count <= 256 && cut.utf8.count > 256 - width, "\(character)")
                #expect(text.hasPrefix(cut))
                #expect(clean(Array(text.utf8)) == cut)
            }
        }
        #expect(CleanText.clean(String(repeating: "a", count: 256)).utf8.count == 256)
        #expect(CleanText.clean("abc", limit: 2) == "ab")
        // What is dropped does not count.
        let padded = String(repeating: "\u{202e}", count: 1000) + "seen"
        #expect(clean(Array(padded.utf8)) == "seen")
    }

    @Test func aPartOfASpan() {
        let bytes = Array("title=Term;".utf8)
        #expect(CleanText.clean(bytes.span, from: 6, count: 4) == "Term")
        #expect(CleanText.clean(bytes.span, from: 11, count: 0) == "")
    }

    @Test func identifiers() {
        #expect(CleanText.identifier("org.gnome.Term-2_x") == "org.gnome.Term-2_x")
        #expect(CleanText.identifier("a b/c\\d\u{202e}é\n") == "a_b_c_d_")
        #expect(CleanText.identifier(String(repeating: "a", count: 500)).utf8.count == 128)
        #expect(CleanText.identifier("") == "")
    }

    @Test func cleaningTwiceChangesNothing() {
        var random = Random(seed: 0x7e87)
        for _ in 0..<5_000 {
            let bytes = (0..<random.below(400)).map { _ in
                random.oneIn(2) ? UInt8(random.below(256)) : UInt8(0x20 + random.below(0x5f))
            }
            let once = clean(bytes)
            if let problem = WireLimits.problem(text: once) {
                Issue.record("\(problem): \(bytes)")
                return
            }
            if CleanText.clean(once) != once {
                Issue.record("not stable: \(bytes)")
                return
            }
        }
    }
}
