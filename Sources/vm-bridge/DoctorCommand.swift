import ArgumentParser
import VMBridge

/// What this host offers and lacks.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what this host offers, what is missing, and what to do about it.",
        discussion: """
            Looks at the kernel, device nodes, limits and the compositor, and says
            what each kind of source would get. Buffers of one page and a connection
            to the compositor are made for trial and are gone when it ends; nothing is
            changed.

            Each check has a state; what is not in order comes with advice, after "→":
              ok       in order
              note     worth knowing, nothing fails for it
              missing  not there
              broken   there, and does not work

            JSON
              One object on one line. Members may be added; while "version" is 1 none
              changes its meaning or goes away:
                version   1
                works     whether `vm-bridge run` would work, perhaps with less
                degraded  whether it would go without something
                verdict   that in one sentence
                checks    an array of objects:
                  id       "GROUP.KEY", the same from run to run
                  group    "kernel", "devices", "limits", "compositor" or "sources"
                  name     for people
                  state    "ok", "note", "missing" or "broken"
                  fatal    whether `vm-bridge run` cannot work for it
                  text     what was found; words may change
                  advice   what to do, "" when in order; words may change
                  without  what `vm-bridge run` goes without for it, or ""
                  values   an object of figures and names, by check

            EXIT STATUS
              0   vm-bridge run would work, perhaps with less
              1   it would not; the last line says why
              64  wrong usage
            """)

    @Flag(name: .long, help: "Judge for `vm-bridge run --headless`: ask no compositor.")
    var headless = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Compositor to ask, instead of WAYLAND_DISPLAY's.", valueName: "NAME"))
    var display: String?

    @Flag(name: .long, help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard !headless || display == nil else {
            throw ValidationError("--display and --headless exclude each other.")
        }
    }

    func run() throws {
        let target: DoctorTarget = headless ? .headless : .compositor(display: display)
        let report = Doctor.examine(DoctorFacts.gather(target))
        if json {
            print(DoctorJSON.text(report))
        } else {
            for line in DoctorText.lines(report, colours: TerminalColours.areWanted) { print(line) }
        }
        if !report.works { throw ExitCode(1) }
    }
}
