import ArgumentParser
import Glibc
import VMBridge
import VMBridgeCore

/// What a running bridge does, in place.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show what a running bridge does, in place.",
        discussion: """
            For each VM its buffers, memory, descriptors and refusals, and for each of its windows
            size, frames a second, superseded frames a second, refused frames, p50 and p99 of a
            frame's way in milliseconds, how its pixels come and how its fences are waited for.
            Rates and percentiles are of the time since the last picture.

            Columns that do not fit go in this order: the p99 of each stage, sync, import, ref, sup/s,
            size, p50.

            KEYS
              q quit   h help   s order: as told, fps, p99, superseded   t stage of p50 and p99
              space freeze   arrows, j, k, page up and down: scroll

            When the bridge ends, top says so and waits for it to come back.

            EXAMPLES
              vm-bridge top
              vm-bridge top --once
              vm-bridge top --json --interval 5 >> log.jsonl

            EXIT STATUS
              0   ended by q or a signal, or --once is done   64  wrong usage
              69  no bridge to ask
            """)

    @Flag(name: .long, help: "Print one table, of one interval, and end.")
    var once = false

    @Flag(name: .long, help: "Print one JSON object for each interval, until ended.")
    var json = false

    @Option(
        name: .long, help: ArgumentHelp("Time between two pictures.", valueName: "SECONDS"))
    var interval: Double = 1

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The bridge's control socket, instead of the one in the runtime directory.",
            valueName: "PATH"))
    var socket: String?

    func validate() throws {
        guard (0.1...3600).contains(interval) else {
            throw ValidationError("--interval goes from 0.1 to 3600 seconds.")
        }
        guard !once || !json else {
            throw ValidationError("--once prints a table, --json prints objects: choose one.")
        }
    }

    func run() throws {
        let source = StatusSource(path: socket)
        if json { return try StatusSource.asking { try printObjects(source) } }
        if once { return try StatusSource.asking { try printTable(source) } }
        guard let terminal = TerminalScreen() else {
            throw ValidationError(
                "top draws on a terminal, and this is none: --once prints a table, --json objects.")
        }
        guard getenv("TERM").map({ String(cString: $0) }) != "dumb" else {
            throw ValidationError("This terminal cannot be drawn upon: --once prints a table.")
        }
        // Before anything is drawn: a wrong path is said where it can be read.
        let first = try StatusSource.asking { try source.snapshot() }
        try TopRun(source, first, terminal, interval: UInt64(interval * 1e9)).run()
    }

    private func printTable(_ source: StatusSource) throws {
        let earlier = try source.snapshot()
        sleep(interval)
        let model = TopModel(earlier, try source.snapshot())
        let isTerminal = isatty(STDOUT_FILENO) == 1
        let width = isTerminal ? TerminalScreen()?.size.columns ?? 80 : 120
        for line in TopScreen.table(model, width: width, stage: .total) {
            print(TopPaint.line(line, hasColours: TerminalColours.areWanted))
        }
    }

    private func printObjects(_ source: StatusSource) throws {
        var earlier = try source.snapshot()
        while true {
            sleep(interval)
            let now = try source.snapshot()
            guard StandardOutput.write(line: TopModel(earlier, now).json) else { return }
            earlier = now
        }
    }

    private func sleep(_ seconds: Double) {
        usleep(UInt32(min(seconds, 3600) * 1e6))
    }
}

/// `top` on a terminal.
private final class TopRun: SignalHandler {
    private let source: StatusSource
    private let terminal: TerminalScreen
    private let loop: EventLoop
    private let interval: UInt64
    private let hasColours = TerminalColours.areWanted
    private var state = TopState()
    private var keys = TopKeyDecoder()
    private var earlier: TopSnapshot?
    private var now: TopSnapshot
    private var lastAnswer: UInt64
    private var trouble: String?
    private var timer: TimerID?
    private var isOnScreen = false

    init(
        _ source: StatusSource, _ first: TopSnapshot, _ terminal: TerminalScreen, interval: UInt64
    ) throws {
        self.source = source
        self.terminal = terminal
        self.interval = interval
        now = first
        lastAnswer = first.time
        loop = try EventLoop()
    }

    func run() throws {
        try loop.watchSignals([SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH], self)
        _ = try loop.register(terminal.input, .read) { [unowned self] readiness in
            takeKeys(readiness)
        }
        let timer = loop.makeTimer { [unowned self] _ in beat() }
        self.timer = timer
        defer { leave() }
        enter()
        // Rates need a second report: soon, so that nobody looks at dashes for long.
        loop.arm(timer, after: min(interval, 250_000_000))
        try loop.run()
    }

    // MARK: The screen

    private func enter() {
        guard !isOnScreen else { return draw() }
        isOnScreen = true
        terminal.enter(with: TopPaint.enter)
        draw()
    }

    private func leave() {
        guard isOnScreen else { return }
        isOnScreen = false
        terminal.leave(with: TopPaint.leave)
    }

    private func draw() {
        guard isOnScreen else { return }
        let (columns, rows) = terminal.size
        let model = TopModel(earlier, now, sort: state.sort, stage: state.stage)
        let lines = TopScreen.lines(
            model, &state, width: columns, height: rows,
            notice: trouble.map { TopNotice($0, isBad: true) })
        let text = TopPaint.screen(lines, width: columns, height: rows, hasColours: hasColours)
        // Nobody looks any more.
        if !terminal.write(text) { loop.stop() }
    }

    // MARK: What happens

    private func beat() {
        if let timer { loop.arm(timer, after: interval) }
        do {
            let answer = try source.snapshot()
            trouble = nil
            lastAnswer = answer.time
            // A frozen picture compares what it compared.
            guard !state.isFrozen else { return draw() }
            earlier = now
            now = answer
        } catch {
            let seconds = (loop.now() - lastAnswer) / 1_000_000_000
            trouble = "\(DisplayText.clean(StatusSource.brief(error))), waiting for \(seconds) s"
        }
        draw()
    }

    private func takeKeys(_ readiness: Readiness) {
        let bytes = terminal.read()
        guard !bytes.isEmpty else { return loop.stop() }
        var isChanged = false
        for byte in bytes {
            guard let key = keys.take(byte) else { continue }
            switch state.press(key) {
            case .none: break
            case .draw: isChanged = true
            case .quit: return loop.stop()
            }
        }
        if isChanged { draw() }
    }

    func signalArrived(_ number: Int32, sender: Int32) {
        switch number {
        case SIGWINCH: draw()
        case SIGCONT: enter()
        case SIGTSTP:
            leave()
            // The whole program stops here, and goes on here.
            kill(getpid(), SIGSTOP)
            enter()
        default: loop.stop()
        }
    }
}
