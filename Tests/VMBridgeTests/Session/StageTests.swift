import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] times of stages in a session")
struct StageTests {
    @Test("a held fence is in the fence's stage, and all stages together are what the frame took")
    func held() throws {
        let harness = try SessionHarness()
        let memory = try Make.memfd()
        let producer = try TestProducer(harness.path)
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer.send(Make.surface(1))
        #expect(try harness.turn { harness.session.mappedSurfaces == 1 })
        let start = harness.loop.now()
        producer.send(Make.frame(1, 1, 1, .message))
        #expect(try harness.turn { harness.session.holdings.waits == 1 })
        let held = harness.loop.now()
        #expect(try harness.turn { harness.loop.now() > held + 30_000_000 })
        producer.send(.fenceSignal(SurfaceKey(1), FrameSequence(1), isError: false))
        #expect(try harness.turn { harness.session.status.first?.counters.presented == 1 })
        let total = harness.loop.now() - start
        let counters = try #require(harness.session.status.first?.counters)
        for stage in FrameStage.allCases {
            #expect(counters.stages[stage].count == 1, "\(stage)")
        }
        #expect(counters.stages[.fence].sum >= 30_000_000)
        #expect(counters.stages[.importing].sum == 0)
        #expect(counters.stages[.validate].sum > 0)
        let stages = FrameStage.allCases.filter { $0 != .present }
            .reduce(0) { $0 + counters.stages[$1].sum }
        #expect(stages == counters.latency.sum)
        #expect(stages + counters.stages[.present].sum <= total)
        let json = StatusReport.json([
            VMStatus(
                name: "vm", isConnected: true, generation: 1, isPresenting: true, trouble: nil,
                device: nil, buffers: 0, bytes: 0, uses: 0, refusals: [:],
                surfaces: harness.session.status)
        ])
        #expect(json.contains(#""stages":{"total":{"count":1,"#))
        #expect(json.contains(#""fence":{"count":1,"p50_ns":"#))
        let sum = counters.stages[.fence].sum
        #expect(json.contains("\"sum_ns\":\(sum),\"buckets\":[["))
    }

    @Test("a superseded frame is in no stage")
    func superseded() throws {
        let harness = try SessionHarness()
        let memory = try Make.memfd()
        let producer = try TestProducer(harness.path)
        producer.send(.hello(producer: nil))
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer.send(Make.surface(1))
        producer.send(Make.frame(1, 1, 1, .message))
        producer.send(Make.frame(1, 1, 2))
        #expect(try harness.turn { harness.session.status.first?.counters.presented == 1 })
        let counters = try #require(harness.session.status.first?.counters)
        #expect(counters.superseded == 1)
        #expect(counters.stages[.validate].count == 1)
        #expect(counters.stages[.fence].sum == 0)
    }

    @Test("descriptors of a VM are those that the process has more for it")
    func descriptors() async {
        // In a process of its own: other tests open and close descriptors meanwhile.
        await #expect(processExitsWith: .success) {
            let harness = try SessionHarness()
            // The listening socket is there already.
            let base = try #require(DescriptorCensus.take()).total - 1
            #expect(harness.source.descriptors.total == 1)
            let producer = try TestProducer(harness.path)
            producer.send(.hello(producer: nil))
            for key in 1...3 {
                let memory = try Make.memfd()
                producer.send(
                    .bufferCreate(BufferKey(UInt64(key)), Make.layout()),
                    descriptors: [memory.number])
            }
            producer.send(Make.surface(1))
            producer.send(Make.frame(1, 1, 1, .message))
            #expect(try harness.turn { harness.session.holdings.waits == 1 })
            let held = harness.source.descriptors
            #expect(held.buffers == 3 && held.sockets == 2 && held.fences == 0 && held.queued == 0)
            // The producer's end is in this process too.
            let now = try #require(DescriptorCensus.take()).total
            #expect(now - base == held.total + 1)
            producer.close()
            #expect(try harness.turn { harness.source.descriptors.total == 1 })
            #expect(harness.source.descriptors.buffers == 0)
        }
    }
}
