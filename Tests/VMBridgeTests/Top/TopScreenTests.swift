import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] top's picture")
struct TopScreenTests {
    private func picture(
        _ width: Int, _ height: Int, _ change: (inout TopState) -> Void = { _ in },
        notice: TopNotice? = nil
    ) throws -> [String] {
        var state = TopState()
        change(&state)
        let model = try TopSamples.model(sort: state.sort, stage: state.stage)
        return TopScreen.lines(model, &state, width: width, height: height, notice: notice)
            .map(\.plain)
    }

    @Test("80 columns have everything")
    func eighty() throws {
        let lines = try picture(80, 8)
        #expect(
            lines == [
                "vm-bridge  2 VMs, 2 windows, 90.0 frames/s in 2.0 s",
                "VM, window               size    fps sup/s   ref  p50 ms  p99 ms import   sync",
                "work  3 buffers, 2.6 MiB, 7 descriptors, 3 refused",
                "  Sensors             640x360   60.0   0.0     0    3.00    3.98 memfd    held",
                "  温度計              640x360   30.0   3.5     1    12.0    15.9 memfd    held",
                "play  3 buffers, 2.6 MiB, 7 descriptors, no producer, not shown: no answer",
                "", "q quit  h help  s: as told  t: latency",
            ], "\(lines.joined(separator: "\n"))")
    }

    @Test("narrower screens drop columns in their order, wider ones have the stages")
    func widths() throws {
        #expect(!TopScreen.columns(80).contains(.stages))
        #expect(TopScreen.columns(80).count == TopScreen.Column.allCases.count - 1)
        #expect(TopScreen.columns(120) == TopScreen.Column.allCases)
        #expect(
            TopScreen.columns(60) == [.size, .frames, .superseded, .refused, .median, .late])
        #expect(TopScreen.columns(40) == [.frames, .median, .late])
        var last = Set<String>()
        for width in 20...200 {
            let names = Set(TopScreen.columns(width).map { "\($0)" })
            #expect(last.isSubset(of: names))
            last = names
        }
        let wide = try picture(120, 8)
        #expect(wide[1].hasSuffix(" validate   import    fence   commit  present"), "\(wide[1])")
        #expect(wide[3].hasSuffix("16.3"), "\(wide[3])")
    }

    @Test("no line is wider than the screen, and there are as many as it has, whatever its size")
    func bounds() throws {
        for width in [1, 5, 20, 33, 60, 79, 80, 81, 120, 300] {
            for height in [1, 2, 3, 4, 7, 24] {
                var state = TopState()
                state.isHelpShown = height == 7
                let lines = TopScreen.lines(
                    try TopSamples.model(), &state, width: width, height: height,
                    notice: width == 33 ? TopNotice("no bridge", isBad: true) : nil)
                #expect(lines.allSatisfy { $0.width <= width }, "\(width)x\(height)")
                #expect(lines.count == height || height < 3 && lines.count <= height)
            }
        }
    }

    @Test("scrolling stops at both ends, and says where it is")
    func scroll() throws {
        let top = try picture(80, 5)
        #expect(top[2].hasPrefix("work"))
        #expect(top[4].hasSuffix("1-2 of 4"))
        let bottom = try picture(80, 5) { state in
            for _ in 0..<9 { _ = state.press(.down) }
        }
        #expect(bottom[3].hasPrefix("play"))
        #expect(bottom[4].hasSuffix("3-4 of 4"))
        let end = try picture(80, 5) { _ = $0.press(.end) }
        #expect(end == bottom)
        let back = try picture(80, 5) { state in
            _ = state.press(.down)
            for _ in 0..<9 { _ = state.press(.up) }
        }
        #expect(back == top)
    }

    @Test("stage, freeze, help and a bridge that is gone are seen")
    func states() throws {
        let fence = try picture(80, 8) { $0.stage = .fence }
        #expect(fence[7].hasSuffix("t: fence"))
        #expect(fence[3].contains("   1.50    1.99 "), "\(fence[3])")
        let frozen = try picture(80, 8) { $0.isFrozen = true }
        #expect(frozen[0].hasSuffix("frozen"))
        let help = try picture(60, 24) { $0.isHelpShown = true }
        #expect(help.contains { $0.contains("order: as told") })
        #expect(help.allSatisfy { DisplayText.width($0) <= 60 && !$0.hasSuffix("~") })
        let gone = try picture(80, 8, notice: TopNotice("no bridge, waiting", isBad: true))
        #expect(gone[0] == "vm-bridge  no bridge, waiting")
        // What was last known stays.
        #expect(gone[3].contains("Sensors"))
    }

    @Test("a guest's title cannot break the screen")
    func hostile() throws {
        let title =
            "[a] 日本\u{301}\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}5A\r\n\u{202e}日本\u{301}\u{200d}🚀 \u{fffd}"
        let now = try TopSamples.snapshot(
            4, [TopSamples.vm("a", [TopSamples.surface(1, title: title, shown: 5)])])
        var state = TopState()
        let lines = TopScreen.lines(TopModel(nil, now), &state, width: 80, height: 6)
        let text = TopPaint.screen(lines, width: 80, height: 6, hasColours: false)
        // The only escapes are ours: positions, looks, clearing.
        var rest = text[...]
        while let escape = rest.firstIndex(of: "\u{1b}") {
            let sequence = rest[escape...].dropFirst(2)
            let end = try #require(sequence.firstIndex { !"0123456789;".contains($0) })
            #expect(rest[rest.index(after: escape)] == "[")
            #expect("HGKJm".contains(sequence[end]))
            rest = rest[rest.index(after: end)...]
        }
        let controls = text.unicodeScalars.filter { $0.properties.generalCategory == .control }
        #expect(controls.allSatisfy { $0 == "\u{1b}" })
        #expect(lines.allSatisfy { $0.width <= 80 })
        // Behind the title the cursor is set anew.
        #expect(text.contains("\u{1b}[20G"))
    }

    @Test("colours only where they are wanted, and a full line is not cleared at its edge")
    func paint() throws {
        var state = TopState()
        let lines = TopScreen.lines(try TopSamples.model(), &state, width: 80, height: 8)
        let with = TopPaint.screen(lines, width: 80, height: 8, hasColours: true)
        let without = TopPaint.screen(lines, width: 80, height: 8, hasColours: false)
        #expect(with.contains("\u{1b}[31m") && with.contains("\u{1b}[33m"))
        #expect(!without.contains("\u{1b}[31m") && !without.contains("\u{1b}[33m"))
        var full = TopLine(String(repeating: "x", count: 10))
        #expect(!TopPaint.screen([full], width: 10, height: 1, hasColours: true).contains("[K"))
        full = full.cut(9)
        #expect(full.plain == "xxxxxxxx~")
        #expect(TopPaint.screen([full], width: 10, height: 1, hasColours: true).contains("[K"))
        #expect(TopPaint.line(lines[2], hasColours: false) == lines[2].plain)
        #expect(TopPaint.line(lines[2], hasColours: true).contains("\u{1b}[1mwork"))
    }

    @Test("the plain table is the headings and the rows")
    func table() throws {
        let lines = TopScreen.table(try TopSamples.model(), width: 120, stage: .total).map(\.plain)
        #expect(lines.count == 5)
        #expect(lines[0].hasPrefix("VM, window"))
        #expect(lines[2].hasPrefix("  Sensors"))
    }
}
