import Foundation
import Testing

@testable import VMBridge

@Suite("[pure] what the doctor makes of facts")
struct DoctorTests {
    @Test(
        "one thing that is different leads to one finding, with advice",
        arguments: DoctorHosts.cases)
    func table(_ expected: DoctorHosts.Case) throws {
        let report = Doctor.examine(expected.facts)
        let finding = try #require(report.findings.first { $0.id == expected.id })
        #expect(finding.state == expected.state)
        #expect(finding.text.contains(expected.text), "\(finding.text)")
        #expect(
            expected.advice.isEmpty
                ? finding.advice.isEmpty : finding.advice.contains(expected.advice),
            "\(finding.advice)")
        #expect(report.works == expected.works)
        #expect(report.losses == (expected.loss.isEmpty ? [] : [expected.loss]))
    }

    @Test("every check has a case, every group is there")
    func coverage() {
        let covered = Set(DoctorHosts.cases.map(\.id))
        let all = Set(DoctorHosts.cases.flatMap { Doctor.findings($0.facts).map(\.id) })
        // Rows of one table, of which one is in the cases.
        let alike: Set<String> = [
            "compositor.zwp_linux_explicit_synchronization_v1",
            "compositor.wp_fractional_scale_manager_v1", "devices.gpu.card1",
        ]
        #expect(all.subtracting(covered).subtracting(alike).isEmpty)
        #expect(Set(Doctor.findings(DoctorHosts.perfect).map(\.group)).count == 5)
    }

    @Test("advice is given exactly where something is not in order, in one sentence")
    func advice() {
        for facts in DoctorHosts.cases.map(\.facts) {
            for finding in Doctor.findings(facts) {
                #expect(finding.advice.isEmpty == (finding.state == .ok), "\(finding.id)")
                guard !finding.advice.isEmpty else { continue }
                #expect(finding.advice.hasSuffix("."), "\(finding.advice)")
                #expect(finding.advice.first?.isUppercase == true, "\(finding.advice)")
                #expect(!finding.text.hasSuffix("."), "\(finding.text)")
                #expect(!finding.isFatal || finding.state != .ok)
                #expect(finding.loss.isEmpty || finding.state != .ok)
            }
        }
    }

    @Test("ids are not given twice")
    func ids() {
        for facts in DoctorHosts.cases.map(\.facts) {
            let ids = Doctor.findings(facts).map(\.id)
            #expect(Set(ids).count == ids.count)
        }
    }

    @Test("the verdict says what works, what is missing, and what would work instead")
    func verdicts() {
        #expect(Doctor.examine(DoctorHosts.perfect).verdict == "vm-bridge run works here.")
        var poor = DoctorHosts.compositor {
            $0.takesDMABufs = false
            $0.versions["wp_viewporter"] = nil
        }
        #expect(
            Doctor.examine(poor).verdict
                == "vm-bridge run works here, but without zero copy of dma-bufs and cropping and scaling."
        )
        poor.devices.udmabuf = nil
        #expect(
            Doctor.examine(poor).losses == [
                "udmabuf", "zero copy of dma-bufs", "cropping and scaling",
            ])
        let none = DoctorHosts.host { $0.compositor = .unnamed }
        #expect(
            Doctor.examine(none).verdict
                == "vm-bridge run would not work here: no compositor is named: WAYLAND_DISPLAY is not set. "
                + "vm-bridge run --headless would.")
        let nothing = DoctorHosts.host {
            $0.compositor = .unnamed
            $0.kernel.probe = DoctorHosts.failing("eventfd", 1)
        }
        #expect(!Doctor.examine(nothing).verdict.contains("--headless would"))
        let headless = DoctorHosts.host {
            $0.target = .headless
            $0.compositor = .notAsked
        }
        #expect(Doctor.examine(headless).verdict == "vm-bridge run --headless works here.")
        #expect(Doctor.findings(headless).allSatisfy { $0.group != .compositor })
    }

    @Test("the text is aligned, at most 100 columns, and coloured only when asked")
    func text() throws {
        for facts in DoctorHosts.cases.map(\.facts) {
            let report = Doctor.examine(facts)
            let lines = DoctorText.lines(report, colours: false)
            #expect(lines.allSatisfy { $0.count <= 100 && !$0.hasSuffix(" ") })
            #expect(!lines.joined().contains("\u{1b}"))
            for finding in report.findings {
                #expect(
                    lines.contains { line in
                        line.contains("  \(finding.state.rawValue) ") && line.contains(finding.name)
                    })
            }
            // Texts of all findings begin in one column.
            let states = Set(DoctorFinding.State.allCases.map(\.rawValue))
            let heads = lines.filter { line in
                line.hasPrefix("  ")
                    && states.contains(String(line.dropFirst(2).prefix { $0 != " " }))
            }
            #expect(heads.count == report.findings.count)
            let columns = try heads.map { head in
                let finding = try #require(
                    report.findings.first { head.dropFirst(11).hasPrefix("\($0.name)  ") })
                return try #require(head.range(of: finding.text.prefix(8))).lowerBound
                    .utf16Offset(in: head)
            }
            #expect(Set(columns).count == 1)
            let coloured = DoctorText.lines(report, colours: true).map { line in
                line.replacing(/\u{1b}\[[0-9]*m/, with: "")
            }
            #expect(coloured == lines)
            #expect(DoctorText.lines(report, colours: true).joined().contains("\u{1b}[32mok"))
        }
    }

    @Test("long words are broken, what steers a terminal is replaced")
    func wrapping() {
        let long = String(repeating: "x", count: 250)
        #expect(DoctorText.wrap(long, 20).map(\.count) == [80, 80, 80, 10])
        #expect(DoctorText.wrap("a \(long)", 20).map(\.count) == [1, 80, 80, 80, 10])
        #expect(DoctorText.wrap("", 20) == [""])
        #expect(DoctorText.wrap("/run/\u{1b}[31m", 20) == ["/run/\u{fffd}[31m"])
    }

    @Test("the JSON has the documented shape for every host")
    func json() throws {
        struct Check: Decodable {
            var id: String
            var group: String
            var name: String
            var state: String
            var fatal: Bool
            var text: String
            var advice: String
            var without: String
            var values: [String: JSONValue]
        }
        struct Report: Decodable {
            var version: Int
            var works: Bool
            var degraded: Bool
            var verdict: String
            var checks: [Check]
        }
        for facts in DoctorHosts.cases.map(\.facts) {
            let report = Doctor.examine(facts)
            let text = DoctorJSON.text(report)
            #expect(!text.contains("\n"))
            let decoded = try JSONDecoder().decode(Report.self, from: Data(text.utf8))
            #expect(decoded.version == 1)
            #expect(decoded.works == report.works)
            #expect(decoded.degraded == !report.losses.isEmpty)
            #expect(decoded.verdict == report.verdict)
            #expect(decoded.checks.map(\.id) == report.findings.map(\.id))
            #expect(decoded.checks.map(\.text) == report.findings.map(\.text))
            #expect(decoded.checks.map(\.advice) == report.findings.map(\.advice))
            #expect(decoded.checks.map(\.without) == report.findings.map(\.loss))
            for check in decoded.checks {
                #expect(check.id.hasPrefix(check.group + "."))
                #expect(DoctorFinding.State(rawValue: check.state) != nil)
            }
        }
        let perfect = try JSONDecoder().decode(
            Report.self, from: Data(DoctorJSON.text(Doctor.examine(DoctorHosts.perfect)).utf8))
        let limits = try #require(perfect.checks.first { $0.id == "devices.udmabuf-pieces" })
        #expect(limits.values["list_limit"] == .number(8192))
        let gpu = try #require(perfect.checks.first { $0.id == "devices.gpu.card0" })
        #expect(gpu.values["syncobj_timeline"] == .flag(true))
        #expect(gpu.values["driver"] == .text("amdgpu"))
    }

    enum JSONValue: Decodable, Equatable {
        case flag(Bool)
        case number(Int)
        case text(String)

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let flag = try? value.decode(Bool.self) {
                self = .flag(flag)
            } else if let number = try? value.decode(Int.self) {
                self = .number(number)
            } else {
                self = .text(try value.decode(String.self))
            }
        }
    }
}

