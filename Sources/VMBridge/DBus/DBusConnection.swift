import Descriptors
import Glibc
import VMBridgeCore

/// Is told of what comes by a D-Bus connection. It may close the connection from inside each call.
protocol DBusHandler: AnyObject {
    /// Both ends have authenticated: calls may carry descriptors now.
    func dbusReady(_ connection: DBusConnection)
    /// A call, a signal or an answer to a call of ours.
    func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection)
    /// The connection is gone, or is to be given up for the reason.
    func dbusClosed(_ why: String, _ connection: DBusConnection)
}

/// One connection of D-Bus on the loop: to a peer over a socket, or to the session's bus. Never waits.
final class DBusConnection {
    /// Messages handled in one turn of the loop: each may be a whole picture, and nobody keeps the loop for itself.
    private static let turn = 8
    /// Calls without an answer, the most there may be.
    private static let callLimit = 256

    // UNSAFE: the library's connection, closed and given back in `close`.
    private var bus: SDBusLibrary.Bus?
    private let library: SDBusLibrary
    private let loop: EventLoop
    private var registration: Registration?
    private var interest: Interest = .read
    private var timer: TimerID?
    private weak var handler: (any DBusHandler)?
    private var isReadyTold = false
    private var isProcessing = false
    private var calls: Set<UInt64> = []

    /// Begins to speak with a peer over a connected stream socket.
    ///
    /// - Parameters:
    ///   - isServer: of the authentication; QEMU is it wherever we meet it.
    ///   - isBus: the peer is a bus, which gives us a name.
    init(
        socket: consuming OwnedDescriptor, isServer: Bool = false, isBus: Bool = false,
        loop: EventLoop, handler: any DBusHandler
    ) throws(KernelError) {
        library = try Self.requireLibrary()
        self.loop = loop
        self.handler = handler
        let library = library
        var made: SDBusLibrary.Bus?
        try check(library.new(&made), "sd_bus_new")
        guard let bus = made else { throw KernelError("sd_bus_new", ENOMEM) }
        self.bus = bus
        do throws(KernelError) {
            let number = socket.number
            try check(library.setDescriptors(bus, number, number), "sd_bus_set_fd")
            // From here on the library closes it.
            _ = socket.release()
            if isServer {
                try check(library.setServer(bus, 1, 0x766d, 0x6272), "sd_bus_set_server")
            }
            if isBus { try check(library.setBusClient(bus, 1), "sd_bus_set_bus_client") }
            try check(library.negotiateDescriptors(bus, 1), "sd_bus_negotiate_fds")
            try begin()
            try check(library.start(bus), "sd_bus_start")
            update()
        } catch {
            close()
            throw error
        }
    }

