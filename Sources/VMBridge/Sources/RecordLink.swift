import Descriptors
import VMBridgeCore

/// Our end of one connection that speaks source-v1, whoever is at the other: what waits to be written, and when is
/// read.
///
/// Who does not listen is not listened to: while the peer's queue is full and much waits for it, nothing is read. Who
/// sends too much is read later. There may be no connection; then what is written is for nobody and must be forgotten.
struct RecordLink: ~Copyable {
    /// Datagrams taken in one turn of the loop, so that nobody keeps it for himself.
    static let turn = 16
    /// Output that has gathered above this many bytes stops the reading.
    static let outputLimit = 128 * 1024
    /// Descriptors in the output above which the same holds.
    static let descriptorLimit = 256
    /// Shortest wait for further tokens, nanoseconds.
    private static let shortestWait: UInt64 = 1_000_000

    private let loop: EventLoop
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    /// What the loop was told to wait for.
    private var interest = Interest.read
    /// Records that wait to be written. What is appended is sent by the next `flush`.
    var output = RecordWriter()
    /// What the output's records carry, in order.
    let outputDescriptors = DescriptorQueue()
    /// Whether the peer's queue was full.
    private(set) var isOutputBlocked = false
    private var isThrottled = false
    private var rate: Int
    private var bucket: TokenBucket
    private var timer: TimerID?

    /// No connection yet.
    init(loop: EventLoop) {
        self.loop = loop
        rate = 1
        bucket = TokenBucket(rate: rate, now: loop.now())
    }

    /// Says, once and before the first connection, what the loop calls when reading may go on: it must call `refilled`.
    mutating func watchRefills(_ onRefill: @escaping () -> Void) {
        timer = loop.makeTimer { _ in onRefill() }
    }

    /// Whether there is a connection.
    var isConnected: Bool { registration != nil }

    // MARK: The connection

    /// Takes a connection; there must be none.
    ///
    /// - Parameters:
    ///   - rate: records a second that are read.
    ///   - ready: is called by the loop.
    mutating func open(
        _ new: consuming SeqPacketSocket, rate: Int, _ ready: @escaping (Readiness) -> Void
    ) throws(KernelError) {
        registration = try loop.register(new.number, .read, ready)
        socket = consume new
        isOutputBlocked = false
        isThrottled = false
        interest = .read
        self.rate = rate
        bucket = TokenBucket(rate: rate, now: loop.now())
        forgetOutput()
    }

    /// Ends the connection and forgets what it did not take.
    mutating func close() { _ = takeSocket() }

    /// Lets go of the connection without ending it, for another to serve.
    mutating func takeSocket() -> SeqPacketSocket? {
        if let registration { loop.remove(registration) }
        registration = nil
        isOutputBlocked = false
        if let timer { loop.disarm(timer) }
        forgetOutput()
        return socket.take()
    }

    /// Closes, and gives the timer back.
    mutating func shutDown() {
        close()
        if let timer { loop.remove(timer) }
        timer = nil
    }

    // MARK: Reading

    /// Whether nothing is read for now.
    var isReadingPaused: Bool { isThrottled || isOutputBlocked && isOutputLong }

    /// Whether more has gathered than is answered to somebody who does not take it.
    var isOutputLong: Bool {
        output.bytes.count > Self.outputLimit || output.descriptors > Self.descriptorLimit
    }

    /// Whether a datagram may be read; else the loop says when.
    mutating func mayRead(now: UInt64) -> Bool {
        if bucket.isOpen(now: now) { return true }
        guard !isThrottled, let timer else { return false }
        isThrottled = true
        updateInterest()
        loop.arm(timer, after: max(bucket.delay(), Self.shortestWait))
        return false
    }

    func receive(
        into bytes: inout [UInt8], descriptors: inout DescriptorBundle
    ) -> ReceiveResult {
        socket?.receive(into: &bytes, descriptors: &descriptors) ?? .wouldBlock
    }

    /// Says how many records a datagram had.
    mutating func took(records: Int, now: UInt64) { bucket.take(max(records, 1), now: now) }

    /// The wait for tokens is over.
    mutating func refilled() {
        isThrottled = false
        updateInterest()
    }

    /// Another rate from the next record on; a wait was reckoned by the former one and is cut short.
    mutating func setRate(_ rate: Int) {
        guard rate != self.rate else { return }
        self.rate = rate
        bucket.setRate(rate, now: loop.now())
        if isThrottled, let timer { loop.arm(timer, after: Self.shortestWait) }
    }

    /// Takes what is still there of a connection that is about to be closed: a socket that is closed with data unread
    /// takes from its peer what was written last.
    mutating func drain(into bytes: inout [UInt8], descriptors: inout DescriptorBundle) {
        for _ in 0..<4 * Self.turn {
            guard case .datagram = receive(into: &bytes, descriptors: &descriptors) else { return }
        }
    }

    // MARK: Writing

    /// The peer may have room again.
    mutating func becameWritable() { isOutputBlocked = false }

    /// Sends what was written, as far as the peer's queue takes it; nothing without a connection.
    ///
    /// - Parameter tap: is told of each datagram.
    /// - Returns: why the connection is of no use any longer.
    mutating func flush(_ tap: SessionTap? = nil) -> String? {
        guard isConnected else { return nil }
        while !isOutputBlocked, !output.isEmpty {
            let (count, descriptors) = output.wholeRecords(upTo: SourceProtocol.maximumDatagram)
            switch send(count, descriptors) {
            case .sent:
                tap?.sent(output.bytes, count: count, descriptors: descriptors)
                output.removeFirst(count, descriptors: descriptors)
                if descriptors > 0 { outputDescriptors.removeFirst(descriptors) }
            case .wouldBlock: isOutputBlocked = true
            case .closed: return "it closed the connection"
            case .failed(let code): return "sending failed: \(KernelError.text(of: code))"
            }
        }
        updateInterest()
        return nil
    }

    private func send(_ count: Int, _ descriptors: Int) -> SendResult {
        guard descriptors > 0 else { return socket?.send(output.bytes, count: count) ?? .closed }
        return outputDescriptors.withFirst(descriptors) {
            socket?.send(output.bytes, count: count, descriptors: $0) ?? .closed
        }
    }

    mutating func forgetOutput() {
        output.removeAll()
        outputDescriptors.removeAll()
    }

    private mutating func updateInterest() {
        guard let registration else { return }
        var interest: Interest = []
        if !isReadingPaused { interest.insert(.read) }
        if isOutputBlocked { interest.insert(.write) }
        guard interest != self.interest else { return }
        if (try? loop.setInterest(registration, interest)) != nil { self.interest = interest }
    }
}
