import Descriptors
import Glibc
import VMBridgeCore

/// Is told of what comes by a D-Bus connection. It may close the connection from inside each call.
protocol DBusHandler: AnyObject {
    /// Both ends have authenticated: calls may be made now.
    func dbusReady(_ connection: DBusConnection)
    /// A call, a signal or an answer to a call of ours.
    func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection)
    /// The connection is gone, or was given up for the reason.
    func dbusClosed(_ why: String, _ connection: DBusConnection)
}

/// One connection of D-Bus on the loop: to a peer over a socket, or to a bus. Never waits.
///
/// Why this is no library's: sd-bus (of systemd 252) forgets the descriptors of a message that it drops without closing
/// them, so that a peer who sends such messages takes them all from us. Whoever is at the other end is as hostile as a
/// guest: who sends what is no message loses the connection, and who does not read is not read.
final class DBusConnection {
    /// Messages handled in one turn of the loop: each may be a whole picture, and nobody keeps the loop for itself.
    private static let turn = 8
    /// Calls without an answer, the most there may be.
    private static let callLimit = 256
    /// Bytes that wait to be written above which nothing is read, and above which no call is made.
    private static let outputLimits = (reading: 128 * 1024, calls: 1024 * 1024)
    /// How long authentication may take, nanoseconds.
    private static let patience: UInt64 = 30_000_000_000

    private enum Phase {
        case authenticating(DBusAuthentication)
        /// A bus gives us our name.
        case greeting(serial: UInt32)
        case ready
    }

    private let loop: EventLoop
    private let reaper: DescriptorReaper
    private weak var handler: (any DBusHandler)?
    private let isBus: Bool
    private var socket: StreamSocket?
    private var registration: Registration?
    private var timer: TimerID?
    private var phase: Phase
    private var input = DBusInput()
    private var received: DescriptorBundle
    private let incoming = DescriptorQueue()
    private var output = DBusOutput()
    private let outgoing = DescriptorQueue()
    private var isOutputBlocked = false
    private var lastSerial: UInt32 = 0
    private var calls: Set<UInt32> = []
    /// Our name on the bus; empty without one.
    private(set) var uniqueName = ""

    /// Begins to speak over a connected stream socket.
    ///
    /// - Parameters:
    ///   - isServer: of the authentication; QEMU is it wherever we meet it.
    ///   - isBus: the peer is a bus, which gives us a name.
    ///   - reaper: closes descriptors that come and nobody takes.
    init(
        socket: consuming OwnedDescriptor, isServer: Bool = false, isBus: Bool = false,
        loop: EventLoop, reaper: DescriptorReaper, handler: any DBusHandler
    ) throws(KernelError) {
        self.loop = loop
        self.reaper = reaper
        self.handler = handler
        self.isBus = isBus
        let authentication = DBusAuthentication(isServer ? .server : .client)
        phase = .authenticating(authentication)
        received = DescriptorBundle(reaper: reaper)
        let number = socket.number
        self.socket = StreamSocket(socket)
        registration = try loop.register(number, .read) { [unowned self] in self.ready($0) }
        timer = loop.makeTimer { [unowned self] _ in self.timeCame() }
        if let timer { loop.arm(timer, after: Self.patience) }
        output.append(Array(authentication.greeting.utf8))
        _ = flush()
    }

    /// Begins to speak with the session's bus.
    convenience init(
        sessionBusOn loop: EventLoop, reaper: DescriptorReaper, handler: any DBusHandler
    ) throws(KernelError) {
        try self.init(
            socket: try SessionBus.connect(), isBus: true, loop: loop, reaper: reaper,
            handler: handler)
    }

    deinit { close() }

    /// Whether calls may be made.
    var isReady: Bool { if case .ready = phase { isOpen } else { false } }
    var isOpen: Bool { registration != nil }

