import ArgumentParser
import VMBridge
import VMBridgeCore

/// The status of a running bridge, asked for again and again over one connection, which is made anew when
/// it breaks.
final class StatusSource {
    /// How long an answer may take while somebody looks at a screen, milliseconds.
    private static let patience: Int32 = 2000

    private let path: String?
    private var client: ControlClient?

    /// - Parameter path: of the control socket; nil for the usual one.
    init(path: String?) { self.path = path }

    /// Asks for the status.
    func status() throws -> JSONValue {
        let client = try client ?? ControlClient(path: path, patience: Self.patience)
        self.client = nil
        guard let status = try client.ask(.status)["status"] else {
            throw ControlClientError.notUnderstood("a status without “status”")
        }
        // Only one that works is kept.
        self.client = client
        return status
    }

    /// The same with the time at which it came.
    func snapshot() throws -> TopSnapshot {
        TopSnapshot(try status(), time: MonotonicClock.now())
    }

    /// What went wrong, in the few words that a line of a screen has room for.
    static func brief(_ error: any Error) -> String {
        switch error as? ControlClientError {
        case .notRunning, .ended: "no bridge"
        case .silent: "the bridge does not answer"
        case .forbidden: "no right to ask the bridge"
        default: "\(error)"
        }
    }

    /// Does something that asks the bridge; what went wrong is said, and the command ends with its
    /// status.
    static func asking<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as ControlClientError {
            StandardError.write("vm-bridge: \(TerminalText.escaped(error.description))\n")
            throw ExitCode(ControlOptions.status(of: error))
        }
    }
}
