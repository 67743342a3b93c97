import Testing
import VMBridgeCore

@testable import VMBridge

/// A headless bridge with hyper_dmabuf's node and a pretended reader.
private final class Scene {
    let loop: EventLoop
    let fake: FakeReader
    let log = RecordedLog()
    let bridge: Bridge<HeadlessPresenter>

    init(_ text: String = "", sources: [String] = [], fail: Bool = false) throws {
        let loop = try EventLoop()
        self.loop = loop
        fake = FakeReader(loop: loop)
        let logger = log.logger
        var configuration = BridgeConfiguration(
            sources: try sources.map { try SourceSpecification($0) },
            presentation: .headless(HeadlessOptions()))
        // Some device: whether it is the right one is the reader's business.
        configuration.hyperNodes = ["/dev/null"]
        configuration.rules = try Self.rules(text)
        bridge = try Bridge(configuration, loop: loop, logger: logger, readerLauncher: fake) {
            plan, _ in
            guard !fail else { throw SpecificationError("no presenter") }
            return HeadlessPresenter(
                vmName: plan.source.vm, options: HeadlessOptions(), capture: nil, loop: loop,
                logger: logger)
        }
    }

    deinit {
        bridge.shutDown()
        fake.end()
    }

    static func rules(_ text: String) throws -> Configuration {
        let (rules, diagnostics) = ConfigurationReader.read(text, file: "test")
        return try #require(rules, "\(diagnostics)")
    }

    /// Domains export, with private data that mean nothing.
    func export(_ domains: UInt32...) throws {
        var read: [UInt8] = []
        for domain in domains {
            read += [0, 0, 1, 0]
            HyperBufferID(number: domain << 24 | 1, key: .init(7, 8, 9)).put(to: &read)
            read += [4, 0, 0, 0, 1, 2, 3, 4]
        }
        let before = bridge.drivers[0].records
        fake.say(ReaderWriter.records(read, count: read.count))
        let end = loop.now() + 10_000_000_000
        while bridge.drivers[0].records < before + UInt64(domains.count) {
            try #require(loop.now() < end)
            try loop.runOnce(milliseconds: 5)
            bridge.settle()
        }
    }

    var names: [String] { bridge.status.map(\.name) }
    func refused(_ name: String) -> UInt64 {
        bridge.status.first { $0.name == name }?.refusals.values.reduce(0, +) ?? 0
    }
}

@Suite("[kernel] hyper_dmabuf: domains that nobody named")
struct DiscoveryTests {
    @Test("each becomes a VM when it exports, those that have a VM stay with it")
    func domains() throws {
        let scene = try Scene(
            "vm media {\n source hyper-dmabuf 4\n}", sources: ["b=hyper-dmabuf:3"])
        #expect(scene.names == ["b", "media"])
        try scene.export(3, 4, 7, 200)
        #expect(scene.names == ["b", "media", "domain-7", "domain-200"])
        // Their first records are not lost.
        #expect(scene.refused("domain-7") == 1 && scene.refused("domain-200") == 1)
        try scene.export(7)
        #expect(scene.refused("domain-7") == 2)
        #expect(scene.refused("b") == 1 && scene.refused("media") == 1)
        #expect(scene.bridge.drivers[0].unmapped == 0)
        #expect(scene.log.lines.filter { $0.contains("no VM was named for it") }.count == 2)
    }

    @Test("alone it waits for whoever comes, and goes on when all have gone")
    func none() throws {
        let scene = try Scene()
        #expect(scene.names.isEmpty && scene.bridge.drivers.map(\.node) == ["/dev/null"])
        try scene.export(9)
        #expect(scene.names == ["domain-9"])
    }

    @Test("a configuration that names a domain later takes it over, and gives it back")
    func reload() throws {
        let scene = try Scene()
        try scene.export(9, 10)
        #expect(scene.bridge.apply(try Scene.rules("vm tv {\n source hyper-dmabuf 9\n}")) == [])
        #expect(scene.names == ["tv", "domain-10"])
        try scene.export(9)
        #expect(scene.refused("tv") == 1)
        #expect(scene.bridge.apply(try Scene.rules("")) == [])
        #expect(scene.names == ["domain-9", "domain-10"])
        try scene.export(9, 10)
        #expect(scene.refused("domain-9") == 1 && scene.refused("domain-10") == 2)
    }

    @Test("a name that another VM has is left to it, and the domain without one is told of")
    func nameTaken() throws {
        let scene = try Scene("vm domain-7 {\n source hyper-dmabuf 8\n}")
        try scene.export(7)
        #expect(scene.names == ["domain-7"] && scene.refused("domain-7") == 0)
        #expect(scene.bridge.drivers[0].unmapped == 1)
    }

    @Test("one that cannot be served is said once, not with each record")
    func failing() throws {
        let scene = try Scene(fail: true)
        try scene.export(7)
        try scene.export(7)
        try scene.export(7)
        #expect(scene.names.isEmpty && scene.bridge.drivers[0].unmapped == 3)
        #expect(scene.log.lines.filter { $0.contains("domain-7 is not served") }.count == 1)
    }

    @Test("the driver's state is told in words and for programs")
    func status() throws {
        let scene = try Scene()
        try scene.export(7)
        let drivers = scene.bridge.drivers
        let lines = StatusReport.lines(scene.bridge.status, drivers: drivers)
        #expect(lines.first == "hyper_dmabuf at /dev/null: read, 1 records")
        #expect(
            StatusReport.json([], drivers: drivers).contains(
                #""drivers":[{"name":"hyper_dmabuf","node":"/dev/null","reading":true,"records":1"#)
        )
        var silent = DriverStatus(name: "hyper_dmabuf", node: "/dev/x", trouble: "it is not there")
        (silent.unmapped, silent.malformed, silent.stolen) = (1, 2, 3)
        #expect(
            StatusReport.lines([], drivers: [silent]) == [
                "hyper_dmabuf at /dev/x: not read: it is not there, 0 records, 1 of domains without a VM, 2 malformed, 3 taken by another program"
            ])
        #expect(!StatusReport.json([]).contains("drivers"))
    }
}
