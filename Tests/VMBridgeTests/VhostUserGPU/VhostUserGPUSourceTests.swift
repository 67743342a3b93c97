import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] vhost-user-gpu: a pretended VMM", .serialized)
struct VhostUserGPUSourceTests {
    /// A guest with one resource on its first screen, shown once.
    private func shown(_ harness: GPUHarness) throws -> FakeVMM {
        let vmm = try FakeVMM(harness.path)
        vmm.start()
        try show(vmm, harness)
        return vmm
    }

    private func show(_ vmm: FakeVMM, _ harness: GPUHarness) throws {
        let before = harness.session.status.reduce(0) { $0 + $1.counters.shown }
        vmm.create(1, pages: [0x80000, 0x90000])
        vmm.scanout(0, 1)
        vmm.flush(1)
        #expect(try harness.turn { vmm.used() == vmm.offered() })
        #expect(vmm.answer == 0x1100)
        #expect(
            try harness.turn {
                harness.session.status.reduce(0) { $0 + $1.counters.shown } > before
            })
    }

    @Test func theGuestsPixelsAreShown() throws {
        let harness = try GPUHarness()
        let vmm = try FakeVMM(harness.path)
        let picture = (0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
        vmm.put(Array(picture[..<4096]), at: 0x80000)
        vmm.put(Array(picture[4096...]), at: 0x90000)
        vmm.start()
        try show(vmm, harness)
        #expect(vmm.wasCalled())
        let counters = try #require(harness.counters())
        #expect(counters.importPath.hasPrefix("copied from guest RAM"))
        #expect(counters.bytesCopied >= 8192)
        #expect(harness.source.words?.contains("frames are copied: a test") == true)
        let id = try #require(harness.session.ledger.allBuffers.first)
        let memory = try #require(harness.session.presenter.memory(of: id))
        let mapped = try MappedMemory(memory.descriptor(at: 0), count: 8192)
        let pixels = mapped.withUnsafeBytes { Array($0) }
        #expect(pixels == picture)
    }

    @Test func rebootsAndReconnections() throws {
        let harness = try GPUHarness()
        for generation: UInt64 in 1...3 {
            let vmm = try shown(harness)
            #expect(harness.source.connectionNumber == generation)
            // The guest reboots: rings stop, and begin with their first request.
            for ring: UInt64 in 0..<2 { vmm.send(11, vmm.number(ring, 4) + vmm.number(0, 4)) }
            #expect(try harness.turn { !vmm.received().isEmpty })
            vmm.forget()
            vmm.start()
            try show(vmm, harness)
            #expect(harness.session.mappedSurfaces == 1)
            withExtendedLifetime(vmm) {}
            // The VMM goes with its end of this scope.
        }
        #expect(try harness.turn { !harness.source.isConnected })
        #expect(harness.session.mappedSurfaces == 0)
        #expect(harness.session.holdings.buffers == 0)
        #expect(harness.session.holdings.uses == 0)
        #expect(harness.session.refusals.isEmpty)
    }

    @Test func aPausedGuestGoesOn() throws {
        let harness = try GPUHarness()
        let vmm = try shown(harness)
        let base = vmm.offered()
        for ring: UInt64 in 0..<2 { vmm.send(11, vmm.number(ring, 4) + vmm.number(0, 4)) }
        #expect(try harness.turn { !vmm.received().isEmpty })
        vmm.send(10, vmm.number(0, 4) + vmm.number(UInt64(base), 4))
        vmm.start(base: base)
        vmm.flush(1)
        #expect(try harness.turn { vmm.used() == vmm.offered() })
        #expect(vmm.answer == 0x1100, "its resource is still there")
        #expect(harness.session.mappedSurfaces == 1)
    }

    /// Each is refused and counted, while another VM's frames go on and nothing is held any more.
    @Test func hostileFrontEnds() throws {
        let loop = try EventLoop()
        let good = try GPUHarness(loop: loop)
        let bad = try GPUHarness(loop: loop)
        let neighbour = try shown(good)
        let kinds: [(String, (FakeVMM) -> Void)] = [
            ("an unknown request", { $0.send(1 << 20) }),
            ("a payload that is too short", { $0.send(2, [1]) }),
            ("memory that may shrink", { _ in }),
            (
                "a kick that is no eventfd",
                { $0.send(12, $0.number(0, 8), descriptors: [$0.ram.number]) }
            ),
            (
                "a call that is no eventfd",
                { $0.send(13, $0.number(0, 8), descriptors: [$0.ram.number]) }
            ),
            ("descriptors that nobody asked for", { $0.send(3, descriptors: [$0.ram.number]) }),
            ("a table without files", { $0.send(5, $0.number(1, 8) + $0.number(0, 32)) }),
            (
                "memory beyond its file",
                { vmm in
                    vmm.send(
                        5,
                        vmm.number(1, 8) + vmm.number(0, 8) + vmm.number(2 << 20, 8)
                            + vmm.number(1 << 40, 8) + vmm.number(0, 8),
                        descriptors: [vmm.ram.number])
                }
            ),
        ]
        for (name, misbehave) in kinds {
            // What is counted where it is held: other tests of this process open and close as well.
            let before = bad.source.descriptors.total
            do {
                let isSoft = name == "memory that may shrink"
                let vmm = try FakeVMM(bad.path, seals: isSoft ? [] : [.shrink, .grow])
                let refused = bad.session.refusals.values.reduce(0, +)
                if isSoft { vmm.start() } else { misbehave(vmm) }
                #expect(
                    try bad.turn { bad.session.refusals.values.reduce(0, +) > refused }, "\(name)")
                #expect(try bad.turn { vmm.hasEnded() }, "\(name)")
                let frames = good.counters()?.shown ?? 0
                neighbour.flush(1)
                #expect(try good.turn { (good.counters()?.shown ?? 0) > frames }, "\(name)")
            }
            #expect(
                try bad.turn {
                    !bad.source.isConnected && bad.source.descriptors.total <= before
                }, "\(name)")
        }
    }

    @Test func aBrokenQueueHarmsNobodyElse() throws {
        let loop = try EventLoop()
        let good = try GPUHarness(loop: loop)
        let bad = try GPUHarness(loop: loop)
        let neighbour = try shown(good)
        let vmm = try shown(bad)
        // A jump by more than the queue has.
        vmm.put(vmm.number(0x7000, 2), at: 0x1002)
        vmm.kick()
        #expect(try bad.turn { bad.session.refusals[.badValue] == 1 })
        #expect(bad.source.isConnected)
        #expect(bad.source.words?.contains("broken queue") == true)
        let frames = good.counters()?.shown ?? 0
        neighbour.flush(1)
        #expect(try good.turn { (good.counters()?.shown ?? 0) > frames })
        // A reboot mends it.
        for ring: UInt64 in 0..<2 { vmm.send(11, vmm.number(ring, 4) + vmm.number(0, 4)) }
        #expect(try bad.turn { !vmm.received().isEmpty })
        vmm.forget()
        vmm.start()
        try show(vmm, bad)
    }

    @Test func aSecondFrontEndIsTurnedAway() throws {
        let harness = try GPUHarness()
        let first = try shown(harness)
        let second = try FakeVMM(harness.path)
        #expect(try harness.turn { second.hasEnded() })
        first.flush(1)
        #expect(try harness.turn { first.used() == first.offered() })
        #expect(harness.source.connectionNumber == 1)
    }
}
