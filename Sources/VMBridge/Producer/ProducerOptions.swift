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
    /// A dma-buf of the tests' own device (module vmbtest, Tests/vm/modules).
    case vmbtest
    /// A dma-buf that the bridge is asked for (source-v1 §5.2, BUFFER_ALLOCATE).
    case host
    /// The same in one piece of memory.
    case hostContiguous = "host-contiguous"

    /// Whether the bridge makes it.
    package var isHosts: Bool { self == .host || self == .hostContiguous }

    /// What it is called on the wire.
    package var kind: MemoryKind { self == .memfd ? .memfd : .dmaBuf }
}

/// How a producer says that a frame's content is complete, and what becomes of its word.
package enum ProducerFence: String, CaseIterable, Sendable {
    /// It is complete when the frame is sent.
    case none
    /// A sync_file goes with the frame and signals after the delay.
    case syncFile = "sync_file"
    /// A sync_file that has signalled already.
    case signalled
    /// A sync_file that never signals.
    case stuck
    /// A sync_file that has failed already.
    case failed
    /// A sync_file that fails after the delay.
    case failing
    /// A FENCE_SIGNAL record follows after the delay.
    case message
    /// As `message`, but the record never follows.
    case never
    /// A write fence on the dma-buf itself, which signals after the delay.
    case implicit
    /// One that never signals. The buffer keeps it for ever.
    case implicitStuck = "implicit-stuck"
    /// One that fails after the delay.
    case implicitFailing = "implicit-failing"
    /// A point of a time line that has no fence before it signals, after the delay.
    case point
    /// A point that has a pending fence when the frame is sent.
    case pointFence = "point-fence"
    /// A point that never gets a fence.
    case pointStuck = "point-stuck"

    /// What it is called on the wire.
    package var kind: AcquireKind {
        switch self {
        case .none: .none
        case .syncFile, .signalled, .stuck, .failed, .failing: .syncFile
        case .message, .never: .message
        case .implicit, .implicitStuck, .implicitFailing: .implicit
        case .point, .pointFence, .pointStuck: .timelinePoint
        }
    }

    /// Of the same kind on the wire (sync_file for `none`), and never complete.
    var stuckForm: ProducerFence {
        switch kind {
        case .none, .syncFile: .stuck
        case .message: .never
        case .implicit: .implicitStuck
        case .timelinePoint: .pointStuck
        }
    }

    /// What the fence itself does.
    var fate: TestDevice.FenceKind {
        switch self {
        case .none, .signalled: .signalled
        case .failed: .failed
        case .stuck, .never, .implicitStuck, .pointStuck: .never
        case .syncFile, .failing, .message, .implicit, .implicitFailing, .point, .pointFence:
            .pending
        }
    }

    /// Whether the module vmbtest alone can make it: vgem's fences always end, and well.
    package var needsTestDevice: Bool {
        switch self {
        case .none, .syncFile, .signalled, .message, .never, .implicit: false
        case .stuck, .failed, .failing, .implicitStuck, .implicitFailing, .point, .pointFence,
            .pointStuck:
            true
        }
    }

    /// Whether a device has to make it.
    var needsDevice: Bool { kind != .none && kind != .message }

    /// Whether its end, after the delay, is a failure.
    var endsBadly: Bool { self == .failing || self == .implicitFailing }
}

/// What a producer draws when it was given no picture.
package enum ProducerPattern: String, CaseIterable, Sendable {
    /// The moving test pattern, for people and for pictures equal to the pixel (``TestPattern``).
    case test
    /// The frame's number in every row, for finding mixed pictures (``RowsPattern``).
    case rows
}

/// How a producer wants buffers back.
package enum ProducerRelease: String, CaseIterable, Sendable {
    /// When RELEASED comes.
    case record
    /// When the fence signals that came with RELEASED.
    case fence
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
    /// How completion is told from frame to frame, over and over; empty for ``fence`` alone.
    package var fencePattern: [ProducerFence] = []
    /// How many surfaces, from the first, send nothing after their first frame but frames that are never complete.
    package var stuckSurfaces = 0
    /// Write ``RowsPattern/poison`` all over a buffer as soon as it is given back.
    package var overwrites = false
    /// How buffers are wanted back.
    package var release = ProducerRelease.record
    /// How long after its frame a fence signals, nanoseconds; nil for never.
    package var fenceDelay: UInt64? = 0
    /// Frames of each surface; nil for no end.
    package var frames: UInt64?
    /// Frames a second of each surface.
    package var rate: Double = 60
    /// What is drawn.
    package var pattern = ProducerPattern.test
    /// Shown instead of a pattern.
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
    /// What the pointer is on each window; nil for the host's own.
    package var cursor: ProducerCursor?
    /// Ask for input and tell of it, a line for each event.
    package var wantsInput = false
    /// After the last frame stay until the windows are closed.
    package var holds = false
    /// How long to stay after the last frame, nanoseconds.
    package var linger: UInt64 = 0
    /// Tell of every event.
    package var isVerbose = false

    /// The defaults.
    package init(socketPath: String) { self.socketPath = socketPath }

    /// The fence of a frame.
    ///
    /// - Parameters:
    ///   - surface: place of its surface, from 0.
    ///   - sequence: its number, from 1.
    package func fence(surface: Int, _ sequence: FrameSequence) -> ProducerFence {
        if surface < stuckSurfaces { return sequence.value <= 1 ? .none : fence.stuckForm }
        guard !fencePattern.isEmpty, sequence.value > 0 else { return fence }
        return fencePattern[Int((sequence.value - 1) % UInt64(fencePattern.count))]
    }

    /// All kinds of fences that a run uses.
    package var usedFences: Set<ProducerFence> {
        var kinds = Set(fencePattern.isEmpty ? [fence] : fencePattern)
        if stuckSurfaces > 0 { kinds.insert(fence.stuckForm) }
        return kinds
    }
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
