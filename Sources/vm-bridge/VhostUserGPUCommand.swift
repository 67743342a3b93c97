import ArgumentParser
import Descriptors
import Glibc
import Logging
import VMBridge

/// A bridge of its own for one VM's graphics card, as machine managers start it.
struct VhostUserGPUCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vhost-user-gpu",
        abstract: "Be one VM's graphics card, started by a machine manager.",
        discussion: """
            What libvirt starts for <driver name='vhostuser'/> of a virtio video device (docs/qemu.md), by the \
            conventions of QEMU's vhost-user document. It shows the VM's screens as `vm-bridge run --source \
            VM=vhost-user-gpu` does, with the usual configuration, and ends with the machine.

            For people `vm-bridge run` is the better way: it stays when machines come and go.

            EXIT STATUS
              0 the machine ended, or a signal   64 wrong usage
              69 no compositor to connect to     74 the socket cannot be used
              78 the configuration is not good
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Number of an inherited descriptor: a socket that is connected to the VMM.",
            valueName: "NUMBER"))
    var fd: Int32?

    @Option(
        name: .long,
        help: ArgumentHelp("Listen there for the VMM, once.", valueName: "PATH"),
        completion: .file())
    var socketPath: String?

    @Flag(name: .long, help: "Say as JSON what this program can, and do nothing else.")
    var printCapabilities = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Taken and not used: the host's compositor draws.", valueName: "NODE"))
    var renderNode: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The VM's name on this host; the domain's when libvirt starts it, else gpu-PID.",
            valueName: "NAME"))
    var vm: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The VMM's QMP socket, for input; NAME.qmp in it when it ends in a slash.",
            valueName: "PATH"),
        completion: .file())
    var qmp: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Compositor to connect to, instead of WAYLAND_DISPLAY's or wayland-0.",
            valueName: "NAME"))
    var display: String?

    @Flag(name: .long, help: "Use no compositor: a virtual output takes the frames.")
    var headless = false

    @Option(
        name: .long,
        help: ArgumentHelp("With --headless: as `vm-bridge run` has it.", valueName: "DIR"),
        completion: .directory)
    var capture: String?

    @Flag(name: .shortAndLong, help: "Say more.")
    var verbose = false

    /// What of a vhost-user-gpu's features there is: neither virgl nor a choice of render nodes.
    static let capabilities = #"{"type":"gpu","features":[]}"#

    func validate() throws {
        guard !printCapabilities else { return }
        guard (fd == nil) != (socketPath == nil) else {
            throw ValidationError("Name one of --fd and --socket-path.")
        }
        guard fd.map({ $0 >= 3 }) ?? true else {
            throw ValidationError("--fd is a descriptor of 3 or above.")
        }
        guard headless || capture == nil else {
            throw ValidationError("--capture needs --headless: a compositor's windows are its own.")
        }
    }

    func run() throws {
        if printCapabilities { return print(Self.capabilities) }
        let logger = Logger(label: "vm-bridge") { [verbose, fd] _ in
            DaemonLog.handler(level: verbose ? .debug : .info, isStartedByManager: fd != nil)
        }
        let keeper = ConfigurationKeeper(.usual, logger: logger)
        guard keeper.load() else { throw ExitCode(78) }
        let name = vm ?? LibvirtDomain.inherited() ?? "gpu-\(getpid())"
        let service: BridgeService
        // With a connection that is there already nobody connects to it.
        let directory = fd == nil ? nil : try? TemporaryDirectory.make(prefix: "vm-bridge-gpu-")
        defer { if let directory { TemporaryDirectory.remove(directory) } }
        do {
            raiseDescriptorLimit(logger)
            var configuration = BridgeConfiguration(
                sources: [try source(name, directory)], presentation: presentation)
            configuration.graphicsProgram = "/proc/self/exe"
            configuration.rules = keeper.configuration
            // Other VMs of the configuration are not for this bridge.
            configuration.rules.vms.removeAll { $0.name != name }
            service = try BridgeService(configuration, logger: logger)
        } catch {
            logger.error("cannot start: \(error)")
            throw ExitCode(74)
        }
        service.serveOnce(fd.map(OwnedDescriptor.init(owning:)) ?? .none, vm: name)
        try service.run()
    }

    private var presentation: Presentation {
        guard !headless else {
            var options = HeadlessOptions()
            options.captureDirectory = capture
            return .headless(options)
        }
        // A manager's services often know nothing of the session but its runtime directory.
        let isNamed = getenv("WAYLAND_DISPLAY") != nil || getenv("WAYLAND_SOCKET") != nil
        return .wayland(display: display ?? (isNamed ? nil : "wayland-0"))
    }

    private func source(_ name: String, _ directory: String?) throws -> SourceSpecification {
        let path = socketPath ?? directory.map { "\($0)/gpu.sock" } ?? ""
        let words = qmp.map { ",qmp=\($0)" + ($0.hasSuffix("/") ? "\(name).qmp" : "") } ?? ""
        return try SourceSpecification("\(name)=vhost-user-gpu:\(path)\(words)")
    }
}
