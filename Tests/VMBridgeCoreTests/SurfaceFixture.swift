import Testing
import VMBridgeCore

/// A machine driven by frame numbers: frame n has use n, buffer n and sequence n, and actions are
/// written as words, so that tables can be read.
struct SurfaceFixture {
    var machine = SurfaceMachine()
    static let suspended: UInt32 = 1 << 9
    static let size = Size(width: 100, height: 80)

    static func use(_ number: UInt64) -> UseID {
        UseID(SlotIndex(index: UInt32(number), generation: 0))
    }

    static func frame(
        _ number: UInt64, _ waits: FrameWaits = [], damage: Damage = .whole, size: Size = size,
        change: (inout FrameRecord) -> Void = { _ in }
    ) -> Frame {
        var record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(number), sequence: FrameSequence(number))
        record.damage = damage
        change(&record)
        return Frame(
            record, use: use(number),
            buffer: BufferID(SlotIndex(index: UInt32(number), generation: 0)), size: size,
            receivedAt: 0, waits: waits)
    }

    static func words(_ actions: SurfaceActions) -> String {
        actions.list.map(word).joined(separator: ", ")
    }

    private static func word(_ action: SurfaceAction) -> String {
        switch action {
        case .createWindow: "create window"
        case .destroyWindow: "destroy window"
        case .acknowledge(let serial): "ack \(serial)"
        case .commit: "commit"
        case .commitState: "commit state"
        case .end(let use, let outcome): "end \(use.slot.index) \(outcome)"
        case .giveBackImage(let use): "give \(use.slot.index)"
        case .cancelWaits(let use): "cancel \(use.slot.index)"
        case .tellConfigure(let configure):
            "tell \(configure.size)"
                + (configure.states & suspended != 0 ? " suspended" : "")
                + (configure.wantsFrame ? " wants" : "")
        case .tellDiscarded(let sequence): "discarded \(sequence)"
        case .tellClose: "tell close"
        }
    }

    mutating func accept(_ number: UInt64, _ waits: FrameWaits = [], damage: Damage = .whole)
        -> String
    {
        SurfaceFixture.words(
            machine.accept(SurfaceFixture.frame(number, waits, damage: damage)))
    }

    mutating func map() -> String { SurfaceFixture.words(machine.map()) }

    mutating func configure(
        _ size: Size = Size(width: 640, height: 480), states: UInt32 = 0, serial: UInt32 = 1
    ) -> String {
        SurfaceFixture.words(
            machine.configured(ConfigureRecord(size: size, states: states), serial: serial))
    }

    mutating func callback() -> String { SurfaceFixture.words(machine.frameCallback()) }
    mutating func tick() -> String { SurfaceFixture.words(machine.hiddenTick()) }
    mutating func silence() -> String { SurfaceFixture.words(machine.silence()) }
    mutating func lost() -> String { SurfaceFixture.words(machine.compositorLost()) }
    mutating func heldTooLong() -> String { SurfaceFixture.words(machine.heldTooLong()) }
    mutating func destroy() -> String { SurfaceFixture.words(machine.destroy()) }
    mutating func gone() -> String { SurfaceFixture.words(machine.windowGone()) }
    mutating func close() -> String { SurfaceFixture.words(machine.closeRequested()) }

    mutating func conceal() -> String { SurfaceFixture.words(machine.conceal()) }
    mutating func reveal() -> String { SurfaceFixture.words(machine.reveal()) }
    mutating func thaw() -> String { SurfaceFixture.words(machine.thaw()) }

    mutating func unblock(_ number: UInt64, _ wait: FrameWaits) -> String {
        SurfaceFixture.words(machine.unblock(SurfaceFixture.use(number), wait))
    }

    mutating func fail(_ number: UInt64) -> String {
        SurfaceFixture.words(machine.fail(SurfaceFixture.use(number)))
    }

    mutating func stuck(_ number: UInt64) -> String {
        SurfaceFixture.words(
            machine.fenceStuck(SurfaceFixture.use(number), FrameSequence(number)))
    }

    /// A frame whose pending fence goes to the compositor with it.
    mutating func pass(_ number: UInt64, _ waits: FrameWaits = []) -> String {
        var frame = SurfaceFixture.frame(number, waits)
        frame.isFencePassed = true
        return SurfaceFixture.words(machine.accept(frame))
    }

    mutating func commitFailed(_ number: UInt64) -> String {
        SurfaceFixture.words(machine.commitFailed(SurfaceFixture.use(number)))
    }

    /// A window with its first configure answered and nothing to show.
    static func configured() -> SurfaceFixture {
        var fixture = SurfaceFixture()
        _ = fixture.map()
        _ = fixture.configure()
        return fixture
    }
}
