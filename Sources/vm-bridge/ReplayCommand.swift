import ArgumentParser
import Glibc
import Logging
import VMBridge
import VMBridgeCore

/// Plays a recording.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Play a recording of `vm-bridge run --record` as its guest had.",
        discussion: """
            Sends what a producer had sent to a bridge again, with its pixels as far as they were recorded, and \
            compares what is refused. With --socket it plays into a running bridge; else it makes a \
            bridge of its own, headless or on the compositor that WAYLAND_DISPLAY names.

            EXAMPLES
              vm-bridge replay --list recordings/work-1.vmbrec
              vm-bridge replay --headless --capture out recordings/work-1.vmbrec
              vm-bridge replay --socket a.sock --speed max recordings/work-1.vmbrec

            EXIT STATUS
              0 played, and the same was refused   1 played, and something else was refused
              64 wrong usage                       65 the file is no recording
              69 no compositor, cannot connect     70 memory or a device that is needed is missing
              74 a socket or file cannot be made
            """)

    @Argument(help: ArgumentHelp("The recording.", valueName: "FILE"))
    var file: String

    @Option(
        name: .long,
        help: ArgumentHelp("A running bridge's socket to play into.", valueName: "PATH"))
    var socket: String?

    @Flag(name: .long, help: "Make a bridge that needs no compositor.")
    var headless = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With --headless: write each surface's last frame as PNG and a log of commits there.",
            valueName: "DIR"))
    var capture: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How fast: 2 is twice as fast as recorded, max as fast as the bridge takes it.",
            valueName: "X|max"))
    var speed = "1"

    @Flag(
        name: .long,
        help: "Say what comes before each frame, and wait for a line on standard input.")
    var step = false

    @Option(
        name: .long,
        help: ArgumentHelp("Show frames from then on.", valueName: "SECONDS"))
    var from: Double?

    @Option(name: .long, help: ArgumentHelp("End there.", valueName: "SECONDS"))
    var to: Double?

    @Option(
        name: .long,
        help: ArgumentHelp("What stands for dma-bufs: memfd or udmabuf.", valueName: "kind"))
    var buffer: ReplayBuffers = .memfd

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What stands for fences: message, told when the recorded one was over, or none.",
            valueName: "kind"))
    var fence: ReplayFences = .message

    @Option(
        name: .long, help: ArgumentHelp("The bridge's limit on fences.", valueName: "MILLISECONDS"))
    var fenceLimit: UInt64 = 2000

    @Flag(name: .long, help: "Print what is in the file and end.")
    var list = false

    @Flag(name: .long, help: "With --list: an object of JSON on each line; else one at the end.")
    var json = false

    @Flag(
        name: .shortAndLong, help: "Say each chunk that is played; with --list, list all of them.")
    var verbose = false

    func validate() throws {
        guard parsedSpeed != nil else {
            throw ValidationError("--speed goes from 0.001 to 1000, or is “max”.")
        }
        guard socket == nil || !headless && capture == nil else {
            throw ValidationError(
                "--socket plays into another bridge: --headless and --capture are its own.")
        }
        guard headless || capture == nil else {
            throw ValidationError("--capture needs --headless: a compositor's windows are its own.")
        }
        for (name, value) in [("--from", from), ("--to", to)] {
            guard let value else { continue }
            guard (0...1e9).contains(value) else {
                throw ValidationError("\(name) is in seconds from the recording's start.")
            }
        }
        guard (from ?? 0) <= (to ?? 1e9) else {
            throw ValidationError("--from comes before --to.")
        }
        guard (1...600_000).contains(fenceLimit) else {
            throw ValidationError("--fence-limit goes from 1 to 600000 milliseconds.")
        }
    }

    /// Nil in it: as fast as it goes. Nil: no speed.
    private var parsedSpeed: Double?? {
        if speed == "max" { return .some(nil) }
        guard let number = Double(speed), (0.001...1000).contains(number) else { return nil }
        return .some(number)
    }

    func run() throws {
        let logger = StandardErrorLog.logger(level: .warning)
        let reader: RecordingReader<ReadableFile>
        do {
            reader = try RecordingReader(try ReadableFile(path: file))
        } catch {
            logger.error("\(file): \(error)")
            throw ExitCode(65)
        }
        guard !list else {
            return RecordingListing.list(
                reader, range: nanoseconds(from)...(to.map { nanoseconds($0) } ?? .max),
                isJSON: json, isComplete: verbose
            ) { print($0) }
        }
        let replay: Replay
        do {
            replay = try Replay(self, reader, logger)
        } catch let error as ExitCode {
            throw error
        } catch {
            logger.error("cannot start: \(error)")
            throw ExitCode(74)
        }
        try replay.run()
        let summary = replay.summary
        if json {
            print(summary.json)
        } else {
            for line in summary.lines { print(line) }
        }
        switch summary.end {
        case .done, nil: break
        case .stopped: return
        case .lost(let why):
            logger.error("\(why)")
            throw ExitCode(69)
        case .missing(let what):
            logger.error("\(what)")
            throw ExitCode(70)
        }
        guard summary.isPartial || summary.areRefusalsSame else { throw ExitCode(1) }
    }

    fileprivate func nanoseconds(_ seconds: Double?) -> UInt64 { UInt64((seconds ?? 0) * 1e9) }

    fileprivate func options(_ socket: String) -> ReplayOptions {
        var options = ReplayOptions(socketPath: socket)
        options.speed = parsedSpeed ?? 1
        options.isStepwise = step
        options.from = nanoseconds(from)
        options.to = to.map { nanoseconds($0) } ?? .max
        options.buffers = buffer
        options.fences = fence
        options.isVerbose = verbose
        // Its answer to a fence that never ends comes only then.
        options.patience = max(options.patience, (fenceLimit + 2000) * 1_000_000)
        return options
    }
}

