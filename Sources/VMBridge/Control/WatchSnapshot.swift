import VMBridgeCore

/// What a `watch` compares to see what has changed.
package struct WatchSnapshot: Sendable {
    private struct VM: Sendable, Equatable {
        var isConnected: Bool
        var generation: UInt64
        var isPresenting: Bool
    }

    private struct Surface: Sendable, Equatable {
        var vm: String
        var key: UInt64
        var state: JSONValue
        /// What may change without being news.
        var told: JSONObject

        static func == (a: Surface, b: Surface) -> Bool { a.state == b.state }
    }

    private var names: [String] = []
    private var vms: [String: VM] = [:]
    private var surfaces: [[String]: Surface] = [:]
    private var order: [[String]] = []

    /// Nothing at all.
    package init() {}

    /// What is there now. Surfaces that are gone are not part of it.
    package init(_ status: [VMStatus]) {
        for vm in status {
            names.append(vm.name)
            vms[vm.name] = VM(
                isConnected: vm.isConnected, generation: vm.generation,
                isPresenting: vm.isPresenting)
            for surface in vm.surfaces where !surface.isGone {
                let key = [vm.name, "\(vm.generation)", surface.surface.description]
                if surfaces[key] == nil { order.append(key) }
                surfaces[key] = Surface(
                    vm: vm.name, key: surface.surface.value,
                    state: ControlReply.state(of: surface).value,
                    told: ControlReply.surface(surface))
            }
        }
    }

    /// The events that lead from an older snapshot to this one: what left, what came, what changed.
    package func events(since old: WatchSnapshot) -> [JSONValue] {
        var events: [JSONValue] = []
        for key in old.order where surfaces[key] == nil {
            guard let surface = old.surfaces[key] else { continue }
            events.append(
                ControlReply.event(
                    "surface_gone",
                    [
                        JSONMember("vm", .string(surface.vm)),
                        JSONMember("surface", .unsigned(surface.key)),
                    ]))
        }
        for name in old.names + names.filter({ old.vms[$0] == nil }) {
            events += changes(of: name, from: old.vms[name], to: vms[name])
        }
        for key in order {
            guard let surface = surfaces[key] else { continue }
            let former = old.surfaces[key]
            guard former != surface else { continue }
            events.append(
                ControlReply.event(
                    former == nil ? "surface_appeared" : "surface_changed", surface.told.members))
        }
        return events
    }

    private func changes(of name: String, from old: VM?, to new: VM?) -> [JSONValue] {
        guard old != new else { return [] }
        let vm = JSONMember("vm", .string(name))
        var events: [JSONValue] = []
        // Another generation is another connection, however short the time between.
        let isSame = old?.generation == new?.generation
        if old?.isConnected == true, !isSame || new?.isConnected != true {
            events.append(ControlReply.event("vm_left", [vm]))
        }
        if let new, new.isConnected, !isSame || old?.isConnected != true {
            events.append(
                ControlReply.event(
                    "vm_connected", [vm, JSONMember("generation", .unsigned(new.generation))]))
        }
        if let new, let old, new.isPresenting != old.isPresenting {
            events.append(
                ControlReply.event(new.isPresenting ? "consumer_there" : "consumer_lost", [vm]))
        }
        return events
    }
}
