import CLinux
import Descriptors
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// Stands in for the kernel: the memfds of these tests are no dma-bufs, and are busy when told so.
private final class StandInAccess: BufferAccess {
    var isBusy = false
    /// Becomes readable when what is busy no longer is.
    let signal = OwnedDescriptor(owning: vmb_eventfd(0))
    private(set) var begun = 0
    private(set) var ended = 0
    var beginFails = false

    func isBusy(_ dmaBuf: Int32) -> Bool { isBusy }
    func watchable(_ dmaBuf: Int32) -> OwnedDescriptor { signal.duplicate() }
    func begin(_ dmaBuf: Int32) throws(KernelError) {
        if beginFails { throw KernelError("DMA_BUF_IOCTL_SYNC", 5) }
        begun += 1
    }
    func end(_ dmaBuf: Int32) { ended += 1 }

    func finishWriting() {
        isBusy = false
        var one: UInt64 = 1
        _ = write(signal.number, &one, 8)
    }
}

/// A guest's buffer: a memfd where a dma-buf would be, painted here.
private final class Guest {
    let id: BufferID
    var memory: MappedMemory
    let layout: BufferLayout
    let format: PixelFormat

    init(
        _ fake: FakeSession, _ index: UInt32, _ picture: Picture,
        format: PixelFormat = .xrgb8888, isBottomUp: Bool = false
    ) throws {
        self.format = format
        let (planes, bytes) = try format.linearLayout(width: picture.width, height: picture.height)
        layout = BufferLayout(
            size: Size(width: UInt32(picture.width), height: UInt32(picture.height)),
            format: FourCC(format.rawValue), modifier: .linear, memory: .dmaBuf,
            isBottomUp: isBottomUp,
            planes: planes.map {
                PlaneLayout(descriptor: 0, offset: UInt32($0.offset), stride: UInt32($0.stride))
            })
        let descriptor = try MemoryFile.create(size: UInt64(bytes))
        memory = try MappedMemory(descriptor.number, count: bytes, access: .readWrite)
        id = BufferID(SlotIndex(index: index, generation: 0))
        var bundle = DescriptorBundle()
        _ = bundle.append(descriptor)
        try paint(picture)
        fake.live.presenter.addBuffer(
            id, BufferMemory(layout: layout, bytes: UInt64(bytes), from: &bundle, 0..<1))
    }

    /// Draws a picture, rows as the layout has them.
    func paint(_ picture: Picture) throws {
        let stored = layout.isBottomUp ? picture.transformed(.flipped180) : picture
        let (places, format) = (layout.planes, format)
        try memory.withUnsafeMutableBytes { bytes in
            try stored.encode(
                format,
                into: places.map {
                    WritablePixelPlane(bytes, offset: Int($0.offset), stride: Int($0.stride))
                })
        }
    }
}

@Suite("[kernel] copies of what cannot be imported (memfds stand in for dma-bufs)", .serialized)
struct CopyTests {
    private static let withoutDmabuf = FakeSession.usual.filter { !$0.interface.hasPrefix("zwp") }

    /// A window that takes buffers.
    private func open(_ fake: FakeSession) throws {
        fake.live.presenter.createWindow(surface(0), plainWindow)
        _ = try fake.talk()
        fake.live.presenter.acknowledge(surface(0), serial: 1)
    }

    private func damaged(_ parts: [Rectangle]) -> (inout FrameRecord) -> Void {
        { record in
            record.damage = .none
            for part in parts { record.damage.add(part) }
        }
    }

    private func show(
        _ fake: FakeSession, _ number: UInt32, _ guest: Guest,
        _ change: @escaping (inout FrameRecord) -> Void = { _ in }
    ) throws -> [PresenterEvent] {
        let presenter = fake.live.presenter
        guard case .ready = presenter.reserveImage(use(number), of: guest.id) else {
            Issue.record("frame \(number) has no image")
            return []
        }
        let size = guest.layout.size
        presenter.commit(
            surface(0), makeFrame(use(number), guest.id, UInt64(number) + 1, size: size, change))
        return try fake.talk()
    }

    private func copied(_ events: [PresenterEvent]) -> UInt64 {
        events.reduce(0) {
            guard case .copied(_, let bytes) = $1 else { return $0 }
            return $0 + bytes
        }
    }

