/// What a surface is for (source-v1 §5.2).
public enum SurfaceRole: UInt32, Sendable {
    /// A window of its own.
    case toplevel = 1
    /// A menu; reserved.
    case popup = 2
    /// A part of another surface; reserved.
    case subsurface = 3
    /// The pointer's image on another surface.
    case cursor = 4
}

/// The point of a cursor's picture that the pointer is at, in pixels from its upper left corner.
public struct HotSpot: Sendable, Equatable {
    /// To the right.
    public var x: UInt32
    /// Downwards.
    public var y: UInt32
    /// A point of a cursor's picture.
    public init(x: UInt32, y: UInt32) {
        self.x = x
        self.y = y
    }
}

/// What a surface says about itself. Text is clean already; an absent item is nil.
public struct SurfaceMetadata: Sendable, Equatable {
    /// Title; the guest's word.
    public var title: String?
    /// Application id; the guest's word.
    public var appID: String?
    /// Routing tag; the guest's word.
    public var consumerTag: String?
    /// Surface that this one belongs to.
    public var parent: SurfaceKey?
    /// Smallest size that makes sense; zero for none.
    public var minimumSize: Size?
    /// Largest size that makes sense; zero for none.
    public var maximumSize: Size?
    /// The point of a cursor's picture that the pointer is at, in pixels.
    public var hotSpot: HotSpot?
    /// Pixels that are not translucent, in buffer coordinates.
    public var opaqueRegion: Rectangle?
    /// The VM that it comes from, told to a consumer when the surface is made. A bridge looks at no
    /// producer's word on it.
    public var originVM: String?

    /// Metadata that says nothing.
    public init() {}

    /// Takes over what the update says and keeps the rest.
    public mutating func apply(_ update: SurfaceMetadata) {
        if let title = update.title { self.title = title }
        if let appID = update.appID { self.appID = appID }
        if let tag = update.consumerTag { consumerTag = tag }
        if let parent = update.parent { self.parent = parent }
        if let size = update.minimumSize { minimumSize = size }
        if let size = update.maximumSize { maximumSize = size }
        if let region = update.opaqueRegion { opaqueRegion = region }
        if let spot = update.hotSpot { hotSpot = spot }
    }
}

/// What a frame waits for before it may be shown (source-v1 §5.3).
public enum AcquireKind: UInt32, Sendable {
    /// The content is complete.
    case none = 0
    /// The dma-buf's own fences tell.
    case implicit = 1
    /// The record's descriptor is a sync_file.
    case syncFile = 2
    /// The record's descriptor is a timeline syncobj; a point of it tells.
    case timelinePoint = 3
    /// A FENCE_SIGNAL record will tell.
    case message = 4

    /// Descriptors that a frame of that kind comes with.
    public var descriptors: Int { self == .syncFile || self == .timelinePoint ? 1 : 0 }
}

/// A frame as it stands in its record: numbers in range, nothing looked up yet.
public struct FrameRecord: Sendable {
    /// Surface it is for.
    public var surface: SurfaceKey
    /// Buffer with its content.
    public var buffer: BufferKey
    /// Number of the frame on its surface.
    public var sequence: FrameSequence
    /// What must happen before it may be shown.
    public var acquire: AcquireKind
    /// What changed.
    public var damage: Damage = .whole
    /// Part of the buffer to show; nil for all.
    public var crop: Rectangle?
    /// Size to show it at; nil for its own.
    public var destination: Size?
    /// How to turn it.
    public var transform: Transform = .normal
    /// Not to be shown earlier than this many nanoseconds after receipt.
    public var targetTime: UInt64 = 0
    /// The point of acquire kind `timelinePoint`; 0 for all others.
    public var acquirePoint: UInt64 = 0

    /// A frame that shows the whole buffer as it is.
    public init(
        surface: SurfaceKey, buffer: BufferKey, sequence: FrameSequence,
        acquire: AcquireKind = .none
    ) {
        self.surface = surface
        self.buffer = buffer
        self.sequence = sequence
        self.acquire = acquire
    }
}

/// Memory that a producer asks the host for (source-v1 §5.2).
public struct BufferWish: Sendable, Equatable {
    /// Width and height in pixels.
    public var size: Size
    /// Pixel format.
    public var format: FourCC
    /// In one piece, for devices without an IOMMU.
    public var isContiguous: Bool
    /// Memory layouts that the producer can write, 1 to 64.
    public var modifiers: [Modifier]

    /// A wish for memory that the producer writes row after row.
    public init(
        size: Size, format: FourCC, isContiguous: Bool = false, modifiers: [Modifier] = [.linear]
    ) {
        self.size = size
        self.format = format
        self.isContiguous = isContiguous
        self.modifiers = modifiers
    }
}

/// The greeting of a program that takes surfaces (source-v1 §5.1).
public struct ConsumerGreeting: Sendable, Equatable {
    /// Its name, for logs.
    public var name: String?
    /// Whether a frame may come before its content is complete, with a sync_file that tells.
    public var takesFences: Bool

    /// A greeting.
    public init(name: String? = nil, takesFences: Bool = false) {
        self.name = name
        self.takesFences = takesFences
    }
}

/// A record from a producer: the untrusted side's one vocabulary.
public enum ProducerRecord: Sendable {
    /// Greeting; the version to speak was already found. Whether releases may come as fences, and whether
    /// input is wanted.
    case hello(producer: String?, takesFences: Bool = false, wantsInput: Bool = false)
    /// The greeting of a consumer: the other way round from here on.
    case greetConsumer(ConsumerGreeting)
    /// Which consumers may this VM's surfaces be handed to?
    case targetsQuery
    /// A buffer and its layout; descriptors are the record's own.
    case bufferCreate(BufferKey, BufferLayout)
    /// A buffer whose memory the host makes.
    case bufferAllocate(BufferKey, BufferWish)
    /// The producer no longer needs the buffer.
    case bufferDestroy(BufferKey)
    /// A new surface.
    case surfaceCreate(SurfaceKey, SurfaceRole, isGraphics: Bool, SurfaceMetadata)
    /// New metadata.
    case surfaceUpdate(SurfaceKey, SurfaceMetadata)
    /// The surface is gone.
    case surfaceDestroy(SurfaceKey)
    /// New content.
    case frame(FrameRecord)
    /// A fence of kind `message` ended.
    case fenceSignal(SurfaceKey, FrameSequence, isError: Bool)
}

extension ProducerRecord {
    /// Its type on the wire, and the object that it is about there.
    var name: (type: UInt16, object: UInt64) {
        switch self {
        case .hello, .greetConsumer: (RecordType.hello, 0)
        case .targetsQuery: (RecordType.targetsQuery, 0)
        case .bufferCreate(let key, _): (RecordType.bufferCreate, key.value)
        case .bufferAllocate(let key, _): (RecordType.bufferAllocate, key.value)
        case .bufferDestroy(let key): (RecordType.bufferDestroy, key.value)
        case .surfaceCreate(let key, _, _, _): (RecordType.surfaceCreate, key.value)
        case .surfaceUpdate(let key, _): (RecordType.surfaceUpdate, key.value)
        case .surfaceDestroy(let key): (RecordType.surfaceDestroy, key.value)
        case .frame(let frame): (RecordType.frame, frame.surface.value)
        case .fenceSignal(let key, _, _): (RecordType.fenceSignal, key.value)
        }
    }
}