@Suite("[kernel] what the doctor finds out", .serialized)
struct DoctorGatheringTests {
    @Test("gathering facts leaves no descriptor")
    func descriptors() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                for _ in 0..<3 { _ = DoctorFacts.gather(.headless) }
                _ = DoctorFacts.gather(.compositor(display: "/nonexistent/wayland-9"))
            }
        }
    }

    @Test("facts are this machine's")
    func facts() throws {
        let facts = DoctorFacts.gather(.headless)
        let release = try String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)
        #expect(facts.kernel.release + "\n" == release)
        #expect(facts.kernel.probe == .works)
        #expect(facts.kernel.sealing == .works)
        #expect(facts.session.descriptors == (try DescriptorLimit.current()))
        #expect(facts.compositor == .notAsked)
        let files = FileManager.default
        #expect((facts.devices.udmabuf != nil) == files.fileExists(atPath: "/dev/udmabuf"))
        let heaps = (try? files.contentsOfDirectory(atPath: "/dev/dma_heap")) ?? []
        #expect(facts.devices.heaps.count == heaps.count)
        // Fences are tried exactly where a buffer can be made.
        let hasBuffers =
            facts.devices.udmabufCreation == .works
            || facts.devices.heaps.contains { $0.allocation == .works }
        #expect((facts.kernel.exportFence != .untried) == hasBuffers)
        #expect((facts.kernel.bufferOrigin != nil) == hasBuffers)
    }

    @Test("nodes, links and small files are read as they are")
    func files() throws {
        let null = try #require(SystemFiles.node("/dev/null"))
        #expect(null.mode == 0o666)
        #expect(null.owner == "root")
        #expect(null.isUsable)
        #expect(null.number == 0x103)
        #expect(Doctor.deviceName(null.number, DoctorHosts.perfect) == "device 1:3")
        #expect(SystemFiles.node("/dev") == nil)
        #expect(SystemFiles.node("/nonexistent") == nil)
        #expect(SystemFiles.linkName("/proc/self/fd/0") != nil)
        #expect(SystemFiles.linkName("/dev/null") == nil)
        #expect(SystemFiles.names("/proc/self/fd").contains("0"))
        #expect(SystemFiles.names("/nonexistent").isEmpty)
        #expect(SystemFiles.text("/nonexistent") == nil)
        #expect(SystemFiles.line("/proc/sys/kernel/ostype") == "Linux")
        #expect((SystemFiles.number("/proc/sys/kernel/pid_max") ?? 0) > 0)
        let large = FileManager.default.temporaryDirectory.appending(
            path: "vmb-doctor-\(UInt32.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: large) }
        try Data(repeating: 97, count: 200_000).write(to: large)
        #expect(SystemFiles.text(large.path)?.count == 200_000)
    }

    @Test("a compositor that takes the connection and says nothing is told from one that hangs up")
    func silence() throws {
        let listener = try StreamListener()
        let start = MonotonicClock.now()
        let answer = CompositorProbe.ask(display: listener.path, patience: 200_000_000)
        guard case .silent(let why) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(why.contains("in time"))
        #expect(MonotonicClock.now() - start < 5_000_000_000)
        // What waits in the queue of a listener that ends is hung up on.
        let path = listener.path
        let asking = Thread {
            Thread.sleep(forTimeInterval: 0.3); listener.close()
        }
        asking.start()
        let second = CompositorProbe.ask(display: path, patience: 10_000_000_000)
        guard case .silent(let why) = second else {
            Issue.record("\(second)")
            return
        }
        #expect(why.contains("hung up"), "\(why)")
        guard case .unreachable(let why) = CompositorProbe.ask(display: path) else {
            Issue.record("somebody answers at \(path)")
            return
        }
        #expect(why.contains(path))
    }
}

/// A socket of the kind that compositors have; nobody accepts.
private final class StreamListener: @unchecked Sendable {
    let path: String
    private let descriptor: Int32

    init() throws {
        path = "/tmp/vmb-silent-\(UInt32.random(in: 0 ... .max))"
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let number = descriptor
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(number, 8) == 0)
    }

    func close() {
        unlink(path)
        Foundation.close(descriptor)
    }
}
