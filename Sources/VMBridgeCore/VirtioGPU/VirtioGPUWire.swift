/// Numbers of the wire (linux/virtio_gpu.h; virtio 1.2 §5.7).
package enum VirtioGPU {
    /// VIRTIO_GPU_F_EDID
    package static let edidFeature: UInt64 = 1 << 1
    /// VIRTIO_GPU_F_RESOURCE_BLOB
    package static let blobFeature: UInt64 = 1 << 3
    /// VIRTIO_GPU_MAX_SCANOUTS
    package static let maximumScanouts = 16
    /// Entries of one resource's page list.
    package static let maximumEntries: UInt32 = 32_768
    /// `struct virtio_gpu_ctrl_hdr`
    static let headerBytes = 24
    /// VIRTIO_GPU_FLAG_FENCE
    static let fenceFlag: UInt32 = 1
    /// VIRTIO_GPU_FLAG_INFO_RING_IDX
    static let ringFlag: UInt32 = 2
    /// VIRTIO_GPU_BLOB_MEM_GUEST
    static let guestBlob: UInt32 = 1

    /// The configuration space (`struct virtio_gpu_config`): no events, no capability sets. QEMU puts its own number of
    /// scanouts over ours.
    package static func configuration(scanouts: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        for value in [0, 0, scanouts, 0] { bytes.put32(value) }
        return bytes
    }

    /// The fourcc of a format of `enum virtio_gpu_formats`, whose names give the order in memory; nil for others.
    package static func fourCC(_ format: UInt32) -> FourCC? {
        switch format {
        case 1: FourCC(0x3432_5241)  // B8G8R8A8: AR24
        case 2: FourCC(0x3432_5258)  // B8G8R8X8: XR24
        case 3: FourCC(0x3432_4142)  // A8R8G8B8: BA24
        case 4: FourCC(0x3432_5842)  // X8R8G8B8: BX24
        case 67: FourCC(0x3432_4241)  // R8G8B8A8: AB24
        case 68: FourCC(0x3432_5852)  // X8B8G8R8: RX24
        case 121: FourCC(0x3432_4152)  // A8B8G8R8: RA24
        case 134: FourCC(0x3432_4258)  // R8G8B8X8: XB24
        default: nil
        }
    }

    /// The same format without alpha: a scanout has nothing behind it.
    static func opaque(_ format: FourCC) -> FourCC {
        switch format.rawValue {
        case 0x3432_5241: FourCC(0x3432_5258)
        case 0x3432_4142: FourCC(0x3432_5842)
        case 0x3432_4241: FourCC(0x3432_4258)
        case 0x3432_4152: FourCC(0x3432_5852)
        default: format
        }
    }
}

/// Commands of the control and cursor queues (`enum virtio_gpu_ctrl_type`).
package enum VirtioGPUCommandType: UInt32, Sendable, CaseIterable {
    case getDisplayInfo = 0x100
    case resourceCreate2D
    case resourceUnref
    case setScanout
    case resourceFlush
    case transferToHost2D
    case resourceAttachBacking
    case resourceDetachBacking
    case getCapsetInfo
    case getCapset
    case getEDID
    case resourceAssignUUID
    case resourceCreateBlob
    case setScanoutBlob
    case updateCursor = 0x300
    case moveCursor

    /// The name in the header, "RESOURCE_FLUSH"; of one that is not served, its number.
    package static func name(_ number: UInt32) -> String {
        guard let type = VirtioGPUCommandType(rawValue: number) else {
            return "command 0x\(String(number, radix: 16))"
        }
        return switch type {
        case .updateCursor: "UPDATE_CURSOR"
        case .moveCursor: "MOVE_CURSOR"
        default: names[Int(number - 0x100)]
        }
    }

    private static let names = [
        "GET_DISPLAY_INFO", "RESOURCE_CREATE_2D", "RESOURCE_UNREF", "SET_SCANOUT",
        "RESOURCE_FLUSH", "TRANSFER_TO_HOST_2D", "RESOURCE_ATTACH_BACKING",
        "RESOURCE_DETACH_BACKING", "GET_CAPSET_INFO", "GET_CAPSET", "GET_EDID",
        "RESOURCE_ASSIGN_UUID", "RESOURCE_CREATE_BLOB", "SET_SCANOUT_BLOB",
    ]

    /// Bytes of the command, header included, without a page list.
    var bytes: Int {
        switch self {
        case .getDisplayInfo: 24
        case .resourceUnref, .resourceAttachBacking, .resourceDetachBacking, .getCapsetInfo,
            .getCapset, .getEDID, .resourceAssignUUID:
            32
        case .resourceCreate2D: 40
        case .setScanout, .resourceFlush: 48
        case .transferToHost2D, .resourceCreateBlob, .updateCursor, .moveCursor: 56
        case .setScanoutBlob: 96
        }
    }
}

