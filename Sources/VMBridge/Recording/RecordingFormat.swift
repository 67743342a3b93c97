import VMBridgeCore

/// The numbers of recordings, version 1 (docs/recording.md). Everything is little endian.
package enum RecordingFormat {
    /// The first eight bytes of a file.
    static let magic: [UInt8] = Array("VMBREC1\n".utf8)
    /// The version that this program writes and reads.
    static let version: UInt32 = 1
    /// Bytes before the first chunk.
    static let fileHeaderBytes = 64
    /// Bytes of a chunk before its payload.
    static let chunkHeaderBytes = 32
    /// The first word of a chunk: "CHNK".
    static let chunkMark: UInt32 = 0x4b4e_4843
    /// The last 32 bytes of a finished file begin with this.
    static let trailerMagic: [UInt8] = Array("VMBINDEX".utf8)
    static let trailerBytes = 32
    /// Bytes of an index entry.
    static let entryBytes = 40
    /// Most entries of an index: above it every second one is left out.
    static let maximumEntries = 65_536
    /// Longest payload of a chunk that has no pixels.
    static let maximumSmallPayload = 4 << 20
    /// Most pixels of one frame, bytes.
    static let maximumPixels = 256 << 20
    /// Bytes of one descriptor in a chunk of received bytes.
    static let descriptorBytes = 32
    /// Bytes of one part of the pixels.
    static let regionBytes = 24
    /// Most parts of the pixels of a frame: one for each plane.
    static let maximumRegions = 4
    /// What a file's name ends with.
    package static let suffix = ".vmbrec"
}

/// What a chunk holds.
package enum ChunkKind: UInt16, Sendable {
    /// What the file is a recording of.
    case about = 1
    /// A datagram from the producer.
    case received = 2
    /// A datagram to it.
    case sent = 3
    /// A buffer that a frame names for the first time, as validated.
    case buffer = 4
    /// A frame was handed on to be shown; its pixels, if they could be had.
    case frame = 5
    /// What a frame's acquire fence stood for was over.
    case fence = 6
    /// How much is missing here.
    case dropped = 7
    /// The last one before the index, and why.
    case end = 8
    /// Where chunks stand.
    case index = 9
}

/// How much of the pixels a recording holds.
public enum RecordedContent: String, Sendable, CaseIterable {
    /// None.
    case none
    /// Those of each surface's first frame and of every 30th.
    case sampled
    /// Those of each frame that was handed on to be shown.
    case whole

    var number: UInt32 {
        switch self {
        case .none: 0
        case .sampled: 1
        case .whole: 2
        }
    }

    init?(number: UInt32) {
        switch number {
        case 0: self = .none
        case 1: self = .sampled
        case 2: self = .whole
        default: return nil
        }
    }
}

/// Whether a frame's pixels are in the file, and else why not.
package enum PixelState: UInt32, Sendable {
    /// They follow.
    case there = 0
    /// They were not asked for.
    case notWanted = 1
    /// The buffer is not laid out row after row.
    case notLinear = 2
    /// The CPU cannot read the memory.
    case unreadable = 3
    /// The writer could not follow.
    case dropped = 4
    /// A device still wrote into the memory.
    case busy = 5
    /// More than one recording holds of a frame.
    case tooLarge = 6

    /// In a word or two.
    package var word: String {
        switch self {
        case .there: "whole"
        case .notWanted: "not wanted"
        case .notLinear: "not linear"
        case .unreadable: "unreadable"
        case .dropped: "dropped"
        case .busy: "busy"
        case .tooLarge: "too large"
        }
    }
}

/// Why a recording ends.
package enum RecordingEnd: UInt32, Sendable {
    /// The connection ended.
    case disconnected = 0
    /// The bridge ended, or recording was stopped.
    case stopped = 1
    /// The file has the size that it may have.
    case limit = 2

    /// In words.
    package var word: String {
        switch self {
        case .disconnected: "the connection ended"
        case .stopped: "stopped"
        case .limit: "the size limit was reached"
        }
    }
}

