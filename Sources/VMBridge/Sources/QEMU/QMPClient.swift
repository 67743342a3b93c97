import Descriptors
import VMBridgeCore

/// What came of a connection to QEMU's machine protocol, as a value.
package enum QMPNews: Sendable, Equatable {
    /// QEMU is there and takes commands.
    case ready(QEMUVersion)
    /// A command was carried out; what it gave back.
    case success(UInt64, JSONValue)
    /// A command was not; why, in QEMU's words.
    case failure(UInt64, String)
    /// Something happened in QEMU.
    case event(String, JSONValue)
    /// What it sent was not taken; the connection ends when the reason ends connections.
    case refused(Refusal)
    /// The connection is gone with all commands that have no answer yet; why, in words. Another is tried.
    case lost(String)
    /// Nobody is there yet: said once until somebody is.
    case unreachable(String)
}

/// A connection to QEMU's machine protocol (QMP): connects, greets, and does so again when it is gone. Never waits.
///
/// What is at the other end is hostile: lines are bounded, answers must be to commands of ours.
package final class QMPClient {
    /// Bytes of the longest line that is taken.
    package static let lineLimit = 256 * 1024
    /// Commands without an answer, the most there may be.
    package static let commandLimit = 1024
    /// Events, answers and refusals kept for one batch; further events are left out.
    private static let newsLimit = 256
    /// How long a greeting may take, nanoseconds: QEMU serves one connection to a socket at a time, and greets the next when that ends.
    package static let greetingLimit: UInt64 = 5_000_000_000
    private static let firstDelay: UInt64 = 250_000_000
    private static let longestDelay: UInt64 = 4_000_000_000

    private enum Phase {
        case idle
        case greeting
        case negotiating(UInt64)
        case ready
    }

    /// Path of the socket that QEMU listens on.
    package let path: String
    private let loop: EventLoop
    private var socket: StreamSocket?
    private var registration: Registration?
    private var timer: TimerID?
    private var phase = Phase.idle
    private var cutter = LineCutter(limit: QMPClient.lineLimit)
    private var chunk = [UInt8](repeating: 0, count: 16 * 1024)
    private var bundle: DescriptorBundle
    private var output: [UInt8] = []
    private var sent = 0
    /// Descriptors that go with a command, by the place of its first byte in the output.
    private var passing: [Int] = []
    private let passed = DescriptorQueue()
    private var pending: Set<UInt64> = []
    private var lastCommand: UInt64 = 0
    private var delay = QMPClient.firstDelay
    private var news: [QMPNews] = []
    private var isUnreachableTold = false
    /// Events that found no room in their batch.
    package private(set) var leftOut: UInt64 = 0
    /// Lines that were not taken.
    package private(set) var refusals: UInt64 = 0

    /// A client that has not connected yet.
    package init(path: String, loop: EventLoop, reaper: DescriptorReaper) {
        self.path = path
        self.loop = loop
        bundle = DescriptorBundle(reaper: reaper)
        timer = loop.makeTimer { [unowned self] _ in self.timeIsUp() }
    }

    /// Whether commands are taken.
    package var isReady: Bool {
        if case .ready = phase { true } else { false }
    }

    /// Descriptors that are open for it.
    package var descriptors: Int { (socket == nil ? 0 : 1) + passed.count }

    // MARK: Connection

    /// Connects, now and again until it is shut down.
    package func start() {
        guard socket == nil, timer != nil else { return }
        do throws(KernelError) {
            let new = try StreamSocket(connectingTo: path)
            registration = try loop.register(new.number, .read) { [unowned self] in self.ready($0) }
            socket = consume new
        } catch {
            if !isUnreachableTold {
                isUnreachableTold = true
                tell(.unreachable("\(error)"))
            }
            return tryAgain()
        }
        phase = .greeting
        cutter = LineCutter(limit: Self.lineLimit)
        arm(Self.greetingLimit)
    }

    /// Ends the connection; another is tried a while later.
    package func reconnect(_ why: String) {
        guard socket != nil else { return }
        disconnect(why)
        tryAgain()
    }

    private func tryAgain() {
        arm(delay)
        delay = min(delay * 2, Self.longestDelay)
    }

    private func arm(_ nanoseconds: UInt64) {
        if let timer { loop.arm(timer, after: nanoseconds) }
    }

    private func timeIsUp() {
        guard socket != nil else { return start() }
        if isReady { return }
        reconnect("it does not greet: another program may hold its QMP socket")
    }

    private func disconnect(_ why: String) {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        phase = .idle
        pending.removeAll()
        output.removeAll()
        sent = 0
        passing.removeAll()
        passed.removeAll()
        bundle.reset()
        tell(.lost(why))
    }

    /// Ends for good.
    package func shutDown() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        phase = .idle
        passed.removeAll()
        if let timer { loop.remove(timer) }
        timer = nil
        news.removeAll()
    }

    // MARK: Commands

    /// Sends a command.
    ///
    /// - Parameter descriptor: goes along with it (`getfd`); not valid for none.
    /// - Returns: its number, which its answer bears; nil when QEMU takes no commands at the moment.
    @discardableResult
    package func execute(
        _ command: String, _ arguments: [JSONMember] = [],
        descriptor: consuming OwnedDescriptor = .none
    ) -> UInt64? {
        guard isReady, pending.count < Self.commandLimit else { return nil }
        return send(command, arguments, descriptor: descriptor)
    }

    private func send(
        _ command: String, _ arguments: [JSONMember] = [],
        descriptor: consuming OwnedDescriptor = .none
    ) -> UInt64 {
        lastCommand += 1
        pending.insert(lastCommand)
        if descriptor.isValid {
            passing.append(output.count)
            passed.append(descriptor)
        }
        output += QMPMessage.command(command, arguments: arguments, id: lastCommand).utf8
        flush()
        return lastCommand
    }

    private func flush() {
        while sent < output.count {
            // A descriptor goes with the first byte of its command, and with no other.
            let carries = passing.first == sent
            let end = (carries ? passing.dropFirst().first : passing.first) ?? output.count
            guard let result = push(to: end, carries: carries) else { return }
            switch result {
            case .sent(let count):
                sent += count
                if carries {
                    passing.removeFirst()
                    passed.removeFirst(1)
                }
            case .wouldBlock: return setInterest()
            case .closed: return reconnect("it closed the connection")
            case .failed(let code):
                return reconnect("sending failed: \(KernelError.text(of: code))")
            }
        }
        output.removeAll(keepingCapacity: true)
        sent = 0
        setInterest()
    }

    private func push(to end: Int, carries: Bool) -> StreamSendResult? {
        let bytes = end == output.count ? output : Array(output[..<end])
        guard carries else { return socket?.send(bytes, from: sent) }
        return passed.withFirst(1) { socket?.send(bytes, from: sent, descriptor: $0.first) }
    }

    private func setInterest() {
        guard let registration else { return }
        let interest: Interest = sent < output.count ? [.read, .write] : .read
        _ = try? loop.setInterest(registration, interest)
    }

    // MARK: Input

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { flush() }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { receive() }
    }

    /// Takes what is there, once: who sends without end is read again in the next turn.
    private func receive() {
        switch socket?.receive(into: &chunk, descriptors: &bundle) ?? .wouldBlock {
        case .bytes(let count):
            // QEMU has no descriptors to give.
            bundle.reset()
            cutter.append(chunk[..<count])
            takeLines()
        case .wouldBlock: break
        case .closed: reconnect("it closed the connection")
        case .failed(let code): reconnect("receiving failed: \(KernelError.text(of: code))")
        }
    }

    private func takeLines() {
        do throws(Refusal) {
            while socket != nil, let line = try cutter.next() {
                if line.isEmpty { continue }
                take(try QMPMessage(line: line))
            }
        } catch {
            refuse(error)
        }
    }

    private func take(_ message: QMPMessage) {
        switch (phase, message) {
        case (.greeting, .greeting(let version)):
            self.version = version
            let command = send("qmp_capabilities")
            if socket != nil { phase = .negotiating(command) }
        case (.negotiating(let command), .success(let id, _)) where id == command:
            pending.remove(id)
            phase = .ready
            delay = Self.firstDelay
            isUnreachableTold = false
            if let timer { loop.disarm(timer) }
            tell(.ready(version))
        case (.ready, .success(let id, let value)):
            guard pending.remove(id) != nil else { return refuseAnswer(id) }
            tell(.success(id, value))
        case (.ready, .failure(let id, _, let sentence)):
            guard pending.remove(id) != nil else { return refuseAnswer(id) }
            tell(.failure(id, sentence))
        case (.ready, .event(let name, let data)): tell(.event(name, data))
        case (.idle, _): break
        default: refuse(Refusal(.notGreeted, "QMP began with something other than its greeting."))
        }
    }

    private var version = QEMUVersion(major: 0, minor: 0, micro: 0)

    private func refuseAnswer(_ id: UInt64) {
        refuse(Refusal(.unknownObject, "QMP answered command \(id), which has none to come."))
    }

    private func refuse(_ refusal: Refusal) {
        refusals += 1
        tell(.refused(refusal))
        if refusal.reason.endsConnection { reconnect("refused, \(refusal.reason.word)") }
    }

    // MARK: News

    private func tell(_ item: QMPNews) {
        if case .event = item, news.count >= Self.newsLimit {
            leftOut += 1
            return
        }
        if case .refused = item, news.count >= Self.newsLimit { return }
        news.append(item)
    }

    /// Hands over what happened since, in order, and forgets it; called after each batch.
    package func takeNews(_ body: (QMPNews) -> Void) {
        while !news.isEmpty {
            let taken = news
            news.removeAll()
            for item in taken { body(item) }
        }
    }
}
