import VMBridgeCore

/// What a bridge shows surfaces on.
public enum Presentation: Sendable {
    /// A compositor: the display's name, or nil for WAYLAND_DISPLAY's.
    case wayland(display: String?)
    /// No compositor at all.
    case headless(HeadlessOptions)
}

/// Everything that a bridge is made from.
public struct BridgeConfiguration: Sendable {
    /// VMs that are served whatever `rules` say; they come before VMs of the same name there.
    public var sources: [SourceSpecification]
    /// Nodes of hyper_dmabuf whose every domain is served: those that no VM has by a VM of their own,
    /// `domain-N`.
    public var hyperNodes: Set<String> = []
    /// Domains that were found by such a node.
    var discovered: [SourceSpecification] = []
    /// What a person wrote down: further VMs, settings, and where surfaces go.
    public var rules = Configuration()
    /// What is asked for with fences, of a VM or of all (nil): the last that concerns a VM counts, and
    /// stands above what `rules` say.
    public var fences: [(vm: String?, policy: FencePolicy)] = []
    /// What to show on.
    public var presentation: Presentation
    /// What each VM may take when `rules` say nothing else.
    public var limits = VMLimits()
    /// What holds for all VMs, whatever `rules` say.
    public var overridingLimits = LimitChanges()
    /// The `vm-bridge` program's file, started as `graphics-worker` when a producer asks for memory or a
    /// buffer must be blitted; nil: neither is done.
    public var graphicsProgram: String?
    /// The file of a `vm-bridge` program that may read hyper_dmabuf's queue (CAP_DAC_OVERRIDE), started as
    /// `hyper-dmabuf-reader`; nil: the usual one where there is one, else this program itself.
    public var readerProgram: String?
    /// Where to record each VM's connections, and how much of them; nil: nowhere.
    public var recording: RecordingSettings?
    /// File for a trace of all frames, and the most bytes that it may have; nil: none is made.
    public var trace: TraceSettings?
    /// Blits every dma-buf by a worker of these options, whatever else could show it: for tests of just that.
    package var blitsAlways: GraphicsWorkerOptions?

    /// A bridge for some VMs.
    public init(sources: [SourceSpecification], presentation: Presentation) {
        self.sources = sources
        self.presentation = presentation
    }
}

/// Descriptors that this process has open for one VM, counted where they are held.
public struct DescriptorHoldings: Sendable, Equatable {
    /// Of buffers' planes.
    public var buffers = 0
    /// Fences, and points of timelines, that are watched.
    public var fences = 0
    /// Waiting to be sent to the producer.
    public var queued = 0
    /// The listening socket and the producer's connection.
    public var sockets = 0
    /// The consumer's: its connection, fences that go with a commit, events of timelines.
    public var consumer = 0
    /// Connections to graphics workers and handles of their processes.
    public var workers = 0

    /// None.
    public init() {}

    /// All together.
    public var total: Int { buffers + fences + queued + sockets + consumer + workers }
}

/// What a VM holds and did, in a report.
public struct VMStatus: Sendable {
    /// The VM's name.
    public var name: String
    /// Whether its producer is connected.
    public var isConnected: Bool
    /// Which connection it is, from 1.
    public var generation: UInt64
    /// Whether the consumer is there.
    public var isPresenting: Bool
    /// What is at the other end of its source and what that lacks, in words; nil when there is nothing to say.
    public var source: String?
    /// Why not, in words; nil when nothing is wrong.
    public var trouble: String?
    /// The device that draws its windows, in words; nil when unknown.
    public var device: String?
    /// Whether its connection to the compositor bears its name; nil while unknown, or without one.
    package var securityContext: SecurityContextStatus?
    /// Buffers at the moment.
    public var buffers: Int
    /// Bytes imported at the moment.
    public var bytes: UInt64
    /// Uses that have not ended.
    public var uses: Int
    /// Descriptors that are open for it.
    public var descriptors = DescriptorHoldings()
    /// Refusals by reason.
    public var refusals: [RefusalReason: UInt64]
    /// Its surfaces, those that are gone first.
    public var surfaces: [SurfaceStatus]
    /// What stands before its windows' titles; nil for its name.
    public var label: String?
    /// Its colour in tables and on contact sheets; nil when none is configured.
    public var colour: RGB?
    /// What it may take at the moment.
    public var limits = VMLimits()
    /// How its recording fares; nil without one.
    public var recording: RecordingStatus?
    /// The graphics worker that makes buffers for its producer; nil without one.
    package var allocator: GraphicsWorkerStatus?
    /// The one that draws what can be neither imported nor copied; nil when it was never needed.
    package var blitter: GraphicsWorkerStatus?
}
