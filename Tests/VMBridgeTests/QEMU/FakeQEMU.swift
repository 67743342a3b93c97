import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// A QEMU with the D-Bus display, as the test wants it: its QMP, its objects, and its end of each listener.
final class FakeQEMU: DBusHandler {
    private let loop: EventLoop
    private let reaper: DescriptorReaper
    let machineProtocol: FakeQMP
    private var main: DBusConnection?
    private(set) var listener: DBusConnection?
    /// Calls of input and sizes that came, in words.
    private(set) var told: [String] = []
    /// Commands of QMP that came.
    private(set) var commands: [String] = []
    /// Answers that came to calls at the listener: true for an error.
    private(set) var answers: [UInt32: Bool] = [:]
    /// What it says of itself.
    var consoles: [UInt32] = [0]
    var isAbsolute = true
    /// Whether it answers what it is asked.
    var isMute = false
    /// Whether it takes no listener, though it says that it does.
    var refusesListeners = false
    /// What it answers when it is asked for an interface's properties, in place of the usual.
    var answerInstead: [String: (DBusBody) -> Void] = [:]
    /// Why its last connection ended, by its own library.
    private(set) var whyClosed = ""

    init(path: String, loop: EventLoop) throws {
        self.loop = loop
        reaper = try DescriptorReaper()
        machineProtocol = try FakeQMP(path: path)
    }

    /// Greets, takes QMP's commands and answers them.
    func poll() throws {
        let connections = machineProtocol.connections
        machineProtocol.poll()
        if machineProtocol.connections != connections { machineProtocol.send(FakeQMP.greeting) }
        while let command = machineProtocol.nextLine() {
            let name = command["execute"]?.text ?? ""
            commands.append(name)
            machineProtocol.answer(command)
            guard name == "add_client" else { continue }
            struct CameWithoutDescriptor: Error {}
            guard let socket = machineProtocol.descriptors.takeFirst() else {
                throw CameWithoutDescriptor()
            }
            main = try DBusConnection(
                socket: socket, isServer: true, loop: loop, reaper: reaper, handler: self)
        }
    }

    /// As if it had crashed.
    func crash() {
        main?.close()
        listener?.close()
        main = nil
        listener = nil
        machineProtocol.close()
    }

    /// Ends the listener's connection only.
    func breakListener() {
        listener?.close()
        listener = nil
        machineProtocol.close()
    }

    /// Says something at the connection that is not a listener's, and nobody asked for.
    func signal(_ fill: (DBusConnection) -> Void) { if let main { fill(main) } }

    func dbusReady(_ connection: DBusConnection) {}

    func dbusClosed(_ why: String, _ connection: DBusConnection) {
        whyClosed = why
        if connection === listener { listener = nil }
        if connection === main { main = nil }
    }

    func dbusReceived(_ message: DBusMessage, _ connection: DBusConnection) {
        switch message.kind {
        case .reply, .error:
            if let serial = message.replySerial { answers[serial] = message.kind == .error }
        case .call: if !isMute { take(message, connection) }
        case .signal, nil: break
        }
    }

    private func take(_ message: DBusMessage, _ connection: DBusConnection) {
        switch message.member {
        case "GetAll": answerAll(message.readText() ?? "", message, connection)
        case "RegisterListener":
            connection.answer(message)
            guard let socket = message.readDescriptor(), !refusesListeners else { return }
            listener = try? DBusConnection(
                socket: socket, isServer: true, loop: loop, reaper: reaper, handler: self)
        case "Press", "Release":
            let kind = message.interface.hasSuffix("Keyboard") ? "key" : "button"
            told.append("\(kind) \(message.readU32() ?? 999) \(message.member)")
            connection.answer(message)
        case "SetAbsPosition":
            told.append("at \(message.readU32() ?? 9999),\(message.readU32() ?? 9999)")
            connection.answer(message)
        case "SetUIInfo":
            _ = message.skip("qqii")
            told.append("size \(message.readU32() ?? 0)x\(message.readU32() ?? 0)")
            connection.answer(message)
        default: connection.refuse(message, 22)
        }
    }

    private func answerAll(
        _ interface: String, _ message: DBusMessage, _ connection: DBusConnection
    ) {
        if let instead = answerInstead[interface] { return connection.answer(message, instead) }
        connection.answer(message) { answer in
            func property(_ name: String, _ type: String, _ value: () -> Void) {
                answer.append("e", "sv") {
                    answer.append(name)
                    answer.append("v", type, value)
                }
            }
            answer.append("a", "{sv}") {
                switch interface {
                case "org.qemu.Display1.VM":
                    property("Name", "s") { answer.append("pretend") }
                    property("ConsoleIDs", "au") {
                        answer.append("a", "u") { consoles.forEach { answer.append($0) } }
                    }
                case "org.qemu.Display1.Console":
                    property("Label", "s") { answer.append("VGA") }
                    property("Width", "u") { answer.append(UInt32(64)) }
                    property("Height", "u") { answer.append(UInt32(32)) }
                case "org.qemu.Display1.Mouse":
                    property("IsAbsolute", "b") { answer.append(isAbsolute) }
                default: break
                }
            }
        }
    }

