import Descriptors
import Glibc
import VMBridgeCore

/// Where the reader comes from and how long it is waited for.
package struct HyperReaderOptions: Sendable {
    /// The program's file: ours, or a copy of it that has the right to read.
    package var program = "/proc/self/exe"
    /// The driver's node.
    package var node = HyperDmabufNode.path
    /// From the start of the program to its first word, nanoseconds.
    package var startLimit: UInt64 = 10_000_000_000
    /// A call that takes longer is given up, and the reader with it: who waits for a domain that never
    /// answers would wait for ever.
    package var callLimit: UInt64 = 6_000_000_000
    /// Until a reader that ended is started again.
    package var restartDelay: UInt64 = 2_000_000_000
    /// Most requests of one domain that wait.
    package var queueLength = 192

    package init() {}
}

/// Starts what answers at the other end of a socket. Tests have other ways than a program.
package protocol HyperReaderLauncher {
    /// - Parameter socket: the reader's end.
    /// - Returns: the process; nil when there is none to end.
    func launch(
        _ socket: consuming SeqPacketSocket, options: HyperReaderOptions
    ) throws(KernelError) -> HelperProcess?
}

/// The program's own `hyper-dmabuf-reader`.
package struct ReaderProgram: HyperReaderLauncher {
    /// Where `docs/hyper-dmabuf.md` lets people put a copy of the program that has the right.
    package static let usualPath = "/usr/local/libexec/vm-bridge-reader"
    /// It, when it is there and may be started.
    package static var usual: String? { access(usualPath, X_OK) == 0 ? usualPath : nil }

    package init() {}

    package func launch(
        _ socket: consuming SeqPacketSocket, options: HyperReaderOptions
    ) throws(KernelError) -> HelperProcess? {
        try HelperProcess(
            path: options.program,
            arguments: [
                "hyper-dmabuf-reader", "--socket", "\(HelperProcess.socketNumber)",
                "--node", options.node,
            ], passing: socket.number)
    }
}

/// Is told what the reader says.
package protocol HyperReaderOwner: AnyObject {
    /// It runs now.
    func readerIsReady()
    /// It is gone. With `why`, as it said itself; nil when it crashed, was silent or made no sense.
    func readerEnded(_ why: ReaderEnd?, _ sentence: String)
    /// What one read of the queue gave: bytes of the range.
    func readerBrought(_ bytes: borrowing [UInt8], _ range: Range<Int>)
    /// Somebody else took a record.
    func readerWasRobbed()
    /// The driver's word on a request; private data are bytes of the range, the bundle has the dma-buf of an `open`.
    func readerAnswered(
        _ request: ReaderRequest, _ facts: RawFacts, _ bytes: borrowing [UInt8],
        _ range: Range<Int>, _ bundle: inout DescriptorBundle)
    /// The driver refused, with this errno; 0 when nobody knows.
    func readerRefused(_ request: ReaderRequest, _ code: Int32)
}

