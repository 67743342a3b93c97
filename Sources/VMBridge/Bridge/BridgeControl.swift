import VMBridgeCore

/// What the control socket commands of a bridge.
extension BridgeService: ControlTarget {
    package func action(_ words: [String]) throws(ControlFault) -> RuleAction {
        do throws(RuleAction.Problem) {
            return try RuleAction.parse(words)
        } catch {
            throw ControlFault(.badMember, "\(error)")
        }
    }

    package func reload() throws(ControlFault) {
        guard let onReload else {
            throw ControlFault(.failed, "this bridge reads no configuration")
        }
        onReload()
    }

    package func lastFrame(vm: String, surface: SurfaceKey) -> CommittedFrame? {
        switch running {
        case .wayland(let bridge): bridge.session(of: vm)?.lastFrame(of: surface)
        case .headless(let bridge): bridge.session(of: vm)?.lastFrame(of: surface)
        }
    }

    package func isHeld(_ frame: CommittedFrame) -> Bool {
        let use = frame.frame.use
        return switch running {
        case .wayland(let bridge): bridge.session(of: frame.vm)?.isHeld(use) ?? false
        case .headless(let bridge): bridge.session(of: frame.vm)?.isHeld(use) ?? false
        }
    }
}
