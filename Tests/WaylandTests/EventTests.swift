import Descriptors
import Foundation
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@Suite("[kernel] events")
struct EventTests {
    @Test func hotEventsReachOneObject() throws {
        let pair = try Pair(globals: [
            ("wl_compositor", 4), ("xdg_wm_base", 2), ("wl_output", 3), ("wp_presentation", 1),
        ])
        let registry = pair.registry()
        let recorder = Recorder()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let base = try #require(registry.bind(XdgWmBase.self))
        let output = try #require(registry.bind(WlOutput.self))
        let presentation = try #require(registry.bind(WpPresentation.self))
        let surface = compositor.createSurface()
        let shell = base.getXdgSurface(surface: surface)
        let toplevel = shell.getToplevel()
        let callback = surface.frame()
        let feedback = presentation.feedback(surface: surface)
        surface.setTarget(recorder)
        shell.setTarget(recorder)
        toplevel.setTarget(recorder)
        callback.setTarget(recorder)
        feedback.setTarget(recorder)
        pair.settle()
        let callbackID = callback.id
        let fake = pair.compositor
        fake.send(surface.id, "enter", .object(output.id))
        fake.send(
            toplevel.id, "configure", .int(640), .int(480), .array([4, 0, 0, 0, 9, 0, 0, 0, 1]))
        fake.send(shell.id, "configure", .uint(42))
        fake.send(
            feedback.id, "presented", .uint(1), .uint(2), .uint(3), .uint(16_666_666), .uint(0),
            .uint(5), .uint(9))
        fake.retire(feedback.id)
        fake.send(callbackID, "done", .uint(1234))
        fake.retire(callbackID)
        fake.send(toplevel.id, "close")
        pair.settle()
        #expect(
            recorder.lines == [
                "surface \(surface.id) enter \(output.id)",
                "toplevel \(toplevel.id) configure 640x480 [4, 9]",
                "xdg_surface \(shell.id) configure 42",
                "presented 1 2 3 16666666 9",
                "callback \(callbackID) done 1234",
                "toplevel close",
            ])
        // The number of a callback that has ended is free again: libwayland's proxy is gone.
        let next = surface.frame()
        #expect([callbackID, callbackID + 1].contains(next.id))
        next.destroyProxy()

        // An object destroyed here meanwhile arrives as none.
        fake.send(surface.id, "enter", .object(output.id))
        output.destroyProxy()
        pair.settle()
        #expect(recorder.lines.last == "surface \(surface.id) enter 0")

