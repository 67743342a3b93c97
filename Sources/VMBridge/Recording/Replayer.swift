import Descriptors
import VMBridgeCore

/// Plays a recording as a producer: sends its datagrams again, with memory and descriptors made anew, and waits where the producer had
/// waited. What the bridge had answered before a datagram was sent is waited for before it is sent again, so that a faster or slower
/// host plays the same.
package final class Replayer<Bytes: RecordingBytes>: ProducerConnectionDelegate {
    /// What became of it so far.
    package private(set) var summary = ReplaySummary()
    /// Called once, when ``summary`` has its end.
    package var onEnd: (() -> Void)?
    /// Called with a sentence for each step, and with one for each chunk when that is wanted.
    package var onTell: ((String) -> Void)?

    private let options: ReplayOptions
    private let reader: RecordingReader<Bytes>
    private let loop: EventLoop
    private let memory: ReplayMemory
    private let lines: LineInput?
    private var connection: ProducerConnection?
    private var timer: TimerID?
    private var ahead: ReplayAhead<Bytes>
    private var offset: UInt64
    private var current: RecordingChunk?
    /// Of the current chunk: what was found out before it could be sent.
    private var prepared: Prepared?
    private var began: UInt64 = 0
    private var isPlaying = false
    private var isFinishing = false
    private var isAdvancing = false

    private var buffers: [BufferKey: ReplayBuffer] = [:]
    /// Frames that were sent and not released, with the buffer that each uses.
    private var outstanding: [FrameName: [ReplayBuffer?]] = [:]
    private var seen: [SurfaceKey: FrameSequence] = [:]
    /// Frames whose recorded fence is replayed by message and has not been told.
    private var fenced: Set<FrameName> = []
    private var hadPixels: [SurfaceKey: Bool] = [:]
    /// The last frame of each surface before the part that is played.
    private var skipped: [SurfaceKey: (chunk: RecordingChunk, record: Int)] = [:]
    private var conditions: [Condition] = []
    private var deadline: UInt64 = 0

    private struct FrameName: Hashable {
        var surface: SurfaceKey
        var sequence: FrameSequence
    }

    private struct Prepared {
        var contents: [RecordedFrame?]
        var isForced = false
        var isTold = false
        var isStepped = false
    }

    private enum Condition {
        case released(FrameName)
        case seen(FrameName)
        case refusals(Int)
        case free(BufferKey)
        case allocated(BufferKey)
    }

    /// Most buffers of a recording that are kept.
    private static var maximumBuffers: Int { 4096 }

    /// A replay that has not begun.
    ///
    /// - Parameter lines: where steps are taken from; needed when it is stepwise.
    package init(
        _ reader: RecordingReader<Bytes>, options: ReplayOptions, loop: EventLoop,
        lines: LineInput? = nil
    ) {
        self.reader = reader
        self.options = options
        self.loop = loop
        self.lines = lines
        memory = ReplayMemory(buffers: options.buffers)
        ahead = ReplayAhead(reader)
        offset = reader.first
        summary.isPartial = options.from > 0 || options.to < .max
        timer = loop.makeTimer { [unowned self] _ in self.advance() }
        lines?.onChange = { [unowned self] in self.advance() }
    }

    /// Connects and begins.
    package func start() {
        do throws(KernelError) {
            connection = try ProducerConnection(
                path: options.socketPath, loop: loop, delegate: self)
        } catch { return end(.lost("cannot connect: \(error)")) }
        began = loop.now()
        isPlaying = true
        advance()
    }

    /// Ends it now.
    package func stop() { end(.stopped) }

    private func end(_ how: ReplayEnd) {
        guard summary.end == nil else { return }
        isPlaying = false
        connection?.close()
        lines?.close()
        if let timer { loop.remove(timer) }
        timer = nil
        summary.end = how
        onEnd?()
    }

    // MARK: Going on

    private func advance() {
        guard !isAdvancing else { return }
        isAdvancing = true
        defer { isAdvancing = false }
        while isPlaying {
            guard connection?.isBacklogged != true, isWaitOver() else { return }
            if isFinishing { return end(.done) }
            guard let chunk = current ?? reader.chunk(at: offset), chunk.time <= options.to,
                chunk.body != .index
            else {
                finish()
                continue
            }
            if current == nil {
                current = chunk
                prepared = nil
            }
            let due = due(chunk)
            guard due <= loop.now() else {
                if let timer { loop.arm(timer, at: due) }
                return
            }
            guard play(chunk) else {
                // What it waits for wakes us: the bridge, a line, or the end of our patience.
                if conditions.isEmpty { return }
                continue
            }
            current = nil
            offset = chunk.next
        }
    }

    /// When a chunk is due. What the bridge said is not: it is waited for.
    private func due(_ chunk: RecordingChunk) -> UInt64 {
        guard let speed = options.speed, chunk.time > options.from else { return 0 }
        if case .sent = chunk.body { return 0 }
        let later = Double(chunk.time - options.from) / max(speed, 1e-6)
        return began + (later < 1e18 ? UInt64(later) : 1_000_000_000_000_000_000)
    }

    private func wait(_ wanted: [Condition]) {
        conditions = wanted
        // A bridge that shows nothing answers nothing: it is not waited for again and again.
        deadline = loop.now() + (summary.givenUp < 3 ? options.patience : options.patience / 30)
    }

    private func isWaitOver() -> Bool {
        guard !conditions.isEmpty else { return true }
        conditions.removeAll(where: isMet)
        guard !conditions.isEmpty else { return true }
        guard loop.now() < deadline else {
            summary.givenUp += 1
            conditions.removeAll()
            prepared?.isForced = true
            return true
        }
        if let timer { loop.arm(timer, at: deadline) }
        return false
    }

    private func isMet(_ condition: Condition) -> Bool {
        switch condition {
        case .released(let frame): outstanding[frame] == nil
        case .seen(let frame):
            outstanding[frame] == nil || seen[frame.surface].map { $0 >= frame.sequence } ?? false
        case .refusals(let count): summary.refusals.count >= count
        case .free(let key): (buffers[key]?.uses ?? 0) == 0
        case .allocated(let key): buffers[key] != nil
        }
    }

    /// All is played: what was sent is seen through before the connection is closed.
    private func finish() {
        isFinishing = true
        collectRefusals(from: current?.offset ?? offset)
        var last: [Condition] = outstanding.keys.map { .seen($0) }
        if !summary.isPartial { last.append(.refusals(summary.recordedRefusals.count)) }
        wait(last)
    }

    /// The rest of what had been refused, when the connection ends before the recording does.
    private func collectRefusals(from place: UInt64) {
        var place = place
        while let header = reader.header(at: place), header.kind != .index {
            if header.kind == .sent, let chunk = reader.chunk(at: place),
                case .sent(let bytes, let descriptors) = chunk.body
            {
                _ = expectations(bytes, descriptors)
            }
            place = header.next
        }
    }

    // MARK: Chunks

    /// Does what a chunk says; false when it has to wait first.
    private func play(_ chunk: RecordingChunk) -> Bool {
        if options.isVerbose, prepared == nil { onTell?(RecordingListing.line(chunk)) }
        switch chunk.body {
        case .received(let bytes, let descriptors, let broken):
            guard broken == .none else {
                playBroken(broken)
                return true
            }
            if chunk.time < options.from {
                skip(bytes, descriptors, chunk)
                return true
            }
            return playSkipped() && play(bytes, descriptors, chunk)
        case .sent(let bytes, let descriptors):
            let wanted = expectations(bytes, descriptors)
            if chunk.time >= options.from, !wanted.isEmpty { wait(wanted) }
        case .fence(let surface, let sequence):
            signal(FrameName(surface: surface, sequence: sequence), isError: false)
        case .frame(let frame):
            // Handed on: whatever it waited for was over.
            signal(FrameName(surface: frame.surface, sequence: frame.sequence), isError: false)
            ahead.reached(frame)
        case .dropped(let datagrams, _):
            let (sum, overflow) = summary.missing.addingReportingOverflow(datagrams)
            summary.missing = overflow ? .max : sum
        case .about, .buffer, .end, .index, .unknown: break
        }
        return true
    }

    private func signal(_ frame: FrameName, isError: Bool) {
        guard fenced.remove(frame) != nil else { return }
        connection?.sendRaw(
            ReplayDatagram.fenceSignal(frame.surface, frame.sequence, isError: isError))
    }

    private func playBroken(_ broken: BrokenDatagram) {
        switch broken {
        case .tooLong:
            connection?.sendRaw([UInt8](repeating: 0, count: SourceProtocol.maximumDatagram + 8))
        case .tooManyDescriptors:
            let odd = OddDescriptors.make(.anonymous)
            connection?.sendRaw(
                [UInt8](repeating: 0, count: 16),
                descriptors: Array(
                    repeating: odd.number, count: SourceProtocol.maximumDescriptors + 1))
        case .lostDescriptors, .none: break
        }
    }

    /// What the bridge has to say now as it had said it, and what it had refused.
    private func expectations(_ bytes: [UInt8], _ descriptors: Int) -> [Condition] {
        var wanted: [Condition] = []
        var walker = RecordWalker()
        while let header = try? walker.next(in: bytes.span, descriptorCount: descriptors) {
            guard let decoded = try? BridgeDecoder.decode(header, in: bytes.span) else { continue }
            switch decoded {
            case .released(_, let surface, let sequence, _),
                .releasedWithFence(_, let surface, let sequence, _):
                wanted.append(.released(FrameName(surface: surface, sequence: sequence)))
            case .presented(let surface, let presented):
                wanted.append(.seen(FrameName(surface: surface, sequence: presented.sequence)))
            case .discarded(let surface, let sequence):
                wanted.append(.seen(FrameName(surface: surface, sequence: sequence)))
            case .allocated(let key, _, _): wanted.append(.allocated(key))
            case .refused(let refused):
                guard summary.recordedRefusals.count < ReplaySummary.mostRefusals else { break }
                summary.recordedRefusals.append(ReplayRefusal(refused))
                if refused.refusal.reason == .fenceFailed {
                    signal(
                        FrameName(
                            surface: SurfaceKey(refused.object), sequence: refused.sequence),
                        isError: true)
                }
                if !summary.isPartial {
                    wanted.append(.refusals(summary.recordedRefusals.count))
                }
            default: break
            }
        }
        return wanted
    }

    // MARK: Datagrams

    /// Before the part that is played: everything but frames, of which the last one of each surface is kept.
    private func skip(
        _ bytes: [UInt8], _ recorded: [RecordedDescriptor], _ chunk: RecordingChunk
    ) {
        let datagram = ReplayDatagram(bytes, descriptors: recorded.count)
        for (index, record) in datagram.records.enumerated() {
            switch record.type {
            case RecordType.frame where skipped.count < Self.maximumBuffers:
                skipped[SurfaceKey(record.object)] = (chunk, index)
            case RecordType.surfaceDestroy: skipped[SurfaceKey(record.object)] = nil
            default: break
            }
        }
        let kept = datagram.keeping {
            $0.type != RecordType.frame && $0.type != RecordType.fenceSignal
        }
        guard let kept else { return }
        send(
            ReplayDatagram(kept.bytes, descriptors: kept.descriptors.count),
            kept.descriptors.map { recorded[$0] }, [])
    }

    /// The last frames before the part that is played, when it begins. False when one has to wait.
    private func playSkipped() -> Bool {
        while let (surface, place) = skipped.first {
            guard case .received(let bytes, let recorded, _) = place.chunk.body else { return true }
            let whole = ReplayDatagram(bytes, descriptors: recorded.count)
            let wanted = whole.records[place.record]
            if let kept = whole.keeping({ $0 == wanted }) {
                var datagram = ReplayDatagram(kept.bytes, descriptors: kept.descriptors.count)
                let frame = datagram.frames.first
                // What it waited for is over: nothing that comes will say so.
                if let frame, frame.acquire == AcquireKind.message.rawValue {
                    datagram.setAcquire(frame, .none)
                }
                let own = kept.descriptors.map { recorded[$0] }
                guard play(datagram.bytes, own, place.chunk) else { return false }
                if let frame {
                    signal(
                        FrameName(surface: frame.surface, sequence: frame.sequence), isError: false)
                }
            }
            skipped[surface] = nil
            prepared = nil
        }
        return true
    }

    /// Sends a datagram, once its pixels can be put where they belong; false when that is not yet.
    private func play(
        _ bytes: [UInt8], _ recorded: [RecordedDescriptor], _ chunk: RecordingChunk
    ) -> Bool {
        let datagram = ReplayDatagram(bytes, descriptors: recorded.count)
        let frames = datagram.frames
        var prepared =
            self.prepared
            ?? Prepared(
                contents: frames.map { ahead.take($0.surface, $0.sequence, after: chunk) })
        self.prepared = prepared
        if !prepared.isForced {
            for (frame, content) in zip(frames, prepared.contents) {
                guard let content, content.state == .there, let buffer = buffers[frame.buffer],
                    buffer.uses > 0, !reader.areSame(buffer.content, content.regions)
                else { continue }
                wait([.free(frame.buffer)])
                return false
            }
        }
        if options.isStepwise, !frames.isEmpty, !prepared.isStepped {
            guard step(frames, prepared.contents, chunk) else { return false }
            prepared.isStepped = true
            self.prepared = prepared
        }
        send(datagram, recorded, prepared.contents)
        return true
    }

    /// Says what comes next and takes a line; false when there is none yet.
    private func step(
        _ frames: [ReplayedFrame], _ contents: [RecordedFrame?], _ chunk: RecordingChunk
    ) -> Bool {
        guard let lines else { return true }
        // Told once, however often we look for the line.
        if prepared?.isTold != true { tellStep(frames, contents, chunk) }
        prepared?.isTold = true
        switch lines.take() {
        case .line: return true
        case .later: return false
        case .end:
            end(.stopped)
            return false
        }
    }

    private func tellStep(
        _ frames: [ReplayedFrame], _ contents: [RecordedFrame?], _ chunk: RecordingChunk
    ) {
        for (frame, content) in zip(frames, contents) {
            onTell?(
                "\(RecordingListing.seconds(chunk.time)) surface \(frame.surface) frame \(frame.sequence): buffer \(frame.buffer), "
                    + "acquire \(frame.acquire), pixels \(content?.state.word ?? "never shown")")
        }
    }

    private func send(
        _ original: ReplayDatagram, _ recorded: [RecordedDescriptor], _ contents: [RecordedFrame?]
    ) {
        var datagram = original
        var sent: [KeptDescriptor] = []
        var frame = 0
        let frames = datagram.frames
        var next = 0
        for record in datagram.records {
            let own = record.firstDescriptor..<record.firstDescriptor + record.descriptorCount
            next = own.upperBound
            var memfds: [KeptDescriptor?] = []
            var takesDescriptors = true
            if frame < frames.count, frames[frame].start == record.start {
                takesDescriptors = !convert(
                    frames[frame], &datagram, own.first.map { recorded[$0] })
                book(
                    frames[frame], frame < contents.count ? contents[frame] : nil, &datagram)
                frame += 1
            }
            if takesDescriptors {
                for index in own {
                    guard let made = memory.make(recorded[index]) else {
                        return cannotMake(recorded[index])
                    }
                    sent.append(made.sent)
                    memfds.append(made.memory)
                }
            }
            note(record, memfds, own.map { recorded[$0] }, &datagram)
        }
        // What belongs to no record goes along all the same: it had been refused for that.
        for index in next..<max(recorded.count, next) {
            guard let made = memory.make(recorded[index]) else {
                return cannotMake(recorded[index])
            }
            sent.append(made.sent)
        }
        connection?.sendRaw(datagram.bytes, descriptors: sent.map { $0.descriptor.number })
        summary.datagrams += 1
    }

    private func cannotMake(_ recorded: RecordedDescriptor) {
        let what = recorded.kind.map { "\($0)" } ?? "unknown"
        let advice = recorded.kind == .dmaBuf ? ": is there a udmabuf device?" : ""
        end(
            .missing(
                "a descriptor of the kind \(what), \(recorded.size) bytes, cannot be made\(advice)")
        )
    }

    /// A frame whose fence is a file gets another kind; false when it stays as it is.
    private func convert(
        _ frame: ReplayedFrame, _ datagram: inout ReplayDatagram, _ fence: RecordedDescriptor?
    ) -> Bool {
        let isFile: Bool
        switch AcquireKind(rawValue: frame.acquire) {
        case .implicit: isFile = fence == nil && options.buffers == .memfd
        // What was no fence is sent as what it was.
        case .syncFile: isFile = fence?.kind == .syncFile
        case .timelinePoint: isFile = fence != nil
        case .some(.none), .message, nil: isFile = false
        }
        guard isFile else { return false }
        datagram.setAcquire(frame, options.fences == .message ? .message : .none)
        if options.fences == .message {
            fenced.insert(FrameName(surface: frame.surface, sequence: frame.sequence))
        }
        return true
    }

    private func book(
        _ frame: ReplayedFrame, _ content: RecordedFrame?, _ datagram: inout ReplayDatagram
    ) {
        // Here, since the same datagram may have made the buffer. Nothing is sent yet.
        if let content { fill(frame.buffer, content) }
        let buffer = buffers[frame.buffer]
        buffer?.uses += 1
        let name = FrameName(surface: frame.surface, sequence: frame.sequence)
        outstanding[name, default: []].append(buffer)
        summary.frames += 1
        // Damage counts from the frame before: what that one should have shown must be known.
        if hadPixels[frame.surface] == false { datagram.hideDamage(frame) }
        let hasPixels = content?.state == .there
        hadPixels[frame.surface] = hasPixels
        if let content, !hasPixels, content.state != .notWanted || reader.about.content == .whole {
            summary.withoutPixels += 1
        }
    }

    private func note(
        _ record: RecordFrame, _ memfds: [KeptDescriptor?], _ recorded: [RecordedDescriptor],
        _ datagram: inout ReplayDatagram
    ) {
        switch record.type {
        case RecordType.hello: datagram.hideReleaseWish(record)
        case RecordType.bufferCreate:
            let areDMABufs = !recorded.isEmpty && recorded.allSatisfy { $0.kind == .dmaBuf }
            if options.buffers == .memfd, areDMABufs { datagram.makeMemfd(record) }
            let key = BufferKey(record.object)
            // A key in use will be refused; the buffer that has it stays.
            if buffers[key] == nil, buffers.count < Self.maximumBuffers {
                buffers[key] = ReplayBuffer(memfds)
            }
        case RecordType.bufferDestroy: buffers[BufferKey(record.object)] = nil
        case RecordType.surfaceDestroy:
            ahead.forget(SurfaceKey(record.object))
            hadPixels[SurfaceKey(record.object)] = nil
            seen[SurfaceKey(record.object)] = nil
        default: break
        }
    }

    /// Puts a frame's pixels into its buffer, unless they are there.
    private func fill(_ key: BufferKey, _ frame: RecordedFrame) {
        guard frame.state == .there, let buffer = buffers[key],
            reader.areSame(buffer.content, frame.regions) || reader.copy(frame, into: buffer)
        else { return }
        summary.pixels += 1
    }

    // MARK: The bridge

    func connectionReceived(_ record: BridgeRecord, _ descriptor: consuming OwnedDescriptor) {
        switch record {
        case .released(_, let surface, let sequence, let outcome),
            .releasedWithFence(_, let surface, let sequence, let outcome):
            summary.released[outcome, default: 0] += 1
            let name = FrameName(surface: surface, sequence: sequence)
            guard var uses = outstanding[name], !uses.isEmpty else { break }
            uses.removeFirst()?.uses -= 1
            outstanding[name] = uses.isEmpty ? nil : uses
        case .presented(let surface, let presented):
            summary.presented += 1
            seen[surface] = presented.sequence
        case .discarded(let surface, let sequence): seen[surface] = sequence
        case .refused(let refused):
            if summary.refusals.count < ReplaySummary.mostRefusals {
                summary.refusals.append(ReplayRefusal(refused))
            }
        case .allocated(let key, _, _):
            // The memory is the bridge's: it is not written here, and its frames show what it holds.
            if buffers[key] == nil, buffers.count < Self.maximumBuffers {
                buffers[key] = ReplayBuffer([])
            }
        default: break
        }
        resume()
    }

    func connectionIsWritable() { resume() }

    /// Goes on in a moment of its own: we may be in the middle of reading.
    private func resume() {
        if !isAdvancing, let timer { loop.arm(timer, after: 0) }
    }

    func connectionEnded(_ why: String) {
        if !isFinishing { collectRefusals(from: current?.next ?? offset) }
        let wasRefused = summary.recordedRefusals.contains { $0.type == 0 }
        // In the recording the bridge had hung up too, or the part that matters is over.
        end(wasRefused || isFinishing ? .done : .lost(why))
    }
}
