import Descriptors
import Logging
import VMBridgeCore

/// The socket of one configured consumer: whoever connects and greets as a consumer is it, one at a time.
final class ConsumerListener {
    /// Where it listens.
    let path: String
    private let loop: EventLoop
    private let logger: Logger
    private let room: GreetingRoom
    private var listener: SeqPacketListener
    private var registration: Registration?
    private var pause: TimerID?

    /// Makes the socket, with mode 0600, and listens.
    ///
    /// - Parameter endpoint: gets the consumer.
    init(
        path: String, endpoint: ConsumerEndpoint, loop: EventLoop, reaper: DescriptorReaper,
        logger: Logger
    ) throws(KernelError) {
        self.path = path
        self.loop = loop
        self.logger = logger
        let refusal = Refusal(
            .notGreeted, "This socket is a consumer's: greet with connection_role 2.")
        room = GreetingRoom(
            loop: loop, reaper: reaper, answerToProducers: refusal, answerToSilence: refusal
        ) { [unowned endpoint] in endpoint.adopt($0, $1) }
        listener = try SeqPacketListener(path: path)
        registration = try loop.register(listener.number, .read) { [unowned self] _ in
            self.accept()
        }
        pause = loop.makeTimer { [unowned self] _ in self.listenAgain() }
    }

    private func accept() {
        for _ in 0..<16 {
            switch listener.accept() {
            case .accepted(let socket): room.admit(socket)
            case .wouldBlock: return
            case .turnedAway:
                logger.warning("\(path): out of descriptors, a consumer was turned away")
            case .exhausted(let code): return pauseListening(code)
            case .failed(let code): return pauseListening(code)
            }
        }
    }

    /// A listener left readable would spin the loop.
    private func pauseListening(_ code: Int32) {
        logger.error("\(path): cannot accept: \(KernelError.text(of: code))")
        if let registration { _ = try? loop.setInterest(registration, []) }
        if let pause { loop.arm(pause, after: 1_000_000_000) }
    }

    private func listenAgain() {
        if let registration { _ = try? loop.setInterest(registration, .read) }
    }

    /// Closes the socket; a consumer that is connected is not touched.
    func shutDown() {
        room.shutDown()
        if let registration { loop.remove(registration) }
        if let pause { loop.remove(pause) }
        registration = nil
        pause = nil
    }
}
