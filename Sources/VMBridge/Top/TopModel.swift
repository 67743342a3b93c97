/// What the surfaces are ordered by.
package enum TopSort: String, Sendable, CaseIterable {
    /// As the bridge tells them.
    case name = "as told"
    /// Most frames a second first.
    case frames = "frames/s"
    /// Longest p99 of the chosen stage first.
    case latency = "p99"
    /// Most superseded frames a second first.
    case superseded = "superseded"

    /// The next one, in a circle.
    package var next: TopSort {
        let all = TopSort.allCases
        let index = all.firstIndex(of: self) ?? 0
        return all[(index + 1) % all.count]
    }
}

/// What two status reports say of the time between them: rates, and percentiles of the frames that came
/// meanwhile. Pure.
package struct TopModel: Sendable, Equatable {
    /// A surface in numbers.
    package struct Surface: Sendable, Equatable {
        /// The report's own.
        package var now: TopSurface
        /// Commits a second; nil when it was not there before.
        package var framesPerSecond: Double?
        /// Superseded frames a second.
        package var supersededPerSecond: Double?
        /// Durations of the frames since the earlier report.
        package var durations: [TopStage: TopDurations] = [:]
    }

    /// A VM with its surfaces.
    package struct VM: Sendable, Equatable {
        /// The report's own.
        package var now: TopVM
        /// Its surfaces, in order.
        package var surfaces: [Surface]
    }

    /// VMs, in order.
    package var vms: [VM]
    /// Seconds between the reports; 0 with only one.
    package var seconds: Double

    /// Compares two reports.
    ///
    /// - Parameters:
    ///   - earlier: nil at first: there are no rates then.
    ///   - stage: whose percentile the order by p99 means.
    package init(
        _ earlier: TopSnapshot?, _ now: TopSnapshot, sort: TopSort = .name,
        stage: TopStage = .total
    ) {
        let passed = earlier.map { now.time > $0.time ? Double(now.time - $0.time) / 1e9 : 0 } ?? 0
        seconds = passed
        vms = now.vms.map { vm in
            let before = earlier?.vms.first {
                $0.name == vm.name && $0.generation == vm.generation
            }
            var surfaces = vm.surfaces.map { surface in
                Self.compare(
                    before?.surfaces.first { $0.key == surface.key }, surface, passed)
            }
            if sort != .name {
                surfaces = Self.ordered(surfaces) { Self.weight($0, sort, stage) }
            }
            return VM(now: vm, surfaces: surfaces)
        }
        if sort != .name {
            vms = Self.ordered(vms) { vm in
                vm.surfaces.map { Self.weight($0, sort, stage) }.max() ?? -1
            }
        }
    }

    private static func compare(
        _ before: TopSurface?, _ now: TopSurface, _ seconds: Double
    ) -> Surface {
        var result = Surface(now: now)
        // A counter that fell belongs to another surface of the same name.
        guard let before, seconds > 0, now.shown >= before.shown,
            now.superseded >= before.superseded
        else { return result }
        result.framesPerSecond = Double(now.shown - before.shown) / seconds
        result.supersededPerSecond = Double(now.superseded - before.superseded) / seconds
        for (stage, durations) in now.durations {
            result.durations[stage] = durations.since(before.durations[stage] ?? TopDurations())
        }
        return result
    }

    private static func weight(_ surface: Surface, _ sort: TopSort, _ stage: TopStage) -> Double {
        switch sort {
        case .name: 0
        case .frames: surface.framesPerSecond ?? -1
        case .latency: surface.durations[stage]?.percentile(0.99).map(Double.init) ?? -1
        case .superseded: surface.supersededPerSecond ?? -1
        }
    }

    /// Heaviest first; equal ones keep their order, so that the picture does not jump.
    private static func ordered<Element>(
        _ elements: [Element], _ weight: (Element) -> Double
    ) -> [Element] {
        let weights = elements.map(weight)
        return elements.indices.sorted {
            (weights[$1], $0) < (weights[$0], $1)
        }.map { elements[$0] }
    }

    /// Commits a second of all surfaces together; nil before there are any.
    package var framesPerSecond: Double? {
        let all = vms.flatMap(\.surfaces).compactMap(\.framesPerSecond)
        return all.isEmpty ? nil : all.reduce(0, +)
    }
}
