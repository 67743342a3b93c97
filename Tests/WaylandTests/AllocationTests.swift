import AllocationCounter
import CWayland
import Testing
import Wayland
import WaylandTestSupport

/// The heap allocations of this thread during a call.
private func allocations(_ body: () -> Void) -> Int {
    allocation_counter_start()
    body()
    return Int(allocation_counter_stop())
}

/// Counts, and allocates nothing.
private final class Counter: HotEventTarget {
    private(set) var events = 0
    override func wlBufferRelease(_ sender: WlBuffer) { events += 1 }
    override func xdgToplevelConfigure(
        _ sender: XdgToplevel, width: Int32, height: Int32, states: Span<UInt32>
    ) {
        if states.count == 1, states[0] == XdgToplevel.State.activated.rawValue { events += 1 }
    }
}

private final class Dummy {}

/// Sanitizers bring their own allocator, so there is nothing to count under them.
@Suite("[kernel] the frame path", .enabled(if: allocation_counter_available()))
struct AllocationTests {
    @Test func theCounterCounts() {
        var kept: [Dummy] = []
        #expect(allocations { kept.append(Dummy()) } >= 2)
        #expect(kept.count == 1)
        var sum = 0
        #expect(allocations { sum &+= 1 } == 0)
        #expect(sum == 1)
    }

    /// libwayland allocates for each event it reads; its part is measured by the same events
    /// with no target, and nothing may be added to it.
    @Test func hotEventsAllocateNothing() throws {
        let pair = try Pair(globals: [
            ("wl_compositor", 4), ("xdg_wm_base", 2), ("zwp_linux_dmabuf_v1", 4),
        ])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let base = try #require(registry.bind(XdgWmBase.self))
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let surface = compositor.createSurface()
        let shell = base.getXdgSurface(surface: surface)
        let toplevel = shell.getToplevel()
        let params = dmabuf.createParams()
        let buffer = params.createImmed(width: 1, height: 1, format: 0, flags: [])
        pair.settle()
        /// The allocations while 10 000 events are read and dispatched, 50 at a time.
        func measure() -> Int {
            var total = 0
            for _ in 0..<200 {
                for _ in 0..<25 {
                    pair.compositor.send(buffer.id, "release")
                    pair.compositor.send(
                        toplevel.id, "configure", .int(1), .int(1), .array([4, 0, 0, 0]))
                }
                total += allocations {
                    guard pair.connection.prepareRead() else { return }
                    _ = pair.connection.readEvents()
                    pair.connection.dispatchPending()
                }
            }
            return total
        }
        let counter = Counter()
        buffer.setTarget(nil)
        toplevel.setTarget(nil)
        let libwayland = measure()
        #expect(counter.events == 0)
        buffer.setTarget(counter)
        toplevel.setTarget(counter)
        #expect(measure() == libwayland)
        #expect(counter.events == 10_000)
        #expect(libwayland >= 10_000)
        buffer.destroy()
        params.destroy()
        toplevel.destroy()
        shell.destroy()
        surface.destroy()
        dmabuf.destroy()
        base.destroy()
        compositor.destroyProxy()
    }

    /// libwayland allocates for each request; its part is measured by calling it directly.
    @Test func frameRequestsAllocateNothing() throws {
        let pair = try Pair(globals: [("wl_compositor", 4)])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let surface = compositor.createSurface()
        let proxy = surface.proxy
        let commit: UInt32 = 6
        surface.commit()
        let one = allocations { wl_proxy_marshal_array_flags(proxy, commit, nil, 4, 0, nil) }
        pair.settle()
        let hundred = allocations {
            for _ in 0..<50 {
                surface.damageBuffer(x: 0, y: 0, width: 1, height: 1)
                surface.commit()
            }
            _ = pair.connection.reserve()
            _ = pair.connection.flush()
        }
        #expect(hundred == 100 * one)
        surface.destroy()
        compositor.destroyProxy()
    }
}
