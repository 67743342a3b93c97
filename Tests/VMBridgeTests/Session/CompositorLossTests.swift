import Descriptors
import Testing

@testable import VMBridge
@testable import VMBridgeCore

/// Does what a test says and nothing by itself: for the rules of a consumer that goes and returns.
private final class ScriptedPresenter: Presenter {
    var isReady = true
    var events: [PresenterEvent] = []
    var done: [String] = []
    var buffers: Set<BufferID> = []
    var reserved: Set<UseID> = []
    var refusal: Refusal?
    let formats: [ImportableFormat] = []
    let trouble: String? = nil
    let name = "a script"

    func addBuffer(_ id: BufferID, _ memory: BufferMemory) { buffers.insert(id) }
    func forgetBuffer(_ id: BufferID) { buffers.remove(id) }
    func importPath(of buffer: BufferID) -> String { "script" }
    func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer {
        if let refusal { return .refused(refusal) }
        reserved.insert(use)
        return .ready
    }
    func cancelImage(_ use: UseID) { reserved.remove(use) }
    func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        done.append("create \(properties.identity.title)")
        events.append(.configured(id, ConfigureRecord(size: .zero), serial: 1))
    }
    func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {}
    func acknowledge(_ id: SurfaceID, serial: UInt32) {}
    func commit(_ id: SurfaceID, _ frame: Frame) {
        done.append("commit \(frame.sequence)")
        #expect(reserved.contains(frame.use), "a commit without an image")
    }
    func commitState(_ id: SurfaceID) {}
    func destroyWindow(_ id: SurfaceID) {
        done.append("destroy")
        events.append(.windowGone(id))
    }
    func takeEvents(_ body: (PresenterEvent) -> Void) {
        while !events.isEmpty { body(events.removeFirst()) }
    }
    func flush() {}
    func shutDown() {}

    func lose() {
        isReady = false
        reserved.removeAll()
        events.append(.lost("the script says so"))
    }

    func comeBack() {
        isReady = true
        events.append(.ready)
    }
}

@Suite("[kernel] a consumer that goes and returns")
struct CompositorLossTests {
    private func started() throws -> LiveSession<ScriptedPresenter> {
        let live = try LiveSession { _, _ in ScriptedPresenter() }
        live.makeSurface(1)
        for key in 1...4 {
            var bundle = DescriptorBundle()
            _ = bundle.append(try Make.memfd())
            live.send(
                .bufferCreate(BufferKey(UInt64(key)), Make.layout()), type: RecordType.bufferCreate,
                object: UInt64(key), bundle)
        }
        live.session.settle()
        return live
    }

    private func frame(
        _ live: LiveSession<ScriptedPresenter>, _ buffer: UInt64, _ sequence: UInt64,
        _ acquire: AcquireKind = .none
    ) {
        live.send(Make.frame(1, buffer, sequence, acquire), object: 1)
        live.session.settle()
    }

    private func heard(_ live: LiveSession<ScriptedPresenter>) -> [BridgeRecord] {
        var all: [BridgeRecord] = []
        live.session.takeFeedback { all.append($0) }
        return all
    }

    private func released(_ records: [BridgeRecord]) -> [String] {
        records.compactMap {
            if case .released(_, _, let sequence, let outcome) = $0 {
                "\(sequence) \(outcome)"
            } else {
                nil
            }
        }
    }

    @Test("the newest frame is held and shown again, older ones are lost at once")
    func newestStays() throws {
        let live = try started()
        frame(live, 1, 1)
        frame(live, 2, 2)
        #expect(live.presenter.done == ["create [alpha] test", "commit 1"])
        _ = heard(live)
        live.presenter.lose()
        live.session.settle()
        #expect(released(heard(live)) == ["1 lost"])
        live.presenter.done = []
        live.presenter.comeBack()
        live.session.settle()
        #expect(live.presenter.done == ["create [alpha] test", "commit 2"])
        #expect(released(heard(live)).isEmpty)
        #expect(live.session.holdings.uses == 1)
    }

