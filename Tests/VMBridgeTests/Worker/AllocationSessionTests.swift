import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// BUFFER_ALLOCATE in a session. That memory comes is for the test machine (`Tests/vm/tests/worker`): a plain
/// one makes no dma-buf.
@Suite("[kernel] allocation in a session")
struct AllocationSessionTests {
    private final class Fixture {
        let harness: SessionHarness
        let fake: FakeGraphicsWorker
        private(set) var records: [BridgeRecord] = []
        private var bundle = DescriptorBundle()

        init(limits: VMLimits = VMLimits(), withWorker: Bool = true) throws {
            harness = try SessionHarness(limits: limits)
            fake = FakeGraphicsWorker(loop: harness.loop)
            if withWorker {
                harness.session.graphics = try GraphicsWorker(
                    loop: harness.loop, launcher: fake)
            }
        }

        deinit {
            harness.session.graphics?.shutDown()
            fake.end()
        }

        func send(_ record: ProducerRecord) throws {
            var writer = RecordWriter()
            writer.append(record)
            var walker = RecordWalker()
            let header = try #require(
                try walker.next(in: writer.bytes.span, descriptorCount: 0))
            harness.session.receive(record, header, &bundle)
        }

        func settle(_ milliseconds: Int = 50) throws {
            let end = harness.loop.now() + UInt64(milliseconds) * 1_000_000
            repeat {
                try harness.loop.runOnce(milliseconds: 5)
                harness.session.settle()
                harness.session.takeFeedback { records.append($0) }
            } while harness.loop.now() < end
        }

        var refusals: [(UInt16, UInt64, RefusalReason)] {
            records.compactMap {
                guard case .refused(let refused) = $0 else { return nil }
                return (refused.type, refused.object, refused.refusal.reason)
            }
        }
    }

    private static let wish = BufferWish(size: Size(width: 64, height: 32), format: .xrgb8888)

    private func refused(
        _ wish: BufferWish, limits: VMLimits = VMLimits(), by reason: GraphicsReason = .noMemory
    ) throws -> RefusalReason? {
        let fixture = try Fixture(limits: limits)
        fixture.fake.script = { _, number in [.init(.refused(reason, "why"), number)] }
        try fixture.send(.bufferAllocate(BufferKey(7), wish))
        try fixture.settle()
        let all = fixture.refusals
        #expect(all.count == 1 && all.allSatisfy { $0.0 == 0x12 && $0.1 == 7 })
        #expect(fixture.harness.session.holdings.buffers == 0)
        #expect(fixture.harness.session.holdings.bytes == 0)
        return all.first?.2
    }

    @Test(
        "Each way to come to nothing is a refusal of the record, and the key and the budget are free again"
    )
    func reasons() throws {
        #expect(try refused(Self.wish) == .importFailed)
        #expect(try refused(Self.wish, by: .noContiguous) == .noContiguous)
        #expect(try refused(Self.wish, by: .badRequest) == .badFormat)
        var wish = Self.wish
        wish.size.width = 0
        #expect(try refused(wish) == .badValue)
        wish.size.width = 16_385
        #expect(try refused(wish) == .badValue)
        wish = Self.wish
        wish.format = FourCC(1)
        #expect(try refused(wish) == .badFormat)
        wish = Self.wish
        wish.modifiers = [Modifier(0x0100_0000_0000_0001), .invalid]
        #expect(try refused(wish) == .badModifier)
        var limits = VMLimits()
        limits.bytes = 4096
        #expect(try refused(Self.wish, limits: limits) == .tooManyBytes)
        limits = VMLimits()
        limits.buffers = 0
        #expect(try refused(Self.wish, limits: limits) == .tooManyBuffers)
    }

    @Test("A bridge without a worker says so")
    func noWorker() throws {
        let fixture = try Fixture(withWorker: false)
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        try fixture.settle(10)
        #expect(fixture.refusals.map(\.2) == [.importFailed])
    }

    @Test("Until the answer the key and its bytes are taken, and no frame can name the buffer")
    func pending() throws {
        let fixture = try Fixture()
        let session = fixture.harness.session
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        #expect(session.holdings.buffers == 1 && session.holdings.bytes == 8192)
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        try fixture.send(Make.surface(1))
        try fixture.send(Make.frame(1, 7, 1))
        try fixture.settle()
        #expect(fixture.refusals.map(\.2) == [.identifierInUse, .unknownObject])
        #expect(fixture.fake.requests.count == 1)
    }

    @Test("A destroy takes the wish back: no answer, also when memory or a refusal comes later")
    func takenBack() throws {
        let fixture = try Fixture()
        let session = fixture.harness.session
        var numbers: [UInt64] = []
        fixture.fake.script = { _, number in
            numbers.append(number)
            return []
        }
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        try fixture.settle(20)
        try fixture.send(.bufferDestroy(BufferKey(7)))
        #expect(session.holdings.buffers == 0 && session.holdings.bytes == 0)
        // The key is used again while the first answer is on its way.
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        fixture.fake.reply(.init(.refused(.noMemory, "late"), try #require(numbers.first)))
        try fixture.settle(20)
        #expect(fixture.refusals.isEmpty)
        fixture.fake.reply(.init(.refused(.noContiguous, "now"), try #require(numbers.last)))
        try fixture.settle(20)
        #expect(fixture.refusals.map(\.2) == [.noContiguous])
        #expect(session.holdings.buffers == 0)
    }

    @Test("What a producer asked for before it left is nobody's")
    func left() throws {
        let fixture = try Fixture()
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        fixture.harness.session.producerLeft()
        #expect(fixture.harness.session.holdings.buffers == 0)
        try fixture.settle(20)
        fixture.fake.reply(.init(.refused(.noMemory, "late"), 1))
        try fixture.settle(20)
        #expect(fixture.records.isEmpty)
    }

    @Test("A worker that crashes over it is a refusal, and the next wish has another worker")
    func crash() throws {
        let fixture = try Fixture()
        fixture.fake.script = { _, _ in nil }
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        try fixture.settle(20)
        fixture.fake.script = { _, number in [.init(.refused(.noContiguous, ""), number)] }
        try fixture.send(.bufferAllocate(BufferKey(7), Self.wish))
        try fixture.settle(20)
        #expect(fixture.refusals.map(\.2) == [.importFailed, .noContiguous])
        #expect(fixture.fake.launches == 2)
    }
}
