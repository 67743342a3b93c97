import VMBridgeCore

/// Finds what a request is about, or says in words what there is instead.
enum ControlSelection {
    /// Names in a sentence, at most.
    private static let listLimit = 8

    /// Refuses a VM or a surface that is not there.
    static func check(
        _ selector: SurfaceSelector, _ status: [VMStatus]
    ) throws(ControlFault) {
        guard let vm = status.first(where: { $0.name == selector.vm }) else {
            throw ControlFault(
                .noSuchVM,
                "no VM “\(CleanText.clean(selector.vm))”; there \(list(status.map(\.name)))")
        }
        guard let surface = selector.surface else { return }
        let there = vm.surfaces.filter { !$0.isGone }.map(\.surface)
        guard there.contains(surface) else {
            throw ControlFault(
                .noSuchSurface,
                "no surface \(surface) of VM “\(vm.name)”; there \(list(there.map(\.description)))")
        }
    }

    /// "are a, b", "is a", "are none".
    private static func list(_ names: [String]) -> String {
        if names.isEmpty { return "are none" }
        let shown = names.prefix(listLimit).joined(separator: ", ")
        if names.count == 1 { return "is \(shown)" }
        let rest = names.count - listLimit
        return rest > 0 ? "are \(shown) and \(rest) more" : "are \(shown)"
    }

    /// The frames that a capture is to show.
    static func capture(
        _ request: ControlRequest, _ target: any ControlTarget
    ) throws(ControlFault) -> CaptureOrder {
        let status = target.status
        let vm: String?
        let key: SurfaceKey?
        var isSheet = false
        switch request {
        case .capture(let name, let surface): (vm, key) = (name, surface)
        case .captureAll(let name):
            (vm, key) = (name, nil)
            isSheet = true
        default: throw ControlFault(.failed, "this is no capture")
        }
        if let vm { try check(SurfaceSelector(vm: vm, surface: key), status) }
        var frames: [CommittedFrame] = []
        for surface in status.flatMap(\.surfaces) where !surface.isGone {
            guard vm == nil || surface.vm == vm, key == nil || surface.surface == key else {
                continue
            }
            if let frame = target.lastFrame(vm: surface.vm, surface: surface.surface) {
                frames.append(frame)
            }
        }
        guard let first = frames.first else {
            throw ControlFault(
                .noPicture, "there is nothing to take a picture of: no frame was committed yet")
        }
        guard isSheet || frames.count == 1 else {
            let names = frames.map(\.surface.description)
            throw ControlFault(
                .badMember,
                "VM “\(first.vm)” has several surfaces: name one with “surface”; there \(list(names))"
            )
        }
        return CaptureOrder(frames: frames, isSheet: isSheet)
    }
}

/// What a capture is to show.
struct CaptureOrder {
    /// At least one; exactly one unless it is a sheet.
    var frames: [CommittedFrame]
    /// Whether all go onto one picture with title bars.
    var isSheet: Bool
}
