import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// A presenter on the compositor inside the test, without a session: the test makes windows, commits frames
/// and sees the presenter's events.
final class FakeWindows {
    let fake: FakeSession
    var compositor: FakeCompositor { fake.compositor }
    var presenter: WaylandPresenter { fake.live.presenter }
    private var nextUse: UInt32 = 0
    private var nextBuffer: UInt32 = 0
    private var sequence: UInt64 = 0
    /// The wl_surface of each window.
    private(set) var surfaces: [UInt32: UInt32] = [:]
    /// Events other than input, since they were looked at.
    var others: [PresenterEvent] = []

    /// - Parameters:
    ///   - seats: versions of wl_seat, one for each seat.
    ///   - without: globals that are not offered.
    init(
        seats: [UInt32] = [8], hasShapes: Bool = true, without: Set<String> = [],
        capabilities: UInt32 = 7
    ) throws {
        var globals = FakeSession.usual.filter { !without.contains($0.interface) }
        for version in seats { globals.append(("wl_seat", version)) }
        if hasShapes { globals.append(("wp_cursor_shape_manager_v1", 1)) }
        fake = try FakeSession(globals, isThere: false)
        fake.capabilities = capabilities
        fake.isThere = true
        #expect(try fake.live.until { fake.live.presenter.phase == .ready || receive() })
        _ = try input()
    }

    private func receive() -> Bool {
        for compositor in fake.compositors { compositor.receive() }
        return false
    }

    /// Lets both sides talk; what the presenter tells of input.
    func inputs() throws -> [(surface: SurfaceID, event: InputEvent, time: UInt64)] {
        var inputs: [(SurfaceID, InputEvent, UInt64)] = []
        for event in try fake.talk() {
            if case .input(let id, let event, let time) = event {
                inputs.append((id, event, time))
            } else {
                others.append(event)
            }
        }
        return inputs
    }

    /// The same of one window, without times.
    func input(of id: UInt32 = 0) throws -> [InputEvent] {
        try inputs().filter { $0.surface == surface(id) }.map(\.event)
    }

    /// Makes a window that shows a frame.
    func makeWindow(
        _ id: UInt32 = 0, size: Size = Size(width: 8, height: 6), isBottomUp: Bool = false,
        _ properties: WindowProperties = plainWindow,
        _ change: (inout FrameRecord) -> Void = { _ in }
    ) throws {
        try create(id, properties)
        try commit(id, size: size, isBottomUp: isBottomUp, change)
    }

    /// Makes a window without a frame.
    func create(_ id: UInt32, _ properties: WindowProperties) throws {
        let before = Set(compositor.objects(of: "wl_surface"))
        presenter.createWindow(surface(id), properties)
        _ = try input()
        surfaces[id] = compositor.objects(of: "wl_surface").first { !before.contains($0) }
        acknowledge(id)
    }

    /// Answers the latest configure of a window.
    func acknowledge(_ id: UInt32 = 0) {
        var serial: UInt32?
        for case .configured(surface(id), _, let told) in others { serial = told }
        if let serial { presenter.acknowledge(surface(id), serial: serial) }
    }

    /// Configures a window and commits its state as a session does.
    func configure(
        _ width: Int32, _ height: Int32, states: [UInt8] = [], _ id: UInt32 = 0
    ) throws {
        fake.configure(
            surface: try #require(surfaces[id]), width: width, height: height, states: states)
        _ = try input()
        acknowledge(id)
        presenter.commitState(surface(id))
        _ = try input()
    }

    /// Commits a frame in a buffer of its own.
    func commit(
        _ id: UInt32 = 0, size: Size = Size(width: 8, height: 6), isBottomUp: Bool = false,
        _ change: (inout FrameRecord) -> Void = { _ in }
    ) throws {
        let buffer = try fake.addDmabuf(nextBuffer, size: size, isBottomUp: isBottomUp)
        nextBuffer += 1
        _ = try input()
        while !fake.imports.isEmpty { fake.answerImport() }
        _ = try input()
        let use = use(nextUse)
        nextUse += 1
        sequence += 1
        guard case .ready = presenter.reserveImage(use, of: buffer) else {
            Issue.record("not imported")
            return
        }
        presenter.commit(surface(id), makeFrame(use, buffer, sequence, size: size, change))
        _ = try input()
    }

    /// The arguments of the requests of one name since they were forgotten.
    func asked(_ name: String) -> [[FakeArgument]] { compositor.requests(name).map(\.arguments) }

    func end() {
        #expect(compositor.complaints.isEmpty)
        presenter.shutDown()
    }
}

/// A pointer's image for a window.
func cursorOf(_ parent: UInt32, _ x: UInt32 = 0, _ y: UInt32 = 0) -> WindowProperties {
    var properties = plainWindow
    properties.cursor = CursorProperties(parent: surface(parent), hotSpot: HotSpot(x: x, y: y))
    return properties
}
