import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] feedback for each surface", .serialized)
struct SurfaceFeedbackTests {
    private static let rows: [(FourCC, UInt64)] = [
        (.xrgb8888, 0), (.argb8888, 0), (.xrgb8888, 77), (.xrgb8888, 88),
    ]

    /// A compositor that imports the first three rows, on device 1:5, and a surface that is shown.
    private func start(version: UInt32 = 5) throws -> FakeSession {
        let fake = try FakeSession(FakeSession.withFeedback(version: version))
        try fake.tell(
            fake.defaultFeedback, rows: Self.rows, mainDevice: 0x105,
            [FakeTranche(indices: [0, 1, 2])])
        fake.live.makeSurface()
        try fake.settle()
        fake.live.forgetFeedback()
        return fake
    }

    /// The lists that were told for surfaces alone, in order.
    private func told(_ fake: FakeSession) -> [(key: UInt64, list: [String])] {
        fake.live.feedback.compactMap {
            guard case .surfaceFormats(let key, let formats) = $0 else { return nil }
            return (
                key.value,
                formats.map {
                    let isScanout = $0.memory & ImportableFormat.scanout != 0
                    #expect($0.memory & 3 == 1)
                    return "\($0.format) \($0.modifier.rawValue) \($0.device)"
                        + (isScanout ? " scanout" : "")
                }
            )
        }
    }

