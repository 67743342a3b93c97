import CWayland
import Descriptors
import Glibc
import Wayland

/// A compositor inside the test: one client, raw wire bytes over a socketpair, no thread.
///
/// It knows the objects the client made, keeps every request, answers `wl_display.sync`,
/// `wl_display.get_registry` and destructors by itself, and leaves everything else to the test
/// (`onRequest`, `send`). Nothing happens between calls: `receive()` handles what has arrived,
/// `settle(_:)` lets both sides talk until nothing is left to say.
package final class FakeCompositor {
    /// A decoded request.
    package struct Request {
        package let object: UInt32
        package let interface: String
        package let name: String
        package let arguments: [FakeArgument]

        /// The number of the object that the request makes; 0 if none.
        package var created: UInt32 {
            for case .newID(let id) in arguments { return id }
            return 0
        }
    }

    private struct Object {
        let interface: Int
        let version: UInt32
    }

    private let socket: FakeSocket
    private var objects: [UInt32: Object] = [:]
    private var nextServerID: UInt32 = 0xff00_0000
    private var buffered: [UInt8] = []
    private var bufferedDescriptors: [Int32] = []
    private var ownedDescriptors: [Int32] = []
    private var globals: [(name: UInt32, interface: String, version: UInt32)] = []
    private var registries: [UInt32] = []
    private var serial: UInt32 = 0
    private var nextName: UInt32 = 0

    /// Every request so far, in order.
    package private(set) var requests: [Request] = []
    /// Every byte so far.
    package private(set) var bytes: [UInt8] = []
    /// The client is gone.
    package private(set) var isAtEnd = false
    /// What the client did wrong: unknown object, opcode beyond the interface, wrong size, a rule about
    /// fences that is broken.
    package private(set) var complaints: [String] = []
    /// Whether a broken rule about fences ends the connection, as it does with a real one.
    package var keepsFenceRules = false
    /// What commits carried of fences.
    package private(set) var fenceRules = FenceRules()
    /// The client's seats.
    package internal(set) var seats = FakeSeats()
    /// Whether nothing is answered any more.
    package var isSilent = false
    /// Called for each request, after the automatic answer.
    package var onRequest: ((Request) -> Void)?

    /// A compositor that offers these globals, named 1 and up.
    ///
    /// - Parameter socket: its end of the connection; by default one end of a new pair.
    package init(
        globals: [(interface: String, version: UInt32)] = [], socket: FakeSocket = FakeSocket()
    ) {
        self.socket = socket
        objects[1] = Object(interface: Self.number(of: "wl_display"), version: 1)
        for (interface, version) in globals { addGlobal(interface, version) }
    }

    /// Every interface that the bindings know, in its newest version, whether it is a global or not.
    package static var everything: [(interface: String, version: UInt32)] {
        (0..<InterfaceTables.interfaceCount).map { number in
            let table = InterfaceTables.table(number).pointee
            return (String(cString: table.name), UInt32(table.version))
        }
    }

    /// The client's end of the connection; there is only one.
    package func takeClientEnd() -> OwnedDescriptor { socket.takeClientEnd() }

    deinit { closeDescriptors() }

    // MARK: towards the client

    /// Sends an event by its name.
    package func send(_ object: UInt32, _ event: String, _ arguments: FakeArgument...) {
        guard let table = objects[object].map({ InterfaceTables.table($0.interface).pointee }),
            let opcode = (0..<Int(table.event_count)).first(where: {
                String(cString: table.events[$0].name) == event
            })
        else { fatalError("the fake compositor has no event \(event) on object \(object)") }
        let message = FakeWire.encode(object: object, opcode: opcode, arguments)
        sendRaw(message.bytes, message.descriptors)
    }

    /// Sends bytes as they are.
    package func sendRaw(_ bytes: [UInt8], _ descriptors: [Int32] = []) {
        if !socket.send(bytes, descriptors) { complaints.append("the client takes no more events") }
    }

    /// Tells the client of a fatal protocol error.
    package func protocolError(_ object: UInt32, code: UInt32, _ message: String) {
        send(1, "error", .object(object), .uint(code), .string(message))
    }

    /// Closes the connection without a word.
    package func hangUp() { socket.hangUp() }

    /// A number for an object that an event makes.
    package func newObject(_ interface: String, version: UInt32 = 1) -> UInt32 {
        let id = nextServerID
        nextServerID += 1
        objects[id] = Object(interface: Self.number(of: interface), version: version)
        return id
    }

    /// Ends an object whose last event was sent (callbacks, feedbacks).
    package func retire(_ object: UInt32) {
        objects[object] = nil
        if object < 0xff00_0000 { send(1, "delete_id", .uint(object)) }
    }

    /// Offers one more global; its name.
    @discardableResult
    package func addGlobal(_ interface: String, _ version: UInt32) -> UInt32 {
        nextName += 1
        let name = nextName
        globals.append((name, interface, version))
        for registry in registries { announce(globals[globals.count - 1], to: registry) }
        return name
    }

    /// Takes a global back.
    package func removeGlobal(_ name: UInt32) {
        globals.removeAll { $0.name == name }
        for registry in registries { send(registry, "global_remove", .uint(name)) }
    }

    /// A new serial.
    package func nextSerial() -> UInt32 {
        serial += 1
        return serial
    }

    // MARK: from the client

    /// Handles what has arrived; how many requests that was.
    @discardableResult
    package func receive() -> Int {
        let received = socket.receive()
        isAtEnd = isAtEnd || received.isAtEnd
        bytes += received.bytes
        buffered += received.bytes
        bufferedDescriptors += received.descriptors
        ownedDescriptors += received.descriptors
        var handled = 0
        while buffered.count >= 8 {
            var rest = buffered[...]
            let object = FakeWire.word(&rest) ?? 0
            let word = FakeWire.word(&rest) ?? 0
            let size = Int(word >> 16)
            guard size >= 8 else {
                complaints.append("a message of \(size) bytes")
                buffered = []
                break
            }
            guard buffered.count >= size else { break }
            handle(object, opcode: Int(word & 0xffff), buffered[8..<size])
            buffered.removeFirst(size)
            handled += 1
        }
        return handled
    }

    /// Lets the client flush, read and dispatch, and this side answer, until both are silent or
    /// the connection is lost. Gives up (with a complaint) after `limit` rounds.
    package func settle(_ connection: WaylandConnection, limit: Int = 1000) {
        for _ in 0..<limit {
            _ = connection.flush()
            let handled = receive()
            guard case .done = connection.dispatchAndPrepareRead() else { return }
            if case .lost = connection.readEvents() {
                connection.dispatchPending()
                return
            }
            guard case .done(let dispatched) = connection.dispatchPending() else { return }
            if handled == 0, dispatched == 0, connection.pendingBytes == 0 { return }
        }
        complaints.append("the two sides do not come to rest")
    }

    /// The objects the client has of an interface.
    package func objects(of interface: String) -> [UInt32] {
        let number = Self.number(of: interface)
        return objects.filter { $0.value.interface == number }.keys.sorted()
    }

    /// The version of an object.
    package func version(of object: UInt32) -> UInt32? { objects[object]?.version }

    /// The requests of one name, like `wl_surface.commit`.
    package func requests(_ name: String) -> [Request] {
        requests.filter { "\($0.interface).\($0.name)" == name }
    }

    /// Forgets requests and bytes so far, and closes the descriptors that came with them.
    package func forgetRequests() {
        requests = []
        bytes = []
        closeDescriptors()
    }

    private func closeDescriptors() {
        for number in ownedDescriptors { _ = close(number) }
        ownedDescriptors = []
        bufferedDescriptors = []
    }

    private func handle(_ id: UInt32, opcode: Int, _ body: ArraySlice<UInt8>) {
        guard let object = objects[id] else {
            complaints.append("a request to the unknown object \(id)")
            return
        }
        let table = InterfaceTables.table(object.interface).pointee
        guard opcode < Int(table.method_count) else {
            complaints.append("\(String(cString: table.name)) has no request \(opcode)")
            return
        }
        let method = table.methods[opcode]
        let letters = FakeWire.letters(method.signature)
        let decoded = FakeWire.decode(body, letters, descriptors: &bufferedDescriptors)
        let request = Request(
            object: id, interface: String(cString: table.name), name: String(cString: method.name),
            arguments: decoded ?? [])
        guard decoded != nil else {
            complaints.append("\(request.interface).\(request.name) is malformed")
            return
        }
        let since = UInt32(String(cString: method.signature).prefix { $0.isNumber }) ?? 1
        if since > object.version {
            complaints.append(
                "\(request.interface).\(request.name) needs version \(since), has \(object.version)"
            )
        }
        register(request, method, version: object.version)
        requests.append(request)
        if let breach = fenceRules.take(request), keepsFenceRules {
            complaints.append("\(request.interface).\(request.name): \(breach.text)")
            protocolError(breach.object, code: breach.code, breach.text)
        }
        if let wrong = seats.take(request) {
            complaints.append("\(request.interface).\(request.name): \(wrong)")
        }
        answer(request)
        onRequest?(request)
    }

    /// Notes the object that a request makes.
    private func register(_ request: Request, _ method: wl_message, version: UInt32) {
        for (index, argument) in request.arguments.enumerated() {
            guard case .newID(let id) = argument else { continue }
            if let type = method.types[index] {
                objects[id] = Object(
                    interface: Self.number(of: String(cString: type.pointee.name)), version: version
                )
            } else if case .string(let name?) = request.arguments[index - 2],
                case .uint(let version) = request.arguments[index - 1]
            {
                objects[id] = Object(interface: Self.number(of: name), version: version)
            }
        }
    }

    private func answer(_ request: Request) {
        guard !isSilent else { return }
        switch (request.interface, request.name) {
        case ("wl_display", "sync"):
            send(request.created, "done", .uint(nextSerial()))
            retire(request.created)
        case ("wl_display", "get_registry"):
            registries.append(request.created)
            for global in globals { announce(global, to: request.created) }
        case (_, "destroy"), (_, "release"):
            retire(request.object)
        default:
            break
        }
    }

    private func announce(
        _ global: (name: UInt32, interface: String, version: UInt32), to registry: UInt32
    ) {
        send(
            registry, "global", .uint(global.name), .string(global.interface), .uint(global.version)
        )
    }

    private static func number(of interface: String) -> Int {
        for number in 0..<InterfaceTables.interfaceCount
        where String(cString: InterfaceTables.table(number).pointee.name) == interface {
            return number
        }
        fatalError("the bindings have no interface \(interface)")
    }
}
