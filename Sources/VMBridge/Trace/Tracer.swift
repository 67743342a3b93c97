import Logging

/// A trace of all VMs as Perfetto reads it: protocol buffers, one packet after the other, so a file that is cut off is still one. The
/// loop makes the packets and hands them over in pieces; a thread writes them. What the disk does not follow with is left out and
/// marked.
package final class Tracer {
    private let queue: BoundedQueue<[UInt8]>
    private let progress: Guarded<TraceStatus>
    private let path: String
    private let limit: UInt64
    private let logger: Logger
    private var gathered: [UInt8] = []
    private var handedOver: UInt64 = 0
    private var lastHandOver: UInt64 = 0
    private var isLossy = false
    private var isFull = false
    private var nextTrack: UInt64 = 1
    private var nextProcess: UInt64 = 1

    /// Bytes that may wait for the disk.
    private static var queueLimit: Int { 8 << 20 }
    /// Bytes that are handed over at once, and nanoseconds after which fewer are.
    private static var piece: Int { 16 * 1024 }
    private static var patience: UInt64 { 500_000_000 }
    /// The one writer of packets that this program is.
    private static var sequence: UInt64 { 1 }

    /// Begins a trace.
    ///
    /// - Parameters:
    ///   - path: of the file; what is there is gone. Its mode is 0600 when it is made.
    ///   - limit: of its bytes, after which nothing more is written.
    package init(path: String, limit: UInt64, logger: Logger) throws(KernelError) {
        self.path = path
        self.limit = limit
        self.logger = logger
        let queue = BoundedQueue<[UInt8]>(limit: Self.queueLimit)
        let progress = Guarded(TraceStatus())
        self.queue = queue
        self.progress = progress
        // The program is starting: a path that cannot be written is told now.
        _ = try AppendingFile(path: path, mustBeNew: false)
        try BackgroundThread.start {
            Self.write(queue, path, progress, logger)
            queue.markDone()
        }
        var first = ProtoMessage()
        first.add(TraceField.sequence, Self.sequence)
        // SEQ_INCREMENTAL_STATE_CLEARED: nothing before this packet is needed to read what follows.
        first.add(TraceField.sequenceFlags, 1)
        append(packet: first, time: 0)
    }

    private static func write(
        _ queue: BoundedQueue<[UInt8]>, _ path: String, _ progress: Guarded<TraceStatus>,
        _ logger: Logger
    ) {
        do throws(KernelError) {
            let file = try AppendingFile(path: path, mustBeNew: false)
            while let bytes = queue.take(waits: true) {
                try file.write(bytes)
                progress.with { $0.bytes += UInt64(bytes.count) }
            }
        } catch {
            progress.with { $0.trouble = "\(error)" }
            logger.error("the trace \(path) ends: \(error)")
            queue.close()
            while queue.take(waits: false) != nil {}
        }
    }

    /// What became of it so far.
    package var status: TraceStatus { progress.with { $0 } }

    /// Writes what is left; waits a little for the disk, since the program ends.
    package func shutDown() {
        handOver(now: MonotonicClock.now())
        queue.close()
        if !queue.waitUntilDone(milliseconds: 2000) {
            logger.warning("the trace \(path) is not written to its end: the disk does not follow")
        }
    }

    // MARK: Packets

    /// A track of its own for a VM, shown as a process.
    func makeProcess(_ name: String) -> UInt64 {
        var process = ProtoMessage()
        // Numbers of no process of this host: a VM is shown as if it were one.
        process.add(TraceField.processNumber, nextProcess)
        process.add(TraceField.processName, name)
        nextProcess += 1
        return makeTrack { $0.add(TraceField.process, process) }
    }

    /// A track below another one.
    func makeTrack(_ name: String, below parent: UInt64) -> UInt64 {
        makeTrack {
            $0.add(TraceField.name, name)
            $0.add(TraceField.parent, parent)
        }
    }

    /// A track of numbers below another one.
    ///
    /// - Parameter isBytes: else they count things.
    func makeCounter(_ name: String, below parent: UInt64, isBytes: Bool) -> UInt64 {
        var counter = ProtoMessage()
        // CounterDescriptor.Unit: UNIT_COUNT, UNIT_SIZE_BYTES.
        counter.add(TraceField.counterUnit, isBytes ? 3 : 2)
        return makeTrack {
            $0.add(TraceField.name, name)
            $0.add(TraceField.parent, parent)
            $0.add(TraceField.counter, counter)
        }
    }

    private func makeTrack(_ fill: (inout ProtoMessage) -> Void) -> UInt64 {
        let uuid = nextTrack
        nextTrack += 1
        var track = ProtoMessage()
        track.add(TraceField.uuid, uuid)
        fill(&track)
        var packet = ProtoMessage()
        packet.add(TraceField.track, track)
        packet.add(TraceField.sequence, Self.sequence)
        append(packet: packet, time: 0)
        return uuid
    }

    /// An event at a time of CLOCK_MONOTONIC.
    ///
    /// - Parameters:
    ///   - name: of a slice or instant; empty at a slice's end.
    ///   - number: shown with it, under `label`.
    ///   - text: shown with it as "what".
    func event(
        _ kind: TraceEventKind, _ track: UInt64, _ name: String = "", time: UInt64,
        label: String = "sequence", number: UInt64? = nil, text: String? = nil
    ) {
        guard !isFull else { return }
        var event = ProtoMessage()
        event.add(TraceField.kind, kind.rawValue)
        event.add(TraceField.eventTrack, track)
        if !name.isEmpty {
            event.add(TraceField.eventName, name)
            event.add(TraceField.category, "frame")
        }
        if let number {
            var annotation = ProtoMessage()
            annotation.add(TraceField.annotationName, label)
            annotation.add(TraceField.annotationNumber, number)
            event.add(TraceField.annotation, annotation)
        }
        if let text {
            var annotation = ProtoMessage()
            annotation.add(TraceField.annotationName, "what")
            annotation.add(TraceField.annotationText, text)
            event.add(TraceField.annotation, annotation)
        }
        append(event, at: time)
    }

    /// A counter's new value.
    func count(_ track: UInt64, _ value: UInt64, time: UInt64) {
        guard !isFull else { return }
        var event = ProtoMessage()
        event.add(TraceField.kind, TraceEventKind.counter.rawValue)
        event.add(TraceField.eventTrack, track)
        event.add(TraceField.counterValue, value)
        append(event, at: time)
    }

    private func append(_ event: ProtoMessage, at time: UInt64) {
        var packet = ProtoMessage()
        packet.add(TraceField.timestamp, time)
        packet.add(TraceField.sequence, Self.sequence)
        if isLossy {
            packet.add(TraceField.lostPackets, 1)
            isLossy = false
        }
        packet.add(TraceField.event, event)
        append(packet: packet, time: time)
    }

    private func append(packet: ProtoMessage, time: UInt64) {
        guard !isFull else { return }
        var trace = ProtoMessage()
        trace.add(TraceField.packet, packet)
        guard handedOver + UInt64(gathered.count + trace.bytes.count) <= limit else {
            isFull = true
            progress.with { $0.trouble = "the size limit was reached" }
            logger.warning("the trace \(path) ends: it has the size that it may have")
            return handOver(now: time)
        }
        gathered += trace.bytes
        if gathered.count >= Self.piece || time > lastHandOver + Self.patience {
            handOver(now: time)
        }
    }

    private func handOver(now: UInt64) {
        lastHandOver = now
        guard !gathered.isEmpty else { return }
        if queue.append(gathered, cost: gathered.count) {
            handedOver += UInt64(gathered.count)
        } else {
            isLossy = true
            let count = UInt64(gathered.count)
            progress.with { if $0.trouble == nil { $0.droppedBytes += count } }
        }
        gathered.removeAll(keepingCapacity: true)
    }
}

/// Where a trace goes.
public struct TraceSettings: Sendable, Equatable {
    /// The file; what is there is gone.
    public var path: String
    /// Most bytes of it.
    public var limit: UInt64 = 256 << 20
    /// A trace into a file.
    public init(path: String) { self.path = path }
}

/// How a trace fares.
public struct TraceStatus: Sendable, Equatable {
    /// Bytes in the file.
    public var bytes: UInt64 = 0
    /// Bytes that are missing, since the disk could not follow.
    public var droppedBytes: UInt64 = 0
    /// Why nothing more is written; nil while it is.
    public var trouble: String?
}
