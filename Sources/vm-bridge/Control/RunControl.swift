import ArgumentParser
import Logging
import VMBridge

/// The control socket of `run`.
struct RunControlOptions: ParsableArguments {
    @Option(
        name: .customLong("control"),
        help: ArgumentHelp(
            "The control socket, instead of $XDG_RUNTIME_DIR/vm-bridge/control.", valueName: "PATH")
    )
    var path: String?

    @Flag(name: .customLong("no-control"), help: "Listen on no control socket.")
    var none = false

    func validate() throws {
        guard path == nil || !none else {
            throw ValidationError("--control names a socket and --no-control wants none: drop one.")
        }
    }

    /// Where the socket is to be; nil for none, which is logged when nobody asked for that.
    private func place(_ logger: Logger) -> String? {
        if none { return nil }
        if let path { return path }
        if let usual = ControlPath.usual { return usual }
        logger.notice(
            "no control socket: XDG_RUNTIME_DIR is not set; name one with --control, or say --no-control"
        )
        return nil
    }

    /// Takes the socket, before anything else is made: two daemons part here. One that a service manager
    /// has passed is taken over.
    ///
    /// - Returns: nil when there is to be no socket.
    /// - Throws: the status to end with; what is wrong has been logged.
    func reserve(_ passed: ListenDescriptors, _ logger: Logger) throws -> ControlEndpoint? {
        do throws(ControlEndpointError) {
            // What is asked for in words counts for more than a socket unit.
            if !none, path == nil,
                let descriptor = passed.take(named: ListenDescriptors.controlName)
            {
                return try ControlEndpoint(adopting: descriptor)
            }
            guard let path = place(logger) else { return nil }
            return try ControlEndpoint(path: path)
        } catch {
            logger.error("cannot start: \(error)")
            if case .taken = error { throw ExitCode(75) }
            throw ExitCode(74)
        }
    }

    /// Serves those who command the bridge.
    func serve(
        _ endpoint: consuming ControlEndpoint?, _ service: BridgeService, ring: EventRing,
        logger: Logger
    ) throws -> ControlServer? {
        guard let endpoint else { return nil }
        return try ControlServer(
            endpoint, loop: service.loop, target: service, ring: ring, logger: logger,
            program: "vm-bridge " + VMBridgeCommand.configuration.version,
            graphics: GraphicsWorkerOptions(program: "/proc/self/exe"))
    }
}

/// What is left behind when the daemon dies of an error.
enum EventDump {
    /// Writes the last events to standard error, those too that were not worth it at their time.
    static func write(_ ring: EventRing) {
        StandardError.write("vm-bridge: the last events:\n")
        for event in ring.events() {
            StandardError.write("  " + LogCommand.line(ControlReply.logged(event).value) + "\n")
        }
    }
}