    @Test(arguments: [4, 5] as [UInt32])
    func whatSuitsASurfaceBestIsToldWithItsKey(version: UInt32) throws {
        let fake = try start(version: version)
        let feedback = try #require(fake.surfaceFeedbacks.first)
        #expect(fake.surfaceFeedbacks.count == 1)
        // The first answer of most compositors: as for all.
        try fake.tell(
            feedback, rows: Self.rows, mainDevice: 0x105, [FakeTranche(indices: [0, 1, 2])])
        try fake.settle()
        #expect(fake.live.feedback.isEmpty)
        // The window may go to the screen as it is; what only this feedback names may not be sent.
        let scanout = FakeTranche(indices: [3, 2], device: 0x200, isScanout: true)
        try fake.tell(feedback, [scanout, FakeTranche(indices: [0, 1, 2])], isDone: false)
        try fake.settle()
        #expect(fake.live.feedback.isEmpty)
        fake.compositor.send(feedback, "done")
        try fake.settle()
        #expect(told(fake).map(\.key) == [1])
        #expect(told(fake).last?.list == ["XR24 77 512 scanout", "XR24 0 261", "AR24 0 261"])
        #expect(fake.live.feedback.count == 1)
        // Told again it is no news; as for all again, it is.
        try fake.tell(feedback, [scanout, FakeTranche(indices: [0, 1, 2])])
        try fake.settle()
        #expect(fake.live.feedback.count == 1)
        try fake.tell(feedback, [FakeTranche(indices: [0, 1, 2])])
        try fake.settle()
        #expect(told(fake).last?.list == ["XR24 0 261", "AR24 0 261", "XR24 77 261"])
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test func aListForAllReplacesThoseOfSurfaces() throws {
        let fake = try start()
        fake.live.makeSurface(2)
        try fake.settle()
        let feedbacks = fake.surfaceFeedbacks
        #expect(feedbacks.count == 2)
        try fake.tell(
            feedbacks[1], rows: Self.rows, mainDevice: 0x105, [FakeTranche(indices: [3, 1])])
        try fake.settle()
        #expect(told(fake).map(\.key) == [2])
        #expect(told(fake).last?.list == ["AR24 0 261"])
        fake.live.forgetFeedback()
        // Row 3 may be sent now: the list for all, and then the one that differs from it, anew.
        try fake.tell(fake.defaultFeedback, [FakeTranche(indices: [0, 1, 3])])
        try fake.settle()
        guard case .formatsChanged(let all) = fake.live.feedback.first else {
            Issue.record("\(fake.live.feedback)")
            return
        }
        #expect(all.prefix(3).map(\.modifier.rawValue) == [0, 0, 88])
        #expect(told(fake).map(\.key) == [2])
        #expect(told(fake).last?.list == ["XR24 88 261", "AR24 0 261"])
        #expect(fake.live.feedback.count == 2)
        fake.live.session.shutDown()
    }

    @Test func aCompositorThatTellsItOftenIsHeardOnceABatch() throws {
        let fake = try start()
        let presenter = fake.live.presenter
        let feedback = try #require(fake.surfaceFeedbacks.first)
        try fake.tell(feedback, rows: Self.rows, mainDevice: 0x105, [])
        for number in 0..<50 {
            try fake.tell(feedback, [FakeTranche(indices: number % 2 == 0 ? [1] : [2])])
        }
        let isNews: (PresenterEvent) -> Bool = {
            guard case .surfaceFormats = $0 else { return false }
            return true
        }
        #expect(try fake.talk().filter(isNews).count == 1)
        #expect(presenter.formats(for: surface(0))?.map(\.modifier.rawValue) == [77])
        // Asked for, it is news again.
        try fake.tell(feedback, [FakeTranche(indices: [0])])
        #expect(try fake.talk().filter(isNews).count == 1)
        #expect(presenter.formats(for: surface(9)) == nil)
        fake.live.session.shutDown()
    }

    @Test func olderVersionsAreNotAsked() throws {
        let fake = try FakeSession()
        fake.live.makeSurface()
        try fake.settle()
        #expect(fake.surfaceFeedbacks.isEmpty)
        #expect(fake.live.presenter.formats(for: surface(0)) == nil)
        #expect(fake.live.presenter.device == nil)
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.session.shutDown()
    }

    @Test func itEndsWithTheWindowAndTablesWithTheirReading() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let tests = SurfaceFeedbackTests()
                let fake = try tests.start()
                let feedback = try #require(fake.surfaceFeedbacks.first)
                for _ in 0..<20 {
                    try fake.tell(
                        feedback, rows: SurfaceFeedbackTests.rows, [FakeTranche(indices: [1])])
                }
                try fake.settle()
                // One that comes when its window has gone already.
                fake.live.send(
                    .surfaceDestroy(SurfaceKey(1)), type: RecordType.surfaceDestroy, object: 1)
                fake.live.settle()
                try fake.tell(
                    feedback, rows: SurfaceFeedbackTests.rows, [FakeTranche(indices: [2])])
                fake.live.forgetFeedback()
                try fake.settle()
                #expect(tests.told(fake).isEmpty)
                #expect(fake.compositor.objects(of: "zwp_linux_dmabuf_feedback_v1").count == 1)
                #expect(fake.compositor.complaints.isEmpty)
                fake.live.session.shutDown()
                _ = fake.compositor.receive()
                #expect(fake.compositor.objects(of: "zwp_linux_dmabuf_feedback_v1").isEmpty)
            }
        }
    }

    // MARK: What is sent

    /// A dma-buf in the books, which only the fake compositor takes for one.
    private func add(
        _ fake: FakeSession, _ index: UInt32, _ format: FourCC, _ modifier: Modifier, planes: Int
    ) throws -> BufferID {
        let layout = BufferLayout(
            size: Size(width: 4, height: 4), format: format, modifier: modifier, memory: .dmaBuf,
            planes: (0..<planes).map {
                PlaneLayout(descriptor: UInt32($0), offset: 0, stride: UInt32(16 + $0))
            })
        var bundle = DescriptorBundle()
        for _ in 0..<planes { _ = bundle.append(try MemoryFile.create(size: 4096)) }
        let id = BufferID(SlotIndex(index: index, generation: 0))
        fake.live.presenter.addBuffer(
            id, BufferMemory(layout: layout, bytes: 64, from: &bundle, 0..<planes))
        return id
    }

    @Test func onlyPairsOfTheTranchesAreEverSent() throws {
        let fake = try start()
        let feedback = try #require(fake.surfaceFeedbacks.first)
        // What only a surface's feedback names is no permission.
        try fake.tell(
            feedback, rows: Self.rows, mainDevice: 0x105, [FakeTranche(indices: [0, 1, 2, 3])])
        try fake.settle()
        let formats: [FourCC] = [.xrgb8888, .argb8888, .nv12, .xbgr8888]
        let modifiers: [UInt64] = [0, 77, 88, 0x00ff_ffff_ffff_ffff]
        var index: UInt32 = 0
        for format in formats {
            for modifier in modifiers {
                let planes = format == .nv12 ? 2 : 1
                _ = try add(fake, index, format, Modifier(modifier), planes: planes)
                index += 1
            }
        }
        _ = try fake.talk()
        let wanted: Set<String> = ["XR24 0", "AR24 0", "XR24 77"]
        #expect(sent(fake) == wanted)
        // Taken back, it is not sent again; what is told anew is.
        fake.compositor.forgetRequests()
        try fake.tell(
            fake.compositor.objects(of: "zwp_linux_dmabuf_feedback_v1")[0],
            [
                FakeTranche(indices: [3])
            ])
        _ = try fake.talk()
        _ = try add(fake, index, .xrgb8888, Modifier(77), planes: 1)
        _ = try add(fake, index + 1, .xrgb8888, Modifier(88), planes: 1)
        _ = try fake.talk()
        #expect(sent(fake) == ["XR24 88"])
        fake.live.session.shutDown()
    }

    /// Format and modifier of each import that was asked for.
    private func sent(_ fake: FakeSession) -> Set<String> {
        var modifiers: [UInt32: Set<UInt64>] = [:]
        for add in fake.compositor.requests("zwp_linux_buffer_params_v1.add") {
            guard case .uint(let high) = add.arguments[4], case .uint(let low) = add.arguments[5]
            else { continue }
            modifiers[add.object, default: []].insert(UInt64(high) << 32 | UInt64(low))
        }
        var sent: Set<String> = []
        for create in fake.compositor.requests("zwp_linux_buffer_params_v1.create") {
            guard case .uint(let format) = create.arguments[2] else { continue }
            for modifier in modifiers[create.object] ?? [] {
                sent.insert("\(FourCC(format)) \(modifier)")
            }
        }
        return sent
    }

    @Test func allPlanesOfABufferHaveOneModifier() throws {
        let fake = try FakeSession(FakeSession.withFeedback(version: 5))
        let modifier: UInt64 = 0x0100_0000_0000_0007
        try fake.tell(
            fake.defaultFeedback, rows: [(.nv12, modifier)], mainDevice: 0x105,
            [FakeTranche(indices: [0])])
        try fake.settle()
        // Two planes of the format and two that the modifier adds.
        _ = try add(fake, 0, .nv12, Modifier(modifier), planes: 4)
        _ = try fake.talk()
        let adds = fake.compositor.requests("zwp_linux_buffer_params_v1.add").map(\.arguments)
        #expect(adds.map { $0[1] } == [.uint(0), .uint(1), .uint(2), .uint(3)])
        #expect(adds.allSatisfy { $0[4] == .uint(0x0100_0000) && $0[5] == .uint(7) })
        #expect(Set(adds.map { "\($0[0])" }).count == 4)
        fake.live.session.shutDown()
    }
}
