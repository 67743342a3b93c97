import Descriptors
import VMBridgeCore

/// One client of the control socket: bytes in, lines out, within bounds. Knows nothing of requests.
final class ControlConnection {
    /// Output above which no further request is read and events are dropped, bytes.
    static let backlogLimit = 256 * 1024
    /// Bytes taken in one turn of the loop.
    private static let chunk = 16 * 1024

    /// What the next line is.
    enum Line {
        /// None is complete.
        case none
        /// Without its end.
        case complete([UInt8])
        /// More than a line may have.
        case tooLong
    }

    private let socket: StreamSocket
    private let loop: EventLoop
    private var registration: Registration?
    private var bundle: DescriptorBundle
    private var chunk = [UInt8](repeating: 0, count: ControlConnection.chunk)
    private var input: [UInt8] = []
    /// Bytes at the start of `input` that have no line end in them.
    private var searched = 0
    private var output: [UInt8] = []
    private var sent = 0
    private var passed: OwnedDescriptor = .none
    /// No more requests will come; what was asked for is still answered.
    private(set) var isInputEnded = false
    /// Nothing can be said any more.
    private(set) var isGone = false
    /// It is closed when everything is said.
    var isEnding = false
    /// A request of it is being worked on: later ones wait, so that replies come in order.
    var isBusy = false
    /// Events that found no room since the last that did.
    private(set) var dropped: UInt64 = 0

    /// Milliseconds between status reports; nil for none.
    var interval: UInt64?
    /// Whether it is told of changes.
    var isWatching = false
    /// When its next report is due.
    var nextBeat: UInt64 = 0
    /// The last line of the log that it was told; nil when it does not follow the log.
    var followed: UInt64?

    /// - Parameter onReady: called when it can be read or written.
    init(
        _ socket: consuming StreamSocket, loop: EventLoop, reaper: DescriptorReaper
    ) {
        self.socket = socket
        self.loop = loop
        bundle = DescriptorBundle(reaper: reaper)
    }

    /// Begins to watch the socket.
    func begin(_ onReady: @escaping (Readiness) -> Void) throws(KernelError) {
        registration = try loop.register(socket.number, .read, onReady)
    }

    /// Ends the watch; nothing more comes.
    func end() {
        // What is left unread would make the kernel tell the client of an error before our last words.
        if isEnding { drain() }
        isGone = true
        if let registration { loop.remove(registration) }
        registration = nil
        passed = .none
    }

    private func drain() {
        for _ in 0..<64 {
            guard case .bytes = socket.receive(into: &chunk, descriptors: &bundle) else { return }
        }
    }

    /// Who is at the other end.
    func peer() throws(KernelError) -> PeerCredentials { try socket.peer() }

    private var backlog: Int { output.count - sent }

    /// Whether all that was said is with the kernel.
    var isFlushed: Bool { backlog == 0 }

    /// Whether a next request may be taken.
    var isOpen: Bool { !isGone && !isEnding && !isBusy && backlog <= Self.backlogLimit }

    /// Whether nothing more can come of it.
    var isFinished: Bool {
        if isGone { return true }
        guard isFlushed, !isBusy else { return false }
        return isEnding || isInputEnded && !hasLine && !isWatching && followed == nil
    }

    // MARK: Input

    /// Takes what is there, once.
    func receive() {
        guard isOpen, !isInputEnded, !hasLine else { return }
        switch socket.receive(into: &chunk, descriptors: &bundle) {
        case .bytes(let count):
            input += chunk[..<count]
            // The last one that came is the one that its request means.
            for index in 0..<bundle.count {
                if let descriptor = bundle.take(index) { passed = descriptor }
            }
        case .wouldBlock: break
        case .closed: isInputEnded = true
        case .failed: isGone = true
        }
    }

    /// Whether a whole line is there.
    var hasLine: Bool {
        if searched < input.count {
            if let end = input[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                searched = end
                return true
            }
            searched = input.count
        }
        return input.count > ControlProtocol.lineLimit
    }

    /// Takes the next line.
    func takeLine() -> Line {
        guard hasLine else { return .none }
        guard searched < input.count, searched < ControlProtocol.lineLimit else { return .tooLong }
        let line = Array(input[..<searched])
        input.removeFirst(searched + 1)
        searched = 0
        return .complete(line)
    }

    /// The descriptor that came along; not valid when none did.
    func takeDescriptor() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &passed)
        return taken
    }

    // MARK: Output

    /// Says a line, however long.
    func reply(_ value: JSONValue) { append(value) }

    /// Says a line if there is room for it.
    func tell(_ event: @autoclosure () -> JSONValue) {
        guard !isGone, !isEnding else { return }
        guard backlog <= Self.backlogLimit else {
            dropped += 1
            return
        }
        if dropped > 0 {
            append(ControlReply.event("dropped", [JSONMember("count", .unsigned(dropped))]))
            dropped = 0
        }
        append(event())
    }

    private func append(_ value: JSONValue) {
        guard !isGone else { return }
        output += value.line.utf8
        output.append(UInt8(ascii: "\n"))
    }

    /// Gives the kernel what it takes, and waits for what is to be waited for.
    func flush() {
        while backlog > 0, !isGone {
            switch socket.send(output, from: sent) {
            case .sent(let count): sent += count
            case .wouldBlock: return setInterest()
            case .closed, .failed: isGone = true
            }
        }
        if sent > 0 {
            output.removeAll(keepingCapacity: output.capacity <= 2 * Self.backlogLimit)
            sent = 0
        }
        setInterest()
    }

    private func setInterest() {
        guard let registration, !isGone else { return }
        var interest: Interest = []
        if isOpen, !isInputEnded, !hasLine { interest.insert(.read) }
        if backlog > 0 { interest.insert(.write) }
        // A client that neither sends nor is to be told something is watched for its end all the same.
        if interest.isEmpty, isWatching || followed != nil || isBusy { interest = .edge }
        if (try? loop.setInterest(registration, interest)) == nil { isGone = true }
    }
}
