import CLinux
import Descriptors
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// A live session on the compositor inside the test, which does what it is told to.
final class FakeSession {
    /// One per connection, the latest last.
    private(set) var compositors: [FakeCompositor] = []
    var compositor: FakeCompositor { compositors[compositors.count - 1] }
    private var made: LiveSession<WaylandPresenter>?
    var live: LiveSession<WaylandPresenter> {
        guard let made else { fatalError("used before it is made") }
        return made
    }
    /// Whether windows are configured at their first commit.
    var configures = true
    /// Frame callbacks that were not fired yet, in order.
    private(set) var callbacks: [UInt32] = []
    /// Presentation feedbacks that were not answered yet.
    private(set) var feedbacks: [UInt32] = []
    /// Imports that were not answered yet.
    private(set) var imports: [UInt32] = []
    /// Release objects of explicit synchronization that were not answered yet, in order.
    private(set) var releases: [UInt32] = []
    /// wl_buffers committed, in order.
    private(set) var committed: [UInt32] = []
    /// Buffer attached to each surface and not committed yet.
    private var attached: [UInt32: UInt32] = [:]
    private var toplevels: [UInt32: UInt32] = [:]
    private var surfaces: [UInt32: UInt32] = [:]
    private var configured: Set<UInt32> = []
    /// What becomes of a connection that is to bear a name.
    enum NameAnswer {
        /// It is accepted.
        case taken
        /// A protocol error, as for what the compositor does not like.
        case refused
        /// Nothing at all: also what was asked after it stays unanswered.
        case silence
        /// The compositor ends before it has said anything.
        case death
        /// The first connection is answered, the listener is never looked at.
        case ignored
        /// The caller is accepted and hung up on.
        case hungUp
    }
    var nameAnswer = NameAnswer.taken
    /// What seats have when they are bound: 1 pointer, 2 keyboard, 4 touch screen.
    var capabilities: UInt32 = 7
    /// What is offered to connections that bear a name; nil for `globals` without the manager.
    var globalsOfNamed: [(interface: String, version: UInt32)]?
    /// Whether there is a compositor to connect to.
    var isThere = true
    var globals: [(interface: String, version: UInt32)]

    static let usual: [(interface: String, version: UInt32)] = [
        ("wl_compositor", 4), ("wl_shm", 1), ("xdg_wm_base", 3), ("wp_viewporter", 1),
        ("wp_presentation", 1), ("zwp_linux_dmabuf_v1", 3), ("zxdg_decoration_manager_v1", 1),
    ]

    init(
        _ globals: [(interface: String, version: UInt32)] = FakeSession.usual,
        isThere: Bool = true, limits: VMLimits = VMLimits(),
        access: any BufferAccess = LinuxBufferAccess(), policy: FencePolicy = .auto,
        answerLimit: UInt64 = CompositorMachine.answerLimit,
        graphics: GraphicsWorkerOptions? = nil,
        launcher: any GraphicsWorkerLauncher = ProgramLauncher(), loop: EventLoop? = nil,
        nameAnswer: NameAnswer = .taken,
        globalsOfNamed: [(interface: String, version: UInt32)]? = nil
    ) throws {
        self.nameAnswer = nameAnswer
        self.globalsOfNamed = globalsOfNamed
        self.globals = globals
        self.isThere = isThere
        made = try LiveSession("fake", limits: limits, loop: loop) { loop, logger in
            try WaylandPresenter(
                vmName: "fake", loop: loop, logger: logger, fenceLimit: limits.fenceLimit,
                access: access, policy: policy, graphics: graphics, launcher: launcher,
                answerLimit: answerLimit
            ) {
                [unowned self] () throws(WaylandConnectError) in try self.connect()
            }
        }
        if isThere { try settle() }
    }

    private func connect() throws(WaylandConnectError) -> WaylandConnection {
        guard isThere else { throw .unreachable(path: "nowhere", errno: 2) }
        let compositor = FakeCompositor(globals: globals)
        begin(compositor)
        return try WaylandConnection.connect(to: compositor.takeClientEnd())
    }

