import Descriptors
import Foundation
import Glibc
import Wayland
import WaylandTestSupport

/// A client connected to a compositor inside the test.
struct Pair {
    let compositor: FakeCompositor
    let connection: WaylandConnection

    init(globals: [(interface: String, version: UInt32)] = []) throws {
        compositor = FakeCompositor(globals: globals)
        connection = try WaylandConnection.connect(to: compositor.takeClientEnd())
    }

    func settle() { compositor.settle(connection) }

    /// A registry that has heard of all globals.
    func registry() -> WaylandRegistry {
        let registry = WaylandRegistry(connection)
        settle()
        return registry
    }
}

/// A file that only this test has open, so that its open descriptors can be counted while other
/// tests run.
struct Witness {
    let path: String

    init() throws {
        path = "/tmp/vm-bridge-witness-" + UUID().uuidString
        try Data("witness".utf8).write(to: URL(fileURLWithPath: path))
    }

    func open() -> OwnedDescriptor {
        OwnedDescriptor(owning: Glibc.open(path, O_RDWR | O_CLOEXEC))
    }

    /// How many descriptors of this process are open on the file.
    var count: Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.count {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + $0))
                == path
        }
    }

    func remove() { unlink(path) }
}

/// Notes every hot event as one line.
final class Recorder: HotEventTarget {
    var lines: [String] = []
    var fences = 0
    var buffers: [WlBuffer] = []
    var onFence: ((consuming OwnedDescriptor) -> Void)?

    override func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) {
        lines.append("callback \(sender.id) done \(callbackData)")
    }
    override func wlBufferRelease(_ sender: WlBuffer) {
        lines.append("buffer \(sender.id) release")
    }
    override func wlSurfaceEnter(_ sender: WlSurface, output: WlOutput?) {
        lines.append("surface \(sender.id) enter \(output?.id ?? 0)")
    }
    override func xdgSurfaceConfigure(_ sender: XdgSurface, serial: UInt32) {
        lines.append("xdg_surface \(sender.id) configure \(serial)")
    }
    override func xdgToplevelConfigure(
        _ sender: XdgToplevel, width: Int32, height: Int32, states: Span<UInt32>
    ) {
        let list = states.indices.map { states[$0] }
        lines.append("toplevel \(sender.id) configure \(width)x\(height) \(list)")
    }
    override func xdgToplevelClose(_ sender: XdgToplevel) { lines.append("toplevel close") }
    override func wpPresentationFeedbackPresented(
        _ sender: WpPresentationFeedback, tvSecHi: UInt32, tvSecLo: UInt32, tvNsec: UInt32,
        refresh: UInt32, seqHi: UInt32, seqLo: UInt32, flags: WpPresentationFeedback.Kind
    ) {
        lines.append("presented \(tvSecHi) \(tvSecLo) \(tvNsec) \(refresh) \(flags.rawValue)")
    }
    override func zwpLinuxBufferParamsV1Created(_ sender: ZwpLinuxBufferParamsV1, buffer: WlBuffer)
    {
        buffer.setTarget(self)
        buffers.append(buffer)
        lines.append("created \(buffer.id)")
    }
    override func zwpLinuxBufferReleaseV1FencedRelease(
        _ sender: ZwpLinuxBufferReleaseV1, fence: consuming OwnedDescriptor
    ) {
        fences += 1
        lines.append("fenced \(sender.id)")
        onFence?(fence)
    }
}
