import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] what command line and configuration come to together")
struct BridgePlanTests {
    private func configuration(
        _ sources: [String] = [], _ text: String = ""
    ) throws -> BridgeConfiguration {
        var configuration = BridgeConfiguration(
            sources: try sources.map { try SourceSpecification($0) },
            presentation: .headless(HeadlessOptions()))
        let (rules, diagnostics) = ConfigurationReader.read(text, file: "test")
        configuration.rules = try #require(rules, "\(diagnostics)")
        return configuration
    }

    @Test(
        "VMs of the command line come first and keep their socket; a VM without a source needs one")
    func sources() throws {
        let text = """
            vm a {
                source socket:/file/a
                label Work
            }
            vm b {
                source socket:/file/b
            }
            vm c {
                label None
            }
            """
        let plan = BridgePlan(try configuration(["a=socket:/line/a"], text))
        #expect(plan.vms.map(\.source.vm) == ["a", "b"] && plan.problems.isEmpty)
        #expect(plan.vms.map(\.source.place) == ["/line/a", "/file/b"])
        #expect(plan.vms[0].settings.label == "Work" && plan.vms[0].router.label == "Work")
    }

    @Test("two VMs on one socket: the first has it, and the second is told of")
    func sameSocket() throws {
        let text = "vm b {\n source socket:/x\n}\n"
        let plan = BridgePlan(try configuration(["a=socket:/x"], text))
        #expect(plan.vms.map(\.source.vm) == ["a"])
        #expect(plan.problems.map(\.vm) == ["b"])
        #expect(plan.problems.first?.why.contains("/x") == true)
    }

    @Test("what was asked for on the command line stands above the file, the last word counts")
    func precedence() throws {
        let text = """
            vm a {
                source socket:/a
                fences pass
                budget {
                    surfaces 3
                    fence-limit 100
                }
            }
            vm b {
                source socket:/b
            }
            """
        var wanted = try configuration([], text)
        wanted.limits.buffers = 5
        var plan = BridgePlan(wanted)
        #expect(plan.vms.map(\.fences) == [.pass, .auto])
        #expect(plan.vms.map(\.limits.surfaces) == [3, 64])
        #expect(plan.vms.map(\.limits.buffers) == [5, 5])
        #expect(plan.vms.map(\.limits.fenceLimit) == [100_000_000, 2_000_000_000])
        wanted.fences = [(nil, .auto), ("b", .pass), ("b", .hold)]
        wanted.overridingLimits.fenceLimit = 7
        plan = BridgePlan(wanted)
        #expect(plan.vms.map(\.fences) == [.auto, .hold])
        #expect(plan.vms.map(\.limits.fenceLimit) == [7, 7])
    }

    @Test("domains that were found are served unless a person wrote of them")
    func discovered() throws {
        var wanted = try configuration(
            ["b=hyper-dmabuf:4"],
            "vm media {\n source hyper-dmabuf 3\n}\nvm domain-9 {\n source socket:/s\n}\n"
                + "vm domain-5 {\n label Five\n}")
        let node = "/dev/xen/hyper_dmabuf"
        wanted.hyperNodes = [node]
        wanted.discovered = [3, 4, 5, 9].map { .discovered(domain: $0, node: node) }
        let plan = BridgePlan(wanted)
        #expect(plan.vms.map(\.source.vm) == ["b", "media", "domain-9", "domain-5"])
        #expect(plan.problems.isEmpty)
        // The node that was named for the host is meant by those who name none.
        for (index, domain) in [(0, 4), (1, 3), (3, 5)] as [(Int, UInt16)] {
            #expect(plan.vms[index].source.kind == .hyperDmabuf(domain: domain, node: node))
        }
        #expect(plan.vms[3].settings.label == "Five")
    }

    @Test("with several nodes each domain stays at its own")
    func severalNodes() throws {
        var wanted = try configuration(["b=hyper-dmabuf:4"])
        wanted.hyperNodes = ["/dev/x", "/dev/y"]
        #expect(
            BridgePlan(wanted).vms.first?.source.kind
                == .hyperDmabuf(domain: 4, node: "/dev/hyper_dmabuf"))
    }
}
