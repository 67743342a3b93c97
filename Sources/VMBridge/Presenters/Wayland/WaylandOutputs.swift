import Wayland

/// The outputs of one compositor by their names, which wl_output tells since version 4. Older ones have
/// none and are not bound.
final class WaylandOutputs {
    private struct Output {
        /// The registry's number of it.
        let global: UInt32
        let object: WlOutput
        var name: String?
    }

    private var outputs: [Output] = []
    private let registry: WaylandRegistry
    /// Called when an output has told its name.
    var onNamed: (() -> Void)?

    init(_ registry: WaylandRegistry) {
        self.registry = registry
        for global in registry.globals { bind(global) }
    }

    /// The output of that name; nil when there is none.
    subscript(_ name: String) -> WlOutput? { outputs.first { $0.name == name }?.object }

    /// A global is there, perhaps an output.
    func bind(_ global: WaylandRegistry.Global) {
        guard global.interface == WlOutput.interfaceName, global.version >= 4,
            let object = registry.bind(WlOutput.self, global, maximum: 4)
        else { return }
        outputs.append(Output(global: global.name, object: object))
        object.onEvent { [unowned self] event in
            switch consume event {
            case .name(let name): named(global.name, name)
            default: break
            }
        }
    }

    private func named(_ global: UInt32, _ name: String?) {
        guard let index = outputs.firstIndex(where: { $0.global == global }) else { return }
        outputs[index].name = name
        onNamed?()
    }

    /// A global is gone.
    func remove(_ global: WaylandRegistry.Global) {
        guard let index = outputs.firstIndex(where: { $0.global == global.name }) else { return }
        outputs.remove(at: index).object.release()
    }

    /// Ends the objects.
    func tearDown() {
        onNamed = nil
        for output in outputs { output.object.release() }
        outputs.removeAll()
    }
}