    // MARK: The listener's calls

    static let xrgb: UInt32 = 0x2002_0888

    @discardableResult
    func call(
        _ member: String, interface: String = "org.qemu.Display1.Listener",
        path: String = "/org/qemu/Display1/Listener", _ fill: (DBusBody) -> Void = { _ in }
    ) -> UInt32? { listener?.call(nil, path, interface, member, fill) }

    @discardableResult
    func scanout(
        _ width: UInt32, _ height: UInt32, stride: UInt32? = nil, pixman: UInt32 = xrgb,
        count: Int? = nil, byte: UInt8 = 0x55
    ) -> UInt32? {
        call("Scanout") {
            $0.append(width)
            $0.append(height)
            $0.append(stride ?? width &* 4)
            $0.append(pixman)
            $0.append(
                bytes: [UInt8](repeating: byte, count: count ?? Int(width) * Int(height) * 4))
        }
    }

    @discardableResult
    func update(_ x: Int32, _ y: Int32, _ width: Int32, _ height: Int32, count: Int? = nil)
        -> UInt32?
    {
        call("Update") {
            for value in [x, y, width, height] { $0.append(value) }
            $0.append(UInt32(clamping: width) &* 4)
            $0.append(Self.xrgb)
            // As many bytes as such a rectangle has, but of no absurd one.
            let size = max(0, min(Int(width), 4096)) * max(0, min(Int(height), 4096)) * 4
            $0.append(bytes: [UInt8](repeating: 0xaa, count: count ?? size))
        }
    }

    @discardableResult
    func map(_ descriptor: Int32?, _ width: UInt32, _ height: UInt32, offset: UInt32 = 0) -> UInt32?
    {
        call("ScanoutMap", interface: "org.qemu.Display1.Listener.Unix.Map") {
            if let descriptor { $0.append(descriptor: descriptor) }
            for value in [offset, width, height, width * 4, Self.xrgb] { $0.append(value) }
        }
    }

    @discardableResult
    func dmaBuf(_ descriptor: Int32, _ width: UInt32, _ height: UInt32) -> UInt32? {
        call("ScanoutDMABUF") {
            $0.append(descriptor: descriptor)
            for value in [width, height, width * 4, FourCC.xrgb8888.rawValue] { $0.append(value) }
            $0.append(UInt64(0))
            $0.append(false)
        }
    }
}

/// A loop with one VM whose source is a pretended QEMU.
final class QEMUHarness {
    let loop: EventLoop
    let session: VMSession<HeadlessPresenter>
    let source: QEMUDisplaySource<HeadlessPresenter>
    let qemu: FakeQEMU
    let directory: String

    init(loop shared: EventLoop? = nil) throws {
        let loop = try shared ?? EventLoop()
        self.loop = loop
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
        qemu = try FakeQEMU(path: directory + "/qmp", loop: loop)
        session = try .onVirtualOutput("vm", loop: loop)
        source = QEMUDisplaySource(
            qmp: directory + "/qmp", session: session, reaper: try DescriptorReaper())
    }

    deinit {
        qemu.crash()
        source.shutDown()
        TemporaryDirectory.remove(directory)
    }

    func wait(seconds: Int = 60, _ body: () throws -> Bool) throws {
        try VMBridgeTests.wait(loop, seconds: seconds) {
            try qemu.poll()
            source.settle()
            return try body()
        }
    }

    /// Until QEMU has a listener, and has asked for its abilities as QEMU does first of all.
    func attach() throws {
        try wait { source.isConnected && qemu.listener?.isReady == true }
        let abilities = qemu.call("GetAll", interface: "org.freedesktop.DBus.Properties") {
            $0.append("org.qemu.Display1.Listener")
        }
        #expect(try !answer(abilities))
    }

    /// Until a call is answered.
    ///
    /// - Returns: whether by an error.
    func answer(_ cookie: UInt32?) throws -> Bool {
        let cookie = try #require(
            cookie,
            "the call was not sent: \(qemu.whyClosed); our end: \(source.words ?? ""), \(session.refusals)"
        )
        try wait { qemu.answers[cookie] != nil }
        return qemu.answers[cookie] ?? false
    }

    var surface: SurfaceStatus? { session.status.last { !$0.isGone } }
}
