import ArgumentParser
import VMBridge

/// What a running bridge counts, for a monitoring system.
struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Print what a running bridge counts as OpenMetrics text.",
        discussion: """
            One exposition on standard output (OpenMetrics 1.0), for whatever hands a program's output
            to Prometheus. Figures of windows are labelled by VM and the guest's number of the surface;
            its texts stand in vm_bridge_surface_info alone. Windows that are gone are left out.

            EXAMPLE
              vm-bridge metrics | grep stage_seconds_count

            EXIT STATUS
              0   printed   64  wrong usage   69  no bridge to ask
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The bridge's control socket, instead of the one in the runtime directory.",
            valueName: "PATH"))
    var socket: String?

    func run() throws {
        let status = try StatusSource.asking { try StatusSource(path: socket).status() }
        print(MetricsText.text(status), terminator: "")
    }
}
