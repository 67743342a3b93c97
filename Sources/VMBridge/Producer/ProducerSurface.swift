import VMBridgeCore

/// One window of the reference producer: its painter, its buffers and how far it has come.
final class ProducerSurface {
    let key: SurfaceKey
    /// Its place among the producer's surfaces, from 0.
    let index: Int
    let title: String
    let painter: ProducerPainter
    /// Those that the bridge accepted, or has not answered yet.
    var buffers: [ProducerBuffer]
    /// The last frame that was sent; 0 before the first. Frames are numbered from 1.
    private(set) var last = FrameSequence(0)
    /// The frame that the last one's pixels show: an older one when it was sent again.
    private var lastDrawn: UInt32?
    /// The bridge wanted a frame while every buffer was held by it.
    var owesFrame = false
    /// What became of the last frame is known.
    var isLastSettled = true
    /// SURFACE_DESTROY was sent, or the bridge refused the surface.
    var isGone = false

    /// The time lines that its fences are on, one for each kind of fence.
    var timelines: [(kind: ProducerFence, timeline: ProducerDevice.Timeline)] = []
    /// What is known of its latest frames, by sequence.
    private var notes: [UInt64: FrameNote] = [:]

    init(
        _ key: SurfaceKey, index: Int, title: String, painter: ProducerPainter,
        buffers: [ProducerBuffer]
    ) {
        self.key = key
        self.index = index
        self.title = title
        self.painter = painter
        self.buffers = buffers
    }

    /// Whether all frames were given back.
    var isGivenBack: Bool { buffers.allSatisfy(\.isGivenBack) }

    /// Draws the next frame into a free buffer; nil when all are held.
    ///
    /// - Parameter kind: a fence that stays on the memory for ever takes a buffer that has one already, if there
    ///   is such a buffer; all other frames need buffers without.
    func drawNext(
        _ kind: ProducerFence
    ) throws(ProducerFailure) -> (record: FrameRecord, buffer: ProducerBuffer)? {
        let stuck = kind == .implicitStuck ? buffers.first { $0.isFree && $0.isStuck } : nil
        guard let buffer = stuck ?? buffers.first(where: { $0.isFree && !$0.isStuck }) else {
            return nil
        }
        let frame = UInt32(truncatingIfNeeded: last.value + 1)
        try buffer.draw(frame, painter)
        return next(buffer, frame)
    }

    /// The newest buffer once more, as it is: allowed also while the bridge holds it.
    func repeatLast() -> (record: FrameRecord, buffer: ProducerBuffer)? {
        guard let lastDrawn,
            let buffer = buffers.first(where: { $0.shownFrame == lastDrawn })
        else { return nil }
        return next(buffer, lastDrawn)
    }

    private func next(
        _ buffer: ProducerBuffer, _ frame: UInt32
    ) -> (record: FrameRecord, buffer: ProducerBuffer) {
        last = FrameSequence(last.value + 1)
        isLastSettled = false
        owesFrame = false
        var record = FrameRecord(surface: key, buffer: buffer.key, sequence: last)
        // Damage says what differs from the surface's last frame, not from the buffer's.
        if let lastDrawn { record.damage = painter.damage(from: lastDrawn, to: frame) }
        lastDrawn = frame
        buffer.begin(key, last)
        return (record, buffer)
    }

    // MARK: Notes

    /// Keeps a note of a frame that is sent; the oldest are forgotten, whatever became of them.
    func note(_ sequence: FrameSequence, _ note: FrameNote) {
        notes[sequence.value] = note
        if sequence.value > Self.notesKept { notes[sequence.value - Self.notesKept] = nil }
    }

    /// Changes what is known of a frame; nothing happens when it was forgotten.
    func withNote(_ sequence: FrameSequence, _ body: (inout FrameNote) -> Void) {
        guard var note = notes[sequence.value] else { return }
        body(&note)
        notes[sequence.value] = note.isDone ? nil : note
    }

    private static let notesKept: UInt64 = 1024
}