    @Test("the shown frame stays when nothing newer is complete")
    func shownStays() throws {
        let live = try started()
        frame(live, 1, 1)
        frame(live, 2, 2, .message)
        live.presenter.lose()
        live.session.settle()
        #expect(released(heard(live)) == ["2 lost"])
        #expect(live.session.holdings.waits == 0)
        live.presenter.done = []
        live.presenter.comeBack()
        live.session.settle()
        #expect(live.presenter.done == ["create [alpha] test", "commit 1"])
    }

    @Test("without a consumer the newest of what comes is held, the rest superseded")
    func whileAway() throws {
        let live = try started()
        live.presenter.lose()
        live.session.settle()
        _ = heard(live)
        for number in 1...4 as ClosedRange<UInt64> { frame(live, number, number) }
        #expect(released(heard(live)) == ["1 superseded", "2 superseded", "3 superseded"])
        live.presenter.done = []
        live.presenter.comeBack()
        live.session.settle()
        #expect(live.presenter.done == ["create [alpha] test", "commit 4"])
    }

    @Test("after the patience the held frame goes too, and the window asks for the next one")
    func patience() throws {
        let live = try started()
        live.session.patience = 20_000_000
        frame(live, 1, 1)
        live.presenter.lose()
        live.session.settle()
        #expect(released(heard(live)).isEmpty)
        let end = live.loop.now() + 2_000_000_000
        var outcome: [String] = []
        while outcome.isEmpty, live.loop.now() < end {
            try live.loop.runOnce(milliseconds: 10)
            live.session.settle()
            outcome = released(heard(live))
        }
        #expect(outcome == ["1 lost"])
        #expect(live.session.holdings.uses == 0)
        // What comes while nobody is there is not kept either.
        frame(live, 2, 2)
        #expect(released(heard(live)) == ["2 superseded"])
        live.presenter.done = []
        live.presenter.comeBack()
        live.session.settle()
        #expect(live.presenter.done == ["create [alpha] test"])
        let wishes = heard(live).compactMap {
            if case .configure(SurfaceKey(1), let configure) = $0 {
                configure.wantsFrame
            } else {
                nil
            }
        }
        #expect(wishes == [true])
        frame(live, 3, 3)
        #expect(live.presenter.done.last == "commit 3")
    }

    @Test("a held frame that cannot be imported again is refused, and the surface goes on")
    func importFailsAnew() throws {
        let live = try started()
        frame(live, 1, 1)
        live.presenter.lose()
        live.session.settle()
        _ = heard(live)
        live.presenter.refusal = Refusal(.importFailed, "no")
        live.presenter.comeBack()
        live.session.settle()
        #expect(released(heard(live)) == ["1 refused"])
        live.presenter.refusal = nil
        frame(live, 2, 2)
        #expect(live.presenter.done.last == "commit 2")
    }

    @Test("a producer that leaves while nobody is there leaves nothing")
    func producerLeaves() throws {
        let live = try started()
        frame(live, 1, 1)
        live.presenter.lose()
        live.session.settle()
        live.session.producerLeft()
        #expect(live.session.holdings == (0, 0, 0, 0))
        #expect(live.presenter.buffers.isEmpty)
        live.presenter.done = []
        live.presenter.comeBack()
        live.session.settle()
        #expect(live.presenter.done.isEmpty)
    }

    @Test("destroying a buffer while it is held takes effect at its release")
    func destroyWhileHeld() throws {
        let live = try started()
        frame(live, 1, 1)
        live.send(.bufferDestroy(BufferKey(1)), type: RecordType.bufferDestroy, object: 1)
        #expect(live.presenter.buffers.count == 4)
        let use = try #require(live.presenter.reserved.first)
        live.presenter.events.append(.released(use))
        live.session.settle()
        #expect(released(heard(live)) == ["1 shown"])
        #expect(live.presenter.buffers.count == 3)
        // A second release of the same use says nothing.
        live.presenter.events.append(.released(use))
        live.session.settle()
        #expect(released(heard(live)).isEmpty)
    }
}
