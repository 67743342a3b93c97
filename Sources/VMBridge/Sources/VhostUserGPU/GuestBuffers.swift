import Descriptors
import VMBridgeCore

/// The pictures of a guest's GPU as buffers of a session: the guest's own pages where the kernel makes dma-bufs of them, else copies of
/// ours. Knows what is open; decides nothing about frames.
final class GuestBuffers<P: Presenter> {
    private enum Way {
        case pages
        case copies(Copies)
        case none
    }

    private final class Copies {
        let picture: GuestPicture
        var isMade = [Bool](repeating: false, count: CopyRing.capacity)
        init(_ picture: GuestPicture) { self.picture = picture }
    }

    /// A frame that waits for its copy.
    private struct Waiting {
        var buffer: BufferKey
        var frame: VirtioGPUDevice.Shown
    }

    private let session: VMSession<P>
    private let maker: UdmabufMaker
    private var ways: [BufferKey: Way] = [:]
    private var hasToldOfCopies = false
    /// The newest frame of a surface that was not copied yet.
    private var waiting: [SurfaceKey: Waiting] = [:]
    /// The last copied frame of a surface, until it was committed or has ended: the next is copied after that, so that no copy is
    /// made in vain.
    private var underWay: [SurfaceKey: FrameSequence] = [:]
    /// Frames that will not be shown, for the device to be told.
    private(set) var ended: [(surface: SurfaceKey, sequence: FrameSequence, UseOutcome)] = []
    /// Bytes of work done since this was last set to 0.
    var work: UInt64 = 0
    /// Why pictures are copied; nil while none is.
    private(set) var copyReason: String?

    /// What making a dma-buf counts as: its list goes to the kernel, which looks up every page.
    private static var pagesWork: UInt64 { 4 << 20 }

    init(session: VMSession<P>, maker: UdmabufMaker) {
        self.session = session
        self.maker = maker
    }

    /// The session's key: a buffer of the guest's has as many as it has copies.
    private static func key(_ key: BufferKey, _ slot: Int = 0) -> BufferKey {
        BufferKey(key.value << 2 | UInt64(slot))
    }

    // MARK: Buffers

    func create(_ key: BufferKey, _ layout: BufferLayout, _ ranges: [GuestRange], _ ram: GuestRAM) {
        work += Self.pagesWork
        let pieces: [MemoryPiece]
        do throws(Refusal) {
            pieces = try ram.map.pieces(of: ranges)
        } catch {
            session.countRefused(error, about: "buffer", object: key.value)
            ways[key] = Way.none
            return
        }
        do throws(UdmabufLack) {
            var bundle = DescriptorBundle()
            _ = bundle.append(try maker.make(pieces, of: ram))
            ways[key] = .pages
            session.receive(.bufferCreate(Self.key(key), layout), descriptors: &bundle)
            session.describe(Self.key(key), origin: "udmabuf over guest RAM")
        } catch {
            ways[key] = .copies(Copies(GuestPicture(ram, pieces, layout)))
            copyReason = error.description
            guard !hasToldOfCopies else { return }
            hasToldOfCopies = true
            session.logger.warning(
                "\(session.name): each frame is copied by what changed, since \(error)")
        }
    }

    func destroy(_ key: BufferKey) {
        switch ways.removeValue(forKey: key) {
        case .pages: session.receive(.bufferDestroy(Self.key(key)))
        case .copies(let copies):
            for surface in waiting.keys.filter({ waiting[$0]?.buffer == key }).sorted(by: {
                $0.value < $1.value
            }) {
                supersede(surface)
            }
            for slot in copies.isMade.indices where copies.isMade[slot] {
                session.receive(.bufferDestroy(Self.key(key, slot)))
            }
        case nil, Way.none?: break
        }
    }

    /// The connection is over, and the session has let go of everything.
    func removeAll() {
        ways.removeAll()
        ended.removeAll()
        waiting.removeAll()
        underWay.removeAll()
        hasToldOfCopies = false
        copyReason = nil
    }

    // MARK: Frames

