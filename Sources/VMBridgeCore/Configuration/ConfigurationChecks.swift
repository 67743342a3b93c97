/// What can be said only when all is read: names that must exist, things that must differ, rules that no
/// surface reaches.
struct ConfigurationChecks {
    /// The files that were read, the most important first; they gather what is said.
    private(set) var layers: [ConfigurationFileReader]
    /// All of them together.
    private(set) var configuration = Configuration()

    private var vms: [(layer: Int, entry: ConfigurationFileReader.VMEntry)] = []
    private var consumers: [(layer: Int, entry: ConfigurationFileReader.ConsumerEntry)] = []

    /// Puts files on top of each other.
    init(_ layers: [ConfigurationFileReader]) {
        self.layers = layers
        var names: Set<String> = []
        var consumerNames: Set<String> = []
        for (index, layer) in layers.enumerated() {
            for entry in layer.vms where names.insert(entry.value.name).inserted {
                vms.append((index, entry))
            }
            for entry in layer.consumers where consumerNames.insert(entry.value.name).inserted {
                consumers.append((index, entry))
            }
            configuration.rules += layer.rules.map(\.value)
        }
        configuration.vms = vms.map(\.entry.value)
        configuration.consumers = consumers.map(\.entry.value)
    }

    /// Says what is to be said.
    mutating func run() {
        checkIdentities()
        checkSockets()
        for index in layers.indices {
            checkReceivers(index)
            checkPatterns(index)
            checkOrder(index)
        }
    }

    private func line(_ layer: Int, of other: Int, _ place: TextPlace) -> String {
        layer == other ? "line \(place.line)" : "line \(place.line) of \(layers[other].file)"
    }

    private mutating func checkIdentities() {
        var appIDs: [String: Int] = [:]
        var labels: [String: Int] = [:]
        for index in vms.indices {
            let (layer, entry) = vms[index]
            let name = entry.value.name
            let appID = Router.identityName(name)
            if let first = appIDs[appID] {
                let other = vms[first]
                layers[layer].report(
                    .error,
                    "“\(name)” and “\(other.entry.value.name)” (\(line(layer, of: other.layer, other.entry.place))) would have the same app id, “vm-bridge.\(appID)”",
                    at: entry.place)
            } else {
                appIDs[appID] = index
            }
            let label = entry.value.label ?? name
            if let first = labels[label] {
                let other = vms[first]
                layers[layer].report(
                    .warning,
                    "windows of “\(name)” and “\(other.entry.value.name)” look alike: both are labelled “\(label)”",
                    at: entry.labelPlace ?? entry.place)
            } else {
                labels[label] = index
            }
        }
    }

    private mutating func checkSockets() {
        var users: [String: (layer: Int, name: String, place: TextPlace)] = [:]
        func check(_ path: String, _ name: String, _ place: TextPlace, _ layer: Int) {
            if let other = users[path] {
                layers[layer].report(
                    .error,
                    "\(ConfigurationFileReader.quoted(path)) is the socket of “\(other.name)” too, on \(line(layer, of: other.layer, other.place))",
                    at: place)
            } else {
                users[path] = (layer, name, place)
            }
        }
        for (layer, entry) in vms {
            guard let path = entry.value.socketPath(in: "") else { continue }
            check(path, entry.value.name, entry.sourcePlace ?? entry.place, layer)
        }
        for (layer, entry) in consumers {
            check(
                entry.value.socketPath(in: ""), entry.value.name, entry.socketPlace ?? entry.place,
                layer)
        }
    }

    private mutating func checkReceivers(_ index: Int) {
        for rule in layers[index].rules {
            guard case .handTo(let target) = rule.value.action else { continue }
            let place = rule.targetPlace ?? rule.place
            let known: [String]
            let name: String
            let kind: String
            switch target {
            case .consumer(let consumer):
                (known, name, kind) = (configuration.consumers.map(\.name), consumer, "consumer")
            case .vm(let vm): (known, name, kind) = (configuration.vms.map(\.name), vm, "VM")
            }
            guard known.contains(name) else {
                layers[index].report(
                    .error,
                    "no \(kind) \(ConfigurationFileReader.quoted(name)) is configured", at: place,
                    suggestion: Spelling.nearest(to: name, of: known))
                continue
            }
            if case .vm = target, rule.value.match.vm?.matches(name) ?? true {
                layers[index].report(
                    .warning,
                    "surfaces of “\(name)” itself match too and cannot be handed to it: say which VM this is about",
                    at: place)
            }
        }
    }

    /// A pattern for VMs that is like no VM's name is most likely misspelt.
    private mutating func checkPatterns(_ index: Int) {
        let names = configuration.vms.map(\.name)
        guard !names.isEmpty else { return }
        for rule in layers[index].rules {
            guard let place = rule.vmPlace, let glob = rule.value.match.vm,
                !names.contains(where: glob.matches)
            else { continue }
            layers[index].report(
                .warning, "no configured VM is called \(ConfigurationFileReader.quoted(glob.text))",
                at: place, suggestion: Spelling.nearest(to: glob.text, of: names))
        }
    }

    /// Rules that an earlier one of the same file leaves nothing to.
    private mutating func checkOrder(_ index: Int) {
        let rules = layers[index].rules
        for (position, rule) in rules.enumerated() {
            guard
                let earlier = rules[..<position].first(where: {
                    $0.value.match.covers(rule.value.match)
                })
            else { continue }
            layers[index].report(
                .warning,
                "this rule is never reached: the one on line \(earlier.place.line) matches all that it does",
                at: rule.place)
        }
    }
}

extension RuleMatch {
    /// Whether everything that another matches is surely matched; patterns are compared as they stand.
    func covers(_ other: RuleMatch) -> Bool {
        func covers(_ mine: Glob?, _ theirs: Glob?) -> Bool {
            mine == nil || mine?.matchesAll == true || mine == theirs
        }
        func covers<Value: Equatable>(_ mine: Value?, _ theirs: Value?) -> Bool {
            mine == nil || mine == theirs
        }
        if let size {
            guard let theirs = other.size, size.width.contains(theirs.width),
                size.height.contains(theirs.height)
            else { return false }
        }
        return covers(vm, other.vm) && covers(tag, other.tag) && covers(title, other.title)
            && covers(appID, other.appID) && covers(source, other.source)
            && covers(role, other.role) && covers(isGraphics, other.isGraphics)
            && covers(transform, other.transform)
    }
}
