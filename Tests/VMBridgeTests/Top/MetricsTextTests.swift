import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] OpenMetrics")
struct MetricsTextTests {
    private func status() throws -> JSONValue {
        try TopSamples.status([
            TopSamples.vm(
                "work", refusals: "{\"bad_format\":2}",
                [
                    TopSamples.surface(1, title: "old", shown: 9, gone: true),
                    TopSamples.surface(1, title: "say \"hi\\\"\nthere", shown: 600),
                    TopSamples.surface(2, title: "温度計", shown: 0, superseded: 3),
                ]),
            TopSamples.vm("play", connected: false, []),
        ])
    }

    @Test("families have their type and unit, counters their suffix, the text its end")
    func families() throws {
        let lines = MetricsText.text(try status()).split(separator: "\n").map(String.init)
        for line in [
            "# TYPE vm_bridge_vm_connected gauge", "vm_bridge_vm_connected{vm=\"work\"} 1",
            "vm_bridge_vm_connected{vm=\"play\"} 0", "# UNIT vm_bridge_vm_buffer_bytes bytes",
            "vm_bridge_vm_buffer_bytes{vm=\"work\"} 2764800",
            "vm_bridge_vm_descriptors{vm=\"work\",kind=\"sockets\"} 2",
            "vm_bridge_vm_refusals_total{vm=\"work\",reason=\"bad_format\"} 2",
            "vm_bridge_surface_frames_total{vm=\"work\",surface=\"2\",outcome=\"superseded\"} 3",
            "# TYPE vm_bridge_surface_stage_seconds histogram",
            "# UNIT vm_bridge_surface_stage_seconds seconds",
            // From 4 to 6 µs: in the bucket up to 16 µs, not in that up to 4.
            "vm_bridge_surface_stage_seconds_bucket{vm=\"work\",surface=\"1\",stage=\"validate\",le=\"4e-06\"} 0",
            "vm_bridge_surface_stage_seconds_bucket{vm=\"work\",surface=\"1\",stage=\"validate\",le=\"1.6e-05\"} 600",
            "vm_bridge_surface_stage_seconds_bucket{vm=\"work\",surface=\"1\",stage=\"validate\",le=\"+Inf\"} 600",
            "vm_bridge_surface_stage_seconds_count{vm=\"work\",surface=\"1\",stage=\"validate\"} 600",
            "vm_bridge_surface_stage_seconds_sum{vm=\"work\",surface=\"1\",stage=\"validate\"} 0.0024",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
        #expect(lines.contains { $0.contains(#"title="say \"hi\\\"\nthere""#) })
        #expect(!lines.contains { $0.contains("title=\"old\"") })
        #expect(lines.last == "# EOF")
        #expect(Set(lines).count == lines.count)
        #expect(lines.filter { $0.contains("kind=\"total\"") }.isEmpty)
        #expect(MetricsText.text(.null) == "# EOF\n")
    }

    /// The parser of the Prometheus client for Python, which refuses what OpenMetrics does not allow.
    private static let reader = """
        import json, sys
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
        found = []
        for number, text in enumerate(json.load(sys.stdin)):
            try:
                for family in read(text):
                    for sample in family.samples:
                        found.append([number, sample.name, sample.labels, sample.value])
            except Exception as error:
                print("exposition", number, "is refused:", repr(error), file=sys.stderr)
                sys.exit(1)
        json.dump(found, sys.stdout)
        """

    /// What that parser reads; nil with its complaint when it refuses.
    private func read(_ texts: [String]) throws -> (samples: [JSONValue]?, complaint: String) {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-metrics-")
        defer { TemporaryDirectory.remove(directory) }
        try FileWriter.write(Self.reader, to: directory + "/reader.py")
        try FileWriter.write(
            JSONValue.array(texts.map(JSONValue.string)).line, to: directory + "/texts")
        let command =
            "/usr/bin/python3 \(directory)/reader.py <\(directory)/texts >\(directory)/out 2>\(directory)/err"
        let ended = system(command)
        let complaint = try SystemText.read(directory + "/err")
        guard ended == 0 else { return (nil, complaint) }
        return (try JSONValue(parsing: try SystemText.read(directory + "/out")).elements, complaint)
    }

    @Test("an independent parser reads what was meant")
    func independent() throws {
        let (samples, complaint) = try read([MetricsText.text(try status())])
        let found = try #require(samples, "\(complaint)")
        #expect(found.count > 100)
        let info = found.first {
            $0.elements[1].text == "vm_bridge_surface_info"
                && $0.elements[2]["surface"]?.text == "1"
        }
        #expect(info?.elements[2]["title"]?.text == "say \"hi\\\"\nthere")
        let rate = found.first { $0.elements[1].text == "vm_bridge_vm_connections_total" }
        #expect(rate?.elements[3].real == 1)
    }

    @Test("that parser does refuse what is wrong")
    func planted() throws {
        let text = MetricsText.text(try status())
        for wrong in [
            String(text.dropLast(6)),
            text.replacing("_bytes bytes", with: "_bytes seconds"),
            text.replacing("_connections_total", with: "_connections"),
            text.replacing("le=\"+Inf\"", with: "le=\"9.0\""),
        ] {
            #expect(wrong != text)
            #expect(try read([wrong]).samples == nil)
        }
    }

    @Test("whatever a guest's text is, the exposition is well formed and keeps it apart")
    func hostileText() throws {
        let pieces = [
            "\"", "\\", "\n", "\r", "\u{0}", "} 1\n", "# EOF\n", ",le=\"1\"", "\u{2028}", "\u{85}",
            "\u{1b}[2J", "日本", "\u{202e}", "é", " ", "{", "=", "\\n", "\u{10ffff}", "\u{b}",
            "\u{c}",
            "\u{1c}", "\u{1e}",
        ]
        var texts: [String] = []
        for _ in 0..<300 {
            let title = (0..<Int.random(in: 1...8)).compactMap { _ in pieces.randomElement() }
                .joined()
            texts.append(
                MetricsText.text(
                    try TopSamples.status([
                        TopSamples.vm("a", [TopSamples.surface(1, title: title, shown: 5)])
                    ])))
        }
        let (samples, complaint) = try read(texts)
        let found = try #require(samples, "\(complaint)")
        // The same number of samples from each: no text makes one or takes one away.
        let all = Dictionary(grouping: found) { $0.elements[0].count ?? .max }.mapValues(\.count)
        #expect(all.count == texts.count)
        #expect(Set(all.values).count == 1)
    }
}

/// A file's text, for tests.
enum SystemText {
    static func read(_ path: String) throws -> String {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