    private func begin(_ compositor: FakeCompositor) {
        compositor.keepsFenceRules = true
        compositor.onRequest = { [unowned self] in handle($0) }
        callbacks = []
        feedbacks = []
        imports = []
        releases = []
        // Another compositor's objects have the same numbers.
        (attached, toplevels, surfaces, configured) = ([:], [:], [:], [])
        compositors.append(compositor)
    }

    /// The requests for a connection that bears a name are complete.
    private func name(_ request: FakeCompositor.Request) {
        switch nameAnswer {
        case .refused:
            compositor.protocolError(request.object, code: 3, "not this one")
        case .silence: compositor.isSilent = true
        case .death: compositor.hangUp()
        case .ignored: break
        case .taken, .hungUp:
            guard
                let asked = compositor.requests("wp_security_context_manager_v1.create_listener")
                    .last,
                case .descriptor(let listener) = asked.arguments[1]
            else { return }
            let caller = OwnedDescriptor(owning: vmb_socket_accept(listener))
            guard caller.isValid else { return }
            let socket = FakeSocket(adopting: caller)
            if nameAnswer == .hungUp { return socket.hangUp() }
            let manager = "wp_security_context_manager_v1"
            begin(
                FakeCompositor(
                    globals: globalsOfNamed ?? globals.filter { $0.interface != manager },
                    socket: socket))
        }
    }

    private func handle(_ request: FakeCompositor.Request) {
        switch (request.interface, request.name) {
        case ("wl_registry", "bind"): bound(request)
        case ("wp_security_context_v1", "commit"): name(request)
        case ("xdg_wm_base", "get_xdg_surface"):
            guard case .object(let surface) = request.arguments[1] else { return }
            surfaces[surface] = request.created
        case ("xdg_surface", "get_toplevel"): toplevels[request.object] = request.created
        case ("wl_surface", "frame"): callbacks.append(request.created)
        case ("wp_presentation", "feedback"): feedbacks.append(request.created)
        case ("zwp_linux_buffer_params_v1", "create"): imports.append(request.object)
        case ("zwp_linux_surface_synchronization_v1", "get_release"):
            releases.append(request.created)
        case ("wl_surface", "attach"):
            guard case .object(let buffer) = request.arguments[0] else { return }
            attached[request.object] = buffer
        case ("wl_surface", "commit"):
            if let buffer = attached.removeValue(forKey: request.object) {
                committed.append(buffer)
            }
            if configures, configured.insert(request.object).inserted {
                configure(surface: request.object)
            }
        case ("wl_surface", "destroy"): configured.remove(request.object)
        default: break
        }
    }

    private func bound(_ request: FakeCompositor.Request) {
        guard case .string(let name) = request.arguments[1] else { return }
        switch name {
        case "wl_shm":
            compositor.send(request.created, "format", .uint(0))
            compositor.send(request.created, "format", .uint(1))
        case "wl_seat": compositor.send(request.created, "capabilities", .uint(capabilities))
        case "wp_presentation": compositor.send(request.created, "clock_id", .uint(1))
        case "zwp_linux_dmabuf_v1" where compositor.version(of: request.created) == 3:
            compositor.send(
                request.created, "modifier", .uint(FourCC.xrgb8888.rawValue), .uint(0), .uint(0))
        default: break
        }
    }

    /// Configures a window by its wl_surface.
    @discardableResult
    func configure(
        surface: UInt32, width: Int32 = 0, height: Int32 = 0, states: [UInt8] = []
    ) -> UInt32 {
        let serial = compositor.nextSerial()
        guard let shell = surfaces[surface], let toplevel = toplevels[shell] else { return 0 }
        compositor.send(
            toplevel, "configure", .int(width), .int(height),
            .array(states.flatMap { [$0, 0, 0, 0] }))
        compositor.send(shell, "configure", .uint(serial))
        return serial
    }

    /// Fires the oldest frame callbacks.
    func fireCallbacks() {
        for callback in callbacks {
            compositor.send(callback, "done", .uint(1))
            compositor.retire(callback)
        }
        callbacks = []
    }

