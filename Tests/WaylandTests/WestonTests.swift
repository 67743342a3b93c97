import Descriptors
import Foundation
import Glibc
import Testing
import Wayland

/// A headless weston with a private runtime directory, for the life of this object.
private final class Weston {
    let directory: URL
    var socket: String { directory.appending(path: "test").path }
    private let process = Process()

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        process.executableURL = URL(filePath: "/usr/bin/weston")
        process.arguments = [
            "--backend=headless-backend.so", "--use-pixman", "--idle-time=0", "--socket=test",
            "--no-config",
        ]
        process.environment = ["XDG_RUNTIME_DIR": directory.path, "PATH": "/usr/bin:/bin"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: directory)
    }

    /// Connects as soon as weston listens.
    func connect() throws -> WaylandConnection {
        for _ in 0..<200 {
            if let connection = try? WaylandConnection.connect(name: socket) { return connection }
            usleep(50_000)
        }
        return try WaylandConnection.connect(name: socket)
    }
}

/// A window that paints nothing but answers everything.
private final class Window: HotEventTarget {
    var configured: UInt32?
    var frames = 0
    var releases = 0
    var presented = 0
    var discarded = 0

    override func xdgSurfaceConfigure(_ sender: XdgSurface, serial: UInt32) {
        sender.ackConfigure(serial: serial)
        configured = serial
    }
    override func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) { frames += 1 }
    override func wlBufferRelease(_ sender: WlBuffer) { releases += 1 }
    override func wpPresentationFeedbackPresented(
        _ sender: WpPresentationFeedback, tvSecHi: UInt32, tvSecLo: UInt32, tvNsec: UInt32,
        refresh: UInt32, seqHi: UInt32, seqLo: UInt32, flags: WpPresentationFeedback.Kind
    ) { presented += 1 }
    override func wpPresentationFeedbackDiscarded(_ sender: WpPresentationFeedback) {
        discarded += 1
    }
}

@Suite("[compositor] weston")
struct WestonTests {
    /// One turn of a loop as the connection's documentation describes it, with at most 1 s of waiting.
    private func turn(_ connection: WaylandConnection) throws {
        guard case .done = connection.dispatchAndPrepareRead() else {
            try #require(connection.failure == nil)
            return
        }
        let flushed = connection.flush()
        var poller = pollfd(
            fd: connection.fileDescriptor,
            events: Int16(POLLIN) | (flushed == .blocked ? Int16(POLLOUT) : 0), revents: 0)
        if poll(&poller, 1, 1000) > 0, poller.revents & Int16(POLLIN) != 0 {
            _ = connection.readEvents()
        } else {
            connection.cancelRead()
        }
        connection.dispatchPending()
        try #require(connection.failure == nil)
    }

    @Test func showsAWindow() throws {
        let weston = try Weston()
        let connection = try weston.connect()
        let registry = WaylandRegistry(connection)
        guard case .done = connection.roundtrip() else {
            Issue.record("no answer: \(String(describing: connection.failure))")
            return
        }
        let compositor = try #require(registry.bind(WlCompositor.self, maximum: 4))
        let base = try #require(registry.bind(XdgWmBase.self))
        let shm = try #require(registry.bind(WlShm.self, maximum: 1))
        let presentation = try #require(registry.bind(WpPresentation.self))
        try #require(registry.bind(WpViewporter.self)).destroy()
        var formats: [WlShm.Format] = []
        shm.onEvent { event in
            if case .format(let format) = consume event { formats.append(format) }
        }
        base.onEvent { event in
            if case .ping(let serial) = consume event { base.pong(serial: serial) }
        }
        let window = Window()
        let surface = compositor.createSurface()
        let shell = base.getXdgSurface(surface: surface)
        let toplevel = shell.getToplevel()
        surface.setTarget(window)
        shell.setTarget(window)
        toplevel.setTarget(window)
        toplevel.setTitle(title: "bindings")
        toplevel.setAppId(appId: "vm-bridge.test")
        surface.commit()
        for _ in 0..<100 where window.configured == nil { try turn(connection) }
        #expect(window.configured != nil)
        #expect(formats.contains(.xrgb8888))

        let path = weston.directory.appending(path: "pixels").path
        let file = OwnedDescriptor(owning: open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600))
        #expect(ftruncate(file.number, 2 * 64 * 64 * 4) == 0)
        let pool = shm.createPool(fd: file, size: 2 * 64 * 64 * 4)
        let buffers = (0..<2).map { index in
            pool.createBuffer(
                offset: index * 64 * 64 * 4, width: 64, height: 64, stride: 256, format: .xrgb8888)
        }
        pool.destroy()
        for buffer in buffers { buffer.setTarget(window) }
        for frame in 0..<20 {
            #expect(connection.reserve() == .done)
            surface.attach(buffer: buffers[frame % 2], x: 0, y: 0)
            surface.damageBuffer(x: 0, y: 0, width: 64, height: 64)
            surface.frame().setTarget(window)
            presentation.feedback(surface: surface).setTarget(window)
            surface.commit()
            for _ in 0..<100 where window.frames == frame { try turn(connection) }
            #expect(window.frames == frame + 1)
        }
        for _ in 0..<100 where window.presented + window.discarded < 20 { try turn(connection) }
        #expect(window.presented >= 19)
        #expect(window.presented + window.discarded == 20)
        #expect(window.releases > 0)
        toplevel.destroy()
        shell.destroy()
        surface.destroy()
        for buffer in buffers { buffer.destroy() }
        presentation.destroy()
        base.destroy()
        shm.destroyProxy()
        compositor.destroyProxy()
        #expect(connection.roundtrip() != .lost(EPROTO))
        #expect(connection.failure == nil)
    }

    /// A real compositor's fatal error comes through with interface, object and code.
    @Test func tellsProtocolErrors() throws {
        let weston = try Weston()
        let connection = try weston.connect()
        let registry = WaylandRegistry(connection)
        _ = connection.roundtrip()
        let compositor = try #require(registry.bind(WlCompositor.self, maximum: 4))
        let base = try #require(registry.bind(XdgWmBase.self))
        let surface = compositor.createSurface()
        let shell = base.getXdgSurface(surface: surface)
        shell.ackConfigure(serial: 77)
        #expect(connection.roundtrip() == .lost(EPROTO))
        guard case .protocolError(let interface, _, _) = connection.failure else {
            Issue.record("\(String(describing: connection.failure))")
            return
        }
        #expect(["xdg_surface", "xdg_wm_base"].contains(interface))
        shell.destroy()
        surface.destroy()
        base.destroy()
        compositor.destroyProxy()
    }
}