/// What a command is answered with (`enum virtio_gpu_ctrl_type`, responses).
package enum VirtioGPUResponse: UInt32, Sendable, Error {
    case okNoData = 0x1100
    case okDisplayInfo = 0x1101
    case okEDID = 0x1104
    case unspecified = 0x1200
    case outOfMemory
    case invalidScanout
    case invalidResource
    case invalidContext
    case invalidParameter
}

/// The head of a command (`struct virtio_gpu_ctrl_hdr`).
package struct VirtioGPUHeader: Hashable, Sendable {
    /// Which command.
    package var type: UInt32
    /// The guest waits for the answer as for a fence.
    package var isFenced: Bool { flags & VirtioGPU.fenceFlag != 0 }
    private var flags: UInt32
    private var fence: UInt64
    private var context: UInt32
    private var ring: UInt8

    /// Reads a head; nil when there are fewer than 24 bytes.
    package init?(_ bytes: Span<UInt8>) {
        guard bytes.count >= VirtioGPU.headerBytes else { return nil }
        type = bytes.u32(0)
        flags = bytes.u32(4)
        fence = bytes.u64(8)
        context = bytes.u32(16)
        ring = bytes[20]
    }

    /// The head of the answer: fence, context and ring come back where they were given (§5.7.6.7).
    package func answer(_ response: VirtioGPUResponse) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put32(response.rawValue)
        let kept = flags & (VirtioGPU.fenceFlag | VirtioGPU.ringFlag)
        bytes.put32(isFenced ? kept : 0)
        bytes.put64(isFenced ? fence : 0)
        bytes.put32(isFenced ? context : 0)
        bytes.put32(isFenced && kept & VirtioGPU.ringFlag != 0 ? UInt32(ring) : 0)
        return bytes
    }
}

