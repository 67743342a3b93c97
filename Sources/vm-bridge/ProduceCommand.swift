import ArgumentParser
import Glibc
import VMBridge
import VMBridgeCore

/// The reference producer as a command.
struct ProduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce",
        abstract: "Play the guest: send test frames to a bridge's socket.",
        discussion: """
            Connects to a socket of `vm-bridge run --source VM=socket:PATH` (or of any bridge that \
            speaks the source protocol, version 1) as the driver in a virtual machine would, opens \
            windows and sends frames into them: a moving test pattern that carries its frame number, \
            or a picture. At the end it prints what became of the frames.

            EXAMPLES
              vm-bridge produce --socket /run/vm-bridge/a.sock
              vm-bridge produce --socket a.sock --surfaces 2 --frames 120 --colour green
              vm-bridge produce --socket a.sock --buffer udmabuf --fence sync_file
              vm-bridge produce --socket a.sock --pattern rows --overwrite --rate 60
              vm-bridge produce --socket a.sock --input --cursor quarters
              vm-bridge produce --socket a.sock --misbehave short-stride
              vm-bridge produce --misbehave list

            EXIT STATUS
              0 done; with --misbehave: got exactly the expected answer
              1 a misbehaviour was not answered as expected
              64 wrong usage                   65 refused by the bridge
              69 cannot connect, or lost it    70 a device that is needed is missing
            """)

    @OptionGroup(title: "Connection") var connection: ProduceConnectionOptions
    @OptionGroup(title: "Windows and frames") var frames: ProduceFrameOptions
    @OptionGroup(title: "Buffers and fences") var buffers: ProduceBufferOptions
    @OptionGroup(title: "Output") var output: ProduceOutputOptions

    @Option(
        help: ArgumentHelp(
            "Break one rule on purpose, amid normal frames, and check the bridge's answer; 'list' prints the kinds.",
            valueName: "kind"))
    var misbehave: String?

    func validate() throws {
        if misbehave == "list" { return }
        guard connection.socket != nil else {
            throw ValidationError("--socket PATH is missing: where does the bridge listen?")
        }
        if let misbehave, Misbehaviour(rawValue: misbehave) == nil {
            throw ValidationError(
                "No misbehaviour is called '\(misbehave)'; --misbehave list prints those there are."
            )
        }
        if misbehave != nil, buffers.buffer.isHosts {
            throw ValidationError(
                "--misbehave makes buffers of its own: use another --buffer than host.")
        }
        if output.json, output.verbose {
            throw ValidationError("--json prints one line alone: leave --verbose out.")
        }
        _ = try buffers.fenceOptions()
        _ = try frames.seed()
        if buffers.buffer == .memfd, frames.format.format.planeCount > 1 {
            throw ValidationError(
                "\(frames.format.format) has several planes, and a memfd buffer has one: use --buffer udmabuf."
            )
        }
    }

    func run() throws {
        if misbehave == "list" {
            for kind in Misbehaviour.allCases {
                let padding = String(repeating: " ", count: max(1, 24 - kind.rawValue.count))
                print("\(kind.rawValue)\(padding)\(kind.summary)")
            }
            return
        }
        var options = try producerOptions()
        // The normal frames around a misbehaviour go on until it is judged.
        if misbehave != nil { options.frames = nil }
        let loop = try EventLoop()
        let isJSON = output.json
        let isAwaited = options.wantsInput
        let producer = Producer(options: options, loop: loop) { line in
            if isJSON { StandardError.write(line + "\n") } else { print(line) }
            // Whoever reads input wants each line when it happens, also by a pipe.
            if isAwaited { fflush(nil) }
        }
        let signals = StopSignals { producer.stop() }
        try loop.watchSignals([SIGTERM, SIGINT], signals)
        if let misbehave, let kind = Misbehaviour(rawValue: misbehave) {
            try run(kind, producer, loop)
        } else {
            try run(producer, loop)
        }
    }

    private func run(_ producer: Producer, _ loop: EventLoop) throws {
        producer.onEnd = { loop.stop() }
        producer.start()
        if producer.end == nil { try loop.run() }
        let end = producer.end ?? .done
        if output.json {
            print(producer.summary.json(end))
        } else if producer.welcome != nil {
            for line in [producer.summary.line] + producer.summary.details { print(line) }
        }
        guard end != .done else { return }
        StandardError.write("vm-bridge produce: \(end)\n")
        throw ExitCode(end.exitCode)
    }

    private func run(_ kind: Misbehaviour, _ producer: Producer, _ loop: EventLoop) throws {
        let misbehaver = Misbehaver(kind, producer: producer)
        misbehaver.onEnd = { loop.stop() }
        misbehaver.start()
        if misbehaver.verdict == nil { try loop.run() }
        switch misbehaver.verdict {
        case .asExpected(let sentence): print("\(kind.rawValue): as expected: \(sentence)")
        case .otherwise(let sentence):
            StandardError.write("vm-bridge produce: \(kind.rawValue): \(sentence)\n")
            throw ExitCode(1)
        case .notTried(let end):
            StandardError.write("vm-bridge produce: \(kind.rawValue) was not tried: \(end)\n")
            throw ExitCode(end == .done ? 1 : end.exitCode)
        case nil: throw ExitCode(1)
        }
    }

    private func producerOptions() throws -> ProducerOptions {
        var options = ProducerOptions(socketPath: connection.socket ?? "")
        options.connectPatience = UInt64(connection.wait * 1e9)
        try frames.apply(to: &options)
        try buffers.apply(to: &options)
        options.isVerbose = output.verbose
        return options
    }
}

/// Ends the producer in order when the process is told to stop.
private final class StopSignals: SignalHandler {
    private let stop: () -> Void
    init(_ stop: @escaping () -> Void) { self.stop = stop }
    func signalArrived(_ number: Int32, sender: Int32) { stop() }
}
