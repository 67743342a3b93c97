import VMBridgeCore

extension TopModel {
    /// The figures of one interval as a line of JSON, for programs. Members may be added.
    package var json: String {
        var root = JSONObject()
        root.add("version", UInt64(1))
        root.add("seconds", seconds)
        root.add(
            "vms",
            vms.map { vm in
                var object = JSONObject()
                object.add("name", vm.now.name)
                object.add("connected", vm.now.isConnected)
                object.add("buffers", vm.now.buffers)
                object.add("bytes", vm.now.bytes)
                if let descriptors = vm.now.descriptors { object.add("descriptors", descriptors) }
                object.add("refused", vm.now.refused)
                object.add("surfaces", vm.surfaces.map(Self.object))
                return object
            })
        return root.text
    }

    private static func object(_ surface: Surface) -> JSONObject {
        let now = surface.now
        var object = JSONObject()
        object.add("surface", now.key)
        object.add("title", now.title)
        object.add("size", now.size)
        if let rate = surface.framesPerSecond { object.add("frames_per_second", rate) }
        if let rate = surface.supersededPerSecond { object.add("superseded_per_second", rate) }
        object.add("refused", now.refused)
        object.add("import_path", now.importPath)
        object.add("sync_path", now.syncPath)
        var stages = JSONObject()
        for stage in TopStage.allCases {
            guard let durations = surface.durations[stage],
                let median = durations.percentile(0.5), let late = durations.percentile(0.99)
            else { continue }
            var object = JSONObject()
            object.add("count", durations.count)
            object.add("p50_ns", median)
            object.add("p99_ns", late)
            stages.add(stage.rawValue, object)
        }
        object.add("stages", stages)
        return object
    }
}
