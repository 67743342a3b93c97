import VMBridgeCore

/// Where one VM's surfaces come from.
public struct SourceSpecification: Sendable, Equatable {
    /// The VM's name on this host: letters, digits, dot, dash, underscore; at most 64 bytes.
    public var vm: String
    /// Path of the unix socket that the bridge makes and the VM's producer connects to. The runtime
    /// directory of ours is made for it when it lies there; any other must exist.
    public var socketPath: String
    /// What happens to frames whose acquire fence is pending; nil for what the configuration says.
    public var fences: FencePolicy?

    /// A VM with a socket of its own.
    public init(vm: String, socketPath: String) {
        self.vm = vm
        self.socketPath = socketPath
    }

    /// Whether a text can be a VM's name.
    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 64 && CleanText.identifier(text) == text
    }

    /// Reads "VM=socket:PATH". Without a path, as "VM=socket", it is VM.sock in `RuntimeDirectory`, and a
    /// relative one lies there too when it was read from a configuration file.
    ///
    /// - Throws: `SpecificationError` with a sentence that says what is wrong and what is right.
    public init(_ text: String) throws(SpecificationError) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw SpecificationError("“\(text)” names no VM: write VM=socket or VM=socket:PATH")
        }
        let vm = String(text[..<equals])
        guard Self.isName(vm) else {
            throw SpecificationError(
                "“\(vm)” is no VM name: use up to 64 letters, digits, dots, dashes, underscores")
        }
        let rest = text[text.index(after: equals)...]
        let colon = rest.firstIndex(of: ":") ?? rest.endIndex
        let kind = rest[..<colon]
        guard !kind.isEmpty else {
            throw SpecificationError("“\(text)” names no kind of source: write \(vm)=socket:PATH")
        }
        guard kind == "socket" else {
            throw SpecificationError(
                "“\(kind)” is no kind of source: this version knows “socket”, as in \(vm)=socket:PATH"
            )
        }
        let path = rest[colon...].dropFirst()
        guard path.isEmpty else {
            self.init(vm: vm, socketPath: String(path))
            return
        }
        guard let directory = RuntimeDirectory.path else {
            throw SpecificationError(
                "\(vm)=socket needs a path, as in \(vm)=socket:PATH, since XDG_RUNTIME_DIR is not set"
            )
        }
        self.init(vm: vm, socketPath: "\(directory)/\(vm).sock")
    }

    /// What a configuration says of a VM; nil when it names no source for it.
    ///
    /// - Throws: `SpecificationError` when there is no runtime directory for it, or its kind is not known.
    init?(_ vm: VMConfiguration) throws(SpecificationError) {
        guard let source = vm.source else { return nil }
        let path = source.drop { $0 != ":" }.dropFirst()
        guard !path.isEmpty, !path.hasPrefix("/") else {
            try self.init("\(vm.name)=\(source)")
            return
        }
        guard let directory = RuntimeDirectory.path else {
            throw SpecificationError(
                "the path of \(vm.name)'s socket, “\(path)”, is relative, and XDG_RUNTIME_DIR is not set"
            )
        }
        try self.init("\(vm.name)=socket:\(directory)/\(path)")
    }
}

/// A specification that cannot be read.
public struct SpecificationError: Error, CustomStringConvertible {
    /// One sentence for people.
    public var description: String
    init(_ description: String) { self.description = description }
}

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
