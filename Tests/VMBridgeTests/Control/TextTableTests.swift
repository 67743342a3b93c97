import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] tables and text for terminals")
struct TextTableTests {
    @Test("columns stand below each other, numbers at their right, wide characters count twice")
    func columns() {
        let table = TextTable(headings: ["vm", "count", "title", "end"], right: [1])
        let lines = table.lines([
            ["work", "7", "天気", "x"], ["a", "12345678", "One", ""], ["", "", "", ""],
        ])
        #expect(
            lines == [
                "vm       count  title  end", "work         7  天気   x", "a     12345678  One", "",
            ])
    }

    @Test("colours take no room")
    func paint() {
        let table = TextTable(headings: ["a", "b"])
        let lines = table.lines([["x", "y"]]) { row, column, cell in
            row == 0 && column == 0 ? "<<\(cell)>>" : cell
        }
        #expect(lines == ["a  b", "<<x>>  y"])
    }

    @Test("what a terminal might obey is written out")
    func escaped() {
        #expect(TerminalText.escaped("plain é 天") == "plain é 天")
        #expect(
            TerminalText.escaped("\u{1b}[31m\n\u{9b}\u{202e}")
                == "\\u{1b}[31m\\u{a}\\u{9b}\\u{202e}")
    }

    @Test("the report of another process is text for people, whatever stands in it")
    func strangeReport() throws {
        #expect(StatusText.lines(.null).isEmpty)
        let value = try JSONValue(
            parsing: #"{"vms":[{"name":"a\u001b","surfaces":[{"title":7,"shown":-1}]},3,null]}"#)
        let lines = StatusText.lines(value)
        #expect(lines.count == 5)
        #expect(lines[0].hasPrefix("a\\u{1b}: no producer, 0 buffers, 0.0 MiB, not shown"))
        #expect(lines.allSatisfy { !$0.contains("\u{1b}") })
    }
}
