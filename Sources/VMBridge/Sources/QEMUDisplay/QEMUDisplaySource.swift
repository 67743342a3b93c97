import Descriptors
import Logging
import VMBridgeCore

/// QEMU's D-Bus display as a source: every console a window. Peer to peer, asked for by QMP, or on a bus.
///
/// QEMU may come and go: its windows do as well.
package final class QEMUDisplaySource<P: Presenter>: VMSource<P>, DBusHandler {
    /// Consoles that are shown, the most there may be.
    static var consoleLimit: Int { 16 }

    private enum Pending {
        case matched
        case owner
        case machine
        case console(UInt32)
        case mouse(UInt32)
        case touch(UInt32)
        case registered(UInt32)
    }

    private final class Shown {
        let console: QEMUConsole<P>
        let input: QEMUInputSender
        /// Size of the guest's picture, in QEMU's words.
        var announced: Size

        init(console: QEMUConsole<P>, input: QEMUInputSender, announced: Size) {
            self.console = console
            self.input = input
            self.announced = announced
        }
    }

    private static var root: String { "/org/qemu/Display1" }
    private static var prefix: String { "org.qemu.Display1." }
    private static var busName: String { "org.freedesktop.DBus" }
    private static var busPath: String { "/org/freedesktop/DBus" }
    private static var firstDelay: UInt64 { 500_000_000 }
    private static var longestDelay: UInt64 { 4_000_000_000 }
    /// How long QEMU may take until it has told its consoles, nanoseconds.
    private static var answerLimit: UInt64 { 30_000_000_000 }

    private let reaper: DescriptorReaper
    private let machineProtocol: QMPClient?
    private let name: String?
    /// Where the bus is; nil for the session's.
    private let bus: BusSocket?
    /// The peer's connection, or the bus's.
    private var connection: DBusConnection?
    /// QEMU's own name on the bus; empty for a peer, nil while nobody is there.
    private var owner: String?
    private var pending: [UInt32: Pending] = [:]
    private var consoles: [UInt32: Shown] = [:]
    private var generation: UInt64 = 0
    private var version: QEMUVersion?
    private var guestName = ""
    private var consoleCount = 0
    private var listenerSockets = 0
    /// Our end of the peer's connection, until QEMU has taken the other.
    private var peerSocket = OwnedDescriptor.none
    private var addClient: UInt64?
    private var retry: TimerID?
    private var delay: UInt64
    /// What the log was told last of why there is no display.
    private var toldTrouble: String?
    private var trouble: String?

    /// Asks the QEMU behind a QMP socket for its display.
    package init(qmp path: String, session: VMSession<P>, reaper: DescriptorReaper) {
        self.reaper = reaper
        machineProtocol = QMPClient(path: path, loop: session.loop, reaper: reaper)
        name = nil
        bus = nil
        delay = Self.firstDelay
        super.init(session: session)
        begin()
        machineProtocol?.start()
    }

    /// Takes the display of whoever has a name on the session's bus, or on the bus at a path: see `BusSocket`.
    package init(
        busName: String, bus path: String?, session: VMSession<P>, reaper: DescriptorReaper
    ) {
        self.reaper = reaper
        machineProtocol = nil
        name = busName
        bus = path.map(BusSocket.init)
        delay = Self.firstDelay
        super.init(session: session)
        begin()
        connectToBus()
    }

    private func begin() {
        session.tellsFrameCallbacks = true
        session.acceptsUnsealedMemory = true
        retry = loop.makeTimer { [unowned self] _ in self.tryAgain() }
    }

    package override var isConnected: Bool { !consoles.isEmpty }
    package override var connectionNumber: UInt64 { generation }
    package override var descriptors: DescriptorHoldings {
        var held = session.descriptors
        held.sockets += (machineProtocol?.descriptors ?? 0) + (connection == nil ? 0 : 1)
        held.sockets += consoles.count + (peerSocket.isValid ? 1 : 0)
        return held
    }

    package override var words: String? {
        guard isConnected else { return trouble.map { "no display: \($0)" } }
        let qemu = version.map { "QEMU \($0)" } ?? "QEMU"
        let paths = consoles.sorted { $0.key < $1.key }.map { id, shown in
            let lost = shown.console.lostPictures
            return "console \(id) by \(shown.console.path.rawValue)"
                + (lost > 0 ? " (\(lost) pictures lost by QEMU)" : "")
        }
        return "\(qemu), D-Bus display: " + paths.joined(separator: ", ")
    }

    // MARK: Reaching QEMU

    private func tryAgain() {
        if name != nil {
            if connection == nil { connectToBus() } else if owner == nil { askForOwner() }
        } else if consoles.isEmpty, connection != nil || addClient != nil {
            giveUp("it does not answer")
        } else if connection == nil, machineProtocol?.isReady == true {
            askForDisplay()
        }
    }

    private func scheduleRetry() {
        guard let retry else { return }
        loop.arm(retry, after: delay)
        delay = min(delay * 2, Self.longestDelay)
    }

    /// Gives up what there is, and tries again later.
    private func giveUp(_ why: String) {
        if toldTrouble != why { session.tell(.warning, "no display of QEMU: \(why)") }
        toldTrouble = why
        trouble = why
        detach()
        connection?.close()
        connection = nil
        scheduleRetry()
    }

    /// QEMU is gone, or its display: the windows go.
    private func detach() {
        for shown in consoles.values {
            shown.input.close()
            shown.console.close()
        }
        let hadConsoles = !consoles.isEmpty
        consoles.removeAll()
        pending.removeAll()
        addClient = nil
        peerSocket = .none
        owner = nil
        guard hadConsoles else { return }
        session.producerLeft()
        session.tap?.disconnected()
        session.tell(.info, "QEMU's display is gone")
    }

    private func connectToBus() {
        do throws(KernelError) {
            if let bus {
                connection = try DBusConnection(
                    socket: try bus.connect(), isBus: true, loop: loop, reaper: reaper,
                    handler: self)
            } else {
                connection = try DBusConnection(
                    sessionBusOn: loop, reaper: reaper, handler: self)
            }
        } catch  where bus != nil && error.call == "connect" {
            // A bus of the VM's own comes and goes with the VM: its absence is no fault.
            if trouble != "\(error)" { session.tell(.info, "waiting for QEMU: \(error)") }
            trouble = "\(error)"
            scheduleRetry()
        } catch {
            giveUp("\(error)")
        }
    }

    private func askForDisplay() {
        guard let machineProtocol, connection == nil, addClient == nil else { return }
        do throws(KernelError) {
            var pair = try StreamPair()
            peerSocket = pair.takeOurs()
            if let retry { loop.arm(retry, after: Self.answerLimit) }
            let fdName = JSONMember("fdname", .string("vm-bridge-display"))
            machineProtocol.execute("getfd", [fdName], descriptor: pair.takeTheirs())
            addClient = machineProtocol.execute(
                "add_client", [JSONMember("protocol", .string("@dbus-display")), fdName])
        } catch {
            giveUp("\(error)")
        }
    }

    private func take(_ news: QMPNews) {
        switch news {
        case .ready(let version):
            self.version = version
            session.tell(.info, "QEMU \(version) answers by QMP")
            if connection == nil { askForDisplay() }
        case .success(let id, _) where id == addClient:
            addClient = nil
            var socket = OwnedDescriptor.none
            swap(&socket, &peerSocket)
            do throws(KernelError) {
                connection = try DBusConnection(
                    socket: socket, loop: loop, reaper: reaper, handler: self)
            } catch {
                giveUp("\(error)")
            }
        case .failure(let id, let why) where id == addClient:
            giveUp("\(why): it is to be started with -display dbus,p2p=yes")
        case .failure(_, let why): session.tell(.warning, "QEMU: \(CleanText.clean(why))")
        case .success: break
        case .event(let name, _): if name == "RESET" { session.tell(.info, "the guest restarts") }
        case .refused(let refusal): session.countRefused(refusal, about: "QMP")
        case .unreachable(let why):
            trouble = why
            session.tell(.info, "waiting for QEMU: \(why)")
        case .lost(let why):
            session.tell(.info, "QMP: \(why)")
            // Its display may live on; when QEMU is gone, that connection tells it as well.
            if addClient != nil { giveUp(why) }
        }
    }

    // MARK: DBusHandler

    func dbusReady(_ connection: DBusConnection) {
        guard let name else { return askForMachine("") }
        let rules = [
            "type='signal',sender='\(Self.busName)',interface='\(Self.busName)',member='NameOwnerChanged',arg0='\(name)'",
            "type='signal',sender='\(name)',interface='\(ListenerMessages.properties)'",
        ]
        for rule in rules {
            let serial = connection.call(
                Self.busName, Self.busPath, Self.busName, "AddMatch"
            ) { $0.append(rule) }
            if let serial { pending[serial] = .matched }
        }
        askForOwner()
    }

    func dbusClosed(_ why: String, _ connection: DBusConnection) {
        guard connection === self.connection else { return }
        self.connection = nil
        giveUp(why)
    }

    func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection) {
        guard connection === self.connection else { return }
        switch message.kind {
        case .reply, .error:
            guard let serial = message.replySerial else { return }
            if let question = pending.removeValue(forKey: serial) {
                return answered(question, message)
            }
            for shown in consoles.values where shown.input.answered(serial) { return }
        case .signal: signalled(message)
        case .call: connection.refuse(message, 1)
        case nil: break
        }
    }

    private func ask(
        _ question: Pending, _ path: String, _ interface: String, _ member: String,
        to destination: String? = nil, _ fill: (DBusBody) -> Void = { _ in }
    ) {
        let target = destination ?? (owner?.isEmpty == false ? owner : nil)
        let serial = connection?.call(target, path, interface, member, fill)
        if let serial { pending[serial] = question }
    }

    private func askForOwner() {
        guard let name else { return }
        ask(.owner, Self.busPath, Self.busName, "GetNameOwner", to: Self.busName) {
            $0.append(name)
        }
    }

    private func askForAll(_ question: Pending, _ path: String, _ interface: String) {
        ask(question, Self.root + path, ListenerMessages.properties, "GetAll") {
            $0.append(Self.prefix + interface)
        }
    }

    private func askForMachine(_ owner: String) {
        self.owner = owner
        askForAll(.machine, "/VM", "VM")
    }

    private func answered(_ question: Pending, _ message: DBusMessage) {
        let isError = message.kind == .error
        switch question {
        case .matched:
            if isError { giveUp("the bus: \(CleanText.clean(message.errorText))") }
        case .owner:
            guard !isError, let owner = message.readText() else {
                let place = bus.map { "bus at \($0.path)" } ?? "session's bus"
                let why = "nobody has the name \(name ?? "") on the \(place)"
                if trouble != why { session.tell(.info, "waiting for QEMU: \(why)") }
                return trouble = why
            }
            if self.owner == nil { askForMachine(owner) }
        case .machine:
            guard !isError else { return giveUp(CleanText.clean(message.errorText)) }
            takeMachine(message)
        case .console(let id):
            guard !isError else { return giveUp(CleanText.clean(message.errorText)) }
            takeConsole(id, message)
        case .mouse(let id): if !isError { takeProperties(id, "Mouse", message) }
        case .touch(let id): if !isError { takeProperties(id, "MultiTouch", message) }
        case .registered(let id):
            guard isError else { return }
            giveUp("console \(id) takes no listener: \(CleanText.clean(message.errorText))")
        }
    }

    private func signalled(_ message: DBusMessage) {
        if message.member == "NameOwnerChanged", message.sender == Self.busName {
            guard message.hasSignature("sss"), message.readText() == name,
                message.readText() != nil, let owner = message.readText()
            else { return }
            if self.owner != nil { detach() }
            if !owner.isEmpty { askForMachine(owner) }
            return
        }
        guard message.member == "PropertiesChanged", message.hasSignature("sa{sv}as"),
            owner == "" || message.sender == owner,
            let id = Self.console(message.path), let interface = message.readText(),
            interface.hasPrefix(Self.prefix)
        else { return }
        takeProperties(id, String(interface.dropFirst(Self.prefix.count)), message)
    }

    private static func console(_ path: String) -> UInt32? {
        let prefix = root + "/Console_"
        return path.hasPrefix(prefix) ? UInt32(path.dropFirst(prefix.count)) : nil
    }

    // MARK: Consoles

    private func takeMachine(_ message: DBusMessage) {
        var ids: [UInt32] = []
        guard message.hasSignature("a{sv}") else { return giveUp("its VM object is another") }
        _ = message.readProperties { name, message in
            switch name {
            case "Name":
                guard message.enter("v", "s") else { return }
                guestName = CleanText.clean(message.readText() ?? "")
                message.exit()
            case "ConsoleIDs":
                guard message.enter("v", "au") else { return }
                ids = message.readU32s(limit: 1024) ?? []
                message.exit()
            default: _ = message.skip("v")
            }
        }
        guard !ids.isEmpty else { return giveUp("it has no console") }
        if ids.count > Self.consoleLimit {
            session.countRefused(
                Refusal(
                    .tooManySurfaces,
                    "QEMU has \(ids.count) consoles, the first \(Self.consoleLimit) are shown."),
                about: "consoles")
        }
        consoleCount = min(ids.count, Self.consoleLimit)
        generation += 1
        trouble = nil
        session.tap?.connected(generation: generation)
        for id in Set(ids.prefix(Self.consoleLimit)).sorted() {
            askForAll(.console(id), "/Console_\(id)", "Console")
        }
    }

    private func takeConsole(_ id: UInt32, _ message: DBusMessage) {
        guard consoles[id] == nil, let connection else { return }
        var label = ""
        var size = Size.zero
        _ = message.readProperties { name, message in
            switch name {
            case "Label":
                guard message.enter("v", "s") else { return }
                label = CleanText.clean(message.readText() ?? "")
                message.exit()
            case "Width", "Height":
                guard message.enter("v", "u") else { return }
                let value = message.readU32() ?? 0
                if name == "Width" { size.width = value } else { size.height = value }
                message.exit()
            default: _ = message.skip("v")
            }
        }
        var title = guestName.isEmpty ? session.name : guestName
        if consoleCount > 1 { title += " – " + (label.isEmpty ? "console \(id)" : label) }
        do throws(KernelError) {
            var pair = try StreamPair()
            // Its object is there before QEMU hears of it: QEMU asks for it before it answers.
            let console = try QEMUConsole(
                id: id, socket: pair.takeOurs(), title: title, session: session, reaper: reaper)
            let input = QEMUInputSender(
                connection, destination: owner?.isEmpty == false ? owner : nil, console: id,
                loop: loop)
            consoles[id] = Shown(console: console, input: input, announced: size)
            let theirs = pair.takeTheirs()
            ask(
                .registered(id), Self.root + "/Console_\(id)", Self.prefix + "Console",
                "RegisterListener"
            ) {
                $0.append(descriptor: theirs.number)
            }
        } catch {
            return giveUp("\(error)")
        }
        session.wantsInput = true
        askForAll(.mouse(id), "/Console_\(id)", "Mouse")
        askForAll(.touch(id), "/Console_\(id)", "MultiTouch")
        let qemu = version.map { "QEMU \($0)" } ?? "QEMU"
        session.tell(.info, "\(qemu), console \(id) “\(label)” (generation \(generation))")
    }

    private func takeProperties(_ id: UInt32, _ interface: String, _ message: DBusMessage) {
        guard let input = consoles[id]?.input else { return }
        var width: UInt32 = 0
        var height: UInt32 = 0
        _ = message.readProperties { name, message in
            switch (interface, name) {
            case ("Mouse", "IsAbsolute"):
                guard message.enter("v", "b") else { return }
                if let value = message.readBool() { input.setAbsolute(value) }
                message.exit()
            case ("MultiTouch", "MaxSlots"):
                guard message.enter("v", "i") else { return }
                if let value = message.readI32() {
                    input.setTouchSlots(UInt32(clamping: min(value, 64)))
                }
                message.exit()
            case ("Console", "Width"), ("Console", "Height"):
                guard message.enter("v", "u") else { return }
                let value = message.readU32() ?? 0
                if name == "Width" { width = value } else { height = value }
                message.exit()
            default: _ = message.skip("v")
            }
        }
        guard let shown = consoles[id], width > 0 || height > 0 else { return }
        shown.announced.width = width > 0 ? width : shown.announced.width
        shown.announced.height = height > 0 ? height : shown.announced.height
        if shown.announced.width > 0, shown.announced.height > 0 {
            shown.console.announce(shown.announced)
        }
    }

    // MARK: Feedback

    package override func settle() {
        machineProtocol?.takeNews { take($0) }
        session.settle()
        session.takeFrameCallbacks { surface, sequence in
            console(of: surface)?.frameCallback(sequence)
        }
        session.takeFeedback { record in
            take(record)
            for _ in 0..<record.descriptors { _ = session.feedbackDescriptors.takeFirst() }
        }
        var failure: String?
        for shown in consoles.values {
            shown.console.settle()
            failure = failure ?? shown.console.failure
            // Not before: QEMU answers everything else also when it takes no listener from here.
            if shown.console.wasHeard {
                delay = Self.firstDelay
                toldTrouble = nil
            }
        }
        if let failure { giveUp("a listener's connection: \(failure)") }
        session.settle()
    }

    private func console(of surface: SurfaceKey) -> QEMUConsole<P>? {
        consoles.values.first { $0.console.surface == surface }?.console
    }

    private func take(_ record: BridgeRecord) {
        switch record {
        case .released(let buffer, let surface, let sequence, let outcome),
            .releasedWithFence(let buffer, let surface, let sequence, let outcome):
            console(of: surface)?.released(buffer, sequence, outcome)
        case .discarded(let surface, let sequence): console(of: surface)?.discarded(sequence)
        case .configure(let surface, let configure):
            guard let shown = consoles.values.first(where: { $0.console.surface == surface })
            else { return }
            if configure.wantsFrame { shown.console.wantsFrame() }
            shown.input.want(configure.size, now: shown.console.size)
        case .close(let surface):
            if console(of: surface) != nil { powerDown() }
        case .input(let surface, let input):
            guard let shown = consoles.values.first(where: { $0.console.surface == surface })
            else { return }
            shown.input.send(input.event, size: shown.console.size)
        case .refused(let refused) where refused.type == RecordType.bufferCreate:
            let buffer = BufferKey(refused.object)
            consoles.values.first { $0.console.owns(buffer) }?.console.bufferRefused(buffer)
        default: break
        }
    }

    /// A window was asked to close: the guest is asked to end.
    private func powerDown() {
        guard let machineProtocol else {
            return session.tell(
                .info,
                "a window was asked to close: on the bus QEMU cannot be asked to end its guest")
        }
        session.tell(.info, "a window was asked to close: the guest is asked to power down")
        machineProtocol.execute("system_powerdown")
    }

    package override func shutDown() {
        detach()
        connection?.close()
        connection = nil
        machineProtocol?.shutDown()
        if let retry { loop.remove(retry) }
        retry = nil
        session.shutDown()
        session.tap?.shutDown()
    }
}
