import ArgumentParser
import Glibc
import Logging
import VMBridge
import VMBridgeCore

/// Two pretend VMs through the whole path, with no VM and no GPU.
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show two pretend VMs, each a process of its own, through the whole path.",
        discussion: """
            Starts a bridge and two producers that talk to it over real sockets, shows their windows \
            for a few seconds, and prints a line for each surface. With --headless no compositor is \
            needed, and --output writes a picture of all windows.

            EXAMPLES
              vm-bridge demo --headless --output demo.png
              vm-bridge demo
            """)

    @Flag(name: .long, help: "Use no compositor.")
    var headless = false

    @Option(
        name: .long,
        help: ArgumentHelp("With --headless: where to write the picture.", valueName: "PNG"),
        completion: .file(extensions: ["png"]))
    var output = "vm-bridge-demo.png"

    @Option(name: .long, help: ArgumentHelp("How long to show it.", valueName: "SECONDS"))
    var seconds: Double = 5

    @Option(
        name: .long, help: ArgumentHelp("Memory of the buffers: memfd, udmabuf, heap, vgem."),
        completion: .list(["memfd", "udmabuf", "heap", "vgem"]))
    var buffer = "memfd"

    func validate() throws {
        guard (0.5...86_400).contains(seconds) else {
            throw ValidationError("--seconds goes from 0.5 to 86400.")
        }
    }

    func run() throws {
        let logger = StandardErrorLog.logger(level: .warning)
        if !headless, getenv("WAYLAND_DISPLAY") == nil {
            logger.error(
                "no compositor: WAYLAND_DISPLAY is not set. Run it inside a Wayland session, or with --headless."
            )
            throw ExitCode(69)
        }
        let demo: Demo
        do {
            demo = try Demo(headless: headless, buffer: buffer, logger: logger)
        } catch {
            logger.error("cannot start: \(error)")
            throw ExitCode(74)
        }
        try demo.run(seconds: seconds)
        print()
        for line in demo.summary { print(line) }
        if headless { try demo.writeSheet(to: output) }
        guard demo.hasSucceeded else {
            logger.error("not every pretend VM was shown: see the lines above")
            throw ExitCode(1)
        }
    }
}

/// The bridge of a demo and the producers that it starts.
private final class Demo {
    /// What one pretend VM is told to show.
    private struct Guest {
        var name: String
        var arguments: [String]
    }

    private static let guests = [
        Guest(
            name: "work",
            arguments: [
                "--title", "Sensors", "--app-id", "org.example.sensors", "--size", "480x300",
                "--surfaces", "2", "--rate", "60", "--colour", "1",
            ]),
        Guest(
            name: "play",
            arguments: [
                "--title", "Arcade", "--app-id", "org.example.arcade", "--size", "640x360",
                "--rate", "30", "--fence", "message", "--fence-delay", "4", "--colour", "4",
            ]),
    ]

    private let service: BridgeService
    private let directory: String
    private let buffer: String
    private let isTerminal = StandardError.isTerminal
    private var children: [ChildProcess] = []
    private var atEnd: [VMStatus] = []

    init(headless: Bool, buffer: String, logger: Logger) throws {
        raiseDescriptorLimit(logger)
        self.buffer = buffer
        directory = try TemporaryDirectory.make(prefix: "vm-bridge-demo-")
        var options = HeadlessOptions()
        options.captureDirectory = directory + "/capture"
        let directory = directory
        service = try BridgeService(
            BridgeConfiguration(
                sources: Self.guests.map {
                    SourceSpecification(vm: $0.name, socketPath: "\(directory)/\($0.name).sock")
                },
                presentation: headless ? .headless(options) : .wayland(display: nil)),
            logger: logger)
    }

    deinit { TemporaryDirectory.remove(directory) }

    /// Runs for a while, with a line of progress.
    func run(seconds: Double) throws {
        for guest in Self.guests {
            children.append(
                try ChildProcess(
                    path: "/proc/self/exe",
                    arguments: [
                        "produce", "--socket", "\(directory)/\(guest.name).sock", "--buffer",
                        buffer,
                    ] + guest.arguments, isSilent: true))
        }
        let start = service.loop.now()
        let end = start + UInt64(seconds * 1e9)
        // In place on a terminal; in a log a line a second says as much.
        let step: UInt64 = isTerminal ? 250_000_000 : 1_000_000_000
        var beat: TimerID?
        let timer = service.loop.makeTimer { [unowned self] now in
            showProgress(Double(now - start) / 1e9, of: seconds)
            if now >= end {
                // Guests leave before the bridge does, as virtual machines would.
                atEnd = service.status
                for child in children { child.end() }
                service.stop()
            } else if let beat {
                service.loop.arm(beat, at: min(now + step, end))
            }
        }
        beat = timer
        service.loop.arm(timer, after: step)
        try service.run()
        if isTerminal { StandardError.write("\n") }
    }

    private func showProgress(_ elapsed: Double, of seconds: Double) {
        let surfaces = service.status.flatMap(\.surfaces)
        let frames = surfaces.reduce(0) { $0 + $1.counters.shown }
        let line =
            "demo: \(Int(elapsed.rounded())) of \(Int(seconds.rounded())) s, "
            + "\(surfaces.count) windows, \(frames) frames"
        StandardError.write(isTerminal ? "\r\(line)  " : "\(line)\n")
    }

    var summary: [String] { StatusReport.table(atEnd) }

    /// Whether each VM's surfaces were shown.
    var hasSucceeded: Bool {
        atEnd.count == Self.guests.count
            && atEnd.allSatisfy { vm in
                !vm.surfaces.isEmpty && vm.surfaces.allSatisfy { $0.counters.shown > 10 }
            }
    }

    func writeSheet(to path: String) throws {
        let windows = service.captured.sorted { $0.key < $1.key }.map { _, window in
            ContactSheet.Window(
                title: window.title, subtitle: "frame \(window.sequence)",
                picture: window.picture, accent: Self.accent(of: window.vm))
        }
        let sheet = ContactSheet(
            windows, maximumWidth: 1600, heading: "vm-bridge demo: two VMs, no compositor")
        try PNGFile.write(sheet.draw(), to: path)
        print("picture of all windows: \(path)")
    }

    private static func accent(of vm: String) -> Colour {
        .accent(seed: vm == guests[0].name ? 1 : 4)
    }
}
