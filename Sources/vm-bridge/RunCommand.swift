import ArgumentParser
import Glibc
import Logging
import VMBridge
import VMBridgeCore

/// The daemon.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Show the surfaces of virtual machines as windows.",
        discussion: """
            For each --source, and each VM with a source in the configuration, the bridge serves one VM. For \
            the kind "socket" it makes a unix socket, and whatever speaks source-v1 on it \
            (Protocols/source-v1.md; `vm-bridge produce` does) becomes that VM's producer; "vhost-user-gpu", \
            "qemu" and "qemu-bus" are for stock QEMUs (docs/qemu.md), "hyper-dmabuf" for that driver. Each \
            surface is a window titled "[VM] title", where the configuration's rules say nothing else.

            The configuration is vm-bridge-config(5)'s; no file at all is a good one. It is read again \
            when its files change and on SIGHUP; one that is not good changes nothing, and the log says \
            FILE:LINE:COLUMN of what is wrong. VMs and options given here stand above it.

            Without --headless the windows appear on the compositor that WAYLAND_DISPLAY names. If it \
            goes away the bridge waits for it and shows everything again.

            EXAMPLES
              vm-bridge run --source work=socket
              vm-bridge run --source work=socket:/run/user/1000/work.sock
              vm-bridge run --source desk=qemu:/run/user/1000/desk.qmp
              vm-bridge run --headless --capture out --source a=socket:/tmp/a.sock

            EXIT STATUS
              0 ended by a signal or --seconds   64 wrong usage, or no VM at all
              69 no compositor to connect to     74 a socket or file cannot be made
              70 an error inside, after the last events as `vm-bridge log` has them
              75 another vm-bridge has the control socket
              78 the configuration is not good
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A VM and where its surfaces come from; once for each VM: socket[:PATH], vhost-user-gpu[:PATH][,qmp=PATH], qemu:QMP-PATH, qemu-bus[:NAME|:PATH] or hyper-dmabuf:DOMAIN[@NODE]. Without a path the socket is $XDG_RUNTIME_DIR/vm-bridge/VM.sock, or VM.gpu. Without VM= hyper-dmabuf[:NODE] serves every domain of that driver: one that no VM has is the VM domain-N.",
            valueName: "VM=KIND[:PLACE]"))
    var source: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Read this configuration instead of the usual ones.", valueName: "FILE"),
        completion: .file())
    var config: String?

    @Flag(name: .long, help: "Read no configuration.")
    var noConfig = false

    @Flag(name: .long, help: "Use no compositor: a virtual output takes the frames.")
    var headless = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With --headless: write each surface's last frame as PNG and a log of commits there.",
            valueName: "DIR"), completion: .directory)
    var capture: String?

    @Flag(
        name: .long,
        help: ArgumentHelp(
            "With --capture: read each frame's pixels and write their checksums to DIR/frames.log.")
    )
    var captureFrames = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With --headless: size that windows are asked to take; without it each keeps its own.",
            valueName: "WxH"))
    var outputSize: String?

    @Option(
        name: .long, help: ArgumentHelp("With --headless: refreshes a second.", valueName: "HZ"))
    var refresh: Double = 60

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Compositor to connect to, instead of WAYLAND_DISPLAY's.", valueName: "NAME"))
    var display: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long a frame's fence is waited for, 2000 when nobody says so; for all VMs.",
            valueName: "MILLISECONDS"))
    var fenceLimit: UInt64?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What happens to a frame whose fence is pending: hold it here, pass it on to the compositor, or auto, which passes it on only where that is known to stop nothing else. For one VM or for all; the last one counts, and stands above the configuration's.",
            valueName: "[VM=]auto|pass|hold"), completion: .list(["auto", "pass", "hold"]))
    var fences: [String] = []

    @Option(name: .long, help: ArgumentHelp("End by itself after so long.", valueName: "SECONDS"))
    var seconds: Double?

    @Option(
        name: .long,
        help: ArgumentHelp("Write the state as JSON at the end and on SIGUSR1.", valueName: "FILE"),
        completion: .file())
    var report: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A copy of this program that may read hyper_dmabuf's queue (file capability cap_dac_override). When not given: /usr/local/libexec/vm-bridge-reader where it is there, else this program itself.",
            valueName: "FILE"), completion: .file())
    var hyperDmabufReader: String?

    @OptionGroup var control: RunControlOptions

    @OptionGroup(title: "Recording") var recording: RecordingOptions

    @Flag(name: .shortAndLong, help: "Say more.")
    var verbose = false

    func validate() throws {
        for text in source {
            do {
                _ = try SourceOption(text)
            } catch {
                throw ValidationError(error.description)
            }
        }
        let names = source.compactMap { try? SourceOption($0).vm }
        guard Set(names).count == names.count else {
            throw ValidationError("A VM is named twice: each has one --source.")
        }
        for text in fences {
            guard Self.fences(text).policy != nil else {
                throw ValidationError("--fences is auto, pass or hold, or VM=auto|pass|hold.")
            }
        }
        guard config == nil || !noConfig else {
            throw ValidationError("--config names a file and --no-config wants none: drop one.")
        }
        guard headless || capture == nil else {
            throw ValidationError("--capture needs --headless: a compositor's windows are its own.")
        }
        guard capture != nil || !captureFrames else {
            throw ValidationError("--capture-frames needs --capture: its log is in that directory.")
        }
        guard headless || outputSize == nil else {
            throw ValidationError("--output-size needs --headless: a compositor sizes its windows.")
        }
        guard outputSize == nil || parsedSize != nil else {
            throw ValidationError("--output-size is WIDTHxHEIGHT, each from 1 to 16384.")
        }
        guard (0.1...1000).contains(refresh) else {
            throw ValidationError("--refresh goes from 0.1 to 1000.")
        }
        guard (1...600_000).contains(fenceLimit ?? 1) else {
            throw ValidationError("--fence-limit goes from 1 to 600000 milliseconds.")
        }
    }

    /// Reads "[VM=]POLICY".
    private static func fences(_ text: String) -> (vm: String?, policy: FencePolicy?) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let policy = FencePolicy(rawValue: String(parts.last ?? ""))
        return (parts.count == 2 ? String(parts[0]) : nil, policy)
    }

    func run() throws {
        // First of all: the numbers of passed descriptors are fixed, and the variables are for us alone.
        let environment = ServiceEnvironment.take()
        let passed = ListenDescriptors(environment)
        let ring = EventRing()
        let logger = Logger(label: "vm-bridge") { [verbose] _ in
            RingLog(DaemonLog.handler(level: verbose ? .debug : .info), ring: ring)
        }
        let keeper = ConfigurationKeeper(
            noConfig ? .none : config.map { .named($0) } ?? .usual, logger: logger)
        guard keeper.load() else { throw ExitCode(78) }
        // A service stays for VMs that the configuration gets later, and so does one that a command has started.
        let isService = environment.notifySocket != nil || !passed.names.isEmpty
        try checkNames(
            keeper.configuration, passed: passed.sources(besides: []).map(\.vm),
            mayBeNone: isService && !noConfig)
        if !headless, display == nil, getenv("WAYLAND_DISPLAY") == nil,
            getenv("WAYLAND_SOCKET") == nil
        {
            logger.error(
                "no compositor: WAYLAND_DISPLAY is not set. Start it inside a Wayland session, name one with --display, or use --headless."
            )
            throw ExitCode(69)
        }
        let endpoint = try control.reserve(passed, logger)
        let service: BridgeService
        let server: ControlServer?
        do {
            raiseDescriptorLimit(logger)
            var configuration = try bridgeConfiguration()
            configuration.sources += passed.sources(besides: Set(configuration.sources.map(\.vm)))
            configuration.rules = keeper.configuration
            service = try BridgeService(configuration, passed: passed, logger: logger)
            server = try control.serve(endpoint, service, ring: ring, logger: logger)
        } catch {
            logger.error("cannot start: \(error)")
            throw ExitCode(74)
        }
        service.onReport = { write(service, logger) }
        keeper.onApply = { service.apply($0) }
        do {
            try keeper.watch(service.loop)
        } catch {
            logger.warning(
                "changes of the configuration are not noticed, SIGHUP tells them: \(error)")
        }
        defer { keeper.end() }
        if let seconds {
            let timer = service.loop.makeTimer { _ in service.stop() }
            service.loop.arm(timer, after: UInt64(max(seconds, 0) * 1e9))
        }
        passed.closeRest(logger)
        let reporter = ServiceNotifier(environment, logger: logger).map {
            ServiceReporter($0, loop: service.loop) { service.status }
        }
        service.onReload = {
            if let reporter {
                reporter.whileReloading { keeper.reload() }
            } else {
                keeper.reload()
            }
        }
        service.onEnding = { reporter?.ending() }
        do {
            try service.run()
        } catch {
            logger.critical("ending: \(error)")
            EventDump.write(ring)
            throw ExitCode(70)
        }
        server?.shutDown()
        write(service, logger)
        // A service manager has been told as it went, and a table is no log.
        guard reporter == nil else { return }
        for line in StatusReport.lines(service.status, drivers: service.drivers) { print(line) }
    }

    /// Whether there is anything to serve, and `--fences` names what is there.
    private func checkNames(
        _ configuration: Configuration, passed: [String], mayBeNone: Bool
    ) throws {
        let served = configuration.vms.filter { $0.source != nil }.map(\.name)
        let names =
            source.compactMap { try? SourceOption($0).vm } + served + passed
        // A driver alone is enough: its VMs come by themselves.
        guard mayBeNone || !names.isEmpty || !source.isEmpty else {
            let place = config ?? (noConfig ? nil : ConfigurationFiles.places().first)
            StandardError.write(
                """
                vm-bridge: no VM to serve. Name one:
                  vm-bridge run --source work=socket          (or VM=socket:PATH)

                """)
            if let place {
                StandardError.write(
                    """
                    or write into \(place):
                      vm work {
                          source socket
                      }

                    """)
            }
            throw ExitCode(64)
        }
        for text in fences {
            guard let vm = Self.fences(text).vm, !names.contains(vm), !vm.hasPrefix("domain-")
            else { continue }
            StandardError.write(
                "vm-bridge: --fences names “\(vm)”, which neither a --source nor the configuration does\n"
            )
            throw ExitCode(64)
        }
    }

    private var parsedSize: Size? {
        guard let numbers = outputSize?.split(separator: "x", omittingEmptySubsequences: false),
            numbers.count == 2, let width = UInt32(numbers[0]), let height = UInt32(numbers[1]),
            (1...VMLimits.maximumDimension).contains(width),
            (1...VMLimits.maximumDimension).contains(height)
        else { return nil }
        return Size(width: width, height: height)
    }

    private func bridgeConfiguration() throws -> BridgeConfiguration {
        var options = HeadlessOptions()
        if let size = parsedSize { options.windowSize = size }
        options.refreshRate = refresh
        options.captureDirectory = capture
        options.logsFrames = captureFrames
        var configuration = BridgeConfiguration(
            sources: [], presentation: headless ? .headless(options) : .wayland(display: display))
        for text in source {
            switch try SourceOption(text) {
            case .vm(let source): configuration.sources.append(source)
            case .hyperDmabuf(let node): configuration.hyperNodes.insert(node)
            }
        }
        configuration.graphicsProgram = "/proc/self/exe"
        configuration.readerProgram = hyperDmabufReader
        configuration.fences = fences.compactMap { text in
            let (vm, policy) = Self.fences(text)
            return policy.map { (vm, $0) }
        }
        configuration.overridingLimits.fenceLimit = fenceLimit.map { $0 * 1_000_000 }
        recording.apply(to: &configuration)
        return configuration
    }

    private func write(_ service: BridgeService, _ logger: Logger) {
        guard let report else { return }
        do {
            let json = StatusReport.json(
                service.status, consumers: service.consumers, drivers: service.drivers)
            try FileWriter.write(json + "\n", to: report)
        } catch {
            logger.error("no report: \(error)")
        }
    }
}

/// Each VM may hold hundreds of descriptors; the usual soft limit of 1024 is meant for programs that
/// use select(2).
func raiseDescriptorLimit(_ logger: Logger) {
    do {
        _ = try DescriptorLimit.raise()
    } catch {
        logger.warning("the limit on open descriptors stays as it is: \(error)")
    }
}
