import VMBridgeCore

/// The control socket's protocol, in numbers.
package enum ControlProtocol {
    /// Members may be added to replies and events while this stays; a client ignores what it does not know.
    package static let version: UInt64 = 1
    /// Bytes of a request's line, with its end.
    package static let lineLimit = 65536
    /// Shortest and longest beat of a `watch`, milliseconds.
    package static let intervals: ClosedRange<UInt64> = 100...3_600_000
}

/// What a surface can be told with no more than its name.
package enum SurfaceVerb: String, Sendable, CaseIterable {
    case close, hide, show, freeze, thaw
}

/// Which surfaces a request is about.
package struct SurfaceSelector: Sendable, Equatable {
    /// The VM's name.
    package var vm: String
    /// One surface of it; nil for all.
    package var surface: SurfaceKey?

    /// A VM, or a surface of it.
    package init(vm: String, surface: SurfaceKey? = nil) {
        self.vm = vm
        self.surface = surface
    }
}

/// One request to a bridge, as docs/control.md describes it.
package enum ControlRequest: Sendable, Equatable {
    /// What there is and what happened so far.
    case status
    /// The surfaces that are there.
    case list
    /// Tells of changes from now on, and the status every so many milliseconds; nil for changes alone.
    case watch(interval: UInt64?)
    /// Does something with surfaces.
    case verb(SurfaceVerb, SurfaceSelector)
    /// Sends surfaces where a rule with this action would.
    case move([String], SurfaceSelector)
    /// Writes a surface's last frame as PNG to the descriptor that comes along.
    case capture(vm: String, surface: SurfaceKey?)
    /// Writes one picture of all surfaces, of one VM or of all.
    case captureAll(vm: String?)
    /// Reads the configuration again.
    case reload
    /// The last lines of the log, all or so many, and those to come.
    case log(count: UInt64?, follow: Bool)

    /// The names of all requests.
    package static let names =
        ["status", "list", "watch"] + SurfaceVerb.allCases.map(\.rawValue)
        + ["move", "capture", "reload", "log"]

    /// Its name.
    package var name: String {
        switch self {
        case .status: "status"
        case .list: "list"
        case .watch: "watch"
        case .verb(let verb, _): verb.rawValue
        case .move: "move"
        case .capture, .captureAll: "capture"
        case .reload: "reload"
        case .log: "log"
        }
    }

    /// The request as it goes over the socket, without its line end.
    package func value(id: JSONValue? = nil) -> JSONValue {
        var object = JSONObject()
        object.add("version", ControlProtocol.version)
        object.add("request", name)
        if let id { object.add("id", id) }
        switch self {
        case .status, .list, .reload: break
        case .watch(let interval): if let interval { object.add("interval_ms", interval) }
        case .verb(_, let selector): Self.add(selector, to: &object)
        case .move(let action, let selector):
            Self.add(selector, to: &object)
            object.add("action", .array(action.map(JSONValue.string)))
        case .capture(let vm, let surface):
            Self.add(SurfaceSelector(vm: vm, surface: surface), to: &object)
        case .captureAll(let vm):
            object.add("all", true)
            if let vm { object.add("vm", vm) }
        case .log(let count, let follow):
            if let count { object.add("count", count) }
            if follow { object.add("follow", true) }
        }
        return object.value
    }

    private static func add(_ selector: SurfaceSelector, to object: inout JSONObject) {
        object.add("vm", selector.vm)
        if let surface = selector.surface { object.add("surface", surface.value) }
    }

    /// Reads a request. What it does not know is refused, so that nothing is misunderstood.
    package init(_ value: JSONValue) throws(ControlFault) {
        guard case .object = value else {
            throw ControlFault(.malformed, "a request is an object, this is \(value.kind)")
        }
        var members = RequestMembers(value)
        if let version = try members.count("version"), version != ControlProtocol.version {
            throw ControlFault(
                .version,
                "version \(version) is not spoken here, only \(ControlProtocol.version)")
        }
        _ = members.take("id")
        guard let name = try members.text("request") else {
            throw ControlFault(.badMember, "“request” is missing: it names what is wanted")
        }
        switch name {
        case "status": self = .status
        case "list": self = .list
        case "watch": self = .watch(interval: try members.interval())
        case "move":
            let selector = try members.selector(for: name)
            self = .move(try members.words("action"), selector)
        case "capture": self = try Self.capture(&members)
        case "reload": self = .reload
        case "log":
            let count = try members.count("count")
            self = .log(count: count, follow: try members.truth("follow") ?? false)
        default:
            guard let verb = SurfaceVerb(rawValue: name) else {
                throw ControlFault(
                    .unknownRequest,
                    "there is no request “\(CleanText.clean(name))”; there are "
                        + Self.names.joined(separator: ", "))
            }
            self = .verb(verb, try members.selector(for: name))
        }
        try members.finish(name)
    }

    private static func capture(_ members: inout RequestMembers) throws(ControlFault) -> Self {
        if try members.truth("all") == true { return .captureAll(vm: try members.text("vm")) }
        let selector = try members.selector(for: "capture")
        return .capture(vm: selector.vm, surface: selector.surface)
    }
}

