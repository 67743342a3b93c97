/// The numbers of source-v1 that are not a record's or a field's (Protocols/source-v1.md).
public enum SourceProtocol {
    /// "VMB1" in memory order; first word of a greeting.
    public static let magic: UInt32 = 0x3142_4d56
    /// The version that this program speaks.
    public static let version: UInt16 = 1
    /// Bytes of a record's header.
    public static let headerBytes = 16
    /// Bytes of a field's header.
    public static let fieldHeaderBytes = 8
    /// Longest datagram, either way.
    public static let maximumDatagram = 65_536
    /// Most descriptors of one datagram.
    public static let maximumDescriptors = 16
    /// Longest text field on the wire; what is kept of it is shorter (`CleanText.limit`).
    public static let maximumText = 4096
    /// Most rectangles in one damage field.
    public static let maximumDamage = 64
    /// Farthest target time, nanoseconds after receipt.
    public static let maximumTargetTime: UInt64 = 1_000_000_000
    /// Most layouts that an allocation may name.
    public static let maximumModifiers = 64
    /// Most entries of a format list.
    public static let maximumFormats = 1024
    /// Most names of a list of targets.
    public static let maximumTargets = 64
    /// Most bytes of a keymap's text, its final zero included.
    public static let maximumKeymap: UInt32 = 1 << 20
    /// Longest side of a cursor as it is shown, pixels.
    public static let maximumCursor: UInt32 = 256
}

/// What the program at the other end of a connection is (source-v1 §5.1).
public enum ConnectionRole: UInt32, Sendable {
    /// It brings surfaces.
    case producer = 1
    /// It takes surfaces that a rule hands to it.
    case consumer = 2
}

/// Record types (source-v1 §5). Bit 15 is set in those that the bridge sends.
public enum RecordType {
    // From the producer.
    package static let hello: UInt16 = 0x0001
    package static let bufferCreate: UInt16 = 0x0010
    package static let bufferDestroy: UInt16 = 0x0011
    package static let bufferAllocate: UInt16 = 0x0012
    package static let surfaceCreate: UInt16 = 0x0020
    package static let surfaceUpdate: UInt16 = 0x0021
    package static let surfaceDestroy: UInt16 = 0x0022
    package static let frame: UInt16 = 0x0030
    package static let fenceSignal: UInt16 = 0x0031
    package static let targetsQuery: UInt16 = 0x0040
    package static let clipboardOffer: UInt16 = 0x0050
    package static let clipboardRequest: UInt16 = 0x0051

    // From the bridge.
    package static let welcome: UInt16 = 0x8001
    package static let formatsChanged: UInt16 = 0x8002
    package static let budget: UInt16 = 0x8003
    package static let released: UInt16 = 0x8010
    package static let allocated: UInt16 = 0x8011
    package static let configure: UInt16 = 0x8020
    package static let close: UInt16 = 0x8021
    package static let presented: UInt16 = 0x8030
    package static let discarded: UInt16 = 0x8031
    package static let targets: UInt16 = 0x8040
    package static let clipboard: UInt16 = 0x8050
    package static let input: UInt16 = 0x8060
    package static let keymap: UInt16 = 0x8061
    package static let refused: UInt16 = 0x80f0

    /// The name of a record type as the protocol document writes it.
    public static func name(_ type: UInt16) -> String {
        switch type {
        case hello: "HELLO"
        case bufferCreate: "BUFFER_CREATE"
        case bufferDestroy: "BUFFER_DESTROY"
        case bufferAllocate: "BUFFER_ALLOCATE"
        case surfaceCreate: "SURFACE_CREATE"
        case surfaceUpdate: "SURFACE_UPDATE"
        case surfaceDestroy: "SURFACE_DESTROY"
        case frame: "FRAME"
        case fenceSignal: "FENCE_SIGNAL"
        case targetsQuery: "TARGETS_QUERY"
        case clipboardOffer: "CLIPBOARD_OFFER"
        case clipboardRequest: "CLIPBOARD_REQUEST"
        case welcome: "WELCOME"
        case formatsChanged: "FORMATS_CHANGED"
        case budget: "BUDGET"
        case released: "RELEASED"
        case allocated: "ALLOCATED"
        case configure: "CONFIGURE"
        case close: "CLOSE"
        case presented: "PRESENTED"
        case discarded: "DISCARDED"
        case targets: "TARGETS"
        case clipboard: "CLIPBOARD"
        case input: "INPUT"
        case keymap: "KEYMAP"
        case refused: "REFUSED"
        default: "record type 0x" + String(type, radix: 16)
        }
    }
}

/// Field tags (source-v1 §5.4). Only those that version 1 gives a meaning are named here.
enum FieldTag {
    static let vmName: UInt16 = 0x0101
    static let producerName: UInt16 = 0x0102
    static let consumerTag: UInt16 = 0x0105
    static let connectionRole: UInt16 = 0x010a
    static let targets: UInt16 = 0x010b
    static let originVM: UInt16 = 0x010c
    static let parent: UInt16 = 0x0201
    static let cursorHotSpot: UInt16 = 0x0205
    static let title: UInt16 = 0x0301
    static let appID: UInt16 = 0x0302
    static let sentence: UInt16 = 0x0305
    static let allocation: UInt16 = 0x0402
    static let allocator: UInt16 = 0x0403
    static let crop: UInt16 = 0x0501
    static let destination: UInt16 = 0x0502
    static let transform: UInt16 = 0x0504
    static let opaqueRegion: UInt16 = 0x0505
    static let sizeLimits: UInt16 = 0x0507
    static let damage: UInt16 = 0x0601
    static let targetTime: UInt16 = 0x0701
    static let acquirePoint: UInt16 = 0x0801
    static let releaseWanted: UInt16 = 0x0802
    static let acquireWanted: UInt16 = 0x0806
    static let inputWanted: UInt16 = 0x0906
    static let formats: UInt16 = 0x0b01
    /// A receiver that does not know the field refuses the record.
    static let requiredFlag: UInt16 = 1
}