    func show(
        _ key: BufferKey, _ changed: Damage, _ frames: [VirtioGPUDevice.Shown], at time: UInt64
    ) {
        switch ways[key] {
        case .pages:
            for frame in frames {
                supersede(frame.surface)
                send(frame, Self.key(key), time)
            }
        case .copies(let copies):
            copies.picture.changed(changed)
            for frame in frames {
                var frame = frame
                // It stands for its forerunner too, whose own changes are not known any more.
                if supersede(frame.surface) { frame.damage = nil }
                waiting[frame.surface] = Waiting(buffer: key, frame: frame)
            }
            showWaiting(at: time)
        case nil, Way.none?: for frame in frames { end(frame, .refused) }
        }
    }

    /// A surface is gone, and with it what waits for it.
    func forget(_ surface: SurfaceKey) {
        supersede(surface)
        underWay[surface] = nil
    }

    @discardableResult
    private func supersede(_ surface: SurfaceKey) -> Bool {
        guard let older = waiting.removeValue(forKey: surface) else { return false }
        end(older.frame, .superseded)
        return true
    }

    /// Whether a frame waits for its copy that could be made now.
    var hasReadyFrames: Bool { waiting.keys.contains { underWay[$0] == nil } }

    /// Copies and shows what can be shown by now. Surfaces with the same picture share a copy.
    func showWaiting(at time: UInt64) {
        guard hasReadyFrames else { return }
        var byBuffer: [BufferKey: [VirtioGPUDevice.Shown]] = [:]
        for (surface, next) in waiting where underWay[surface] == nil {
            byBuffer[next.buffer, default: []].append(next.frame)
        }
        for (key, frames) in byBuffer {
            guard case .copies(let copies) = ways[key] else { continue }
            show(frames.sorted { $0.sequence < $1.sequence }, key, copies, time)
        }
    }

    private func show(
        _ frames: [VirtioGPUDevice.Shown], _ key: BufferKey, _ copies: Copies, _ time: UInt64
    ) {
        do throws(KernelError) {
            guard let taken = try copies.picture.take(frames: frames.count) else { return }
            let (slot, bytes) = (taken.slot, taken.bytes)
            work += bytes
            if !copies.isMade[slot] {
                copies.isMade[slot] = true
                var bundle = DescriptorBundle()
                _ = bundle.append(taken.memfd.duplicate())
                session.receive(
                    .bufferCreate(Self.key(key, slot), copies.picture.copyLayout),
                    descriptors: &bundle)
                session.describe(Self.key(key, slot), origin: "copied from guest RAM")
            }
            for (index, frame) in frames.enumerated() {
                waiting[frame.surface] = nil
                underWay[frame.surface] = frame.sequence
                send(frame, Self.key(key, slot), time)
                if index == 0 { session.countCopied(bytes, of: frame.surface) }
            }
        } catch {
            session.warn("a copy of the guest's picture cannot be made: \(error)")
            for frame in frames {
                waiting[frame.surface] = nil
                end(frame, .refused)
            }
        }
    }

    private func send(_ frame: VirtioGPUDevice.Shown, _ buffer: BufferKey, _ time: UInt64) {
        var record = FrameRecord(
            surface: frame.surface, buffer: buffer, sequence: frame.sequence)
        if let damage = frame.damage {
            record.damage = .none
            record.damage.add(damage)
        }
        record.crop = frame.crop
        session.receive(.frame(record), at: time)
    }

    private func end(_ frame: VirtioGPUDevice.Shown, _ outcome: UseOutcome) {
        ended.append((frame.surface, frame.sequence, outcome))
    }

    /// Hands over which frames will not be shown, and forgets them.
    func takeEnded() -> [(surface: SurfaceKey, sequence: FrameSequence, UseOutcome)] {
        defer { ended.removeAll() }
        return ended
    }

    /// A frame was committed, or has ended: the next one of its surface may be copied.
    func passed(_ surface: SurfaceKey, _ sequence: FrameSequence) {
        if let last = underWay[surface], last <= sequence { underWay[surface] = nil }
    }

    /// The session has released a buffer; `passed` is called for its frame too.
    func released(_ buffer: BufferKey) {
        if case .copies(let copies) = ways[BufferKey(buffer.value >> 2)] {
            copies.picture.released(Int(buffer.value & 3))
        }
    }
}
