import Descriptors
import Glibc
import Logging
import VMBridgeCore

/// The control socket: one line of JSON a request, one a reply (docs/control.md). On the bridge's loop,
/// which it never holds up: each client has one request served a turn, a bounded line, and bounded
/// output.
package final class ControlServer {
    /// Clients at a time.
    package static let clientLimit = 16
    /// How often changes are looked for while somebody watches, nanoseconds.
    static let lookInterval: UInt64 = 100_000_000

    private let loop: EventLoop
    private unowned let target: any ControlTarget
    private let ring: EventRing
    private let logger: Logger
    private let program: String
    private let isAllowed: (PeerCredentials) -> Bool
    private let reaper: DescriptorReaper
    private let captures: ControlCaptures
    private var endpoint: ControlEndpoint
    private var listening: Registration?
    private var listenTimer: TimerID?
    private var lookTimer: TimerID?
    private var isLooking = false
    private var connections: [ControlConnection] = []
    private var snapshot = WatchSnapshot()
    private var hook: HookID?
    private var wake: HookID?

    /// Serves whoever connects.
    ///
    /// - Parameters:
    ///   - target: outlives the server.
    ///   - program: name and version for the greeting.
    ///   - graphics: of the worker that draws what the processor cannot read; nil for none.
    ///   - isAllowed: who may ask; this user and root.
    package init(
        _ endpoint: consuming ControlEndpoint, loop: EventLoop, target: any ControlTarget,
        ring: EventRing, logger: Logger, program: String = "vm-bridge",
        graphics: GraphicsWorkerOptions? = nil,
        isAllowed: @escaping (PeerCredentials) -> Bool = { $0.user == geteuid() || $0.user == 0 }
    ) throws(KernelError) {
        self.loop = loop
        self.target = target
        self.ring = ring
        self.logger = logger
        self.program = program
        self.isAllowed = isAllowed
        self.endpoint = endpoint
        reaper = try DescriptorReaper()
        captures = ControlCaptures(loop: loop, graphics: graphics)
        listening = try loop.register(self.endpoint.number, .read) { [unowned self] _ in
            self.accept()
        }
        listenTimer = loop.makeTimer { [unowned self] _ in self.listenAgain() }
        lookTimer = loop.makeTimer { [unowned self] in self.look($0) }
        hook = loop.addHook(ServerHook(self))
        wake = loop.addWakeHandler(ServerWake(captures))
    }

    /// Ends all connections and gives the socket back.
    package func shutDown() {
        for connection in connections { connection.end() }
        connections.removeAll()
        captures.shutDown()
        if let listening { loop.remove(listening) }
        listening = nil
        for id in [hook, wake] { if let id { loop.remove(id) } }
        for timer in [listenTimer, lookTimer] { if let timer { loop.remove(timer) } }
        (hook, wake, listenTimer, lookTimer) = (nil, nil, nil, nil)
    }

    /// Clients at the moment.
    package var clients: Int { connections.count }

    // MARK: Connections

    private func accept() {
        for _ in 0..<Self.clientLimit {
            switch endpoint.accept() {
            case .accepted(let descriptor): take(StreamSocket(descriptor))
            case .wouldBlock: return
            case .turnedAway: logger.warning("out of descriptors, a control client was turned away")
            case .exhausted(let code): return pauseListening(code)
            case .failed(let code): return pauseListening(code)
            }
        }
    }

    private func pauseListening(_ code: Int32) {
        logger.error("control socket: cannot accept: \(KernelError.text(of: code))")
        guard let listening, let listenTimer else { return }
        _ = try? loop.setInterest(listening, [])
        loop.arm(listenTimer, after: 1_000_000_000)
    }

    private func listenAgain() {
        if let listening { _ = try? loop.setInterest(listening, .read) }
    }

    private func take(_ socket: consuming StreamSocket) {
        let connection = ControlConnection(socket, loop: loop, reaper: reaper)
        if let fault = refusal(of: connection) {
            // One line, as much of it as goes; it is short.
            connection.reply(ControlReply.failed("", id: nil, fault))
            return connection.flush()
        }
        do throws(KernelError) {
            try connection.begin { [unowned self, unowned connection] in
                self.ready(connection, $0)
            }
        } catch {
            return logger.error("control socket: cannot watch a client: \(error)")
        }
        connections.append(connection)
        connection.reply(ControlReply.greeting(process: getpid(), program: program))
        connection.flush()
    }

    private func refusal(of connection: ControlConnection) -> ControlFault? {
        guard let peer = try? connection.peer(), isAllowed(peer) else {
            logger.warning("control socket: refused a client of another user")
            return ControlFault(.forbidden, "this bridge takes orders from its own user alone")
        }
        guard connections.count < Self.clientLimit else {
            return ControlFault(
                .tooManyClients, "\(Self.clientLimit) clients are connected, the most allowed")
        }
        return nil
    }

    private func ready(_ connection: ControlConnection, _ readiness: Readiness) {
        if readiness.contains(.readable) { connection.receive() }
        // Both directions are closed: nobody is there for an answer.
        if !readiness.isDisjoint(with: [.hangUp, .error]), !connection.hasLine {
            connection.end()
        }
        serve(connection)
    }

    /// One request, then whatever there is to say.
    private func serve(_ connection: ControlConnection) {
        if connection.isOpen {
            switch connection.takeLine() {
            case .none: break
            case .complete(let line): answer(line, connection)
            case .tooLong:
                connection.reply(
                    ControlReply.failed(
                        "", id: nil,
                        ControlFault(
                            .lineTooLong,
                            "a request has at most \(ControlProtocol.lineLimit) bytes")))
                connection.isEnding = true
            }
        }
        connection.flush()
        guard connection.isFinished else { return }
        connection.end()
        connections.removeAll { $0 === connection }
    }

    /// Whether a whole request waits that may be served.
    fileprivate var hasWork: Bool {
        for connection in connections where connection.isOpen && connection.hasLine { return true }
        return false
    }

    /// After each batch of the loop.
    fileprivate func settle() {
        captures.settle()
        for connection in connections {
            if let number = connection.followed, ring.last != number { follow(connection) }
            if connection.isOpen && connection.hasLine || connection.isFinished {
                serve(connection)
            }
        }
    }

    // MARK: Requests

    private func answer(_ line: [UInt8], _ connection: ControlConnection) {
        var id: JSONValue?
        var name = ""
        do throws(ControlFault) {
            let value: JSONValue
            do throws(JSONError) {
                value = try JSONValue(parsing: line)
            } catch {
                throw ControlFault(.malformed, "this is no JSON: \(error)")
            }
            id = value["id"]
            name = CleanText.clean(value["request"]?.text ?? "")
            let request = try ControlRequest(value)
            if let members = try fulfil(request, id, connection) {
                connection.reply(ControlReply.done(name, id: id, members))
                if connection.followed != nil { follow(connection) }
            }
        } catch {
            connection.reply(ControlReply.failed(name, id: id, error))
        }
    }

    /// - Returns: the reply's members; nil when it comes later.
    private func fulfil(
        _ request: ControlRequest, _ id: JSONValue?, _ connection: ControlConnection
    ) throws(ControlFault) -> [JSONMember]? {
        switch request {
        case .status:
            let status = target.status
            let value = StatusReport.value(
                status, consumers: target.consumers, drivers: target.drivers)
            return [JSONMember("status", value), Self.colours(status)]
        case .list: return surfaces
        case .watch(let interval):
            beginWatching(connection, interval)
            return surfaces
        case .verb(let verb, let selector): return try perform(verb, selector)
        case .move(let words, let selector):
            try ControlSelection.check(selector, target.status)
            let action = try target.action(words)
            return count(
                target.perform(.move(action), vm: selector.vm, surface: selector.surface))
        case .capture, .captureAll:
            try capture(request, id, connection)
            return nil
        case .reload: return try reload()
        case .log(let count, let follow):
            let events = ring.events(count: Int(clamping: count ?? .max))
            if follow { connection.followed = events.last?.number ?? ring.last }
            return [JSONMember("events", .array(events.map { ControlReply.logged($0).value }))]
        }
    }

    private static func colours(_ status: [VMStatus]) -> JSONMember {
        let members = status.compactMap { vm in
            vm.colour.map { JSONMember(vm.name, .string($0.hexadecimal)) }
        }
        return JSONMember("colours", .object(members))
    }

    private var surfaces: [JSONMember] {
        let status = target.status
        let vms = status.map { vm in
            var object = JSONObject()
            object.add("name", vm.name)
            object.add("connected", vm.isConnected)
            return object.value
        }
        let surfaces = status.flatMap(\.surfaces).filter { !$0.isGone }
        return [
            JSONMember("vms", .array(vms)),
            JSONMember("surfaces", .array(surfaces.map { ControlReply.surface($0).value })),
            Self.colours(status),
        ]
    }

    private func count(_ surfaces: Int) -> [JSONMember] {
        [JSONMember("surfaces", .unsigned(UInt64(max(surfaces, 0))))]
    }

    private func perform(
        _ verb: SurfaceVerb, _ selector: SurfaceSelector
    ) throws(ControlFault) -> [JSONMember] {
        try ControlSelection.check(selector, target.status)
        let wish: SurfaceWish =
            switch verb {
            case .close: .close
            case .hide: .hide
            case .show: .show
            case .freeze: .freeze
            case .thaw: .thaw
            }
        return count(target.perform(wish, vm: selector.vm, surface: selector.surface))
    }

    /// What it comes to is in the log, so that whoever caused it learns the same.
    private func reload() throws(ControlFault) -> [JSONMember] {
        let before = ring.last
        try target.reload()
        let said = ring.events(after: before)
        let errors = said.filter { $0.level >= .error }.map(\.text)
        guard errors.isEmpty else {
            throw ControlFault(.failed, errors.prefix(8).joined(separator: "; "))
        }
        let notes = said.filter { $0.level >= .warning }.map { JSONValue.string($0.text) }
        return [JSONMember("notes", .array(notes))]
    }

    private func capture(
        _ request: ControlRequest, _ id: JSONValue?, _ connection: ControlConnection
    ) throws(ControlFault) {
        let descriptor = connection.takeDescriptor()
        let order = try ControlSelection.capture(request, target)
        try captures.begin(order, into: descriptor, target: target) {
            [weak self, weak connection] (result) in
            guard let self, let connection else { return }
            connection.isBusy = false
            switch result {
            case .success(let members):
                connection.reply(ControlReply.done("capture", id: id, members))
            case .failure(let fault):
                connection.reply(ControlReply.failed("capture", id: id, fault))
            }
            serve(connection)
        }
        connection.isBusy = true
    }

    // MARK: Events

    private func follow(_ connection: ControlConnection) {
        guard let number = connection.followed else { return }
        for event in ring.events(after: number) {
            connection.tell(ControlReply.event("log", ControlReply.logged(event).members))
            connection.followed = event.number
        }
        connection.flush()
    }

    /// From here on it is told what changes; what is there it learns by the reply.
    private func beginWatching(_ connection: ControlConnection, _ interval: UInt64?) {
        let now = loop.now()
        if isLooking {
            look(now)
        } else {
            snapshot = WatchSnapshot(target.status)
            isLooking = true
        }
        connection.isWatching = true
        connection.interval = interval
        connection.nextBeat = now
        if let lookTimer { loop.arm(lookTimer, at: now) }
    }

    /// Looks for changes, tells of them, and does so again while somebody watches.
    private func look(_ now: UInt64) {
        let watchers = connections.filter(\.isWatching)
        guard !watchers.isEmpty else {
            isLooking = false
            return
        }
        let status = target.status
        let current = WatchSnapshot(status)
        let events = current.events(since: snapshot)
        snapshot = current
        var report: JSONValue?
        for connection in watchers {
            for event in events { connection.tell(event) }
            if let interval = connection.interval, now >= connection.nextBeat {
                let value =
                    report
                    ?? StatusReport.value(
                        status, consumers: target.consumers, drivers: target.drivers)
                report = value
                connection.tell(
                    ControlReply.event(
                        "beat",
                        [JSONMember("time_ns", .unsigned(now)), JSONMember("status", value)]
                    ))
                // In step with the first one, whatever was late.
                let step = interval * 1_000_000
                connection.nextBeat += ((now - connection.nextBeat) / step + 1) * step
            }
            connection.flush()
        }
        if let lookTimer { loop.arm(lookTimer, at: nextLook(watchers, now)) }
    }

    private func nextLook(_ watchers: [ControlConnection], _ now: UInt64) -> UInt64 {
        var next = now + Self.lookInterval
        for connection in watchers where connection.interval != nil {
            next = min(next, connection.nextBeat)
        }
        return next
    }
}

/// Goes on with requests that came together, one of each client a turn.
private final class ServerHook: LoopHook {
    private unowned let server: ControlServer
    init(_ server: ControlServer) { self.server = server }
    func loopWillWait() -> Bool { server.hasWork }
    func loopDidDeliver() { server.settle() }
}

/// Takes what a capture's thread has finished.
private final class ServerWake: WakeHandler {
    private let captures: ControlCaptures
    init(_ captures: ControlCaptures) { self.captures = captures }
    func woken() { captures.settle() }
}