extension ReplayBuffers: ExpressibleByArgument {}
extension ReplayFences: ExpressibleByArgument {}

/// A replay and, unless it plays into another one, a bridge on the same loop.
private final class Replay {
    private let loop: EventLoop
    private let service: BridgeService?
    private let replayer: Replayer<ReadableFile>
    private let directory: String?
    private var closing: TimerID?
    private var patience = 50

    init(
        _ command: ReplayCommand, _ reader: RecordingReader<ReadableFile>, _ logger: Logger
    ) throws {
        let path: String
        if let socket = command.socket {
            path = socket
            service = nil
            directory = nil
            loop = try EventLoop()
        } else {
            guard command.headless || getenv("WAYLAND_DISPLAY") != nil else {
                logger.error(
                    "no compositor: WAYLAND_DISPLAY is not set. Use --headless, or --socket of a running bridge."
                )
                throw ExitCode(69)
            }
            raiseDescriptorLimit(logger)
            let directory = try TemporaryDirectory.make(prefix: "vm-bridge-replay-")
            self.directory = directory
            path = directory + "/replay.sock"
            var headless = HeadlessOptions()
            headless.captureDirectory = command.capture
            let name = CleanText.identifier(reader.about.vm, limit: 64)
            var configuration = BridgeConfiguration(
                sources: [
                    SourceSpecification(vm: name.isEmpty ? "replay" : name, socketPath: path)
                ],
                presentation: command.headless ? .headless(headless) : .wayland(display: nil))
            configuration.graphicsProgram = "/proc/self/exe"
            configuration.overridingLimits.fenceLimit = command.fenceLimit * 1_000_000
            let service = try BridgeService(configuration, logger: logger)
            self.service = service
            loop = service.loop
        }
        let lines = command.step ? LineInput(loop: loop) : nil
        replayer = Replayer(reader, options: command.options(path), loop: loop, lines: lines)
        let isJSON = command.json
        replayer.onTell = { line in
            if isJSON { StandardError.write(line + "\n") } else { print(line) }
            fflush(nil)
        }
        closing = loop.makeTimer { [unowned self] _ in self.close() }
        replayer.onEnd = { [unowned self] in self.close() }
    }

    deinit {
        if let directory { TemporaryDirectory.remove(directory) }
    }

    var summary: ReplaySummary { replayer.summary }

    func run() throws {
        replayer.start()
        if let service {
            try service.run()
            if replayer.summary.end == nil { replayer.stop() }
        } else if replayer.summary.end == nil {
            try loop.run()
        }
    }

    /// Our own bridge is left to see that its producer is gone: then the pictures are taken.
    private func close() {
        patience -= 1
        guard let service, service.status.contains(where: \.isConnected), patience > 0 else {
            return service?.stop() ?? loop.stop()
        }
        if let closing { loop.arm(closing, after: 10_000_000) }
    }
}
