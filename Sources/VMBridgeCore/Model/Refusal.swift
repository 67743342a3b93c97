/// Why something was refused; the numbers of source-v1 §7. Below 16 the connection ends with it.
public enum RefusalReason: UInt16, Sendable, CaseIterable {
    /// Another producer is connected to this socket.
    case busy = 1
    /// No protocol version in common.
    case version = 2
    /// The first record was not a greeting.
    case notGreeted = 3
    /// The framing of a datagram is broken.
    case malformed = 4
    /// The datagram or its descriptors did not arrive whole.
    case truncated = 5
    /// The datagram carried another number of descriptors than its records claim.
    case descriptorCount = 6

    /// A record, field or feature that this version reserves.
    case unsupported = 16
    /// A number outside what the protocol allows.
    case badValue = 17
    /// A field that is malformed, doubled or not allowed in that record.
    case badField = 18
    /// No such surface, buffer or frame.
    case unknownObject = 19
    /// The surface or buffer exists already.
    case identifierInUse = 20
    /// The frame's sequence is not above the last one.
    case badSequence = 21
    /// A descriptor is not what the record says.
    case badDescriptor = 22
    /// The memfd lacks F_SEAL_SHRINK or has a write seal.
    case badSeals = 23
    /// The descriptor is not open for reading and writing.
    case badAccess = 24
    /// The fourcc cannot be imported here.
    case badFormat = 25
    /// The modifier cannot be imported here with that fourcc.
    case badModifier = 26
    /// A plane reaches outside its memory, or its stride is too short.
    case badLayout = 27
    /// Too many surfaces.
    case tooManySurfaces = 28
    /// Too many buffers, or uses of one buffer at a time.
    case tooManyBuffers = 29
    /// Too many bytes imported.
    case tooManyBytes = 30
    /// The acquire fence did not signal within the limit.
    case fenceTimeout = 31
    /// The acquire fence ended with an error.
    case fenceFailed = 32
    /// The compositor or the system would not import the buffer.
    case importFailed = 33
    /// The rules of this host do not show such a surface.
    case notRouted = 34
    /// A descriptor that no part of the record names.
    case unusedDescriptor = 35
    /// The host has no contiguous memory to give.
    case noContiguous = 36

    /// Whether the connection ends with this refusal.
    public var endsConnection: Bool { rawValue < 16 }

    /// The word for it in logs, status and the protocol document.
    public var word: String {
        switch self {
        case .busy: "busy"
        case .version: "version"
        case .notGreeted: "not_greeted"
        case .malformed: "malformed"
        case .truncated: "truncated"
        case .descriptorCount: "descriptor_count"
        case .unsupported: "unsupported"
        case .badValue: "bad_value"
        case .badField: "bad_field"
        case .unknownObject: "unknown_object"
        case .identifierInUse: "id_in_use"
        case .badSequence: "bad_sequence"
        case .badDescriptor: "bad_descriptor"
        case .badSeals: "bad_seals"
        case .badAccess: "bad_access"
        case .badFormat: "bad_format"
        case .badModifier: "bad_modifier"
        case .badLayout: "bad_layout"
        case .tooManySurfaces: "too_many_surfaces"
        case .tooManyBuffers: "too_many_buffers"
        case .tooManyBytes: "too_many_bytes"
        case .fenceTimeout: "fence_timeout"
        case .fenceFailed: "fence_failed"
        case .importFailed: "import_failed"
        case .notRouted: "not_routed"
        case .unusedDescriptor: "unused_descriptor"
        case .noContiguous: "no_contiguous"
        }
    }
}

/// A refusal as a value: what, why, and a sentence for people.
public struct Refusal: Error, Sendable, Equatable {
    /// The machine-readable reason.
    public var reason: RefusalReason
    /// One sentence: what was wrong and what would be right.
    public var sentence: String
    /// A refusal with its sentence.
    public init(_ reason: RefusalReason, _ sentence: String) {
        self.reason = reason
        self.sentence = sentence
    }
}

/// How a use of a buffer by a frame ended (source-v1 §6.1).
public enum UseOutcome: UInt32, Sendable, CaseIterable {
    /// Committed, and the consumer is done with it.
    case shown = 1
    /// Replaced by a newer frame before it was committed.
    case superseded = 2
    /// Not accepted; a refusal was sent before.
    case refused = 3
    /// The consumer went away, or its surface did.
    case lost = 4
}
