import VMBridgeCore

/// What durations `top` can show: from receipt to commit, or one of the stages between.
package enum TopStage: String, Sendable, CaseIterable {
    case total, validate, `import`, fence, commit, present

    /// Its word over the column, at most 7 cells.
    package var heading: String { self == .total ? "latency" : rawValue }

    /// The next one, in a circle.
    package var next: TopStage {
        let all = TopStage.allCases
        let index = all.firstIndex(of: self) ?? 0
        return all[(index + 1) % all.count]
    }
}

/// Durations of one kind, as status has them.
package struct TopDurations: Sendable, Equatable {
    /// One bucket: from, to but not included (nanoseconds), and how many.
    package struct Bucket: Sendable, Equatable {
        package var from: UInt64
        package var to: UInt64
        package var count: UInt64
    }

    /// Buckets that counted something, shortest first.
    package var buckets: [Bucket] = []
    /// The longest one so far, nanoseconds.
    package var maximum: UInt64 = 0
    /// All together, nanoseconds.
    package var sum: UInt64 = 0

    /// No duration.
    package init() {}

    /// Those of a status report; none where it says nothing.
    init(_ value: JSONValue?) {
        maximum = value?["max_ns"]?.count ?? 0
        sum = value?["sum_ns"]?.count ?? 0
        for row in value?["buckets"]?.elements ?? [] {
            let numbers = row.elements.compactMap(\.count)
            guard numbers.count == 3, numbers[0] < numbers[1] else { continue }
            buckets.append(Bucket(from: numbers[0], to: numbers[1], count: numbers[2]))
        }
        buckets.sort { $0.from < $1.from }
    }

    /// Durations counted.
    package var count: UInt64 { buckets.reduce(0) { $0 &+ $1.count } }

    /// Those that came since an earlier report.
    package func since(_ earlier: TopDurations) -> TopDurations {
        var result = TopDurations()
        result.maximum = maximum
        result.sum = sum >= earlier.sum ? sum - earlier.sum : 0
        var known: [UInt64: UInt64] = [:]
        for bucket in earlier.buckets { known[bucket.from] = bucket.count }
        result.buckets = buckets.compactMap { bucket in
            let before = known[bucket.from] ?? 0
            guard bucket.count > before else { return nil }
            return Bucket(from: bucket.from, to: bucket.to, count: bucket.count - before)
        }
        return result
    }

    /// The duration below which that share of all lies, by its place in its bucket; nil without any.
    package func percentile(_ share: Double) -> UInt64? {
        let all = Double(count)
        guard all > 0 else { return nil }
        let wanted = max(all * share, 1)
        var seen = 0.0
        for bucket in buckets {
            let here = Double(bucket.count)
            if seen + here >= wanted {
                let width = Double(bucket.to - bucket.from)
                return min(
                    UInt64(Double(bucket.from) + width * (wanted - seen) / here), maximum)
            }
            seen += here
        }
        return maximum
    }
}

/// One surface in a status report, as far as `top` shows it.
package struct TopSurface: Sendable, Equatable {
    /// The guest's name of it.
    package var key: UInt64 = 0
    /// Title, as the guest gave it: not clean.
    package var title = ""
    /// The producer has taken it away.
    package var isGone = false
    /// Size in pixels, in words.
    package var size = ""
    /// Frames committed.
    package var shown: UInt64 = 0
    /// Frames replaced before that.
    package var superseded: UInt64 = 0
    /// Frames refused.
    package var refused: UInt64 = 0
    /// How its pixels get to the consumer.
    package var importPath = ""
    /// How its fences are served.
    package var syncPath = ""
    /// Shown, hidden, frozen or handed; nil when the report does not say.
    package var visibility: String?
    /// Durations by stage.
    package var durations: [TopStage: TopDurations] = [:]

    init(_ value: JSONValue) {
        key = value["surface"]?.count ?? 0
        title = value["title"]?.text ?? ""
        isGone = value["gone"]?.truth ?? false
        size = value["size"]?.text ?? ""
        shown = value["shown"]?.count ?? 0
        superseded = value["superseded"]?.count ?? 0
        refused = value["refused"]?.count ?? 0
        importPath = value["import_path"]?.text ?? ""
        syncPath = value["sync_path"]?.text ?? ""
        visibility = value["visibility"]?.text
        for stage in TopStage.allCases {
            durations[stage] = TopDurations(value["stages"]?[stage.rawValue])
        }
    }
}

/// One VM in a status report.
package struct TopVM: Sendable, Equatable {
    /// Its name on this host.
    package var name = ""
    /// Its producer is connected.
    package var isConnected = false
    /// Which connection it is.
    package var generation: UInt64 = 0
    /// Why its windows are not shown, in words; nil when they are.
    package var trouble: String?
    /// Buffers at the moment.
    package var buffers: UInt64 = 0
    /// Bytes of them.
    package var bytes: UInt64 = 0
    /// Descriptors held for it; nil when the report does not say.
    package var descriptors: UInt64?
    /// Refusals of all kinds.
    package var refused: UInt64 = 0
    /// Its surfaces, those that are gone left out.
    package var surfaces: [TopSurface] = []

    init(_ value: JSONValue) {
        name = value["name"]?.text ?? ""
        isConnected = value["connected"]?.truth ?? false
        generation = value["generation"]?.count ?? 0
        if value["presenting"]?.truth == false {
            trouble = value["trouble"]?.text ?? "no compositor yet"
        }
        buffers = value["buffers"]?.count ?? 0
        bytes = value["bytes"]?.count ?? 0
        descriptors = value["descriptors"]?["total"]?.count
        refused = (value["refusals"]?.members ?? []).reduce(0) { $0 &+ ($1.value.count ?? 0) }
        surfaces = (value["surfaces"]?.elements ?? []).map(TopSurface.init).filter { !$0.isGone }
    }
}

/// A status report and when it came.
package struct TopSnapshot: Sendable, Equatable {
    /// When, nanoseconds of CLOCK_MONOTONIC.
    package var time: UInt64
    /// Its VMs, in its order.
    package var vms: [TopVM]

    /// Reads a status report; members that it does not know are passed over, those that lack count as 0.
    package init(_ status: JSONValue, time: UInt64) {
        self.time = time
        vms = (status["vms"]?.elements ?? []).map(TopVM.init)
    }
}
