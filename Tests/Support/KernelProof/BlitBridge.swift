import Glibc
import Logging
import VMBridge
import VMBridgeCore

/// A bridge into the compositor of the environment that blits every dma-buf, until a signal ends it: no
/// memory of this machine can be read by EGL in software and by nobody else.
///
/// - Parameter path: of the socket, for a VM `a`.
func proveBlitBridge(_ proof: Proof, _ path: String) throws {
    var configuration = BridgeConfiguration(
        sources: [SourceSpecification(vm: "a", socketPath: path)],
        presentation: .wayland(display: nil))
    configuration.blitsAlways = Driver.options
    let service = try BridgeService(configuration, logger: Logger(label: "blits"))
    try service.run()
    // The killed worker is still to be reaped.
    for _ in 0..<25 {
        usleep(20_000)
        try service.loop.runOnce(milliseconds: 0)
    }
    let vm = service.status.first
    let surface = vm?.surfaces.first?.counters
    print("  \(surface?.importPath ?? "no surface")")
    print("  \(surface?.shown ?? 0) shown, \(surface?.refused ?? 0) refused")
    if let blitter = vm?.blitter { print("  \(blitter)") }
    proof.expect("status says that it is blitted") {
        surface?.importPath.hasPrefix("blitted by EGL into wl_shm memory: ") == true
    }
    proof.expect("at least ten frames were shown, and none refused") {
        surface.map { $0.shown >= 10 && $0.refused == 0 } ?? false
    }
    proof.expect("by one worker, a blit for each frame") {
        guard let blitter = vm?.blitter, let surface else { return false }
        return blitter.starts == 1 && blitter.refused == 0
            && blitter.fulfilled >= Int(surface.shown)
    }
}