        // The target can be replaced and taken away.
        let other = Recorder()
        toplevel.setTarget(other)
        fake.send(toplevel.id, "close")
        pair.settle()
        toplevel.setTarget(nil)
        fake.send(toplevel.id, "close")
        pair.settle()
        #expect(other.lines == ["toplevel close"])
        #expect(fake.complaints == [])
        toplevel.destroy()
        shell.destroy()
        surface.destroy()
        base.destroy()
        presentation.destroy()
        compositor.destroyProxy()
    }

    @Test func hotEventsBringObjects() throws {
        let pair = try Pair(globals: [("zwp_linux_dmabuf_v1", 4)])
        let registry = pair.registry()
        let recorder = Recorder()
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let params = dmabuf.createParams()
        params.setTarget(recorder)
        pair.settle()
        let buffer = pair.compositor.newObject("wl_buffer")
        pair.compositor.send(params.id, "created", .newID(buffer))
        pair.compositor.send(buffer, "release")
        pair.compositor.send(params.id, "failed")
        pair.settle()
        #expect(recorder.lines == ["created \(buffer)", "buffer \(buffer) release"])
        for buffer in recorder.buffers { buffer.destroy() }
        params.destroy()
        dmabuf.destroy()
        pair.settle()
        #expect(pair.compositor.objects(of: "wl_buffer") == [])
    }

    /// An object that an event makes can be given its handler within that event, before the
    /// events to it that came in the same message are dispatched.
    @Test func coldEventsBringObjects() throws {
        let pair = try Pair(globals: [("wl_data_device_manager", 3), ("wl_seat", 5)])
        let registry = pair.registry()
        let manager = try #require(registry.bind(WlDataDeviceManager.self))
        let seat = try #require(registry.bind(WlSeat.self))
        let device = manager.getDataDevice(seat: seat)
        var lines: [String] = []
        var offered: WlDataOffer?
        device.onEvent { event in
            switch consume event {
            case .dataOffer(let offer):
                offered = offer
                offer.onEvent { event in
                    if case .offer(let type) = consume event { lines.append(type) }
                }
            case .selection(let offer):
                lines.append("selection \(offer?.id ?? 0)")
            default:
                lines.append("other")
            }
        }
        pair.settle()
        let offer = pair.compositor.newObject("wl_data_offer", version: 3)
        pair.compositor.send(device.id, "data_offer", .newID(offer))
        pair.compositor.send(offer, "offer", .string("text/plain"))
        pair.compositor.send(device.id, "selection", .object(offer))
        pair.settle()
        #expect(lines == ["text/plain", "selection \(offer)"])
        let received = try #require(offered)
        #expect(received.version == 3)
        received.accept(serial: 1, mimeType: nil)
        received.destroy()
        pair.compositor.send(device.id, "selection", .object(0))
        pair.settle()
        #expect(
            pair.compositor.requests("wl_data_offer.accept").first?.arguments
                == [.uint(1), .string(nil)])
        #expect(pair.compositor.objects(of: "wl_data_offer") == [])
        #expect(pair.compositor.complaints == [])
        device.onEvent { _ in }
        device.release()
        manager.destroyProxy()
        seat.destroyProxy()
    }

    @Test func fencesHaveOneOwner() throws {
        let witness = try Witness()
        defer { witness.remove() }
        let pair = try Pair(globals: [
            ("wl_compositor", 4), ("zwp_linux_explicit_synchronization_v1", 2),
        ])
        let registry = pair.registry()
        let compositor = try #require(registry.bind(WlCompositor.self))
        let explicit = try #require(registry.bind(ZwpLinuxExplicitSynchronizationV1.self))
        let surface = compositor.createSurface()
        let synchronization = explicit.getSynchronization(surface: surface)
        let recorder = Recorder()
        let file = witness.open()
        /// How many descriptors are open while the recorder has the fence, and afterwards.
        func release(to target: HotEventTarget?) -> Int {
            let release = synchronization.getRelease()
            release.setTarget(target)
            pair.settle()
            pair.compositor.send(release.id, "fenced_release", .descriptor(file.number))
            pair.compositor.retire(release.id)
            pair.settle()
            return witness.count
        }
        var during: [Int] = []
        var kept: [Int32] = []
        recorder.onFence = { fence in
            during.append(witness.count)
            kept.append(fence.release())
        }
        #expect(release(to: recorder) == 2)
        for number in kept { close(number) }
        #expect(witness.count == 1)
        recorder.onFence = nil
        #expect(release(to: recorder) == 1)
        #expect(release(to: HotEventTarget()) == 1)
        #expect(release(to: nil) == 1)
        #expect(during == [2])
        #expect(recorder.fences == 2)

        // Destroyed before the event: libwayland closes it.
        let gone = synchronization.getRelease()
        gone.setTarget(recorder)
        pair.settle()
        pair.compositor.send(gone.id, "fenced_release", .descriptor(file.number))
        gone.destroyProxy()
        pair.settle()
        #expect(recorder.fences == 2)
        #expect(witness.count == 1)
        synchronization.destroy()
        explicit.destroy()
        surface.destroy()
        compositor.destroyProxy()
    }

    @Test func coldEventsAreValues() throws {
        let pair = try Pair(globals: [("zwp_linux_dmabuf_v1", 4), ("wl_seat", 5)])
        let registry = pair.registry()
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let seat = try #require(registry.bind(WlSeat.self))
        let feedback = dmabuf.getDefaultFeedback()
        var lines: [String] = []
        feedback.onEvent { event in
            switch consume event {
            case .done: lines.append("done")
            case .mainDevice(let device): lines.append("device \(device)")
            case .trancheFormats(let indices): lines.append("formats \(indices)")
            case .trancheFlags(let flags): lines.append("flags \(flags.rawValue)")
            default: lines.append("other")
            }
        }
        seat.onEvent { event in
            if case .name(let name) = consume event { lines.append(name) }
        }
        pair.settle()
        let fake = pair.compositor
        fake.send(feedback.id, "main_device", .array([1, 2, 3, 4, 5, 6, 7, 8]))
        fake.send(feedback.id, "tranche_formats", .array([1, 0, 2, 1]))
        fake.send(feedback.id, "tranche_flags", .uint(3))
        fake.send(feedback.id, "done")
        // "seat" and two bytes that are no UTF-8.
        fake.sendRaw(
            [UInt8(seat.id), 0, 0, 0, 1, 0, 20, 0, 7, 0, 0, 0]
                + Array("seat".utf8) + [0xff, 0xfe, 0, 0])
        pair.settle()
        #expect(
            lines == [
                "device [1, 2, 3, 4, 5, 6, 7, 8]", "formats [1, 258]", "flags 3", "done",
                "seat\u{fffd}\u{fffd}",
            ])
        feedback.destroy()
        dmabuf.destroy()
        seat.destroyProxy()
    }

    @Test func unhandledDescriptorsAreClosed() throws {
        let witness = try Witness()
        defer { witness.remove() }
        let file = witness.open()
        let pair = try Pair(globals: [("zwp_linux_dmabuf_v1", 4)])
        let registry = pair.registry()
        let dmabuf = try #require(registry.bind(ZwpLinuxDmabufV1.self))
        let feedback = dmabuf.getDefaultFeedback()
        pair.settle()
        let send = {
            pair.compositor.send(
                feedback.id, "format_table", .descriptor(file.number), .uint(16))
            pair.settle()
        }
        send()
        #expect(witness.count == 1, "without handler")
        var events = 0
        feedback.onEvent { _ in events += 1 }
        send()
        #expect(witness.count == 1, "with a handler that does not look")
        var kept: [Int32] = []
        feedback.onEvent { event in
            if case .formatTable(let table, let size) = consume event, size == 16 {
                kept.append(table.release())
            }
        }
        send()
        #expect(witness.count == 2, "with a handler that takes it")
        for number in kept { close(number) }
        #expect(witness.count == 1)
        #expect(events == 1)
        // A handler may end its own object.
        feedback.onEvent { _ in feedback.destroy() }
        send()
        #expect(witness.count == 1)
        #expect(pair.compositor.objects(of: "zwp_linux_dmabuf_feedback_v1") == [])
        dmabuf.destroy()
    }

    @Test func handlersEndWithTheirObject() throws {
        final class Token {}
        let pair = try Pair(globals: [("wl_shm", 1)])
        let registry = pair.registry()
        let shm = try #require(registry.bind(WlShm.self))
        weak var weakToken: Token?
        do {
            let token = Token()
            weakToken = token
            shm.onEvent { _ in _ = token }
        }
        #expect(weakToken != nil)
        shm.destroyProxy()
        #expect(weakToken == nil)
    }
}
