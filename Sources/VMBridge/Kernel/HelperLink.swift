import Descriptors

/// Is told what comes of a helper. Each call may stop the link or start it anew.
protocol HelperLinkOwner: AnyObject {
    /// A datagram: bytes before the count, and its descriptors, which are closed afterwards unless taken.
    func helperSaid(
        _ bytes: borrowing [UInt8], count: Int, _ bundle: inout DescriptorBundle)
    /// It closed its end.
    func helperLeft()
    /// A datagram did not come whole, or cannot be received.
    func helperBroke(_ result: ReceiveResult)
    /// What `arm` asked for.
    func helperTimerFired(now: UInt64)
}

/// A helper process with the socket to it and one timer. Nothing here waits; what is said means nothing here.
final class HelperLink: EventHandler, TimerHandler {
    /// Datagrams taken in one turn of the loop: helpers have few to send, and nobody keeps the loop for himself.
    private static let turn = 8

    private let loop: EventLoop
    private weak var owner: (any HelperLinkOwner)?
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    private var process: HelperProcess?
    private var timer: TimerID?
    private var bytes: [UInt8]

    /// - Parameter maximumBytes: of a datagram that it may send.
    init(loop: EventLoop, maximumBytes: Int) {
        self.loop = loop
        bytes = [UInt8](repeating: 0, count: maximumBytes)
    }

    /// Says who is told, before the first start.
    func tell(_ owner: any HelperLinkOwner) { self.owner = owner }

    /// Whether it was started and neither stopped nor lost.
    var isRunning: Bool { socket != nil }
    /// The process's number; 0 without one.
    var processNumber: Int32 { process?.number ?? 0 }
    /// Descriptors that are open for it.
    var descriptors: Int { (socket == nil ? 0 : 1) + (process == nil ? 0 : 1) }

    /// Starts it; nothing must run.
    ///
    /// - Parameter launch: is handed the helper's end; its process is nil when there is none to end.
    func start(
        _ launch: (consuming SeqPacketSocket) throws(KernelError) -> HelperProcess?
    ) throws(KernelError) {
        do throws(KernelError) {
            var pair = try SeqPacketPair()
            guard let own = pair.takeFirst(), let other = pair.takeSecond() else { return }
            process = try launch(other)
            registration = try loop.register(own.number, .read, self)
            socket = consume own
        } catch {
            stop()
            throw error
        }
    }

    /// Kills it without another word; what it sent and nobody took is forgotten.
    func stop() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        disarm()
        process = nil
    }

    /// Stops it for good.
    func shutDown() {
        stop()
        if let timer { loop.remove(timer) }
        timer = nil
    }

    /// Sends a datagram; the descriptors are lent.
    func send(_ datagram: [UInt8], descriptors: [Int32] = []) -> SendResult {
        socket?.send(datagram, descriptors: descriptors) ?? .closed
    }

    /// Has the owner told after so many nanoseconds, and not when it was told to be before.
    func arm(_ nanoseconds: UInt64) {
        if timer == nil { timer = loop.makeTimer(self) }
        if let timer { loop.arm(timer, after: nanoseconds) }
    }

    func disarm() { if let timer { loop.disarm(timer) } }

    func timerFired(_ timer: TimerID, now: UInt64) { owner?.helperTimerFired(now: now) }

    func ready(_ registration: Registration, _ readiness: Readiness) {
        for _ in 0..<Self.turn {
            // Another than it was when its owner has stopped it meanwhile.
            guard registration == self.registration else { return }
            var bundle = DescriptorBundle()
            guard let result = socket?.receive(into: &bytes, descriptors: &bundle) else { return }
            switch result {
            case .wouldBlock: return
            case .datagram(let count): owner?.helperSaid(bytes, count: count, &bundle)
            case .closed: owner?.helperLeft()
            case .truncatedData, .tooManyDescriptors, .truncatedDescriptors, .failed:
                owner?.helperBroke(result)
            }
        }
    }
}
