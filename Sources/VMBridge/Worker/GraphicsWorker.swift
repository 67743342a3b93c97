import Descriptors
import VMBridgeCore

/// Where a graphics worker comes from and how long it is waited for.
package struct GraphicsWorkerOptions: Sendable {
    /// Our own program's file.
    package var program = "/proc/self/exe"
    /// Number of the compositor's device (`dev_t`); 0 when it is not known.
    package var device: UInt64 = 0
    /// From the start of the program to its first answer, nanoseconds; counts on top of the request's own.
    package var startLimit: UInt64 = 5_000_000_000
    /// An allocation.
    package var allocationLimit: UInt64 = 2_000_000_000
    /// A new pair: a driver compiles for it, and the first one opens EGL.
    package var openLimit: UInt64 = 5_000_000_000
    /// A blit.
    package var blitLimit: UInt64 = 200_000_000
    /// Most starts a minute.
    package var startsPerMinute = 6
    /// Most requests that wait.
    package var queueLength = 32
    /// Most pairs at a time.
    package var pairs = 64
    /// With nothing to do and no pair it ends after so long.
    package var idleLimit: UInt64 = 30_000_000_000

    package init() {}

    /// The usual times with another program.
    package init(program: String) { self.program = program }
}

/// How a graphics worker fares.
package struct GraphicsWorkerStatus: Equatable, Sendable {
    /// Whether its process runs.
    package var isRunning = false
    /// The process's number; 0 without one.
    package var process: Int32 = 0
    /// Starts of the program.
    package var starts = 0
    /// Requests fulfilled.
    package var fulfilled = 0
    /// Requests refused, for whatever reason.
    package var refused = 0
    /// Times that it ended by itself, was silent for too long or made no sense.
    package var crashes = 0
    package var timeouts = 0
    package var malformed = 0
}

/// Starts what answers at the other end of a socket. Tests have other ways than a program.
package protocol GraphicsWorkerLauncher {
    /// - Parameter socket: the worker's end.
    /// - Returns: the process; nil when there is none to end.
    func launch(
        _ socket: consuming SeqPacketSocket, options: GraphicsWorkerOptions
    ) throws(KernelError) -> HelperProcess?
}

/// The program's own `graphics-worker`.
package struct ProgramLauncher: GraphicsWorkerLauncher {
    package init() {}

    package func launch(
        _ socket: consuming SeqPacketSocket, options: GraphicsWorkerOptions
    ) throws(KernelError) -> HelperProcess? {
        try HelperProcess(
            path: options.program,
            arguments: [
                "graphics-worker", "--socket", "\(HelperProcess.socketNumber)",
                "--device", "\(options.device)",
            ], passing: socket.number)
    }
}

