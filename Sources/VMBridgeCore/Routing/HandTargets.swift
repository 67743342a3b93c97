extension Router {
    /// Who this VM's surfaces could be handed to by the rules, each once, in their order: what stands
    /// behind a rule that takes everything of the VM is never reached.
    public var targets: [HandTarget] {
        var targets: [HandTarget] = []
        for rule in rules {
            guard rule.match.vm?.matches(vmName) ?? true,
                rule.match.source.map({ $0 == sourceKind }) ?? true
            else { continue }
            if case .handTo(let target) = rule.action, !targets.contains(target) {
                targets.append(target)
            }
            var rest = rule.match
            rest.vm = nil
            rest.source = nil
            if rest == RuleMatch() { break }
        }
        return targets
    }
}
