import Descriptors
import Logging
import VMBridgeCore

/// What is recorded, and where.
public struct RecordingSettings: Sendable, Equatable {
    /// Directory of the files, one for each VM and connection; made when it is not there.
    public var directory: String
    /// How much of the pixels.
    public var content = RecordedContent.none
    /// Most bytes of all files of one VM together: a guest that connects again and again does not fill the disk.
    public var limit: UInt64 = 1 << 30

    /// Records into a directory.
    public init(directory: String) { self.directory = directory }
}

/// Records one VM's connections, each into a file of its own. The loop's half: copies what passes into a queue and never waits; a
/// thread for each file writes it and reads the pixels. What the queue does not take is counted, and the file says so.
package final class Recorder {
    private let settings: RecordingSettings
    private let vm: String
    private let logger: Logger
    private var queue: BoundedQueue<RecordingJob>?
    private var progress = Guarded(RecordingStatus())
    private var hasBegun = false
    /// Bytes that the VM's files may still take.
    private let budget: Guarded<UInt64>
    private var known: Set<BufferID> = []
    private var frames: [SurfaceKey: UInt64] = [:]
    private var droppedDatagrams: UInt64 = 0
    private var droppedPixels: UInt64 = 0
    /// What is missing and not yet said in the file.
    private var untold: (datagrams: UInt64, pixels: UInt64) = (0, 0)
    /// Those that were ended, whose threads may still write.
    private var ending: [BoundedQueue<RecordingJob>] = []

    /// Bytes that may wait for the disk.
    private static var queueLimit: Int { 16 << 20 }
    /// What a frame with pixels costs beside bytes: so few may wait, since pixels that are read late may be others.
    private static var pixelCost: Int { queueLimit / 32 }
    /// Threads of former connections that may still write, when the next one begins.
    private static var mostThreads: Int { 4 }
    /// Bytes below which no file is begun.
    private static var leastFile: UInt64 { 1024 }
    /// Of sampled frames every so many-th.
    private static var samplePeriod: UInt64 { 30 }

    /// Records nothing before a connection begins.
    package init(_ settings: RecordingSettings, vm: String, logger: Logger) {
        self.settings = settings
        budget = Guarded(settings.limit)
        self.vm = vm
        self.logger = logger
    }

    /// The recording of this connection, or of the last one; nil before the first.
    package var status: RecordingStatus? {
        guard hasBegun else { return nil }
        var status = progress.with { $0 }
        status.droppedDatagrams = droppedDatagrams
        status.droppedPixels = droppedPixels
        return status
    }

    /// A connection begins, and with it a file.
    package func connected(generation: UInt64) {
        stop(.stopped)
        droppedDatagrams = 0
        droppedPixels = 0
        untold = (0, 0)
        frames.removeAll()
        let queue = BoundedQueue<RecordingJob>(limit: Self.queueLimit)
        let progress = Guarded(RecordingStatus())
        self.progress = progress
        hasBegun = true
        ending.removeAll { $0.waitUntilDone(milliseconds: 0) }
        guard ending.count < Self.mostThreads else {
            progress.with { $0.ended = "the disk does not follow" }
            return logger.error("\(vm): no recording: the disk does not follow")
        }
        let about = RecordingAbout(
            vm: vm, generation: generation, content: settings.content,
            start: MonotonicClock.now(), date: RealtimeClock.now())
        let (settings, logger, budget) = (settings, logger, budget)
        do throws(KernelError) {
            try BackgroundThread.start {
                Self.write(queue, about, settings, budget, progress, logger)
                queue.markDone()
            }
            self.queue = queue
        } catch {
            progress.with { $0.ended = "\(error)" }
            logger.error("\(vm): no recording: \(error)")
        }
    }

    /// The thread of one file.
    private static func write(
        _ queue: BoundedQueue<RecordingJob>, _ about: RecordingAbout,
        _ settings: RecordingSettings, _ budget: Guarded<UInt64>,
        _ progress: Guarded<RecordingStatus>, _ logger: Logger
    ) {
        let output: AppendingFile
        let limit = budget.with { $0 }
        guard limit >= leastFile else {
            progress.with { $0.ended = RecordingEnd.limit.word }
            logger.warning("\(about.vm): no recording: \(RecordingEnd.limit.word)")
            queue.close()
            while queue.take(waits: false) != nil {}
            return
        }
        do throws(KernelError) {
            let (file, path) = try open(about, settings)
            output = file
            progress.with { $0.file = path }
            logger.info("\(about.vm): recording to \(path)")
        } catch {
            progress.with { $0.ended = "\(error)" }
            logger.error("\(about.vm): no recording: \(error)")
            queue.close()
            while queue.take(waits: false) != nil {}
            return
        }
        let writer = RecordingWriter(
            output, about, limit: limit, status: progress)
        while !writer.isOver {
            guard let job = queue.take(waits: false) else {
                writer.flush()
                guard !writer.isOver, let job = queue.take(waits: true) else { break }
                writer.perform(job)
                continue
            }
            writer.perform(job)
        }
        writer.flush()
        budget.with { $0 -= min($0, writer.offset) }
        queue.close()
        while queue.take(waits: false) != nil {}
        logger.info("\(about.vm): recording ended: \(progress.with { $0.ended } ?? "cut off")")
    }

    /// Makes the directory and a file that is not there yet.
    private static func open(
        _ about: RecordingAbout, _ settings: RecordingSettings
    ) throws(KernelError) -> (AppendingFile, String) {
        try FileWriter.makeDirectory(settings.directory)
        let base = "\(settings.directory)/\(CleanText.identifier(about.vm))-\(about.generation)"
        for attempt in 0..<10_000 {
            let path = base + (attempt == 0 ? "" : ".\(attempt)") + RecordingFormat.suffix
            do throws(KernelError) {
                return (try AppendingFile(path: path, mustBeNew: true), path)
            } catch {
                guard error.code == 17 else { throw error }  // EEXIST
            }
        }
        throw KernelError("open", 17, subject: base + RecordingFormat.suffix)
    }

    // MARK: What passes

    /// A datagram came. Its descriptors stay where they are; copies of them are looked at by the thread.
    package func received(
        _ bytes: [UInt8], count: Int, _ bundle: borrowing DescriptorBundle, time: UInt64
    ) {
        guard queue != nil else { return }
        var descriptors: [KeptDescriptor?] = []
        for index in 0..<min(bundle.count, DescriptorBundle.capacity) {
            descriptors.append(
                bundle.number(at: index).flatMap {
                    let lent = OwnedDescriptor(owning: $0)
                    let copy = lent.duplicate()
                    _ = lent.release()
                    return copy.isValid ? KeptDescriptor(copy) : nil
                })
        }
        let copy = Array(bytes[..<min(count, bytes.count)])
        put(.received(copy, descriptors, .none, time: time), cost: copy.count + 512)
    }

    /// A datagram came that was not whole.
    package func receivedBroken(_ how: BrokenDatagram, time: UInt64) {
        put(.received([], [], how, time: time), cost: 512)
    }

    /// A datagram was sent.
    package func sent(_ bytes: [UInt8], count: Int, descriptors: Int, time: UInt64) {
        guard queue != nil else { return }
        let copy = Array(bytes[..<min(count, bytes.count)])
        put(.sent(copy, descriptors: descriptors, time: time), cost: copy.count + 128)
    }

    /// A frame is handed on to be shown: from now on until its release its buffer holds its picture.
    package func committed(
        _ surface: SurfaceKey, _ sequence: FrameSequence, _ id: BufferID, _ memory: BufferMemory?,
        time: UInt64
    ) {
        guard queue != nil else { return }
        let number = Self.number(id)
        var state = PixelState.unreadable
        if let memory {
            state = isWanted(surface) ? .there : .notWanted
            if !known.contains(id),
                offer(.buffer(number, SharedMemory(memory: memory), time: time), cost: 512)
            {
                known.insert(id)
            }
        }
        var frame = RecordedFrame(
            surface: surface, sequence: sequence, buffer: number, state: state)
        guard state == .there else { return put(.frame(frame, time: time), cost: 256) }
        // The upper half of the queue is for datagrams alone.
        if offer(.frame(frame, time: time), cost: Self.pixelCost, within: Self.queueLimit / 2) {
            return
        }
        droppedPixels += 1
        untold.pixels += 1
        frame.state = .dropped
        put(.frame(frame, time: time), cost: 256)
    }

    private func isWanted(_ surface: SurfaceKey) -> Bool {
        switch settings.content {
        case .none: return false
        case .whole: return true
        case .sampled:
            let count = frames[surface, default: 0]
            frames[surface] = count + 1
            return count % Self.samplePeriod == 0
        }
    }

    /// A buffer is gone: its memory is let go of.
    package func forgot(_ id: BufferID) {
        // Costs nothing, so it is always taken; there is one for each buffer that was.
        if known.remove(id) != nil { _ = offer(.forget(Self.number(id)), cost: 0) }
    }

    /// A frame's acquire fence was waited for and has ended well.
    package func fenceOpened(_ surface: SurfaceKey, _ sequence: FrameSequence, time: UInt64) {
        put(.fence(surface, sequence, time: time), cost: 128)
    }

    /// The connection ended.
    package func disconnected() { stop(.disconnected) }

    /// Ends the recording; waits a little for the disk, since the program ends too.
    package func shutDown() {
        stop(.stopped)
        for queue in ending where !queue.waitUntilDone(milliseconds: 2000) {
            logger.warning("\(vm): a recording is not written to its end: the disk does not follow")
        }
        ending.removeAll()
    }

    private func stop(_ reason: RecordingEnd) {
        guard let queue else { return }
        // Neither costs anything, so both are taken while the queue is open.
        tellDropped(cost: 0)
        _ = queue.append(.end(reason, time: MonotonicClock.now()), cost: 0)
        queue.close()
        self.queue = nil
        known.removeAll()
        ending.removeAll { $0.waitUntilDone(milliseconds: 0) }
        ending.append(queue)
    }

    private static func number(_ id: BufferID) -> UInt64 {
        UInt64(id.slot.generation) << 32 | UInt64(id.slot.index)
    }

    private func put(_ job: RecordingJob, cost: Int) {
        guard queue != nil, !offer(job, cost: cost) else { return }
        // The thread has given up, as status says: there is nothing to count.
        if progress.with({ $0.ended != nil }) { return stop(.stopped) }
        droppedDatagrams += 1
        untold.datagrams += 1
    }

    private func offer(_ job: RecordingJob, cost: Int, within limit: Int? = nil) -> Bool {
        if untold != (0, 0) { tellDropped() }
        return queue?.append(job, cost: cost, within: limit) ?? false
    }

    private func tellDropped(cost: Int = 128) {
        guard untold != (0, 0), let queue else { return }
        let job = RecordingJob.dropped(
            datagrams: untold.datagrams, pixels: untold.pixels, time: MonotonicClock.now())
        if queue.append(job, cost: cost) { untold = (0, 0) }
    }
}
