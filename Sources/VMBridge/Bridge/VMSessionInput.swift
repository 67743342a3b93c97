import VMBridgeCore

/// Input on its way from the presenter's seat to the producer: only what a surface has the focus for, and with
/// nothing left pressed when that ends.
extension VMSession {
    /// Whether the producer is told of input now.
    var isInputOpen: Bool { wantsInput && !isInputHeld }

    /// Takes what a person did to a surface.
    func take(_ event: InputEvent, _ time: UInt64, _ surface: SurfaceSession) {
        guard !surface.isDetached, surface.role == .toplevel else { return }
        switch surface.machine.phase {
        // The last words of a window that is no longer its own.
        case .unmapped, .concealed, .closing, .gone: return
        case .awaitingConfigure, .ready, .presenting, .hidden: break
        }
        surface.input.take(event) { tell($0, time, surface) }
    }

    /// Nobody can do anything to it any more.
    func endInput(of surface: SurfaceSession) {
        surface.input.leave { tell($0, 0, surface) }
    }

    private func tell(_ event: InputEvent, _ time: UInt64, _ surface: SurfaceSession) {
        guard wantsInput, !surface.isDetached else { return }
        feedback.append(.input(surface.key, InputRecord(event, time: time)))
    }

    /// The producer begins or ceases to take input.
    func inputWasOpenedOrClosed() {
        let isOpen = isInputOpen
        if isOpen, owesKeymap { tellKeymap() }
        for place in surfaces.places {
            guard let surface = surfaces.element(at: place) else { continue }
            if isOpen {
                surface.input.resume { tell($0, 0, surface) }
            } else {
                surface.input.pause { tell($0, 0, surface) }
            }
        }
    }

    /// Tells the session's keyboard, as it is now, as soon as the producer takes input.
    func tellKeymap() {
        owesKeymap = !isInputOpen
        guard isInputOpen else { return }
        var keymap = presenter.keymap ?? KeymapRecord(size: 0)
        if keymap.size > SourceProtocol.maximumKeymap {
            logger.warning(
                "\(name): the keymap of \(presenter.name) has \(keymap.size) bytes, above \(SourceProtocol.maximumKeymap); the guest gets none"
            )
            keymap.size = 0
        }
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
