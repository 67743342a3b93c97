/// Source text being written, with indentation.
struct Lines {
    private(set) var text = ""
    private var depth = 0

    mutating func add(_ line: String = "") {
        text += line.isEmpty ? "\n" : String(repeating: "    ", count: depth) + line + "\n"
    }

    mutating func block(_ opening: String, _ closing: String = "}", _ body: (inout Lines) -> Void) {
        add(opening)
        depth += 1
        body(&self)
        depth -= 1
        add(closing)
    }

    /// A documentation comment: summary, the protocol's text, then our notes.
    mutating func document(_ documentation: Documentation, fallback: String, notes: [String] = []) {
        let summary = documentation.summary.isEmpty ? fallback : documentation.summary
        for line in words(summary).components(upTo: 90) { add("/// " + line) }
        var blank = true
        for line in documentation.text.split(separator: "\n", omittingEmptySubsequences: false) {
            let trimmed = words(String(line))
            if trimmed.isEmpty {
                blank = true
                continue
            }
            if blank { add("///") }
            blank = false
            add("/// " + trimmed)
        }
        for note in notes {
            add("///")
            for line in note.components(upTo: 90) { add("/// " + line) }
        }
    }

    private func words(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}

extension String {
    /// The words of the text in lines of at most `width` characters (longer words stay whole).
    fileprivate func components(upTo width: Int) -> [String] {
        var lines: [String] = []
        for word in split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
