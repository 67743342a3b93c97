import VMBridgeCore

/// One VM as it is to be served.
struct VMPlan {
    /// Its name and its socket.
    var source: SourceSpecification
    /// What happens to its frames whose fence is pending.
    var fences: FencePolicy
    /// What it may take.
    var limits: VMLimits
    /// Where its surfaces go.
    var router: Router
    /// What else the host says of it.
    var settings: VMConfiguration
}

/// What a configuration comes to: each VM with what command line and file say of it. Pure but for the
/// runtime directory's name.
struct BridgePlan {
    /// The VMs that can be served, those of the command line first.
    private(set) var vms: [VMPlan] = []
    /// VMs that cannot, and why, as sentences.
    private(set) var problems: [(vm: String, why: String)] = []

    init(_ configuration: BridgeConfiguration) {
        for source in configuration.sources { add(source, configuration) }
        for vm in configuration.rules.vms {
            guard !vms.contains(where: { $0.source.vm == vm.name }) else { continue }
            do throws(SpecificationError) {
                if let source = try SourceSpecification(vm) { add(source, configuration) }
            } catch {
                problems.append((vm.name, error.description))
            }
        }
        // Found, not asked for: whatever a person wrote about a domain, or by its name, comes first.
        for source in configuration.discovered
        where !vms.contains(where: { $0.source.place == source.place || $0.source.vm == source.vm })
        {
            add(source, configuration)
        }
    }

    private mutating func add(_ source: SourceSpecification, _ configuration: BridgeConfiguration) {
        var source = source
        // Who names a node for the whole host means it for domains that are configured without one, too.
        if case .hyperDmabuf(let domain, HyperDmabufNode.path) = source.kind,
            configuration.hyperNodes.count == 1, let node = configuration.hyperNodes.first
        {
            source.kind = .hyperDmabuf(domain: domain, node: node)
        }
        if let other = vms.first(where: { $0.source.place == source.place }) {
            var what = "socket"
            if case .hyperDmabuf = source.kind { what = "exporter" }
            let why =
                "\(other.source.vm) and \(source.vm) name the same \(what), \(source.place)"
            problems.append((source.vm, why))
            return
        }
        let settings = configuration.rules.vm(source.vm)
        let wished = configuration.fences.last { $0.vm == nil || $0.vm == source.vm }
        let limits = settings.limits.applied(to: configuration.limits)
        vms.append(
            VMPlan(
                source: source, fences: source.fences ?? wished?.policy ?? settings.fences ?? .auto,
                limits: configuration.overridingLimits.applied(to: limits),
                router: Router(
                    vmName: source.vm, sourceKind: source.kindWord,
                    configuration: configuration.rules),
                settings: settings))
    }
}
