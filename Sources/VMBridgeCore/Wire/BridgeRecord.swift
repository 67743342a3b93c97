/// A pixel format that the bridge can import now, and where (source-v1 §5.1).
public struct ImportableFormat: Hashable, Sendable {
    /// Pixel format.
    public var format: FourCC
    /// Memory layout.
    public var modifier: Modifier
    /// Kinds of memory it may come in: bit 0 dma-buf, bit 1 memfd; and ``scanout``.
    public var memory: UInt32
    /// Device (dev_t) that the importer prefers; 0 when unknown or of no matter.
    public var device: UInt64
    /// An importable format.
    public init(format: FourCC, modifier: Modifier, memory: UInt32, device: UInt64 = 0) {
        self.format = format
        self.modifier = modifier
        self.memory = memory
        self.device = device
    }
    /// Bit 8 of `memory`: as a dma-buf it may go to the screen without being drawn.
    public static let scanout: UInt32 = 1 << 8
    /// The bit of a memory kind in `memory`.
    public static func bit(_ kind: MemoryKind) -> UInt32 { 1 << (kind.rawValue - 1) }
}

/// The bridge's answer to a greeting (source-v1 §5.1).
public struct Welcome: Sendable, Equatable {
    /// Version that is spoken from now on.
    public var version: UInt32 = 1
    /// Which connection of this VM it is, from 1.
    public var generation: UInt64
    /// Kinds of memory: bit 0 dma-buf, bit 1 memfd.
    public var memoryKinds: UInt32 = 3
    /// Acquire kinds: bit n for kind n.
    public var acquireKinds: UInt32 = 0b10101
    /// Kinds of release: bit 0 by record, bit 1 with a fence.
    public var releaseKinds: UInt32 = 3
    /// Limits in force.
    public var limits: VMLimits
    /// The VM's name on this host.
    public var vmName: String
    /// What can be imported now; empty while no compositor has said it.
    public var formats: [ImportableFormat]
    /// The answer to the greeting of a connection.
    public init(
        generation: UInt64, limits: VMLimits, vmName: String, formats: [ImportableFormat]
    ) {
        self.generation = generation
        self.limits = limits
        self.vmName = vmName
        self.formats = formats
    }
}

/// What the consumer says a window should be (source-v1 §6.2).
public struct ConfigureRecord: Sendable, Equatable {
    /// Size in pixels; zero means "choose your own".
    public var size: Size
    /// Scale × 120.
    public var scale: UInt32 = 120
    /// Bit n: state n of xdg_toplevel.state (1 maximized, 2 fullscreen, 3 resizing, 4 activated, …).
    public var states: UInt32
    /// A new frame is wanted, since none is held.
    public var wantsFrame: Bool
    /// A configure for a surface.
    public init(size: Size, states: UInt32 = 0, wantsFrame: Bool = false) {
        self.size = size
        self.states = states
        self.wantsFrame = wantsFrame
    }
}

/// When and how a frame reached the screen (source-v1 §6.3).
public struct PresentedRecord: Sendable, Equatable {
    /// Frame.
    public var sequence: FrameSequence
    /// Nanoseconds of the host's CLOCK_MONOTONIC.
    public var time: UInt64
    /// Nanoseconds from the receipt of its record.
    public var latency: UInt64
    /// Nanoseconds from one refresh to the next; 0 when unknown.
    public var refresh: UInt32
    /// Bits of wp_presentation_feedback.kind.
    public var flags: UInt32
    /// A frame that reached the screen.
    public init(
        sequence: FrameSequence, time: UInt64, latency: UInt64, refresh: UInt32, flags: UInt32
    ) {
        self.sequence = sequence
        self.time = time
        self.latency = latency
        self.refresh = refresh
        self.flags = flags
    }
}

/// A refusal as it goes to the producer (source-v1 §7).
public struct RefusedRecord: Sendable, Equatable {
    /// Type of the refused record; 0 when it is the connection that is refused.
    public var type: UInt16
    /// Object of the refused record.
    public var object: UInt64
    /// Its sequence when it was a frame, else 0.
    public var sequence: FrameSequence
    /// Why.
    public var refusal: Refusal
    /// A refusal of a record.
    public init(
        type: UInt16, object: UInt64, sequence: FrameSequence = FrameSequence(0), refusal: Refusal
    ) {
        self.type = type
        self.object = object
        self.sequence = sequence
        self.refusal = refusal
    }
}

/// A record from the bridge to a producer.
public enum BridgeRecord: Sendable, Equatable {
    /// Answer to the greeting.
    case welcome(Welcome)
    /// What can be imported has changed.
    case formatsChanged([ImportableFormat])
    /// What suits one surface best has changed.
    case surfaceFormats(SurfaceKey, [ImportableFormat])
    /// A use of a buffer ended.
    case released(BufferKey, SurfaceKey, FrameSequence, UseOutcome)
    /// A use of a buffer has ended but for a fence: the record's descriptor is a sync_file, and when it
    /// signals the use is over.
    case releasedWithFence(BufferKey, SurfaceKey, FrameSequence, UseOutcome)
    /// A buffer that the producer asked for: its layout, and what made its memory. The record's
    /// descriptors hold the planes.
    case allocated(BufferKey, BufferLayout, allocator: UInt32)
    /// What the window should be.
    case configure(SurfaceKey, ConfigureRecord)
    /// The window was asked to close.
    case close(SurfaceKey)
    /// A frame reached the screen.
    case presented(SurfaceKey, PresentedRecord)
    /// A frame never reached the screen.
    case discarded(SurfaceKey, FrameSequence)
    /// The session's keyboard; the record's descriptor holds the keymap's text.
    case keymap(KeymapRecord)
    /// What a person did to a surface.
    case input(SurfaceKey, InputRecord)
    /// Who takes surfaces that the host's rules hand on.
    case targets([HandTarget])
    /// Something was refused.
    case refused(RefusedRecord)

    /// Descriptors that go with it.
    public var descriptors: Int {
        switch self {
        case .releasedWithFence: return 1
        case .keymap(let keymap): return keymap.size > 0 ? 1 : 0
        case .allocated(_, let layout, _):
            return Int(layout.planes.reduce(0) { max($0, $1.descriptor) }) + 1
        default: return 0
        }
    }
}
