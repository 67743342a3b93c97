import VMBridgeCore

/// Input on its way from the presenter's seat to the producer: only what a surface has the focus for, and with
/// nothing left pressed when that ends.
extension VMSession {
    /// Takes what a person did to a surface.
    func take(_ event: InputEvent, _ time: UInt64, _ surface: SurfaceSession) {
        guard !surface.isDetached, surface.role == .toplevel else { return }
        surface.input.take(event) { tell($0, time, surface) }
    }

    /// Nobody can do anything to it any more.
    func endInput(of surface: SurfaceSession) {
        guard !surface.input.isIdle else { return }
        surface.input.leave { tell($0, 0, surface) }
    }

    private func tell(_ event: InputEvent, _ time: UInt64, _ surface: SurfaceSession) {
        guard wantsInput, !surface.isDetached else { return }
        feedback.append(.input(surface.key, InputRecord(event, time: time)))
    }

    /// Tells the session's keyboard, as it is now.
    func tellKeymap() {
        guard wantsInput else { return }
        var keymap = presenter.keymap ?? KeymapRecord(size: 0)
        if keymap.size > 0 {
            let copy = presenter.copyKeymap()
            if copy.isValid {
                feedbackDescriptors.append(copy)
            } else {
                keymap.size = 0
            }
        }
        feedback.append(.keymap(keymap))
    }
}