/// The bridge's side of the process that reads hyper_dmabuf's queue. Nothing here waits. One request is under
/// way at a time, since the driver makes one at a time; domains take turns, and one that kept the driver
/// waiting rests for as long.
package final class HyperReader: HelperLinkOwner {
    private let loop: EventLoop
    private let launcher: any HyperReaderLauncher
    package let options: HyperReaderOptions
    private weak var owner: (any HyperReaderOwner)?

    private let link: HelperLink
    private var turns: DomainTurns
    private var current: (request: ReaderRequest, number: UInt64, since: UInt64)?
    private var nextNumber: UInt64 = 1

    /// Whether it said that it runs.
    package private(set) var isReady = false
    /// Starts of the program.
    package private(set) var starts: UInt64 = 0
    /// Times that it was given up because a domain kept it waiting.
    package private(set) var timeouts: UInt64 = 0
    /// The process's number; 0 without one.
    package var processNumber: Int32 { link.processNumber }
    /// Descriptors that are open for it.
    package var descriptors: Int { link.descriptors }

    package init(
        loop: EventLoop, options: HyperReaderOptions, launcher: any HyperReaderLauncher,
        owner: any HyperReaderOwner
    ) {
        self.loop = loop
        self.options = options
        self.launcher = launcher
        self.owner = owner
        turns = DomainTurns(limit: options.queueLength)
        link = HelperLink(loop: loop, maximumBytes: ReaderProtocol.maximumBytes)
        link.tell(self)
    }

    /// Whether its process was started and has not ended.
    package var isRunning: Bool { link.isRunning }

    /// Starts it, if it does not run.
    package func start() {
        guard !link.isRunning else { return }
        starts += 1
        do throws(KernelError) {
            try link.start { (socket) throws(KernelError) in
                try launcher.launch(socket, options: options)
            }
        } catch {
            owner?.readerEnded(nil, "the reader cannot be started: \(error)")
            return
        }
        link.arm(options.startLimit)
    }

    /// Ends it; requests that wait are forgotten without a word.
    package func stop() {
        endProcess()
        turns.removeAll()
        current = nil
    }

    /// Ends it for good.
    package func shutDown() {
        stop()
        link.shutDown()
    }

    /// Asks the driver.
    ///
    /// - Returns: false when too much of that domain waits already, or no reader runs.
    package func ask(_ request: ReaderRequest) -> Bool {
        guard isReady, turns.append(request) else { return false }
        pump()
        return true
    }

    /// What waits of a domain is of no use any longer.
    package func forget(domain: UInt8) { turns.remove(domain: domain) }

    private func endProcess() {
        link.stop()
        isReady = false
    }

    private func end(_ why: ReaderEnd?, _ sentence: String) {
        let interrupted = current
        current = nil
        endProcess()
        let waiting = turns.removeAll()
        if let interrupted { owner?.readerRefused(interrupted.request, 0) }
        for request in waiting { owner?.readerRefused(request, 0) }
        owner?.readerEnded(why, sentence)
    }

    // MARK: Requests

    private func pump() {
        guard isReady, current == nil else { return }
        let now = loop.now()
        switch turns.next(now: now) {
        case .none: link.disarm()
        case .restUntil(let time): link.arm(time > now ? time - now : 1)
        case .request(let request):
            let number = nextNumber
            nextNumber += 1
            current = (request, number, now)
            let datagram = ReaderWriter.bytes(request, number: number)
            // One request at a time never fills the socket.
            guard case .sent = link.send(datagram) else {
                return end(nil, "the reader cannot be reached")
            }
            link.arm(options.callLimit)
        }
    }

    func helperTimerFired(now: UInt64) {
        if let current {
            timeouts += 1
            turns.timedOut(domain: current.request.id.domain, took: now - current.since, now: now)
            end(
                nil,
                "domain \(current.request.id.domain) did not answer within \(options.callLimit / 1_000_000_000) s, and the driver waits for nobody else meanwhile"
            )
        } else if isReady {
            pump()
        } else {
            end(nil, "the reader said nothing in time")
        }
    }

    // MARK: Words

    func helperLeft() { end(nil, "the reader ended") }

    func helperBroke(_ result: ReceiveResult) {
        end(nil, "what the reader said did not come whole (\(result))")
    }

    func helperSaid(
        _ bytes: borrowing [UInt8], count: Int, _ bundle: inout DescriptorBundle
    ) {
        guard let (word, number, descriptors) = ReaderDecoder.word(bytes, count: count),
            descriptors == bundle.count
        else { return end(nil, "what the reader said makes no sense") }
        switch word {
        case .ready(let version):
            guard !isReady, version == ReaderProtocol.version else {
                return end(nil, "the reader is of another version")
            }
            isReady = true
            link.disarm()
            owner?.readerIsReady()
        case .ended(let why, let code): end(why, Self.sentence(why, code, options))
        case .records(let range) where isReady: owner?.readerBrought(bytes, range)
        case .stolen where isReady: owner?.readerWasRobbed()
        case .answer(let facts, let range):
            guard let request = finish(number), (descriptors == 1) == request.opens else {
                return end(nil, "the reader answered what nobody asked")
            }
            owner?.readerAnswered(request, facts, bytes, range, &bundle)
        case .refused(let code):
            guard let request = finish(number) else {
                return end(nil, "the reader answered what nobody asked")
            }
            owner?.readerRefused(request, code)
        default: return end(nil, "the reader speaks before it runs")
        }
        pump()
    }

    private func finish(_ number: UInt64) -> ReaderRequest? {
        guard isReady, let current, current.number == number else { return nil }
        self.current = nil
        let now = loop.now()
        turns.ended(domain: current.request.id.domain, took: now - current.since, now: now)
        return current.request
    }

    private static func sentence(
        _ why: ReaderEnd, _ code: Int32, _ options: HyperReaderOptions
    ) -> String {
        switch why {
        case .noNode: "\(options.node) is not there, or is another driver's node"
        case .taken:
            "another reader has \(options.node): records can have only one, so only one bridge of this host can have hyper-dmabuf sources"
        case .noRight:
            "the reader may not read \(options.node) (\(KernelError.name(of: code))): its program, \(options.program), needs cap_dac_override as a file capability, see docs/hyper-dmabuf.md"
        case .nodeGone: "\(options.node) went away"
        case .stuck:
            "a record in \(options.node) is longer than \(ReaderProtocol.lastRoom) bytes and keeps back all others, until the driver is loaded anew"
        case .failed: "reading \(options.node) failed: \(KernelError.text(of: code))"
        }
    }
}

extension ReaderRequest {
    fileprivate var opens: Bool { if case .open = self { true } else { false } }
}
