import VMBridgeCore

/// Both ends of an import that the compositor refused: who made the dma-buf, and who should have drawn
/// from it. Most such refusals come from the two being different devices.
struct ImportFailure: Equatable {
    /// The kernel's name of what made the dma-buf ("udmabuf", "system"); nil when it is not told.
    var exporter: String?
    /// The device that the compositor draws with; nil when it has told none.
    var device: HostDevice?

    /// For status: what was refused by whom.
    var clause: String { "the dma-buf of \(from) was not imported by \(by)" }

    /// For the log and for the producer.
    func sentence(about layout: BufferLayout) -> String {
        "The dma-buf of \(from), \(layout.format) with modifier \(layout.modifier), was not imported by \(by)."
    }

    private var from: String { exporter.map { "exporter \($0)" } ?? "an unknown exporter" }

    private var by: String {
        device.map { "the compositor's device \($0)" }
            ?? "the compositor, which names no device of its own"
    }
}
