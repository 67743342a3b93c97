import VMBridgeCore

/// The state of a bridge in words and as JSON.
package enum StatusReport {
    /// A line for each VM, then the table of all surfaces.
    package static func lines(_ status: [VMStatus], drivers: [DriverStatus] = []) -> [String] {
        StatusText.lines(value(status, drivers: drivers))
    }

    /// The table of all surfaces alone.
    package static func table(_ status: [VMStatus]) -> [String] {
        StatusText.table(
            value(status)["vms"]?.elements.flatMap { $0["surfaces"]?.elements ?? [] } ?? [])
    }

    /// The whole state as one JSON object; see `value`.
    package static func json(
        _ status: [VMStatus], consumers: [ConsumerStatus] = [], drivers: [DriverStatus] = []
    ) -> String { value(status, consumers: consumers, drivers: drivers).line }

    /// The same as a value; with `consumers` when somebody could be or was one, and `drivers` when VMs come by one.
    package static func value(
        _ status: [VMStatus], consumers: [ConsumerStatus] = [], drivers: [DriverStatus] = []
    ) -> JSONValue {
        var root = JSONObject()
        root.add("version", UInt64(1))
        root.add("vms", status.map(object))
        let known = consumers.filter {
            if case .consumer = $0.target { true } else { $0.generation > 0 }
        }
        if !known.isEmpty { root.add("consumers", known.map(object)) }
        if !drivers.isEmpty { root.add("drivers", drivers.map(\.object)) }
        return root.value
    }

    private static func object(_ vm: VMStatus) -> JSONObject {
        var object = JSONObject()
        object.add("name", vm.name)
        object.add("connected", vm.isConnected)
        object.add("generation", vm.generation)
        object.add("presenting", vm.isPresenting)
        if let source = vm.source { object.add("source", source) }
        if let trouble = vm.trouble { object.add("trouble", trouble) }
        if let device = vm.device { object.add("device", device) }
        switch vm.securityContext {
        case .named: object.add("security_context", true)
        case .nameless(let why):
            object.add("security_context", false)
            object.add("security_context_trouble", why)
        case nil: break
        }
        object.add("buffers", UInt64(vm.buffers))
        object.add("bytes", vm.bytes)
        object.add("uses", UInt64(vm.uses))
        object.add("descriptors", self.object(vm.descriptors))
        var refusals = JSONObject()
        for (reason, count) in vm.refusals.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            refusals.add(reason.word, count)
        }
        object.add("refusals", refusals)
        if let allocator = vm.allocator { object.add("allocator", self.object(allocator)) }
        if let blitter = vm.blitter { object.add("blitter", self.object(blitter)) }
        if let recording = vm.recording { object.add("recording", self.object(recording)) }
        object.add("surfaces", vm.surfaces.map(self.object))
        return object
    }

    private static func object(_ consumer: ConsumerStatus) -> JSONObject {
        var object = JSONObject()
        switch consumer.target {
        case .consumer(let name):
            object.add("kind", "consumer")
            object.add("name", name)
        case .vm(let name):
            object.add("kind", "vm")
            object.add("name", name)
        }
        object.add("connected", consumer.isConnected)
        object.add("generation", consumer.generation)
        object.add("surfaces", UInt64(consumer.surfaces))
        object.add("buffers", UInt64(consumer.buffers))
        object.add("bytes", consumer.bytes)
        let counters = consumer.counters
        object.add("frames", counters.frames)
        object.add("fences", counters.fences)
        object.add("released", counters.released)
        object.add("release_fences", counters.releaseFences)
        object.add("overdue", counters.overdue)
        object.add("over_budget", counters.overBudget)
        object.add("throttled", counters.throttled)
        object.add("read_only_buffers", counters.readOnlyBuffers)
        object.add("refused_by_consumer", counters.refusedByConsumer)
        var refusals = JSONObject()
        for (reason, count) in counters.refusals.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            refusals.add(reason.word, count)
        }
        object.add("refusals", refusals)
        return object
    }

    /// The file that its connection is recorded to.
    private static func object(_ recording: RecordingStatus) -> JSONObject {
        var object = JSONObject()
        if let file = recording.file { object.add("file", file) }
        object.add("bytes", recording.bytes)
        object.add("chunks", recording.chunks)
        object.add("dropped_datagrams", recording.droppedDatagrams)
        object.add("dropped_pixels", recording.droppedPixels)
        object.add("unreadable", recording.unreadable)
        if let ended = recording.ended { object.add("ended", ended) }
        return object
    }

    private static func object(_ held: DescriptorHoldings) -> JSONObject {
        var object = JSONObject()
        object.add("buffers", UInt64(held.buffers))
        object.add("fences", UInt64(held.fences))
        object.add("queued", UInt64(held.queued))
        object.add("sockets", UInt64(held.sockets))
        object.add("consumer", UInt64(held.consumer))
        object.add("workers", UInt64(held.workers))
        object.add("total", UInt64(held.total))
        return object
    }

    /// A graphics worker.
    private static func object(_ worker: GraphicsWorkerStatus) -> JSONObject {
        var object = JSONObject()
        object.add("running", worker.isRunning)
        object.add("starts", UInt64(worker.starts))
        object.add("fulfilled", UInt64(worker.fulfilled))
        object.add("refused", UInt64(worker.refused))
        object.add("crashes", UInt64(worker.crashes))
        object.add("timeouts", UInt64(worker.timeouts))
        object.add("malformed", UInt64(worker.malformed))
        return object
    }

    /// One surface.
    private static func object(_ surface: SurfaceStatus) -> JSONObject {
        let counters = surface.counters
        var object = JSONObject()
        object.add("surface", surface.surface.value)
        if let pacing = counters.pacing { object.add("pacing", pacing) }
        object.add("title", surface.title)
        object.add("app_id", surface.appID)
        object.add("gone", surface.isGone)
        object.add("visibility", surface.visibility)
        object.add("route", surface.route)
        object.add("size", counters.size.description)
        object.add("shown", counters.shown)
        object.add("superseded", counters.superseded)
        object.add("refused", counters.refused)
        object.add("lost", counters.lost)
        object.add("presented", counters.presented)
        object.add("import_path", counters.importPath)
        object.add("bytes_copied", counters.bytesCopied)
        object.add("sync_path", counters.syncPath)
        object.add("release_path", counters.releasePath)
        object.add("fences_passed", counters.fencesPassed)
        object.add("release_fences", counters.releaseFences)
        object.add("frames_per_second", counters.framesPerSecond)
        object.add("latency_mean_ns", counters.latency.mean)
        object.add("latency_min_ns", counters.latency.minimum)
        object.add("latency_max_ns", counters.latency.maximum)
        object.add("latency_p50_ns", counters.latency.percentile(0.5))
        object.add("latency_p99_ns", counters.latency.percentile(0.99))
        object.add("stages", stages(counters))
        return object
    }

    /// Durations of the stages of frames, and as `total` from receipt to commit. Buckets are those that
    /// counted something: from, to (nanoseconds, not included), how many.
    private static func stages(_ counters: SurfaceCounters) -> JSONObject {
        var object = JSONObject()
        object.add("total", durations(counters.latency))
        for stage in FrameStage.allCases {
            object.add(stage.word, durations(counters.stages[stage]))
        }
        return object
    }

    private static func durations<H: DurationHistogram>(_ histogram: H) -> JSONObject {
        var object = JSONObject()
        object.add("count", histogram.count)
        object.add("p50_ns", histogram.percentile(0.5))
        object.add("p99_ns", histogram.percentile(0.99))
        object.add("max_ns", histogram.maximum)
        object.add("sum_ns", histogram.sum)
        let counted = (0..<H.capacity).filter { histogram[$0] > 0 }
        object.add(
            "buckets",
            .array(
                counted.map { index in
                    let bounds = H.bounds(index)
                    return .array([
                        .unsigned(bounds.lowerBound), .unsigned(bounds.upperBound),
                        .unsigned(UInt64(histogram[index])),
                    ])
                }))
        return object
    }
}
