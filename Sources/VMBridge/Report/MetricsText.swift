import VMBridgeCore

/// A status report as OpenMetrics text (OpenMetrics 1.0): what a Prometheus server reads.
///
/// Surfaces are labelled by VM and key, so that the guest's texts stand in one family only,
/// `vm_bridge_surface_info`. Those that are gone are left out: a key that is used again begins at 0.
package struct MetricsText {
    /// What is told it is.
    package static let contentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    private enum Kind: String { case gauge, counter, info, histogram }

    private typealias Label = (name: String, value: String)

    private var text = ""

    private init() {}

    /// The whole exposition, with its end mark.
    ///
    /// - Parameter status: a status report, version 1; what it lacks is left out.
    package static func text(_ status: JSONValue) -> String {
        var metrics = MetricsText()
        let vms = status["vms"]?.elements ?? []
        metrics.machines(vms)
        metrics.surfaces(
            vms.flatMap { vm in
                let name = vm["name"]?.text ?? ""
                return (vm["surfaces"]?.elements ?? []).filter { $0["gone"]?.truth != true }
                    .map { (name, $0) }
            })
        return metrics.text + "# EOF\n"
    }

    // MARK: Families

    private mutating func machines(_ vms: [JSONValue]) {
        func flags(_ member: String) -> [(labels: [Label], value: UInt64)] {
            vms.compactMap { vm in
                vm[member]?.truth.map { ([("vm", vm["name"]?.text ?? "")], $0 ? 1 : 0) }
            }
        }
        func counts(_ member: String) -> [(labels: [Label], value: UInt64)] {
            vms.compactMap { vm in
                vm[member]?.count.map { ([("vm", vm["name"]?.text ?? "")], $0) }
            }
        }
        func parts(_ member: String, _ label: String) -> [(labels: [Label], value: UInt64)] {
            vms.flatMap { vm in
                (vm[member]?.members ?? []).filter { $0.name != "total" }.compactMap { part in
                    part.value.count.map {
                        ([("vm", vm["name"]?.text ?? ""), (label, part.name)], $0)
                    }
                }
            }
        }
        family(
            "vm_connected", .gauge, "Whether the VM's producer is connected.", flags("connected"))
        family(
            "vm_presenting", .gauge, "Whether there is a consumer for the VM's windows.",
            flags("presenting"))
        family(
            "vm_connections", .counter, "Connections of the VM's producer so far.",
            counts("generation"))
        family("vm_buffers", .gauge, "Buffers of the VM at the moment.", counts("buffers"))
        family(
            "vm_buffer_bytes", .gauge, "Memory of the VM's buffers.", counts("bytes"), unit: "bytes"
        )
        family("vm_uses", .gauge, "Frames that hold a buffer at the moment.", counts("uses"))
        family(
            "vm_descriptors", .gauge, "Descriptors held for the VM, by what they are for.",
            parts("descriptors", "kind"))
        family(
            "vm_refusals", .counter, "What was refused of the VM, by reason.",
            parts("refusals", "reason"))
    }

    private mutating func surfaces(_ surfaces: [(vm: String, status: JSONValue)]) {
        func labels(_ surface: (vm: String, status: JSONValue)) -> [Label] {
            [("vm", surface.vm), ("surface", "\(surface.status["surface"]?.count ?? 0)")]
        }
        func counts(_ member: String) -> [(labels: [Label], value: UInt64)] {
            surfaces.compactMap { surface in
                surface.status[member]?.count.map { (labels(surface), $0) }
            }
        }
        family(
            "surface", .info, "The guest's texts and the ways of its pixels and fences.",
            surfaces.map { surface in
                let texts: [Label] = ["title", "app_id", "size", "import_path", "sync_path"]
                    .compactMap { name in surface.status[name]?.text.map { (name, $0) } }
                return (labels(surface) + texts, 1)
            })
        family(
            "surface_frames", .counter, "Frames of the surface, by what became of them.",
            surfaces.flatMap { surface in
                ["shown", "superseded", "refused", "lost"].compactMap { outcome in
                    surface.status[outcome]?.count.map {
                        (labels(surface) + [("outcome", outcome)], $0)
                    }
                }
            })
        family(
            "surface_presented", .counter, "Commits that were reported as presented.",
            counts("presented"))
        family(
            "surface_fences_passed", .counter,
            "Frames whose pending fence went to the compositor with them.", counts("fences_passed"))
        family(
            "surface_release_fences", .counter,
            "Releases that came with a fence that was still pending.", counts("release_fences"))
        family(
            "surface_copied_bytes", .counter, "Bytes of pixels that the bridge read itself.",
            counts("bytes_copied"), unit: "bytes")
        histogram(
            "surface_latency_seconds", "From the receipt of a frame to its commit.",
            surfaces.compactMap { surface in
                surface.status["stages"]?["total"].map { (labels(surface), TopDurations($0)) }
            })
        histogram(
            "surface_stage_seconds", "Stages of a frame, each from the end of the one before.",
            surfaces.flatMap { surface in
                FrameStage.allCases.compactMap { stage in
                    surface.status["stages"]?[stage.word].map {
                        (labels(surface) + [("stage", stage.word)], TopDurations($0))
                    }
                }
            })
    }

    // MARK: Writing

    private mutating func family(
        _ name: String, _ kind: Kind, _ help: String,
        _ samples: [(labels: [Label], value: UInt64)], unit: String? = nil
    ) {
        guard !samples.isEmpty else { return }
        head(name, kind, help, unit)
        let suffix =
            switch kind {
            case .counter: "_total"
            case .info: "_info"
            case .gauge, .histogram: ""
            }
        for sample in samples { self.sample(name + suffix, sample.labels, "\(sample.value)") }
    }

    private mutating func head(_ name: String, _ kind: Kind, _ help: String, _ unit: String?) {
        text += "# TYPE vm_bridge_\(name) \(kind.rawValue)\n"
        if let unit { text += "# UNIT vm_bridge_\(name) \(unit)\n" }
        text += "# HELP vm_bridge_\(name) \(help)\n"
    }

    /// Bounds of all histograms, microseconds: those that buckets of every kind have.
    private static let bounds: [UInt64] = [
        4, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 262_144, 1_048_576, 4_194_304,
    ]

    private mutating func histogram(
        _ name: String, _ help: String, _ samples: [(labels: [Label], durations: TopDurations)]
    ) {
        guard !samples.isEmpty else { return }
        head(name, .histogram, help, "seconds")
        for (labels, durations) in samples {
            var index = 0
            var below: UInt64 = 0
            for bound in Self.bounds {
                while index < durations.buckets.count, durations.buckets[index].to <= bound * 1000 {
                    below += durations.buckets[index].count
                    index += 1
                }
                sample(name + "_bucket", labels + [("le", "\(Double(bound) / 1e6)")], "\(below)")
            }
            sample(name + "_bucket", labels + [("le", "+Inf")], "\(durations.count)")
            sample(name + "_count", labels, "\(durations.count)")
            sample(name + "_sum", labels, "\(Double(durations.sum) / 1e9)")
        }
    }

    private mutating func sample(_ name: String, _ labels: [Label], _ value: String) {
        text += "vm_bridge_\(name){"
        for (index, label) in labels.enumerated() {
            if index > 0 { text += "," }
            text += "\(label.name)=\"\(Self.escaped(label.value))\""
        }
        text += "} \(value)\n"
    }

    /// A label's value: backslash, quote and line end are escaped; a carriage return and other controls,
    /// which readers of lines may stumble over, are replaced.
    private static func escaped(_ value: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result.append(contentsOf: "\\\\".unicodeScalars)
            case "\"": result.append(contentsOf: "\\\"".unicodeScalars)
            case "\n": result.append(contentsOf: "\\n".unicodeScalars)
            case _ where scalar.properties.generalCategory == .control: result.append("?")
            case "\u{2028}", "\u{2029}": result.append("?")
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
