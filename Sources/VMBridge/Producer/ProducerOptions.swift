import VMBridgeCore

/// What kind of memory a producer's buffers are made of.
package enum ProducerMemory: String, CaseIterable, Sendable {
    /// A memfd, sealed against shrinking and growing.
    case memfd
    /// A dma-buf over the pages of a memfd (`/dev/udmabuf`).
    case udmabuf
    /// A dma-buf of the system heap (`/dev/dma_heap/system`).
    case heap
    /// A dma-buf of the kernel's virtual GEM driver (module vgem).
    case vgem

    /// What it is called on the wire.
    package var kind: MemoryKind { self == .memfd ? .memfd : .dmaBuf }
}

/// How a producer says that a frame's content is complete.
package enum ProducerFence: String, CaseIterable, Sendable {
    /// It is complete when the frame is sent.
    case none
    /// A sync_file goes with the frame; vgem makes it.
    case syncFile = "sync_file"
    /// A FENCE_SIGNAL record follows.
    case message
    /// As `message`, but the record never follows.
    case never

    /// What it is called on the wire.
    package var kind: AcquireKind {
        switch self {
        case .none: .none
        case .syncFile: .syncFile
        case .message, .never: .message
        }
    }
}

/// Everything that a run of the reference producer depends on.
package struct ProducerOptions: Sendable {
    /// Where the bridge listens.
    package var socketPath: String
    /// How long to go on trying to connect, nanoseconds.
    package var connectPatience: UInt64 = 0
    /// Windows.
    package var surfaces = 1
    /// Pixels of each; nil for the picture's own size, or 640x480.
    package var size: Size?
    /// Pixel format.
    package var format = PixelFormat.xrgb8888
    /// Buffers of each surface.
    package var buffers = 3
    /// What they are made of.
    package var memory = ProducerMemory.memfd
    /// How completion is told.
    package var fence = ProducerFence.none
    /// How long after its frame a fence signals, nanoseconds; nil for never.
    package var fenceDelay: UInt64? = 0
    /// Frames of each surface; nil for no end.
    package var frames: UInt64?
    /// Frames a second of each surface.
    package var rate: Double = 60
    /// Shown instead of the test pattern.
    package var picture: Picture?
    /// Title; the surface's number is added when there are several.
    package var title = "vm-bridge produce"
    /// App id.
    package var appID = "produce"
    /// Colour of the test pattern's first surface.
    package var seed: UInt32 = 0
    /// Part of the buffer to show; nil for all.
    package var crop: Rectangle?
    /// Size to show it at; nil for its own.
    package var destination: Size?
    /// How to turn it.
    package var transform = Transform.normal
    /// After the last frame stay until the windows are closed.
    package var holds = false
    /// How long to stay after the last frame, nanoseconds.
    package var linger: UInt64 = 0
    /// Tell of every event.
    package var isVerbose = false

    /// The defaults.
    package init(socketPath: String) { self.socketPath = socketPath }
}

/// How a producer's run ended.
package enum ProducerEnd: Equatable, Sendable, CustomStringConvertible {
    /// All is sent and given back, or the windows were closed.
    case done
    /// It could not connect.
    case notConnected(String)
    /// A device that it was told to use is missing or refuses.
    case deviceMissing(String)
    /// The bridge ended the connection, and said why.
    case refused(Refusal)
    /// The connection ended without a word.
    case disconnected(String)

    /// The exit code of `vm-bridge produce`.
    package var exitCode: Int32 {
        switch self {
        case .done: 0
        case .refused: 65
        case .notConnected, .disconnected: 69
        case .deviceMissing: 70
        }
    }

    package var description: String {
        switch self {
        case .done: "done"
        case .notConnected(let why), .deviceMissing(let why), .disconnected(let why): why
        case .refused(let refusal):
            "the bridge ended the connection, \(refusal.reason.word): \(refusal.sentence)"
        }
    }
}
