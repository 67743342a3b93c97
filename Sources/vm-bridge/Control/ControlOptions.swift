import ArgumentParser
import VMBridge
import VMBridgeCore

/// Which bridge is asked, and how its answer is printed: the same for every command that asks one.
struct ControlOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The bridge's control socket, instead of the usual one.", valueName: "PATH"),
        completion: .file())
    var socket: String?

    @Flag(name: .long, help: "Print the bridge's answers as they come: a JSON object a line.")
    var json = false

    /// What a shell offers for a VM: those of the bridge that usually runs. The names have no blanks.
    static let vmNames = CompletionKind.shellCommand(
        "vm-bridge list 2>/dev/null | awk 'NR > 1 { print $1 }' | sort -u")

    /// The statuses that all of them may end with, for their help.
    static let exitStatus = """
        EXIT STATUS
          0   done                              1   the bridge said no, and why
          64  wrong usage                       69  no bridge is running there
          74  a file cannot be written          76  the bridge cannot be understood
          77  no right to ask this bridge
        """

    /// Connects, and does something with the connection. Says what went wrong and ends with its status.
    func ask(_ body: (ControlClient) throws -> Void) throws {
        do {
            try body(try ControlClient(path: socket))
        } catch let error as ControlClientError {
            StandardError.write("vm-bridge: \(TerminalText.escaped(error.description))\n")
            throw ExitCode(Self.status(of: error))
        }
    }

    /// Asks one thing and prints what came of it.
    func ask(_ request: ControlRequest, print: (JSONValue) -> [String]) throws {
        try ask { client in
            let reply = try client.ask(request)
            write(json ? [reply.line] : print(reply))
        }
    }

    /// Prints lines; ends quietly when nobody reads them any more.
    func write(_ lines: [String]) {
        for line in lines where !StandardOutput.write(line: line) { Self.exit() }
    }

    static func status(of error: ControlClientError) -> Int32 {
        switch error {
        case .refused(code: ControlFault.Code.forbidden.rawValue, _), .forbidden: 77
        case .refused: 1
        case .notRunning, .ended: 69
        case .notUnderstood, .silent: 76
        case .kernel: 74
        }
    }
}

/// Surfaces of one VM.
struct SurfaceOptions: ParsableArguments {
    @Option(
        name: .long, help: ArgumentHelp("The VM.", valueName: "NAME"),
        completion: ControlOptions.vmNames)
    var vm: String

    @Option(
        name: .long,
        help: ArgumentHelp(
            "One surface of it, by its number in `vm-bridge list`; without it all are meant.",
            valueName: "NUMBER"))
    var surface: UInt64?

    var selector: SurfaceSelector {
        SurfaceSelector(vm: vm, surface: surface.map { SurfaceKey($0) })
    }
}
