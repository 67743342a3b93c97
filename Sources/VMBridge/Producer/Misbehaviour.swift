/// The ways in which the reference producer can break the protocol on purpose.
package enum Misbehaviour: String, CaseIterable, Sendable {
    case shortStride = "short-stride"
    case offsetOverflow = "offset-overflow"
    case foreignModifier = "foreign-modifier"
    case hugeSize = "huge-size"
    case hugeMemory = "huge-memory"
    case unsealedMemfd = "unsealed-memfd"
    case writeSealedMemfd = "write-sealed-memfd"
    case readOnlyMemfd = "read-only-memfd"
    case fifoAsBuffer = "fifo-as-buffer"
    case socketAsBuffer = "socket-as-buffer"
    case deviceAsBuffer = "device-as-buffer"
    case eventfdAsFence = "eventfd-as-fence"
    case fenceNever = "fence-never"
    case unknownBuffer = "unknown-buffer"
    case destroyWhileShown = "destroy-while-shown"
    case idReuse = "id-reuse"
    case longTitle = "long-title"
    case unknownRecord = "unknown-record"
    case surfaceFlood = "surface-flood"
    case bufferFlood = "buffer-flood"
    case flood = "flood"
    case neverReads = "never-reads"
    case secondConnection = "second-connection"
    case vanish = "vanish"
    case truncatedDescriptors = "truncated-descriptors"
    case extraDescriptors = "extra-descriptors"
    case manyDescriptors = "many-descriptors"
    case longDatagram = "long-datagram"
    case badFraming = "bad-framing"
    case noGreeting = "no-greeting"
    case wrongVersion = "wrong-version"

    /// What is done and what answer is expected, in a line.
    package var summary: String {
        switch self {
        case .shortStride: "rows longer than the stride: bad_layout"
        case .offsetOverflow: "a plane that begins at the end of 32 bits: bad_layout"
        case .foreignModifier: "a memfd said to be tiled: bad_modifier"
        case .hugeSize: "a buffer of 16385 pixels: bad_value"
        case .hugeMemory: "a memfd larger than the VM's budget: too_many_bytes"
        case .unsealedMemfd: "a memfd that may shrink: bad_seals"
        case .writeSealedMemfd: "a memfd that compositors cannot map: bad_seals"
        case .readOnlyMemfd: "a memfd opened for reading: bad_access"
        case .fifoAsBuffer: "a pipe for a buffer: bad_descriptor"
        case .socketAsBuffer: "a socket for a buffer: bad_descriptor"
        case .deviceAsBuffer: "a device node for a buffer: bad_descriptor"
        case .eventfdAsFence:
            "an eventfd for a fence: bad_descriptor, the frame released as refused"
        case .fenceNever:
            "a fence that never signals, between two good frames: fence_timeout, and the next is taken"
        case .unknownBuffer: "a frame of a buffer that is not there: unknown_object"
        case .destroyWhileShown:
            "buffer and surface destroyed while shown: released once, their numbers free again"
        case .idReuse: "numbers given twice: id_in_use, and bad_sequence for a frame"
        case .longTitle: "a title of 64 KiB: bad_field"
        case .unknownRecord: "types that nobody knows or that are reserved: unsupported"
        case .surfaceFlood: "more surfaces than allowed: too_many_surfaces for each too many"
        case .bufferFlood: "more buffers than allowed: too_many_buffers for each too many"
        case .flood: "records as fast as the socket takes them: slowed down, nothing lost"
        case .neverReads: "answers left unread: not listened to until they are read, none lost"
        case .secondConnection: "a second connection: busy, and the first goes on"
        case .vanish: "closes the connection in the middle: no answer, everything freed"
        case .truncatedDescriptors: "fewer descriptors than claimed: ended, descriptor_count"
        case .extraDescriptors: "more descriptors than claimed: ended, descriptor_count"
        case .manyDescriptors: "20 descriptors in a datagram: ended, truncated"
        case .longDatagram: "a datagram above 64 KiB: ended, truncated"
        case .badFraming: "a record's length that is none: ended, malformed"
        case .noGreeting: "no greeting: ended, not_greeted"
        case .wrongVersion: "a greeting in version 9: ended, version"
        }
    }
}

/// How the bridge answered a misbehaviour.
package enum MisbehaviourVerdict: Equatable, Sendable {
    /// Exactly as expected; in a sentence.
    case asExpected(String)
    /// In another way; what came, in a sentence.
    case otherwise(String)
    /// It did not come to it: this is how the normal part ended.
    case notTried(ProducerEnd)
}
