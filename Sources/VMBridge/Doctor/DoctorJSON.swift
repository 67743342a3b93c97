import VMBridgeCore

/// A report for programs. Members are only ever added while `version` is 1; the shape is described by
/// `vm-bridge doctor --help`.
package enum DoctorJSON {
    /// Number of the shape.
    package static let version: UInt64 = 1

    /// One object on one line.
    package static func text(_ report: DoctorReport) -> String {
        var root = JSONObject()
        root.add("version", version)
        root.add("works", report.works)
        root.add("degraded", !report.losses.isEmpty)
        root.add("verdict", report.verdict)
        root.add("checks", report.findings.map(check))
        return root.text
    }

    private static func check(_ finding: DoctorFinding) -> JSONObject {
        var object = JSONObject()
        object.add("id", finding.id)
        object.add("group", finding.group.rawValue)
        object.add("name", finding.name)
        object.add("state", finding.state.rawValue)
        object.add("fatal", finding.isFatal)
        object.add("text", finding.text)
        object.add("advice", finding.advice)
        object.add("without", finding.loss)
        var values = JSONObject()
        for (name, value) in finding.values {
            switch value {
            case .text(let text): values.add(name, text)
            case .number(let number): values.add(name, number)
            case .flag(let flag): values.add(name, flag)
            }
        }
        object.add("values", values)
        return object
    }
}
