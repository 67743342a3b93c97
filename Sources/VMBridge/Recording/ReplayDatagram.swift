import VMBridgeCore

/// How recorded acquire fences that are files are replayed: nobody can make a sync_file without a device.
package enum ReplayFences: String, Sendable, CaseIterable {
    /// As acquire kind 4, told when the recorded one was over.
    case message
    /// As acquire kind 0.
    case none
}

/// A frame inside a recorded datagram.
struct ReplayedFrame: Equatable {
    var surface: SurfaceKey
    var sequence: FrameSequence
    var buffer: BufferKey
    /// Recorded acquire kind.
    var acquire: UInt32
    /// Place of its header in the datagram.
    var start: Int
    var end: Int
}

/// A recorded datagram on its way back: its records found again, and changed where they must be. Lengths stay, so the bytes are
/// changed in place. Total: what is no record is sent as it is.
struct ReplayDatagram {
    /// The bytes to send.
    var bytes: [UInt8]
    /// The whole records in it, as far as they can be told.
    private(set) var records: [RecordFrame] = []

    /// The first of the tags that version 1 never gives a meaning: what is to be passed over gets one of them, each its own.
    private static var hidden: UInt16 { 0x7000 }

    init(_ bytes: [UInt8], descriptors: Int) {
        self.bytes = bytes
        var walker = RecordWalker()
        while let record = try? walker.next(in: bytes.span, descriptorCount: descriptors) {
            records.append(record)
        }
    }

    /// The frames in it.
    var frames: [ReplayedFrame] {
        records.compactMap { record in
            guard record.type == RecordType.frame, record.end - record.start >= 40,
                let buffer = bytes.number64(record.start + 16),
                let sequence = bytes.number64(record.start + 24),
                let acquire = bytes.number32(record.start + 32)
            else { return nil }
            return ReplayedFrame(
                surface: SurfaceKey(record.object), sequence: FrameSequence(sequence),
                buffer: BufferKey(buffer), acquire: acquire, start: record.start, end: record.end)
        }
    }

    /// Says memfd where a buffer's record says dma-buf.
    mutating func makeMemfd(_ record: RecordFrame) {
        guard record.type == RecordType.bufferCreate, record.end - record.start >= 112,
            bytes.number32(record.start + 40) == MemoryKind.dmaBuf.rawValue
        else { return }
        bytes.put(MemoryKind.memfd.rawValue, at: record.start + 40)
    }

    /// Gives a frame another acquire kind, one without descriptors.
    mutating func setAcquire(_ frame: ReplayedFrame, _ kind: AcquireKind) {
        bytes.put(kind.rawValue, at: frame.start + 32)
        bytes.put(UInt16(0), at: frame.start + 2)
        // acquire_point, which other kinds may not have.
        hide(field: 0x0801, from: frame.start + 40, to: frame.end)
    }

    /// Makes a frame's damage be passed over: everything counts as changed.
    mutating func hideDamage(_ frame: ReplayedFrame) {
        hide(field: 0x0601, from: frame.start + 40, to: frame.end)
    }

    /// Makes a greeting's wish for release fences be passed over: who replays wants to know when a buffer is free.
    mutating func hideReleaseWish(_ record: RecordFrame) {
        guard record.type == RecordType.hello else { return }
        hide(field: 0x0802, from: record.start + 24, to: record.end)
    }

    private mutating func hide(field tag: UInt16, from start: Int, to end: Int) {
        var at = start
        while at + 8 <= end, let found = bytes.number16(at), let length = bytes.number32(at + 4) {
            if found == tag {
                bytes.put(Self.hidden + (tag & 0xff) + (tag >> 8) * 16, at: at)
                bytes.put(UInt16(0), at: at + 2)
            }
            at += 8 + (Int(length) + 7) / 8 * 8
        }
    }

    /// The datagram without some of its records; nil when nothing is left.
    func keeping(_ isKept: (RecordFrame) -> Bool) -> (bytes: [UInt8], descriptors: [Int])? {
        var left: [UInt8] = []
        var descriptors: [Int] = []
        for record in records where isKept(record) {
            left += bytes[record.start..<record.end]
            descriptors += record.firstDescriptor..<record.firstDescriptor + record.descriptorCount
        }
        return left.isEmpty ? nil : (left, descriptors)
    }

    /// The bytes that say that a frame's content is complete, or failed.
    static func fenceSignal(
        _ surface: SurfaceKey, _ sequence: FrameSequence, isError: Bool
    ) -> [UInt8] {
        var writer = RecordWriter(capacity: 64)
        writer.append(.fenceSignal(surface, sequence, isError: isError))
        return writer.bytes
    }
}
