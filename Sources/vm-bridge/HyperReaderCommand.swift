import ArgumentParser
import Descriptors
import VMBridge

/// What the daemon starts to read hyper_dmabuf's queue, which takes a right that it has no other use for.
/// Nothing for people to call.
struct HyperReaderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hyper-dmabuf-reader",
        abstract: "Serve a bridge: read hyper_dmabuf's queue, ask for its buffers.",
        discussion: """
            Started by `vm-bridge run` with a socket to it as an inherited descriptor; ends with it. It \
            keeps CAP_DAC_OVERRIDE, which the driver asks for at each read, and no other right.
            """,
        shouldDisplay: false)

    @Option(name: .long, help: "Number of the inherited descriptor of the socket.")
    var socket: Int32

    @Option(name: .long, help: "Path of the driver's node.")
    var node = HyperDmabufNode.path

    func validate() throws {
        guard socket >= 3 else { throw ValidationError("--socket is a descriptor of 3 or above.") }
    }

    func run() throws {
        HelperConduct.begin(socket: socket)
        do {
            let connection = try SeqPacketSocket(adopting: OwnedDescriptor(owning: socket))
            HyperReaderService.run(connection, path: node)
        } catch {
            StandardError.write("vm-bridge hyper-dmabuf-reader: \(error)\n")
            throw ExitCode(71)
        }
    }
}