    /// What the compositor sees in its wl_buffer, by the descriptor that it was given.
    private func seen(_ fake: FakeSession, _ buffer: UInt32, _ size: Size) throws -> Picture {
        let make = try #require(
            fake.compositor.requests("wl_shm_pool.create_buffer").first { $0.created == buffer })
        let pool = try #require(
            fake.compositor.requests("wl_shm.create_pool").first { $0.created == make.object })
        guard case .descriptor(let number) = pool.arguments[1],
            case .int(let bytes) = pool.arguments[2], case .int(let stride) = make.arguments[4],
            case .uint(let format) = make.arguments[5]
        else { throw Refusal(.malformed, "\(make.arguments)") }
        #expect(try MemoryFile.seals(of: number).isSuperset(of: [.shrink, .grow, .seal]))
        let memory = try MappedMemory(number, count: Int(bytes))
        return try memory.withUnsafeBytes {
            try Picture(
                format == 0 ? .argb8888 : .xrgb8888, width: Int(size.width),
                height: Int(size.height), memory: $0, stride: Int(stride), alpha: .straight)
        }
    }

    @Test func withoutLinuxDmabufDmabufsAreCopied() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks { try CopyTests().copyByDamage(CopyTests.withoutDmabuf) }
        }
    }

    @Test func whatLinuxDmabufRefusesIsCopied() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks { try CopyTests().copyByDamage(FakeSession.usual) }
        }
    }

    /// Two buffers in turns; a small part changes from frame to frame.
    private func copyByDamage(_ globals: [(interface: String, version: UInt32)]) throws {
        let access = StandInAccess()
        let fake = try FakeSession(globals, access: access)
        try open(fake)
        var picture = noise(64, 48)
        let size = Size(width: 64, height: 48)
        let guests = [try Guest(fake, 0, picture), try Guest(fake, 1, picture)]
        _ = try fake.talk()
        while !fake.imports.isEmpty { fake.answerImport(false) }
        #expect(try fake.talk().isEmpty)
        for guest in guests {
            #expect(
                fake.live.presenter.importPath(of: guest.id).hasPrefix(
                    "copied by damage into wl_shm"))
        }
        for number in 0..<12 as Range<UInt32> {
            let part = Rectangle(x: number * 4, y: 2, width: 4, height: 40)
            let area = PixelRect(x: Int(part.x), y: 2, width: 4, height: 40)
            picture.fill(Colour(word: 0xff00_0000 | number * 20), area)
            try guests[Int(number % 2)].paint(picture)
            let events = try show(fake, number, guests[Int(number % 2)], damaged([part]))
            // The first frame of each buffer is copied whole, then what two frames changed.
            #expect(copied(events) == (number < 2 ? 64 * 48 * 4 : 2 * 4 * 40 * 4))
            let buffer = try #require(fake.committed.last)
            #expect(fake.committed.count == Int(number) + 1)
            #expect(try seen(fake, buffer, size) == picture, "frame \(number)")
            fake.release(buffer)
            guard case .released(use(number)) = try fake.talk().first else {
                Issue.record("frame \(number) is not released")
                return
            }
            fake.fireCallbacks()
            _ = try fake.talk()
        }
        #expect(access.begun == 12 && access.ended == 12)
        #expect(fake.compositor.objects(of: "wl_shm_pool").isEmpty)
        #expect(fake.compositor.complaints.isEmpty)
        fake.live.presenter.shutDown()
        fake.compositor.forgetRequests()
    }

    @Test(arguments: [PixelFormat.xbgr8888, .abgr8888, .rgb565, .nv12, .yuyv, .argb8888])
    func otherFormatsAreConverted(format: PixelFormat) throws {
        let fake = try FakeSession(Self.withoutDmabuf, access: StandInAccess())
        try open(fake)
        let size = Size(width: 37, height: 131)
        var picture = noise(37, 131)
        let guest = try Guest(fake, 0, picture, format: format, isBottomUp: true)
        _ = try show(fake, 0, guest)
        fake.release(try #require(fake.committed.last))
        _ = try fake.talk()
        let part = Rectangle(x: 5, y: 7, width: 21, height: 90)
        picture.fill(Colour(word: 0xff20_a0f0), PixelRect(x: 4, y: 6, width: 23, height: 92))
        try guest.paint(picture)
        let whole = UInt64(guest.layout.planes.count)
        let bytes = copied(try show(fake, 1, guest, damaged([part])))
        #expect(bytes > 0 && whole > 0 && bytes < 37 * 131 * 3)
        // The same conversion in one piece.
        let planes = guest.layout.planes
        let expected = try guest.memory.withUnsafeBytes { bytes in
            try Picture(
                format, width: 37, height: 131,
                planes: planes.map {
                    PixelPlane(bytes, offset: Int($0.offset), stride: Int($0.stride))
                })
        }
        let buffer = try #require(fake.committed.last)
        let shown = try seen(fake, buffer, size)
        let inside = PixelRect(x: 5, y: 131 - 7 - 90, width: 21, height: 90)
        #expect(shown.cropped(to: inside) == expected.cropped(to: inside))
        #expect(shown.row(0) == expected.row(0) && shown.row(130) == expected.row(130))
        fake.live.session.shutDown()
    }

    @Test func aBusyDmabufIsWaitedForInTheLoop() throws {
        let access = StandInAccess()
        let fake = try FakeSession(Self.withoutDmabuf, access: access)
        try open(fake)
        let picture = noise(16, 16)
        let guest = try Guest(fake, 0, noise(16, 16, seed: 9))
        access.isBusy = true
        #expect(try show(fake, 0, guest).isEmpty)
        #expect(fake.committed.isEmpty && access.begun == 0)
        // What is drawn while it is busy is what is shown.
        try guest.paint(picture)
        access.finishWriting()
        #expect(copied(try fake.talk()) == 16 * 16 * 4)
        #expect(fake.committed.count == 1)
        #expect(try seen(fake, fake.committed[0], guest.layout.size) == picture)
        fake.live.session.shutDown()
    }

    @Test func aDmabufThatStaysBusyIsRefusedAtTheLimit() throws {
        var limits = VMLimits()
        limits.fenceLimit = 30_000_000
        let access = StandInAccess()
        let fake = try FakeSession(Self.withoutDmabuf, limits: limits, access: access)
        try open(fake)
        let guest = try Guest(fake, 0, noise(16, 16))
        access.isBusy = true
        _ = try show(fake, 0, guest)
        let end = MonotonicClock.now() + 5_000_000_000
        var events: [PresenterEvent] = []
        while events.isEmpty, MonotonicClock.now() < end { events = try fake.talk() }
        guard case .commitFailed(use(0), let why) = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(why.reason == .fenceTimeout && why.sentence.contains("30 ms"))
        fake.live.presenter.cancelImage(use(0))
        access.isBusy = false
        // The image lacks everything still.
        let nothing = damaged([])
        #expect(copied(try show(fake, 1, guest, nothing)) == 16 * 16 * 4)
        #expect(fake.committed.count == 1)
        fake.live.session.shutDown()
    }

    @Test func waitsEndWithWhatTheyAreFor() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                for way in 0..<3 { try CopyTests().endWaiting(way) }
            }
        }
    }

    private func endWaiting(_ way: Int) throws {
        let access = StandInAccess()
        let fake = try FakeSession(Self.withoutDmabuf, access: access)
        try open(fake)
        let guest = try Guest(fake, 0, noise(16, 16))
        access.isBusy = true
        _ = try show(fake, 0, guest)
        switch way {
        case 0: fake.live.presenter.cancelImage(use(0))
        case 1: fake.live.presenter.destroyWindow(surface(0))
        default: fake.compositor.hangUp()
        }
        _ = try fake.talk()
        access.finishWriting()
        let events = try fake.talk()
        #expect(copied(events) == 0 && fake.committed.isEmpty && access.begun == 0)
        fake.live.session.shutDown()
    }

    @Test func whatCannotBeReadIsRefusedAndTheNextFrameComes() throws {
        let access = StandInAccess()
        let fake = try FakeSession(Self.withoutDmabuf, access: access)
        try open(fake)
        let guest = try Guest(fake, 0, noise(16, 16))
        access.beginFails = true
        guard case .commitFailed(use(0), let why) = try show(fake, 0, guest).first else {
            Issue.record("not refused")
            return
        }
        #expect(why.reason == .importFailed && fake.committed.isEmpty)
        fake.live.presenter.cancelImage(use(0))
        access.beginFails = false
        #expect(copied(try show(fake, 1, guest)) == 16 * 16 * 4)
        fake.live.session.shutDown()
    }

    @Test func ourMemoryIsBoundedByTheBuffers() throws {
        let fake = try FakeSession(Self.withoutDmabuf, access: StandInAccess())
        try open(fake)
        // 4096 bytes, and as many for each image that the compositor holds.
        let guest = try Guest(fake, 0, noise(32, 32))
        for number in 0..<4 as Range<UInt32> { _ = try show(fake, number, guest) }
        #expect(fake.committed.count == 4)
        guard case .refused(let why) = fake.live.presenter.reserveImage(use(9), of: guest.id)
        else {
            Issue.record("a fifth copy")
            return
        }
        #expect(why.sentence.contains("as much memory as they may"))
        // Not the buffer's fault: a release makes room.
        fake.release(fake.committed[0])
        _ = try fake.talk()
        guard case .ready = fake.live.presenter.reserveImage(use(9), of: guest.id) else {
            Issue.record("no image after a release")
            return
        }
        fake.live.session.shutDown()
    }

    @Test func aReturningCompositorGetsACopyAnew() throws {
        let fake = try FakeSession(Self.withoutDmabuf, access: StandInAccess())
        try open(fake)
        let picture = noise(16, 16)
        let guest = try Guest(fake, 0, picture)
        _ = try show(fake, 0, guest)
        fake.compositor.hangUp()
        let end = MonotonicClock.now() + 5_000_000_000
        while fake.compositors.count < 2, MonotonicClock.now() < end { _ = try fake.talk() }
        while !fake.live.presenter.isReady, MonotonicClock.now() < end { _ = try fake.talk() }
        try open(fake)
        // The use was not released, so the session shows it again: whole.
        guard case .ready = fake.live.presenter.reserveImage(use(0), of: guest.id) else {
            Issue.record("no image")
            return
        }
        let first = fake.committed.count
        fake.live.presenter.commit(
            surface(0), makeFrame(use(0), guest.id, 1, size: guest.layout.size))
        #expect(copied(try fake.talk()) == 16 * 16 * 4)
        #expect(fake.committed.count == first + 1)
        #expect(try seen(fake, fake.committed[first], guest.layout.size) == picture)
        fake.live.session.shutDown()
    }
}
