import VMBridgeCore

/// The last frame of a surface, for who takes a picture of it. Looks, and changes nothing.
extension VMSession {
    /// What was committed last of a surface, and its memory; nil when there is none, or the producer took
    /// its buffer away since.
    package func lastFrame(of key: SurfaceKey) -> CommittedFrame? {
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], surface.key == key, !surface.isDetached else {
                continue
            }
            guard let frame = surface.machine.current,
                let memory = presenter.memory(of: frame.buffer)
            else { return nil }
            return CommittedFrame(
                vm: name, surface: key, title: surface.properties.identity.title, frame: frame,
                memory: memory)
        }
        return nil
    }

    /// Whether a frame's use has not ended: until then its producer keeps its hands off the buffer.
    package func isHeld(_ use: UseID) -> Bool { ledger[use] != nil }
}
