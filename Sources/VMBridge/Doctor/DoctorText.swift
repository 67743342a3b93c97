/// A report for people: groups under headings, columns aligned, 100 columns at most.
package enum DoctorText {
    /// Most columns of a line.
    package static let width = 100

    /// The lines.
    ///
    /// - Parameters:
    ///   - report: what was found.
    ///   - colours: whether states are coloured by terminal sequences.
    package static func lines(_ report: DoctorReport, colours: Bool) -> [String] {
        let states = DoctorFinding.State.allCases.map(\.rawValue.count).max() ?? 0
        let names = report.findings.map(\.name.count).max() ?? 0
        let margin = 2 + states + 2 + names + 2
        let indent = String(repeating: " ", count: margin)
        var lines: [String] = []
        for group in DoctorFinding.Group.allCases {
            let findings = report.findings.filter { $0.group == group }
            guard !findings.isEmpty else { continue }
            if !lines.isEmpty { lines.append("") }
            lines.append(paint(group.rawValue, "1", colours))
            for finding in findings {
                let state = paint(finding.state.rawValue, colour(finding.state), colours)
                let head =
                    "  \(state)\(space(states - finding.state.rawValue.count))  \(finding.name)"
                    + "\(space(names - finding.name.count))  "
                for (index, line) in wrap(finding.text, margin).enumerated() {
                    lines.append((index == 0 ? head : indent) + line)
                }
                guard !finding.advice.isEmpty else { continue }
                for (index, line) in wrap(finding.advice, margin + 2).enumerated() {
                    lines.append(indent + (index == 0 ? "→ " : "  ") + line)
                }
            }
        }
        return lines + [""]
            + wrap(report.verdict, 0).map { paint($0, report.works ? "32" : "31", colours) }
    }

    private static func space(_ count: Int) -> String {
        String(repeating: " ", count: max(0, count))
    }

    private static func paint(_ text: String, _ code: String, _ colours: Bool) -> String {
        colours ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
    }

    private static func colour(_ state: DoctorFinding.State) -> String {
        switch state {
        case .ok: "32"
        case .note: "36"
        case .missing: "33"
        case .broken: "31"
        }
    }

    /// Breaks at spaces; a word that is longer than a line is broken anywhere.
    static func wrap(_ text: String, _ margin: Int) -> [String] {
        let room = max(16, width - margin)
        var lines: [String] = []
        var line = ""
        for word in clean(text).split(separator: " ") {
            var rest = word
            while !rest.isEmpty {
                if line.isEmpty {
                    line = String(rest.prefix(room))
                    rest = rest.dropFirst(room)
                } else if line.count + 1 + rest.count <= room {
                    line += " " + rest
                    rest = ""
                } else {
                    lines.append(line)
                    line = ""
                    continue
                }
                if !rest.isEmpty {
                    lines.append(line)
                    line = ""
                }
            }
        }
        return line.isEmpty && !lines.isEmpty ? lines : lines + [line]
    }

    /// Paths and errors come from outside: nothing of them may steer a terminal.
    private static func clean(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            let isControl = scalar.properties.generalCategory == .control
            result.unicodeScalars.append(isControl ? "\u{fffd}" : scalar)
        }
        return result
    }
}
