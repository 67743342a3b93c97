import VMBridgeCore

/// The state of a bridge in words and as JSON.
package enum StatusReport {
    /// A line for each VM and each of its surfaces.
    package static func lines(_ status: [VMStatus]) -> [String] {
        var lines: [String] = []
        for vm in status {
            var line = "\(vm.name): \(vm.isConnected ? "connected" : "no producer")"
            line += ", \(vm.buffers) buffers, \(mebibytes(vm.bytes)) MiB"
            if !vm.isPresenting { line += ", not shown: \(vm.trouble ?? "no compositor yet")" }
            if !vm.refusals.isEmpty {
                let parts = vm.refusals.sorted { $0.key.rawValue < $1.key.rawValue }
                    .map { "\($0.key.word) \($0.value)" }
                line += ", refused: " + parts.joined(separator: ", ")
            }
            lines.append(line)
            for surface in vm.surfaces { lines.append("  " + self.line(surface)) }
        }
        return lines
    }

    /// One surface on one line: size, frames, paths, rate, latency.
    package static func line(_ surface: SurfaceStatus) -> String {
        let counters = surface.counters
        return [
            "\(surface.title)  \(counters.size)",
            "shown \(counters.shown)", "superseded \(counters.superseded)",
            "refused \(counters.refused)", "import: \(counters.importPath)",
            "sync: \(counters.syncPath)", "\(rounded(counters.framesPerSecond)) frames/s",
            "added latency \(milliseconds(counters.latency.mean)) ms mean, "
                + "\(milliseconds(counters.latency.percentile(0.99))) ms p99",
        ].joined(separator: " | ")
    }

    /// The whole state as one JSON object.
    package static func json(_ status: [VMStatus]) -> String {
        var root = JSONObject()
        root.add("version", UInt64(1))
        root.add("vms", status.map(object))
        return root.text
    }

    private static func object(_ vm: VMStatus) -> JSONObject {
        var object = JSONObject()
        object.add("name", vm.name)
        object.add("connected", vm.isConnected)
        object.add("generation", vm.generation)
        object.add("presenting", vm.isPresenting)
        if let trouble = vm.trouble { object.add("trouble", trouble) }
        object.add("buffers", UInt64(vm.buffers))
        object.add("bytes", vm.bytes)
        object.add("uses", UInt64(vm.uses))
        var refusals = JSONObject()
        for (reason, count) in vm.refusals.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            refusals.add(reason.word, count)
        }
        object.add("refusals", refusals)
        object.add("surfaces", vm.surfaces.map(self.object))
        return object
    }

    private static func object(_ surface: SurfaceStatus) -> JSONObject {
        let counters = surface.counters
        var object = JSONObject()
        object.add("surface", surface.surface.value)
        object.add("title", surface.title)
        object.add("app_id", surface.appID)
        object.add("gone", surface.isGone)
        object.add("size", counters.size.description)
        object.add("shown", counters.shown)
        object.add("superseded", counters.superseded)
        object.add("refused", counters.refused)
        object.add("lost", counters.lost)
        object.add("presented", counters.presented)
        object.add("import_path", counters.importPath)
        object.add("sync_path", counters.syncPath)
        object.add("frames_per_second", counters.framesPerSecond)
        object.add("latency_mean_ns", counters.latency.mean)
        object.add("latency_min_ns", counters.latency.minimum)
        object.add("latency_max_ns", counters.latency.maximum)
        object.add("latency_p50_ns", counters.latency.percentile(0.5))
        object.add("latency_p99_ns", counters.latency.percentile(0.99))
        return object
    }

    private static func mebibytes(_ bytes: UInt64) -> String {
        rounded(Double(bytes) / 1_048_576)
    }

    private static func milliseconds(_ nanoseconds: UInt64) -> String {
        rounded(Double(nanoseconds) / 1e6, digits: 100)
    }

    private static func rounded(_ value: Double, digits: Double = 10) -> String {
        "\((value * digits).rounded() / digits)"
    }
}
