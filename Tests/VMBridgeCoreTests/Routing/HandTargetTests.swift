import Testing
import VMBridgeCore

@Suite("[pure] which consumers a VM's surfaces could be handed to")
struct HandTargetTests {
    private func targets(_ vm: String, _ rules: [(RuleMatch, RuleAction)]) -> [HandTarget] {
        var configuration = Configuration()
        configuration.rules = rules.map { Rule(match: $0.0, action: $0.1) }
        return Router(vmName: vm, configuration: configuration).targets
    }

    private func match(_ change: (inout RuleMatch) -> Void) -> RuleMatch {
        var match = RuleMatch()
        change(&match)
        return match
    }

    @Test("rules of other VMs and sources do not count, each target stands once")
    func own() {
        let rules: [(RuleMatch, RuleAction)] = [
            (match { $0.vm = Glob("b*") }, .handTo(.consumer("b"))),
            (match { $0.source = "pipe" }, .handTo(.consumer("pipe"))),
            (match { $0.title = Glob("x") }, .handTo(.consumer("c"))),
            (match { $0.title = Glob("y") }, .hide),
            (match { $0.tag = Glob("y") }, .handTo(.consumer("c"))),
            (match { $0.isGraphics = false }, .handTo(.vm("c"))),
        ]
        #expect(targets("a", rules) == [.consumer("c"), .vm("c")])
        #expect(targets("b1", rules) == [.consumer("b")])
        #expect(targets("a", []) == [])
    }

    @Test("what stands behind a rule that takes everything is never reached")
    func unreachable() {
        let last: (RuleMatch, RuleAction) = (RuleMatch(), .handTo(.vm("z")))
        #expect(targets("a", [(RuleMatch(), .show(ShowProperties())), last]) == [])
        #expect(targets("a", [(match { $0.vm = Glob("a") }, .hide), last]) == [])
        #expect(targets("a", [(match { $0.vm = Glob("b") }, .hide), last]) == [.vm("z")])
        #expect(targets("a", [(match { $0.role = .toplevel }, .hide), last]) == [.vm("z")])
    }
}