/// Why a datagram did not arrive whole; its bytes are not known then.
package enum BrokenDatagram: UInt16, Sendable {
    /// It is whole.
    case none = 0
    /// Longer than any may be.
    case tooLong = 1
    /// More descriptors than any may carry.
    case tooManyDescriptors = 2
    /// The kernel could not deliver its descriptors.
    case lostDescriptors = 3
}

/// One descriptor of a datagram, as the kernel told of it.
package struct RecordedDescriptor: Sendable, Equatable {
    /// What it was; nil when it could not be looked at.
    package var kind: Kind?
    /// How it was opened.
    package var access: DescriptorFacts.AccessMode
    /// Bytes of memory behind it.
    package var size: UInt64
    /// Of a memfd.
    package var seals: Seals

    /// A kind with its number in the file.
    package enum Kind: UInt32, Sendable {
        case dmaBuf = 1
        case memfd = 2
        case syncFile = 3
        case fifo = 16
        case socket = 17
        case characterDevice = 18
        case blockDevice = 19
        case regularFile = 20
        case directory = 21
        case symbolicLink = 22
        case path = 23
        case anonymous = 24

        init(_ kind: DescriptorFacts.Kind) {
            switch kind {
            case .dmaBuf: self = .dmaBuf
            case .memfd: self = .memfd
            case .syncFile: self = .syncFile
            case .other(let other):
                switch other {
                case .fifo: self = .fifo
                case .socket: self = .socket
                case .characterDevice: self = .characterDevice
                case .blockDevice: self = .blockDevice
                case .regularFile: self = .regularFile
                case .directory: self = .directory
                case .symbolicLink: self = .symbolicLink
                case .path: self = .path
                case .anonymous: self = .anonymous
                }
            }
        }

        /// The file that is neither memory nor a fence.
        var other: OtherFile? {
            switch self {
            case .dmaBuf, .memfd, .syncFile: nil
            case .fifo: .fifo
            case .socket: .socket
            case .characterDevice: .characterDevice
            case .blockDevice: .blockDevice
            case .regularFile: .regularFile
            case .directory: .directory
            case .symbolicLink: .symbolicLink
            case .path: .path
            case .anonymous: .anonymous
            }
        }
    }
}

/// A part of a buffer's memory and where its bytes stand in the file.
package struct RecordedRegion: Sendable, Equatable {
    /// Which of the buffer's descriptors.
    package var descriptor: UInt32
    /// First byte in its memory.
    package var offset: UInt64
    /// Bytes.
    package var length: UInt64
    /// First byte in the file.
    package var position: UInt64 = 0
}

/// A frame that was handed on.
package struct RecordedFrame: Sendable, Equatable {
    /// Its surface.
    package var surface: SurfaceKey
    /// Its number.
    package var sequence: FrameSequence
    /// The recording's number of its buffer.
    package var buffer: UInt64
    /// Whether its pixels are there.
    package var state: PixelState
    /// When they were read: from when to when, in nanoseconds from the recording's start.
    package var readBegan: UInt64 = 0
    package var readEnded: UInt64 = 0
    /// Where they stand; empty without pixels.
    package var regions: [RecordedRegion] = []
}

/// A buffer as it was validated.
package struct RecordedBuffer: Sendable, Equatable {
    /// The recording's number of it: a buffer key may be used again, this is not.
    package var number: UInt64
    /// How it is laid out.
    package var layout: BufferLayout
    /// What it counts against the VM's budget.
    package var bytes: UInt64
}

/// What the file is a recording of.
package struct RecordingAbout: Sendable, Equatable {
    /// The VM's name.
    package var vm: String
    /// Which of its connections.
    package var generation: UInt64
    /// What of the pixels was asked for.
    package var content: RecordedContent
    /// CLOCK_MONOTONIC at the start, nanoseconds. All other times count from it.
    package var start: UInt64
    /// CLOCK_REALTIME at the start, nanoseconds since 1970.
    package var date: UInt64
}