    /// Says that all commits so far were seen.
    /// Answers all feedbacks; `seconds` is the upper half of the presentation time's.
    func present(_ event: String = "presented", seconds: UInt32 = 1) {
        for feedback in feedbacks {
            if event == "presented" {
                compositor.send(
                    feedback, event, .uint(seconds), .uint(3), .uint(5), .uint(16), .uint(0),
                    .uint(0),
                    .uint(3))
            } else {
                compositor.send(feedback, event)
            }
            compositor.retire(feedback)
        }
        feedbacks = []
    }

    func release(_ buffer: UInt32) { compositor.send(buffer, "release") }

    /// Answers a release object of explicit synchronization, by its place; the descriptor is lent.
    func answerRelease(_ place: Int = 0, fence: Int32? = nil) {
        let object = releases.remove(at: place)
        if let fence {
            compositor.send(object, "fenced_release", .descriptor(fence))
        } else {
            compositor.send(object, "immediate_release")
        }
        compositor.retire(object)
    }

    /// Answers the oldest import; the wl_buffer, if one was made.
    @discardableResult
    func answerImport(_ isMade: Bool = true) -> UInt32 {
        let params = imports.removeFirst()
        guard isMade else {
            compositor.send(params, "failed")
            return 0
        }
        let buffer = compositor.newObject("wl_buffer")
        compositor.send(params, "created", .newID(buffer))
        return buffer
    }

    /// Lets both sides talk until nothing is left to say.
    func settle() throws {
        var quiet = 0
        while quiet < 3 {
            try live.turn()
            let handled = compositors.suffix(2).reduce(0) { $0 + $1.receive() }
            quiet = handled == 0 ? quiet + 1 : 0
        }
    }

    /// A dma-buf in the books; really an empty memfd, since the fake compositor looks at none.
    func addDmabuf(
        _ index: UInt32, size: Size = Size(width: 4, height: 4), isBottomUp: Bool = false,
        modifier: Modifier = .linear
    ) throws -> BufferID {
        let layout = BufferLayout(
            size: size, format: .xrgb8888, modifier: modifier, memory: .dmaBuf,
            isBottomUp: isBottomUp,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: size.width * 4)])
        var bundle = DescriptorBundle()
        _ = bundle.append(try MemoryFile.create(size: 4096))
        let id = BufferID(SlotIndex(index: index, generation: 0))
        live.presenter.addBuffer(id, BufferMemory(layout: layout, bytes: 64, from: &bundle, 0..<1))
        return id
    }

    /// The presenter's events, when no session is to take them.
    func takeEvents() -> [PresenterEvent] {
        var events: [PresenterEvent] = []
        live.presenter.takeEvents { events.append($0) }
        return events
    }

    /// Lets both sides talk without a session.
    func talk() throws -> [PresenterEvent] {
        var events: [PresenterEvent] = []
        for _ in 0..<4 {
            live.presenter.flush()
            _ = compositor.receive()
            try live.loop.runOnce(milliseconds: 0)
            events += takeEvents()
        }
        return events
    }
}

func use(_ index: UInt32) -> UseID { UseID(SlotIndex(index: index, generation: 0)) }
func surface(_ index: UInt32) -> SurfaceID { SurfaceID(SlotIndex(index: index, generation: 0)) }

let plainWindow = WindowProperties(
    identity: WindowIdentity(title: "[vm] t", appID: "vm-bridge.vm.a"), minimumSize: .zero,
    maximumSize: .zero, opaqueRegion: nil)

/// A frame as the session makes it.
func makeFrame(
    _ use: UseID, _ buffer: BufferID, _ sequence: UInt64, size: Size = Size(width: 4, height: 4),
    _ change: (inout FrameRecord) -> Void = { _ in }
) -> Frame {
    var record = FrameRecord(
        surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(sequence))
    change(&record)
    return Frame(record, use: use, buffer: buffer, size: size, receivedAt: 0, waits: [])
}
