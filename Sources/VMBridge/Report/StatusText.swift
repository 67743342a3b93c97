import VMBridgeCore

/// The state of a bridge for people, from the object that `StatusReport` gives: of this process, or as it
/// came from another one by its control socket. What is missing in it is left out.
package enum StatusText {
    /// A line for each VM, then the table of all surfaces.
    ///
    /// - Parameter paint: gives a VM's name its colour.
    package static func lines(
        _ report: JSONValue, paint: (_ vm: String) -> String = { $0 }
    ) -> [String] {
        let vms = report["vms"]?.elements ?? []
        let drivers = report["drivers"]?.elements ?? []
        return drivers.map(driver) + vms.map { line($0, paint) }
            + table(vms.flatMap { $0["surfaces"]?.elements ?? [] })
    }

    private static func driver(_ driver: JSONValue) -> String {
        var line = TerminalText.escaped(driver["name"]?.text ?? "")
        line += " at \(TerminalText.escaped(driver["node"]?.text ?? "")): "
        let trouble = driver["trouble"]?.text.map { "not read: \(TerminalText.escaped($0))" }
        line += trouble ?? "read"
        line += ", \(driver["records"]?.count ?? 0) records"
        for (name, words) in [
            ("unmapped", "of domains without a VM"), ("malformed", "malformed"),
            ("stolen", "taken by another program"),
        ] {
            if let count = driver[name]?.count, count > 0 { line += ", \(count) \(words)" }
        }
        return line
    }

    private static func line(_ vm: JSONValue, _ paint: (String) -> String) -> String {
        var line = paint(TerminalText.escaped(vm["name"]?.text ?? ""))
        line += ": \(vm["connected"]?.truth == true ? "connected" : "no producer")"
        line += ", \(vm["buffers"]?.count ?? 0) buffers"
        line += ", \(Figures.mebibytes(vm["bytes"]?.count ?? 0)) MiB"
        if let source = vm["source"]?.text { line += ", \(TerminalText.escaped(source))" }
        if vm["presenting"]?.truth != true {
            let trouble = vm["trouble"]?.text ?? "no compositor yet"
            line += ", not shown: \(TerminalText.escaped(trouble))"
        }
        if let device = vm["device"]?.text { line += ", drawn by \(TerminalText.escaped(device))" }
        switch vm["security_context"]?.truth {
        case true?: line += ", with a security context"
        case false?:
            let why = vm["security_context_trouble"]?.text ?? ""
            line += ", no security context: \(TerminalText.escaped(why))"
        case nil: break
        }
        if let recording = vm["recording"] {
            let ended = recording["ended"]?.text
            line += ended.map { ", recorded (\(TerminalText.escaped($0)))" } ?? ", recording"
            line += ", \(Figures.mebibytes(recording["bytes"]?.count ?? 0)) MiB"
            let datagrams = recording["dropped_datagrams"]?.count ?? 0
            let pixels = recording["dropped_pixels"]?.count ?? 0
            if datagrams > 0 || pixels > 0 {
                line += ", \(datagrams) datagrams and the pixels of \(pixels) frames missing"
            }
        }
        let refusals = vm["refusals"]?.members ?? []
        if !refusals.isEmpty {
            let parts = refusals.map { "\(TerminalText.escaped($0.name)) \($0.value.count ?? 0)" }
            line += ", refused: " + parts.joined(separator: ", ")
        }
        return line
    }

    /// A line for each surface under a line of headings; empty without surfaces.
    ///
    /// - Parameter surfaces: objects as in `StatusReport`.
    package static func table(_ surfaces: [JSONValue]) -> [String] {
        guard !surfaces.isEmpty else { return [] }
        let table = TextTable(
            headings: [
                "window", "size", "shown", "superseded", "refused", "frames/s",
                "latency ms (mean, p99)", "import", "sync",
            ], right: [2, 3, 4, 5, 6])
        return table.lines(surfaces.map(row))
    }

    private static func row(_ surface: JSONValue) -> [String] {
        func text(_ name: String) -> String { TerminalText.escaped(surface[name]?.text ?? "") }
        func count(_ name: String) -> UInt64 { surface[name]?.count ?? 0 }
        let shown = count("shown")
        var importPath = text("import_path")
        // What it costs, when it costs a copy.
        if count("bytes_copied") > 0, shown > 0 {
            importPath += " (\(count("bytes_copied") / shown) bytes a frame on average)"
        }
        var syncPath = text("sync_path")
        if shown > 0 { syncPath += "; released by \(text("release_path"))" }
        return [
            text("title"), text("size"), "\(shown)", "\(count("superseded"))",
            "\(count("refused"))", Figures.rounded(surface["frames_per_second"]?.real ?? 0),
            Figures.milliseconds(count("latency_mean_ns")) + ", "
                + Figures.milliseconds(count("latency_p99_ns")),
            importPath, syncPath,
        ]
    }
}

/// Numbers as people read them.
package enum Figures {
    /// Bytes in MiB, to a tenth.
    package static func mebibytes(_ bytes: UInt64) -> String { rounded(Double(bytes) / 1_048_576) }

    /// Nanoseconds in milliseconds, to a hundredth.
    package static func milliseconds(_ nanoseconds: UInt64) -> String {
        rounded(Double(nanoseconds) / 1e6, digits: 100)
    }

    /// A number to a tenth, or to one of `digits` parts.
    package static func rounded(_ value: Double, digits: Double = 10) -> String {
        "\((value * digits).rounded() / digits)"
    }
}
