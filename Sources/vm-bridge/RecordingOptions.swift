import ArgumentParser
import VMBridge

/// What `run` writes down beside showing it.
struct RecordingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Record each connection of each VM into a file of its own there (docs/recording.md). What guests show is in these files.",
            valueName: "DIR"))
    var record: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With --record: how much of the pixels is kept: none, sampled (of each surface the first frame and every 30th), whole.",
            valueName: "none|sampled|whole"))
    var recordContent: RecordedContent = .none

    @Option(
        name: .long,
        help: ArgumentHelp("With --record: most bytes of all files of one VM.", valueName: "BYTES"))
    var recordLimit: UInt64 = 1 << 30

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Write a trace of all frames for Perfetto (https://ui.perfetto.dev).",
            valueName: "FILE"))
    var trace: String?

    @Option(
        name: .long,
        help: ArgumentHelp("With --trace: most bytes of the file.", valueName: "BYTES"))
    var traceLimit: UInt64 = 256 << 20

    func validate() throws {
        guard record != nil || recordContent == .none else {
            throw ValidationError("--record-content needs --record DIR.")
        }
        guard recordLimit >= 4096 else {
            throw ValidationError("--record-limit is 4096 bytes at least.")
        }
        guard traceLimit >= 4096 else {
            throw ValidationError("--trace-limit is 4096 bytes at least.")
        }
    }

    /// Puts them into a bridge's configuration.
    func apply(to configuration: inout BridgeConfiguration) {
        if let record {
            var settings = RecordingSettings(directory: record)
            settings.content = recordContent
            settings.limit = recordLimit
            configuration.recording = settings
        }
        if let trace {
            var settings = TraceSettings(path: trace)
            settings.limit = traceLimit
            configuration.trace = settings
        }
    }
}

extension RecordedContent: ExpressibleByArgument {}
