/// Just as much of protocol buffers as a trace needs: numbers, texts and messages inside messages
/// (https://protobuf.dev/programming-guides/encoding).
struct ProtoMessage {
    private(set) var bytes: [UInt8] = []

    /// A number in as many groups of seven bits as it needs.
    private mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func add(_ field: UInt64, _ value: UInt64) {
        append(varint: field << 3)
        append(varint: value)
    }

    mutating func add(_ field: UInt64, _ text: String) {
        append(varint: field << 3 | 2)
        append(varint: UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func add(_ field: UInt64, _ message: ProtoMessage) {
        append(varint: field << 3 | 2)
        append(varint: UInt64(message.bytes.count))
        bytes.append(contentsOf: message.bytes)
    }
}

/// The numbers of Perfetto's trace format (protos/perfetto/trace/trace_packet.proto, track_event/track_event.proto,
/// track_event/track_descriptor.proto, track_event/debug_annotation.proto).
enum TraceField {
    /// Trace.packet
    static let packet: UInt64 = 1
    // TracePacket
    static let timestamp: UInt64 = 8
    static let sequence: UInt64 = 10
    static let event: UInt64 = 11
    static let sequenceFlags: UInt64 = 13
    static let lostPackets: UInt64 = 42
    static let track: UInt64 = 60
    // TrackDescriptor
    static let uuid: UInt64 = 1
    static let name: UInt64 = 2
    static let process: UInt64 = 3
    static let parent: UInt64 = 5
    static let counter: UInt64 = 8
    // ProcessDescriptor
    static let processNumber: UInt64 = 1
    static let processName: UInt64 = 6
    // CounterDescriptor
    static let counterUnit: UInt64 = 3
    // TrackEvent
    static let annotation: UInt64 = 4
    static let kind: UInt64 = 9
    static let eventTrack: UInt64 = 11
    static let category: UInt64 = 22
    static let eventName: UInt64 = 23
    static let counterValue: UInt64 = 30
    // DebugAnnotation
    static let annotationNumber: UInt64 = 3
    static let annotationText: UInt64 = 6
    static let annotationName: UInt64 = 10
}

/// TrackEvent.Type
enum TraceEventKind: UInt64 {
    case begin = 1
    case end = 2
    case instant = 3
    case counter = 4
}
