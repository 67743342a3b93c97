import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] imports of the Wayland presenter", .serialized)
struct ImportTests {
    private func word(_ answer: ImageAnswer) -> String {
        switch answer {
        case .ready: "ready"
        case .pending: "pending"
        case .refused(let why): "refused \(why.reason.word)"
        }
    }

    @Test func anImportIsAskedForAndAnswered() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        let buffer = try fake.addDmabuf(0, isBottomUp: true)
        #expect(presenter.importPath(of: buffer) == "linux-dmabuf (zero copy)")
        #expect(word(presenter.reserveImage(use(0), of: buffer)) == "pending")
        // Asked again, as after a return of the compositor, it is the same image.
        #expect(word(presenter.reserveImage(use(0), of: buffer)) == "pending")
        _ = try fake.talk()
        #expect(fake.imports.count == 1)
        let add = try #require(fake.compositor.requests("zwp_linux_buffer_params_v1.add").first)
        #expect(
            Array(add.arguments.dropFirst()) == [.uint(0), .uint(0), .uint(16), .uint(0), .uint(0)])
        let create = try #require(
            fake.compositor.requests("zwp_linux_buffer_params_v1.create").first)
        #expect(create.arguments.last == .uint(0))
        fake.answerImport()
        let events = try fake.talk()
        #expect(events.count == 1)
        guard case .imported(let known) = events.first, known == use(0) else {
            Issue.record("not imported: \(events)")
            return
        }
        #expect(word(presenter.reserveImage(use(0), of: buffer)) == "ready")
        #expect(fake.compositor.objects(of: "zwp_linux_buffer_params_v1").isEmpty)
        presenter.shutDown()
    }

    @Test func aFailedImportThatCannotBeCopiedRefusesTheBufferAndTheUse() throws {
        // A fifo stands in for a dma-buf that the CPU cannot map.
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        let buffer = try addUnmappable(fake)
        #expect(word(presenter.reserveImage(use(0), of: buffer)) == "pending")
        _ = try fake.talk()
        fake.answerImport(false)
        let events = try fake.talk()
        guard events.count == 2, case .bufferRefused(buffer, let why) = events[0],
            case .importFailed(use(0), why) = events[1]
        else {
            Issue.record("\(events)")
            return
        }
        #expect(why.reason == .importFailed)
        #expect(why.sentence.contains("was not imported by the compositor"))
        #expect(why.sentence.contains("cannot be copied either: the CPU cannot read it"))
        #expect(word(presenter.reserveImage(use(1), of: buffer)) == "refused import_failed")
        #expect(presenter.importPath(of: buffer).hasPrefix("none: "))
        presenter.shutDown()
    }

    private func addUnmappable(_ fake: FakeSession) throws -> BufferID {
        let layout = BufferLayout(
            size: Size(width: 4, height: 4), format: .xrgb8888, modifier: .linear, memory: .dmaBuf,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 16)])
        let pipe = try Pipe()
        var bundle = DescriptorBundle()
        _ = bundle.append(pipe.reading.duplicate())
        let id = BufferID(SlotIndex(index: 0, generation: 0))
        fake.live.presenter.addBuffer(
            id, BufferMemory(layout: layout, bytes: 64, from: &bundle, 0..<1))
        return id
    }

    @Test func answersForWhatIsGoneAreClearedAway() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        for index in 0..<3 as Range<UInt32> {
            let buffer = try fake.addDmabuf(index)
            _ = presenter.reserveImage(use(index), of: buffer)
        }
        _ = try fake.talk()
        #expect(fake.imports.count == 3)
        // The use of the first is gone, the second and third are.
        presenter.cancelImage(use(0))
        for index in 1...2 as ClosedRange<UInt32> {
            presenter.cancelImage(use(index))
            presenter.forgetBuffer(BufferID(SlotIndex(index: index, generation: 0)))
        }
        fake.answerImport()
        fake.answerImport()
        fake.answerImport(false)
        #expect(try fake.talk().isEmpty)
        #expect(fake.compositor.objects(of: "zwp_linux_buffer_params_v1").isEmpty)
        #expect(fake.compositor.objects(of: "wl_buffer").count == 1)
        let first = BufferID(SlotIndex(index: 0, generation: 0))
        #expect(word(presenter.reserveImage(use(7), of: first)) == "ready")
        #expect(fake.compositor.complaints.isEmpty)
        presenter.shutDown()
    }

    @Test func imagesAreLimitedAndStaleReleasesAreSilent() throws {
        let fake = try FakeSession()
        let presenter = fake.live.presenter
        presenter.createWindow(surface(0), plainWindow)
        _ = try fake.talk()
        presenter.acknowledge(surface(0), serial: 1)
        let memory = noise(4, 4)
        _ = try fake.live.makeBuffer(memory)
        let buffer = BufferID(SlotIndex(index: 0, generation: 0))
        for index in 0..<UInt32(WaylandBuffer.mostImages) {
            #expect(word(presenter.reserveImage(use(index), of: buffer)) == "ready")
            presenter.commit(surface(0), makeFrame(use(index), buffer, UInt64(index) + 1))
        }
        #expect(
            word(presenter.reserveImage(use(99), of: buffer)) == "refused too_many_buffers")
        _ = try fake.talk()
        #expect(fake.committed.count == WaylandBuffer.mostImages)
        // Nobody waits for the first use any more; the second one is told of.
        presenter.cancelImage(use(0))
        fake.release(fake.committed[0])
        #expect(try fake.talk().isEmpty)
        #expect(word(presenter.reserveImage(use(98), of: buffer)) == "ready")
        fake.release(fake.committed[1])
        guard case .released(use(1)) = try fake.talk().first else {
            Issue.record("no release")
            return
        }
        #expect(word(presenter.reserveImage(use(99), of: buffer)) == "ready")
        presenter.shutDown()
    }

    @Test func whatCanBeNeitherImportedNorCopiedIsRefusedInWords() throws {
        let fake = try FakeSession(FakeSession.usual.filter { !$0.interface.hasPrefix("zwp") })
        let buffer = try fake.addDmabuf(0, modifier: Modifier(77))
        guard case .refused(let why) = fake.live.presenter.reserveImage(use(0), of: buffer) else {
            Issue.record("not refused")
            return
        }
        #expect(why.reason == .importFailed)
        #expect(why.sentence.contains("no linux-dmabuf"))
        #expect(why.sentence.contains("only LINEAR buffers can, not 0x4d"))
        #expect(fake.live.presenter.importPath(of: buffer).contains("no linux-dmabuf"))
        fake.live.session.shutDown()
    }

    @Test func theFormatTableIsClosed() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let tests = ImportTests()
                try tests.feedbackTellsPairsAndDevices()
            }
        }
    }

    @Test func feedbackTellsPairsAndDevices() throws {
        var globals = FakeSession.usual.filter { !$0.interface.hasPrefix("zwp_linux") }
        globals.append(("zwp_linux_dmabuf_v1", 5))
        let fake = try FakeSession(globals)
        #expect(offered(fake) == ["memfd AR24 LINEAR", "memfd XR24 LINEAR"])
        try tell(fake, rows: [(FourCC.xrgb8888.rawValue, 0), (FourCC.argb8888.rawValue, 77)])
        try fake.settle()
        #expect(
            Array(fake.live.presenter.formats.prefix(2)) == [
                ImportableFormat(
                    format: .argb8888, modifier: Modifier(77), memory: 1, device: 0x0102),
                ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 1, device: 0x0102),
            ])
        let isTold = fake.live.feedback.contains {
            guard case .formatsChanged(let formats) = $0 else { return false }
            return formats == fake.live.presenter.formats
        }
        #expect(isTold)
        // A table that is shorter than it is said to be is not read.
        try tell(fake, rows: [(FourCC.xrgb8888.rawValue, 0)], saidSize: 1 << 16)
        try fake.settle()
        #expect(offered(fake) == ["memfd AR24 LINEAR", "memfd XR24 LINEAR"])
        fake.live.session.shutDown()
    }

    /// What is offered without a copy.
    private func offered(_ fake: FakeSession) -> [String] {
        let formats = fake.live.presenter.formats
        // What is copied comes last, and only LINEAR can be.
        let copied = formats.drop { $0.memory == 2 || $0.device != 0 }
        #expect(copied.allSatisfy { $0.memory == 1 && $0.modifier == .linear } && copied.count > 9)
        return formats.dropLast(copied.count).map {
            "\($0.memory == 1 ? "dma-buf" : "memfd") \($0.format) \($0.modifier)"
        }
    }

    private func tell(
        _ fake: FakeSession, rows: [(UInt32, UInt64)], saidSize: UInt32? = nil
    ) throws {
        let feedback = fake.compositor.objects(of: "zwp_linux_dmabuf_feedback_v1")[0]
        let table = try MemoryFile.create(size: UInt64(rows.count * 16))
        var mapped = try MappedMemory(table.number, count: rows.count * 16, access: .readWrite)
        mapped.withUnsafeMutableBytes { bytes in
            for (row, pair) in rows.enumerated() {
                bytes.storeBytes(of: pair.0, toByteOffset: row * 16, as: UInt32.self)
                bytes.storeBytes(of: pair.1, toByteOffset: row * 16 + 8, as: UInt64.self)
            }
        }
        let compositor = fake.compositor
        compositor.send(
            feedback, "format_table", .descriptor(table.number),
            .uint(saidSize ?? UInt32(rows.count * 16)))
        compositor.send(feedback, "main_device", .array([2, 1, 0, 0, 0, 0, 0, 0]))
        compositor.send(feedback, "tranche_target_device", .array([2, 1, 0, 0, 0, 0, 0, 0]))
        compositor.send(feedback, "tranche_formats", .array([1, 0, 0, 0]))
        compositor.send(feedback, "tranche_flags", .uint(0))
        compositor.send(feedback, "tranche_done")
        compositor.send(feedback, "done")
    }
}