    /// Begins to speak with the session's bus.
    init(sessionBusOn loop: EventLoop, handler: any DBusHandler) throws(KernelError) {
        library = try Self.requireLibrary()
        self.loop = loop
        self.handler = handler
        let library = library
        var made: SDBusLibrary.Bus?
        try check(
            library.openUser(&made), "session bus",
            advice: "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR/bus leads to one")
        guard let bus = made else { throw KernelError("sd_bus_open_user", ENOMEM) }
        self.bus = bus
        do throws(KernelError) {
            try begin()
            update()
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    private static func requireLibrary() throws(KernelError) -> SDBusLibrary {
        guard let library = SDBusLibrary.shared else {
            throw KernelError(
                "libsystemd.so.0", ENOENT,
                advice: "install the package libsystemd0: QEMU's D-Bus display needs it")
        }
        return library
    }

    private func begin() throws(KernelError) {
        guard let bus else { return }
        // UNSAFE: the filter is called from `process` only, while this connection lives.
        let own = Unmanaged.passUnretained(self).toOpaque()
        let filter: SDBusLibrary.Filter = { message, own, _ in
            guard let message, let own else { return 0 }
            return Unmanaged<DBusConnection>.fromOpaque(own).takeUnretainedValue().take(message)
        }
        try check(library.addFilter(bus, nil, filter, own), "sd_bus_add_filter")
        let number = try check(library.descriptor(bus), "sd_bus_get_fd")
        registration = try loop.register(number, .read) { [unowned self] _ in self.pump() }
        timer = loop.makeTimer { [unowned self] _ in self.pump() }
    }

    /// Whether both ends have authenticated.
    var isReady: Bool { bus.map { library.isReady($0) > 0 } ?? false }
    var isOpen: Bool { bus != nil }
    /// Our name on the bus; empty without one.
    var uniqueName: String {
        var name: SDBusLibrary.Text?
        guard let bus, library.uniqueName(bus, &name) >= 0, let name else { return "" }
        return String(cString: name)
    }

    /// Closes without another word; the handler is not told.
    func close() {
        if let registration { loop.remove(registration) }
        registration = nil
        if let timer { loop.remove(timer) }
        timer = nil
        calls.removeAll()
        // While the library is at work on it, it is given back afterwards.
        guard let bus, !isProcessing else { return isClosing = true }
        self.bus = nil
        library.close(bus)
        _ = library.unref(bus)
    }

    private var isClosing = false

    private func fail(_ why: String) {
        guard !isClosing, bus != nil else { return }
        let handler = handler
        close()
        handler?.dbusClosed(why, self)
    }

    // MARK: Turns

    private func pump() {
        guard let bus, !isProcessing else { return }
        var failure: Int32 = 0
        isProcessing = true
        for _ in 0..<Self.turn {
            let answer = library.process(bus, nil)
            if answer < 0 { failure = -answer }
            if answer < 0 || isClosing { break }
            // Also when nothing was dealt with: the last step of authentication may look like that, and then both
            // ends would wait for each other.
            tellReady()
            if answer == 0 || isClosing { break }
        }
        isProcessing = false
        if isClosing {
            isClosing = false
            return close()
        }
        if failure != 0 { return fail(Self.words(failure)) }
        update()
    }

    private static func words(_ code: Int32) -> String {
        switch code {
        case ECONNRESET, ENOTCONN, EPIPE: "it closed the connection"
        case EBADMSG: "it sent what is no D-Bus message"
        case EPERM, EACCES: "it did not let us in"
        default: KernelError.text(of: code)
        }
    }

    private func tellReady() {
        guard !isReadyTold, isReady else { return }
        isReadyTold = true
        handler?.dbusReady(self)
    }

    /// Waits for what the library waits for.
    private func update() {
        guard let bus, let registration, let timer, !isProcessing else { return }
        let events = library.events(bus)
        guard events >= 0 else { return fail(Self.words(-events)) }
        var wanted: Interest = []
        if events & Int32(POLLIN) != 0 { wanted.insert(.read) }
        if events & Int32(POLLOUT) != 0 { wanted.insert(.write) }
        if wanted != interest, (try? loop.setInterest(registration, wanted)) != nil {
            interest = wanted
        }
        var deadline = UInt64.max
        guard library.timeout(bus, &deadline) >= 0, deadline != .max else {
            return loop.disarm(timer)
        }
        let (nanoseconds, isOver) = deadline.multipliedReportingOverflow(by: 1000)
        loop.arm(timer, at: isOver ? .max : max(nanoseconds, 1))
    }

    /// - Returns: whether the message is dealt with.
    private func take(_ pointer: SDBusLibrary.Message) -> Int32 {
        guard !isClosing, let reference = library.messageRef(pointer) else { return 1 }
        tellReady()
        guard !isClosing else {
            _ = library.messageUnref(reference)
            return 1
        }
        let message = DBusMessage(owning: reference, library)
        switch message.kind {
        case .call where message.interface == "org.freedesktop.DBus.Peer": return 0
        case .signal where message.interface == "org.freedesktop.DBus.Local": return 0
        case .reply, .error:
            // Only answers to calls of ours that have none yet.
            guard let cookie = message.replyCookie, calls.remove(cookie) != nil else { return 1 }
        case .call, .signal: break
        case nil: return 1
        }
        handler?.dbusReceived(message, self)
        return 1
    }

    // MARK: Sending

    /// Makes a call and sends it.
    ///
    /// - Parameters:
    ///   - destination: a name on the bus; nil for the peer.
    ///   - wantsAnswer: else it may come to nothing unseen.
    /// - Returns: its number, which the answer's `replyCookie` is; 0 when no answer is wanted, nil when it was not sent.
    @discardableResult
    func call(
        _ destination: String?, _ path: String, _ interface: String, _ member: String,
        wantsAnswer: Bool = true, _ fill: (DBusMessage) -> Void = { _ in }
    ) -> UInt64? {
        guard let bus, !isClosing, calls.count < Self.callLimit else { return nil }
        var made: SDBusLibrary.Message?
        let answer =
            destination.map {
                library.methodCall(bus, &made, $0, path, interface, member)
            } ?? library.methodCall(bus, &made, nil, path, interface, member)
        guard answer >= 0, let pointer = made else { return nil }
        let message = DBusMessage(owning: pointer, library)
        fill(message)
        var cookie: UInt64 = 0
        let sent =
            wantsAnswer ? library.send(bus, pointer, &cookie) : library.send(bus, pointer, nil)
        guard sent >= 0 else { return nil }
        if wantsAnswer { calls.insert(cookie) }
        update()
        return cookie
    }

    /// Answers a call.
    func answer(_ call: DBusMessage, _ fill: (DBusMessage) -> Void = { _ in }) {
        guard let bus, !isClosing, call.expectsReply else { return }
        var made: SDBusLibrary.Message?
        guard library.methodReturn(call.pointer, &made) >= 0, let pointer = made else { return }
        let message = DBusMessage(owning: pointer, library)
        fill(message)
        _ = library.send(bus, pointer, nil)
        update()
    }

    /// Answers a call with an error of the system.
    func refuse(_ call: DBusMessage, _ code: Int32) {
        guard bus != nil, !isClosing, call.expectsReply else { return }
        _ = library.replyErrno(call.pointer, code, nil)
        update()
    }
}
