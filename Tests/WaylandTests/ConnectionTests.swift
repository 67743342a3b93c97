import Descriptors
import Foundation
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@Suite("[kernel] connection")
struct ConnectionTests {
    @Test func protocolErrorsAreTold() throws {
        let pair = try Pair(globals: [("wl_compositor", 4)])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let surface = compositor.createSurface()
        pair.settle()
        #expect(pair.connection.failure == nil)
        pair.compositor.protocolError(surface.id, code: 1, "a test of errors")
        pair.settle()
        #expect(
            pair.connection.failure
                == .protocolError(interface: "wl_surface", object: surface.id, code: 1))
        #expect(pair.connection.flush() == .lost(EPROTO))
        #expect(pair.connection.dispatchPending() == .lost(EPROTO))
        #expect(pair.connection.reserve() == .lost(EPROTO))
        // Objects can be made and destroyed on a lost connection.
        let late = compositor.createSurface()
        late.destroy()
        surface.destroy()
        compositor.destroyProxy()
    }

    @Test func errorsOfTheDisplayAreProtocolErrors() throws {
        let pair = try Pair()
        pair.compositor.protocolError(1, code: 0, "invalid object")
        pair.settle()
        #expect(
            pair.connection.failure == .protocolError(interface: "wl_display", object: 1, code: 0))
    }

    @Test func aGoneCompositorIsTold() throws {
        let pair = try Pair()
        pair.compositor.hangUp()
        #expect(pair.connection.prepareRead())
        guard case .lost = pair.connection.readEvents() else {
            Issue.record("the end was not noticed")
            return
        }
        guard case .system(let code) = pair.connection.failure else {
            Issue.record("no failure")
            return
        }
        #expect(code == EPIPE || code == ECONNRESET)
    }

    /// The reason that lies in the socket is told even after sending has failed.
    @Test func theReasonComesAfterABrokenPipe() throws {
        let pair = try Pair()
        pair.compositor.protocolError(1, code: 3, "gone wrong")
        pair.compositor.hangUp()
        let callback = pair.connection.sync()
        #expect(pair.connection.flush() == .lost(EPIPE))
        #expect(pair.connection.prepareRead())
        _ = pair.connection.readEvents()
        pair.connection.dispatchPending()
        #expect(
            pair.connection.failure == .protocolError(interface: "wl_display", object: 1, code: 3))
        callback.destroyProxy()
    }

    /// Events behind a fatal error are never dispatched; asking for them must not spin.
    @Test func aLostConnectionDoesNotSpin() throws {
        let pair = try Pair(globals: [("wl_compositor", 4)])
        let registry = WaylandRegistry(pair.connection)
        #expect(pair.connection.flush() == .done)
        pair.compositor.protocolError(1, code: 3, "then events")
        pair.compositor.receive()
        #expect(pair.connection.prepareRead())
        _ = pair.connection.readEvents()
        #expect(pair.connection.dispatchAndPrepareRead() == .lost(EPROTO))
        #expect(registry.globals == [])
    }

    @Test func syncComesBack() throws {
        let pair = try Pair()
        let recorder = Recorder()
        let callback = pair.connection.sync()
        callback.setTarget(recorder)
        let id = callback.id
        pair.settle()
        #expect(recorder.lines == ["callback \(id) done 1"])
    }

    /// What a full socket does: `reserve` and `flush` say so, nothing is lost, and it goes on.
    @Test func aFullSocketBlocksReservations() throws {
        let pair = try Pair(globals: [("wl_compositor", 4)])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let surface = compositor.createSurface()
        pair.settle()
        pair.compositor.forgetRequests()
        var commits = 0
        while pair.connection.reserve(bytes: 800) == .done, commits < 1_000_000 {
            for _ in 0..<100 { surface.commit() }
            commits += 100
        }
        #expect(commits > 1000 && commits < 1_000_000)
        #expect(pair.connection.flush() == .blocked)
        #expect(pair.connection.failure == nil)
        // What was reserved last still fits, full socket or not.
        while pair.connection.pendingBytes + 8 <= 4096 {
            surface.commit()
            commits += 1
        }
        #expect(pair.connection.failure == nil)
        pair.settle()
        #expect(pair.connection.flush() == .done)
        #expect(pair.connection.failure == nil)
        #expect(pair.compositor.requests("wl_surface.commit").count == commits)
        surface.destroy()
        compositor.destroyProxy()
    }

    /// The reason for `reserve`: libwayland (1.21) gives the connection up. Later versions let the
    /// buffer grow; then all arrives.
    @Test func withoutReservingAFullSocketMayLoseTheConnection() throws {
        let pair = try Pair(globals: [("wl_compositor", 4)])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let surface = compositor.createSurface()
        pair.settle()
        pair.compositor.forgetRequests()
        for _ in 0..<200_000 { surface.commit() }
        if pair.connection.failure == nil {
            pair.settle()
            #expect(pair.compositor.requests("wl_surface.commit").count == 200_000)
        } else {
            #expect(pair.connection.failure == .system(EAGAIN))
            #expect(pair.connection.flush() == .lost(EAGAIN))
            #expect(pair.connection.reserve() == .lost(EAGAIN))
        }
        surface.destroy()
        compositor.destroyProxy()
    }

    @Test func descriptorsAreReserved() throws {
        let witness = try Witness()
        defer { witness.remove() }
        let file = witness.open()
        let pair = try Pair(globals: [("zwp_linux_dmabuf_v1", 4)])
        let registry = pair.registry()
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let params = dmabuf.createParams()
        for plane in 0..<100 {
            #expect(pair.connection.reserve(bytes: 64, descriptors: 1) == .done)
            params.add(
                fd: file, planeIdx: UInt32(plane), offset: 0, stride: 0, modifierHi: 0,
                modifierLo: 0)
            #expect(pair.connection.pendingDescriptors <= 28)
        }
        pair.settle()
        #expect(pair.compositor.requests("zwp_linux_buffer_params_v1.add").count == 100)
        #expect(pair.compositor.complaints == [])
        #expect(witness.count == 101)
        pair.compositor.forgetRequests()
        #expect(witness.count == 1)
        params.destroy()
        dmabuf.destroy()
    }

    @Test func theSocketIsClosedAtTheEnd() throws {
        let compositor = FakeCompositor()
        do {
            let connection = try WaylandConnection.connect(to: compositor.takeClientEnd())
            #expect(connection.fileDescriptor >= 0)
            compositor.receive()
            #expect(!compositor.isAtEnd)
        }
        compositor.receive()
        #expect(compositor.isAtEnd)
    }
}
