import Descriptors
import VMBridgeCore

/// What sources use that are no sockets of source-v1: records made on this side, and words of their own for
/// status.
extension VMSession {
    /// Takes a record that the source made itself.
    ///
    /// - Parameter descriptors: the record's own, all of them; those that are not taken stay in.
    package func receive(
        _ record: ProducerRecord, descriptors: inout DescriptorBundle, at time: UInt64 = 0
    ) {
        receive(
            record, RecordFrame(record, descriptors: descriptors.count), &descriptors, at: time)
    }

    /// The same without descriptors.
    package func receive(_ record: ProducerRecord, at time: UInt64 = 0) {
        var none = DescriptorBundle()
        receive(record, descriptors: &none, at: time)
    }

    /// Hands over which committed frames the compositor has asked to be followed by another, in order, and
    /// forgets it.
    package func takeFrameCallbacks(_ body: (SurfaceKey, FrameSequence) -> Void) {
        frameCallbacks.take { body($0.surface, $0.sequence) }
    }

    /// Says where a buffer's memory comes from: stands before its import path in status.
    package func describe(_ buffer: BufferKey, origin: String) { origins[buffer] = origin }

    /// Says what a surface's guest is held to its pace by, in the words of status.
    package func describe(_ surface: SurfaceKey, pacing: String) {
        with(surface) { $0.counters.pacing = pacing }
    }

    /// Says what a surface's source knows of its frames' completion: stands before its sync path in status.
    package func describe(_ surface: SurfaceKey, announcement: String) {
        with(surface) { $0.counters.announcement = announcement }
    }

    /// Books bytes of a surface's pixels that the source copied.
    package func countCopied(_ bytes: UInt64, of surface: SurfaceKey) {
        with(surface) { $0.counters.bytesCopied += bytes }
    }

    /// What the source refused of its guest by itself: counted as other refusals are, logged at the same rate.
    package func countRefused(_ refusal: Refusal, about what: String, object: UInt64 = 0) {
        count(refusal, about: what, object: object)
    }

    private func with(_ key: SurfaceKey, _ body: (SurfaceSession) -> Void) {
        if let id = identifiers[key], let surface = surfaces[id.slot] { body(surface) }
    }

    /// How a buffer's pixels get to the consumer, the source's part included.
    func importPath(of buffer: BufferID) -> String {
        let path = presenter.importPath(of: buffer)
        guard !origins.isEmpty, let key = ledger[buffer]?.key, let origin = origins[key] else {
            return path
        }
        // Whose memory it is, and whether it was copied, is the source's to say.
        let pool = "wl_shm pool"
        return "\(origin), \(path.hasPrefix(pool) ? pool : path)"
    }
}
