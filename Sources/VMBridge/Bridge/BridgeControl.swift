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

    package func reload() throws(ControlFault) -> [String] {
        guard let onReload else {
            throw ControlFault(.failed, "this bridge reads no configuration")
        }
        onReload()
        return []
    }

    package func lastFrame(vm: String, surface: SurfaceKey) -> CommittedFrame? {
        running.lastFrame(vm: vm, surface: surface)
    }

    package func isHeld(_ frame: CommittedFrame) -> Bool {
        running.isHeld(frame)
    }
}