/// A command as it stands in memory: its length is right for its type, nothing else was looked at.
package enum VirtioGPUCommand: Sendable, Equatable {
    case getDisplayInfo
    case createResource(UInt32, format: UInt32, Size)
    case unref(UInt32)
    case setScanout(UInt32, resource: UInt32, Rectangle)
    case flush(UInt32, Rectangle)
    case transfer(UInt32, Rectangle, offset: UInt64)
    case attach(UInt32, [GuestRange])
    case detach(UInt32)
    case capsets
    case getEDID(UInt32)
    case createBlob(UInt32, memory: UInt32, size: UInt64, [GuestRange])
    case setScanoutBlob(UInt32, resource: UInt32, Rectangle, BlobLayout)
    case updateCursor(UInt32, resource: UInt32, hotX: UInt32, hotY: UInt32)
    case moveCursor(UInt32)

    /// How a blob's pixels are laid out.
    package struct BlobLayout: Hashable, Sendable {
        /// Width and height.
        package var size: Size
        /// Of `enum virtio_gpu_formats`.
        package var format: UInt32
        /// Bytes from one row to the next, of the first plane.
        package var stride: UInt32
        /// Bytes before the first row.
        package var offset: UInt32
        /// Another plane is named.
        package var hasMorePlanes: Bool
    }

    /// Reads a command.
    ///
    /// - Throws: a refusal, and what to answer is `unspecified` for a type that is not served, else `invalidParameter`.
    package init(_ type: UInt32, _ bytes: Span<UInt8>) throws(Refusal) {
        guard let known = VirtioGPUCommandType(rawValue: type) else {
            throw Refusal(.unsupported, "\(VirtioGPUCommandType.name(type)) is not served.")
        }
        guard bytes.count >= known.bytes else {
            throw Refusal(
                .badValue,
                "\(VirtioGPUCommandType.name(type)) has \(bytes.count) bytes, not \(known.bytes).")
        }
        switch known {
        case .getDisplayInfo: self = .getDisplayInfo
        case .resourceCreate2D:
            self = .createResource(
                bytes.u32(24), format: bytes.u32(28),
                Size(width: bytes.u32(32), height: bytes.u32(36)))
        case .resourceUnref: self = .unref(bytes.u32(24))
        case .setScanout:
            self = .setScanout(
                bytes.u32(40), resource: bytes.u32(44), Self.rectangle(bytes))
        case .resourceFlush: self = .flush(bytes.u32(40), Self.rectangle(bytes))
        case .transferToHost2D:
            self = .transfer(bytes.u32(48), Self.rectangle(bytes), offset: bytes.u64(40))
        case .resourceAttachBacking:
            self = .attach(bytes.u32(24), try Self.pageList(bytes, count: bytes.u32(28), at: 32))
        case .resourceDetachBacking: self = .detach(bytes.u32(24))
        case .getCapsetInfo, .getCapset: self = .capsets
        case .getEDID: self = .getEDID(bytes.u32(24))
        case .resourceAssignUUID:
            throw Refusal(.unsupported, "RESOURCE_ASSIGN_UUID was not offered.")
        case .resourceCreateBlob:
            self = .createBlob(
                bytes.u32(24), memory: bytes.u32(28), size: bytes.u64(48),
                try Self.pageList(bytes, count: bytes.u32(36), at: 56))
        case .setScanoutBlob:
            var hasMore = false
            for plane in 1..<4 where bytes.u32(64 + 4 * plane) | bytes.u32(80 + 4 * plane) != 0 {
                hasMore = true
            }
            self = .setScanoutBlob(
                bytes.u32(40), resource: bytes.u32(44), Self.rectangle(bytes),
                BlobLayout(
                    size: Size(width: bytes.u32(48), height: bytes.u32(52)),
                    format: bytes.u32(56), stride: bytes.u32(64), offset: bytes.u32(80),
                    hasMorePlanes: hasMore))
        case .updateCursor:
            self = .updateCursor(
                bytes.u32(24), resource: bytes.u32(40), hotX: bytes.u32(44), hotY: bytes.u32(48))
        case .moveCursor: self = .moveCursor(bytes.u32(24))
        }
    }

    private static func rectangle(_ bytes: Span<UInt8>) -> Rectangle {
        Rectangle(
            x: bytes.u32(24), y: bytes.u32(28), width: bytes.u32(32), height: bytes.u32(36))
    }

    /// A page list as long as it claims; nothing is allocated by the claim alone.
    private static func pageList(
        _ bytes: Span<UInt8>, count: UInt32, at start: Int
    ) throws(Refusal) -> [GuestRange] {
        guard count <= VirtioGPU.maximumEntries else {
            throw Refusal(
                .tooManyBuffers,
                "A page list claims \(count) entries, \(VirtioGPU.maximumEntries) are the most.")
        }
        guard bytes.count - start >= 16 * Int(count) else {
            throw Refusal(
                .badValue,
                "A page list claims \(count) entries, \(bytes.count - start) bytes came.")
        }
        var ranges: [GuestRange] = []
        ranges.reserveCapacity(Int(count))
        for index in 0..<Int(count) {
            let at = start + 16 * index
            let (address, length) = (bytes.u64(at), UInt64(bytes.u32(at + 8)))
            guard length > 0, !address.addingReportingOverflow(length).overflow else {
                throw Refusal(
                    .badValue,
                    "Entry \(index) of a page list has \(length) bytes at 0x\(String(address, radix: 16))."
                )
            }
            // Neighbours become one: lists of single pages shrink to a few runs.
            if let last = ranges.last, last.address + last.length == address {
                ranges[ranges.count - 1].length += length
            } else {
                ranges.append(GuestRange(address: address, length: length))
            }
        }
        return ranges
    }
}
