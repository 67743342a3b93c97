import VMBridgeCore

@testable import VMBridge

/// Status reports as a bridge tells them, for tests of what is made of them.
enum TopSamples {
    /// A surface; its durations are all in one bucket for each stage.
    static func surface(
        _ key: UInt64, title: String, shown: UInt64, superseded: UInt64 = 0, refused: UInt64 = 0,
        gone: Bool = false, milliseconds: UInt64 = 2
    ) -> String {
        let escaped = JSONValue.string(title).line
        func durations(_ from: UInt64, _ to: UInt64) -> String {
            """
            {"count":\(shown),"p50_ns":1,"p99_ns":1,"max_ns":\(to),"sum_ns":\(from * shown),\
            "buckets":\(shown > 0 ? "[[\(from),\(to),\(shown)]]" : "[]")}
            """
        }
        let unit = milliseconds * 1_000_000
        return """
            {"surface":\(key),"title":\(escaped),"app_id":"vm-bridge.work.a","gone":\(gone),\
            "size":"640x360","shown":\(shown),"superseded":\(superseded),"refused":\(refused),\
            "lost":0,"presented":\(shown),"import_path":"memfd, mapped for captures only",\
            "bytes_copied":0,"sync_path":"held in the loop","release_path":"message",\
            "fences_passed":0,"release_fences":0,"frames_per_second":1,"stages":{\
            "total":\(durations(unit, 2 * unit)),"validate":\(durations(4000, 6000)),\
            "import":\(durations(0, 1000)),"fence":\(durations(unit / 2, unit)),\
            "commit":\(durations(8000, 12000)),"present":\(durations(8_192_000, 16_384_000))}}
            """
    }

    /// A VM.
    static func vm(
        _ name: String, connected: Bool = true, generation: UInt64 = 1, refusals: String = "{}",
        trouble: String? = nil, _ surfaces: [String]
    ) -> String {
        let presenting =
            trouble.map { "\"presenting\":false,\"trouble\":\(JSONValue.string($0).line)" }
            ?? "\"presenting\":true"
        return """
            {"name":\(JSONValue.string(name).line),"connected":\(connected),\
            "generation":\(generation),\(presenting),"buffers":3,"bytes":2764800,"uses":2,\
            "descriptors":{"buffers":3,"fences":1,"queued":0,"sockets":2,"consumer":1,"workers":0,\
            "total":7},"refusals":\(refusals),"surfaces":[\(surfaces.joined(separator: ","))]}
            """
    }

    /// A whole report.
    static func status(_ vms: [String]) throws -> JSONValue {
        try JSONValue(parsing: "{\"version\":1,\"vms\":[\(vms.joined(separator: ","))]}")
    }

    /// A whole report at a time, seconds.
    static func snapshot(_ seconds: Double, _ vms: [String]) throws -> TopSnapshot {
        TopSnapshot(try status(vms), time: UInt64(seconds * 1e9))
    }

    /// Two reports, two seconds apart: two VMs, one of which has nobody.
    static func model(sort: TopSort = .name, stage: TopStage = .total) throws -> TopModel {
        let before = try snapshot(
            10,
            [
                vm(
                    "work",
                    [
                        surface(1, title: "[work] Sensors", shown: 600),
                        surface(2, title: "[work] 温度計", shown: 300, milliseconds: 8),
                    ]),
                vm("play", connected: false, trouble: "no answer", []),
            ])
        let after = try snapshot(
            12,
            [
                vm(
                    "work", refusals: "{\"bad_format\":2,\"busy\":1}",
                    [
                        surface(1, title: "[work] Sensors", shown: 720),
                        surface(
                            2, title: "[work] 温度計", shown: 360, superseded: 7, refused: 1,
                            milliseconds: 8),
                    ]),
                vm("play", connected: false, trouble: "no answer", []),
            ])
        return TopModel(before, after, sort: sort, stage: stage)
    }
}