    /// Closes without another word; the handler is not told.
    func close() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        if let timer { loop.remove(timer) }
        timer = nil
        calls.removeAll()
        received.reset()
        while let descriptor = incoming.takeFirst() { reaper.close(descriptor) }
        outgoing.removeAll()
        output = DBusOutput()
        input = DBusInput()
    }

    private func fail(_ why: String) {
        guard isOpen else { return }
        close()
        handler?.dbusClosed(why, self)
    }

    private func timeCame() {
        if isReady { pump() } else { fail("it does not say who it is") }
    }

    // MARK: Reading

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
            isOutputBlocked = false
            if let why = flush() { return fail(why) }
        }
        pump()
    }

    private var isReadingPaused: Bool {
        isOutputBlocked && output.count > Self.outputLimits.reading
    }

    private func pump() {
        for _ in 0..<Self.turn {
            guard isOpen, !isReadingPaused else { return updateInterest() }
            // One message is all there is as a rule: of what is still in the socket the loop tells, and looking for it
            // costs a call each time.
            guard takeNext() ? !input.isEmpty : receive() else { return updateInterest() }
        }
        updateInterest()
        // What has come already tells the loop nothing.
        if let timer { loop.arm(timer, after: 1) }
    }

    /// - Returns: whether there was something.
    private func receive() -> Bool {
        let result =
            socket?.receive(
                appending: input.room, to: &input.bytes, descriptors: &received) ?? .wouldBlock
        switch result {
        case .bytes: break
        case .wouldBlock: return false
        case .closed:
            fail("it closed the connection")
            return false
        case .failed(let code):
            fail(KernelError.text(of: code))
            return false
        }
        for index in 0..<received.count {
            if let descriptor = received.take(index) { incoming.append(descriptor) }
        }
        received.reset()
        if incoming.count > DescriptorBundle.capacity {
            fail("it sent more descriptors than a message of it has")
        }
        return isOpen
    }

    /// Deals with a line or a message.
    ///
    /// - Returns: whether a whole one was there.
    private func takeNext() -> Bool {
        do throws(Refusal) {
            if case .authenticating(let authentication) = phase {
                guard let line = try input.nextLine() else { return false }
                try take(line, authentication)
                return true
            }
            guard let bytes = try input.next() else { return false }
            let header = try DBusHeader(bytes)
            var bundle = DescriptorBundle(reaper: reaper)
            for _ in 0..<header.descriptors {
                guard let descriptor = incoming.takeFirst(), bundle.append(descriptor) else {
                    throw Refusal(.badDescriptor, "A message came without its descriptors.")
                }
            }
            // They come with the first bytes of their message.
            if input.isEmpty, incoming.count > 0 {
                throw Refusal(.badDescriptor, "Descriptors came without a message.")
            }
            take(DBusMessage(bytes, header, bundle))
            return isOpen
        } catch {
            fail("it sent what is no D-Bus message: \(error.sentence)")
            return false
        }
    }

    private func take(_ line: String, _ authentication: DBusAuthentication) throws(Refusal) {
        var authentication = authentication
        switch try authentication.take(line) {
        case .words(let words):
            phase = .authenticating(authentication)
            output.append(Array(words.utf8))
        case .done(let words):
            output.append(Array(words.utf8))
            if isBus {
                phase = .greeting(serial: nextSerial())
                greetBus()
            } else {
                becomeReady()
            }
        }
        if let why = flush() { fail(why) }
    }

    private func greetBus() {
        guard case .greeting(let serial) = phase else { return }
        var header = DBusHeader()
        header.kind = .call
        header.serial = serial
        header.path = "/org/freedesktop/DBus"
        header.interface = "org.freedesktop.DBus"
        header.member = "Hello"
        header.destination = "org.freedesktop.DBus"
        output.append(header.bytes(bodyCount: 0))
    }

    private func becomeReady() {
        phase = .ready
        if let timer { loop.disarm(timer) }
        handler?.dbusReady(self)
    }

    private func take(_ message: DBusMessage) {
        if case .greeting(let serial) = phase {
            guard message.replySerial == serial else { return }
            guard message.kind == .reply, let name = message.readText() else {
                return fail("the bus gives us no name: \(CleanText.clean(message.errorText))")
            }
            uniqueName = name
            return becomeReady()
        }
        switch message.kind {
        case .call where message.interface == "org.freedesktop.DBus.Peer":
            if message.member == "Ping" { answer(message) } else { refuse(message, ENOSYS) }
        case .signal where message.interface == "org.freedesktop.DBus.Local": break
        case .reply, .error:
            // Only answers to calls of ours that have none yet.
            guard let serial = message.replySerial, calls.remove(serial) != nil else { return }
            handler?.dbusReceived(message, self)
        case .call, .signal: handler?.dbusReceived(message, self)
        case nil: break
        }
    }

    // MARK: Sending

    private func nextSerial() -> UInt32 {
        lastSerial = lastSerial == .max ? 1 : lastSerial + 1
        return lastSerial
    }

    /// Makes a call and sends it.
    ///
    /// - Parameters:
    ///   - destination: a name on the bus; nil for the peer.
    ///   - wantsAnswer: else it may come to nothing unseen.
    /// - Returns: its number, which the answer's `replySerial` is; nil when it was not sent.
    @discardableResult
    func call(
        _ destination: String?, _ path: String, _ interface: String, _ member: String,
        wantsAnswer: Bool = true, _ fill: (DBusBody) -> Void = { _ in }
    ) -> UInt32? {
        guard isReady, calls.count < Self.callLimit, output.count < Self.outputLimits.calls else {
            return nil
        }
        var header = DBusHeader()
        header.kind = .call
        header.path = path
        header.interface = interface
        header.member = member
        header.destination = destination ?? ""
        header.wantsNoAnswer = !wantsAnswer
        let serial = send(header, fill)
        if wantsAnswer { calls.insert(serial) }
        return serial
    }

    /// Answers a call.
    func answer(_ call: DBusMessage, _ fill: (DBusBody) -> Void = { _ in }) {
        answer(call.returnAddress, fill)
    }

    /// The same, when the call itself is gone.
    func answer(_ call: DBusReturn, _ fill: (DBusBody) -> Void = { _ in }) {
        guard isReady, call.isWanted else { return }
        var header = DBusHeader()
        header.kind = .reply
        header.replySerial = call.serial
        header.destination = call.destination
        send(header, fill)
    }

    /// Answers a call with an error of the system.
    func refuse(_ call: DBusMessage, _ code: Int32) {
        let address = call.returnAddress
        guard isReady, address.isWanted else { return }
        var header = DBusHeader()
        header.kind = .error
        header.error = Self.errorName(code)
        header.replySerial = address.serial
        header.destination = address.destination
        send(header) { $0.append(KernelError.text(of: code)) }
    }

    private static func errorName(_ code: Int32) -> String {
        let name =
            switch code {
            case EINVAL: "InvalidArgs"
            case EPERM: "AccessDenied"
            case ENOSYS: "UnknownMethod"
            default: "Failed"
            }
        return "org.freedesktop.DBus.Error." + name
    }

    /// Numbers a message, fills and sends it.
    ///
    /// - Returns: its number.
    @discardableResult
    func send(_ header: DBusHeader, _ fill: (DBusBody) -> Void) -> UInt32 {
        let body = DBusBody()
        fill(body)
        var header = header
        header.serial = nextSerial()
        header.signature = body.writer.signature
        header.descriptors = UInt32(body.descriptors.count)
        output.append(
            header.bytes(bodyCount: body.writer.bytes.count) + body.writer.bytes,
            descriptors: body.descriptors.count)
        while let descriptor = body.descriptors.takeFirst() { outgoing.append(descriptor) }
        // Whoever sends may be at work on this connection's words: a failure is told by the loop.
        if flush() == nil { updateInterest() }
        return header.serial
    }

    /// Sends what waits, as far as the peer's queue takes it.
    ///
    /// - Returns: why the connection is of no use any longer.
    private func flush() -> String? {
        while !isOutputBlocked, output.count > 0 {
            let (range, descriptors) = output.next
            let numbers = outgoing.withFirst(descriptors) { Array($0) }
            switch socket?.send(output.bytes, range, descriptors: numbers) ?? .closed {
            case .sent(let count): outgoing.removeFirst(output.sent(count))
            case .wouldBlock: isOutputBlocked = true
            case .closed: return "it closed the connection"
            case .failed(let code): return KernelError.text(of: code)
            }
        }
        return nil
    }

    private func updateInterest() {
        guard let registration else { return }
        var wanted: Interest = []
        if !isReadingPaused { wanted.insert(.read) }
        if isOutputBlocked { wanted.insert(.write) }
        _ = try? loop.setInterest(registration, wanted)
    }
}
