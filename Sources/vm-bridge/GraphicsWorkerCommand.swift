import ArgumentParser
import Descriptors
import VMBridge

/// What the daemon starts for work that may crash or take long. Nothing for people to call.
struct GraphicsWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "graphics-worker",
        abstract: "Serve one VM's bridge: allocate buffers, blit by EGL.",
        discussion: """
            Started by `vm-bridge run` on demand, with a socket to it as an inherited descriptor; ends \
            with it. It opens libgbm and libEGL when they are first needed, so that a driver's crash \
            is not the bridge's.
            """,
        shouldDisplay: false)

    @Option(name: .long, help: "Number of the inherited descriptor of the socket.")
    var socket: Int32

    @Option(
        name: .long,
        help: "Device number (dev_t, decimal) of the compositor's device; 0 when it is not known.")
    var device: UInt64 = 0

    func validate() throws {
        guard socket >= 3 else { throw ValidationError("--socket is a descriptor of 3 or above.") }
    }

    func run() throws {
        HelperConduct.begin(socket: socket)
        let service: GraphicsWorkerService
        do {
            let connection = try SeqPacketSocket(adopting: OwnedDescriptor(owning: socket))
            service = try GraphicsWorkerService(connection, device: device)
        } catch {
            StandardError.write("vm-bridge graphics-worker: \(error)\n")
            throw ExitCode(71)
        }
        service.run()
    }
}