/// The bridge's side of one VM's graphics worker: a process that does what may crash, block or take
/// long. Nothing here waits: requests queue, each has a deadline once it is sent, and whatever goes
/// wrong is a refusal among the gathered events. A worker that crashed, was silent or made no sense is
/// killed and started again on the next demand.
package final class GraphicsWorker: HelperLinkOwner {
    /// One request, with the descriptors that it lends to the socket.
    private struct Pending {
        var request: GraphicsRequest
        var words: WorkerRequest
        var memory: BufferMemory?
        /// The run that knows the pair; nil for what any run can do.
        var run: UInt32?
    }

    private let loop: EventLoop
    private let probe: DescriptorProbe
    private let launcher: any GraphicsWorkerLauncher
    private var options: GraphicsWorkerOptions

    private let link: HelperLink
    private var run: UInt32 = 0
    private var isReady = false
    private var isShutDown = false

    private var queue: [Pending] = []
    private var current: Pending?
    /// Pairs of this run, and those asked for.
    private var pairs: Set<UInt32> = []
    private var starts: [UInt64] = []
    private var nextRequest: UInt64 = 0
    private let events = Gathered<GraphicsEvent>(capacity: 4)
    private var counts = GraphicsWorkerStatus()

    /// A worker that is not started yet.
    package init(
        loop: EventLoop, options: GraphicsWorkerOptions = GraphicsWorkerOptions(),
        launcher: any GraphicsWorkerLauncher = ProgramLauncher()
    ) throws(KernelError) {
        self.loop = loop
        self.options = options
        self.launcher = launcher
        probe = try DescriptorProbe()
        link = HelperLink(loop: loop, maximumBytes: WorkerProtocol.maximumBytes)
        link.tell(self)
    }

    /// How it fares.
    package var status: GraphicsWorkerStatus {
        var status = counts
        status.isRunning = link.isRunning
        status.process = link.processNumber
        return status
    }

    /// Whether events are there to be taken.
    package var hasEvents: Bool { !events.isEmpty }

    /// Hands the gathered events over and forgets them.
    package func takeEvents(_ body: (GraphicsEvent) -> Void) { events.take(body) }

    /// The compositor's device is another one now; pairs are gone with the old worker.
    package func setDevice(_ device: UInt64) {
        guard device != options.device else { return }
        options.device = device
        abandon(.pairGone, "The compositor's device changed.")
        pump()
    }

    // MARK: requests

    /// Asks for memory.
    package func allocate(_ wanted: AllocationRequest) -> GraphicsRequest {
        enqueue(.allocate(wanted))
    }

    /// Asks for an output of a source, with its picture in it; blits to it follow by ``blit(_:)``.
    ///
    /// - Parameters:
    ///   - memory: the source, validated; held until the answer.
    ///   - asStored: rows stay in their order; else the output is the right way up.
    package func open(_ memory: BufferMemory, asStored: Bool = false) -> GraphicsRequest {
        var layout = memory.layout
        if asStored { layout.isBottomUp = false }
        return enqueue(.open(layout), memory: memory)
    }

    /// Asks for the source's picture as it is now.
    package func blit(_ pair: BlitPair) -> GraphicsRequest {
        enqueue(.blit(pair.number), run: pair.run)
    }

    /// The pair is of no use any longer.
    package func drop(_ pair: BlitPair) {
        guard pair.run == run, pairs.remove(pair.number) != nil else { return }
        // There are never more of these than pairs, so the queue's bound is not theirs.
        queue.append(
            Pending(request: makeRequest(), words: .drop(pair.number), memory: nil, run: run))
        pump()
    }

    /// Ends the worker; what was under way is refused.
    package func shutDown() {
        isShutDown = true
        abandon(.shutDown, "The bridge no longer serves this VM.")
        for pending in queue { refuse(pending, .shutDown, "The bridge no longer serves this VM.") }
        queue.removeAll()
        link.shutDown()
    }

    private func makeRequest() -> GraphicsRequest {
        nextRequest += 1
        return GraphicsRequest(number: nextRequest)
    }

    private func enqueue(
        _ words: WorkerRequest, memory: BufferMemory? = nil, run: UInt32? = nil
    ) -> GraphicsRequest {
        let pending = Pending(request: makeRequest(), words: words, memory: memory, run: run)
        var waiting = queue.count
        for other in queue { if case .drop = other.words { waiting -= 1 } }
        if isShutDown {
            refuse(pending, .shutDown, "The bridge no longer serves this VM.")
        } else if waiting >= options.queueLength {
            refuse(pending, .queueFull, "\(waiting) requests wait for the graphics worker.")
        } else if case .open = words, pairs.count >= options.pairs {
            refuse(pending, .queueFull, "The graphics worker has \(pairs.count) pairs already.")
        } else {
            queue.append(pending)
            pump()
        }
        return pending.request
    }

    private func refuse(_ pending: Pending, _ reason: GraphicsReason, _ sentence: String) {
        if case .drop = pending.words { return }
        counts.refused += 1
        events.append(.refused(pending.request, GraphicsRefusal(reason, sentence)))
    }

    // MARK: sending

    /// Sends the next request if none is under way.
    private func pump() {
        while current == nil, !queue.isEmpty {
            let next = queue.removeFirst()
            if let wanted = next.run, wanted != run || !link.isRunning {
                refuse(next, .pairGone, "The graphics worker that knew the source has ended.")
                continue
            }
            if !link.isRunning {
                do throws(GraphicsRefusal) {
                    try start()
                } catch {
                    refuse(next, error.reason, error.sentence)
                    continue
                }
            }
            send(next)
        }
        armIdle()
    }

    private func send(_ pending: Pending) {
        let memory = pending.memory
        let numbers = memory?.descriptorNumbers ?? []
        let datagram = WorkerWriter.bytes(
            pending.words, number: pending.request.number, descriptors: numbers.count)
        current = pending
        let result = link.send(datagram, descriptors: numbers)
        guard case .sent = result else {
            // One request at a time never fills the socket, so its peer is gone or the descriptors
            // are refused.
            fail(.crashed, "The graphics worker cannot be reached (\(result)).")
            return
        }
        link.arm(limit(of: pending.words) + (isReady ? 0 : options.startLimit))
    }

    private func limit(of words: WorkerRequest) -> UInt64 {
        switch words {
        case .allocate: options.allocationLimit
        case .open: options.openLimit
        case .blit, .drop: options.blitLimit
        }
    }

    private func armIdle() {
        guard current == nil else { return }
        if link.isRunning, pairs.isEmpty {
            link.arm(options.idleLimit)
        } else {
            link.disarm()
        }
    }

    // MARK: the process

    private func start() throws(GraphicsRefusal) {
        let now = loop.now()
        starts.removeAll { now - $0 >= 60_000_000_000 }
        guard starts.count < options.startsPerMinute else {
            throw GraphicsRefusal(
                .tooManyStarts,
                "The graphics worker was started \(starts.count) times within a minute.")
        }
        starts.append(now)
        do throws(KernelError) {
            try link.start { (socket) throws(KernelError) in
                try launcher.launch(socket, options: options)
            }
        } catch {
            throw GraphicsRefusal(.notStarted, "The graphics worker cannot be started: \(error)")
        }
        run &+= 1
        isReady = false
        counts.starts += 1
    }

    /// Kills the worker and lets go of all that was its.
    private func endProcess() {
        link.stop()
        pairs.removeAll()
        isReady = false
    }

    /// The worker is of no use any longer; the request under way is refused.
    private func abandon(_ reason: GraphicsReason, _ sentence: String) {
        endProcess()
        guard let pending = current else { return }
        current = nil
        refuse(pending, reason, sentence)
    }

    private func fail(_ reason: GraphicsReason, _ sentence: String) {
        switch reason {
        case .timedOut: counts.timeouts += 1
        case .malformed: counts.malformed += 1
        default: counts.crashes += 1
        }
        abandon(reason, sentence)
    }

    func helperTimerFired(now: UInt64) {
        if current == nil {
            endProcess()
        } else {
            fail(.timedOut, "The graphics worker did not answer in time.")
            pump()
        }
    }

    // MARK: answers

    func helperSaid(
        _ bytes: borrowing [UInt8], count: Int, _ bundle: inout DescriptorBundle
    ) {
        take(bytes, count, &bundle)
        pump()
    }

    func helperLeft() {
        fail(.crashed, "The graphics worker ended.")
        pump()
    }

    func helperBroke(_ result: ReceiveResult) {
        fail(.malformed, "The graphics worker's answer did not come whole (\(result)).")
        pump()
    }

    private func take(
        _ bytes: borrowing [UInt8], _ count: Int, _ bundle: inout DescriptorBundle
    ) {
        guard let (answer, number, descriptors) = WorkerReader.answer(bytes[..<count]),
            descriptors == bundle.count
        else { return fail(.malformed, "The graphics worker's answer makes no sense.") }
        if case .ready(let version) = answer {
            guard number == 0, !isReady, version == WorkerProtocol.version else {
                return fail(.malformed, "The graphics worker is of another version.")
            }
            isReady = true
            // The start is done; what remains of its time is not the request's.
            if let current { link.arm(limit(of: current.words)) }
            return
        }
        guard isReady, let pending = current, number == pending.request.number else {
            return fail(.malformed, "The graphics worker answered what nobody asked.")
        }
        do throws(GraphicsRefusal) {
            let event = try AnswerCheck(probe: probe, run: run).event(
                answer, to: pending.words, pending.request, &bundle)
            current = nil
            switch event {
            case .refused: counts.refused += 1
            case .opened(_, let pair, _):
                guard pairs.insert(pair.number).inserted else {
                    current = pending
                    return fail(.malformed, "The graphics worker named a pair twice.")
                }
            default: break
            }
            if case .drop = pending.words { return }
            if case .refused = event {} else { counts.fulfilled += 1 }
            events.append(event)
        } catch {
            fail(error.reason, error.sentence)
        }
    }
}