/// A request's members, taken one by one; what is left at the end is not known.
private struct RequestMembers {
    private var members: [JSONMember]

    init(_ value: JSONValue) { members = value.members }

    mutating func take(_ name: String) -> JSONValue? {
        guard let index = members.firstIndex(where: { $0.name == name }) else { return nil }
        return members.remove(at: index).value
    }

    private func wrong(_ name: String, _ value: JSONValue, _ wanted: String) -> ControlFault {
        ControlFault(.badMember, "“\(name)” is \(wanted), this is \(value.kind)")
    }

    mutating func text(_ name: String) throws(ControlFault) -> String? {
        guard let value = take(name) else { return nil }
        guard let text = value.text else { throw wrong(name, value, "a string") }
        return text
    }

    mutating func count(_ name: String) throws(ControlFault) -> UInt64? {
        guard let value = take(name) else { return nil }
        guard let count = value.count else {
            throw wrong(name, value, "a whole number that is not negative")
        }
        return count
    }

    mutating func truth(_ name: String) throws(ControlFault) -> Bool? {
        guard let value = take(name) else { return nil }
        guard let truth = value.truth else { throw wrong(name, value, "true or false") }
        return truth
    }

    mutating func interval() throws(ControlFault) -> UInt64? {
        guard let interval = try count("interval_ms") else { return nil }
        let allowed = ControlProtocol.intervals
        guard allowed.contains(interval) else {
            throw ControlFault(
                .badMember,
                "“interval_ms” goes from \(allowed.lowerBound) to \(allowed.upperBound)")
        }
        return interval
    }

    mutating func selector(for request: String) throws(ControlFault) -> SurfaceSelector {
        guard let vm = try text("vm") else {
            throw ControlFault(.badMember, "“vm” is missing: it names the VM to \(request)")
        }
        return SurfaceSelector(vm: vm, surface: try count("surface").map { SurfaceKey($0) })
    }

    mutating func words(_ name: String) throws(ControlFault) -> [String] {
        guard let value = take(name) else {
            throw ControlFault(
                .badMember, "“\(name)” is missing: it has a rule's words, as [\"hide\"]")
        }
        let words = value.elements.compactMap(\.text)
        guard case .array(let elements) = value, !elements.isEmpty, words.count == elements.count
        else { throw wrong(name, value, "an array of at least one string") }
        return words
    }

    func finish(_ request: String) throws(ControlFault) {
        guard let stranger = members.first else { return }
        throw ControlFault(
            .badMember, "“\(CleanText.clean(stranger.name))” is no member of the request \(request)"
        )
    }
}
