import ArgumentParser
import Glibc
import VMBridge
import VMBridgeCore

/// A picture of what a surface shows.
struct CaptureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture",
        abstract: "Write the last frame of a surface as PNG.",
        discussion: """
            The picture is the frame that was committed last, as its window shows it. It is read beside
            the frames, so nothing is held up; if the guest got its buffer back meanwhile, the picture
            may be of two frames, and that is said.

            EXAMPLES
              vm-bridge capture --vm work --surface 1 --output work.png
              vm-bridge capture --all --output - | feh -

            \(ControlOptions.exitStatus)
            """)

    @Option(
        name: .long, help: ArgumentHelp("The VM.", valueName: "NAME"),
        completion: ControlOptions.vmNames)
    var vm: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "One surface of it, by its number in `vm-bridge list`; may be left out where there is only one.",
            valueName: "NUMBER"))
    var surface: UInt64?

    @Flag(name: .long, help: "One picture of all surfaces, of --vm or of every VM.")
    var all = false

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The file to write; - is standard output.", valueName: "FILE"),
        completion: .file(extensions: ["png"]))
    var output: String

    @OptionGroup var control: ControlOptions

    func validate() throws {
        guard all || vm != nil else {
            throw ValidationError("--vm names whose surface it is; --all takes those of all VMs.")
        }
        guard !all || surface == nil else {
            throw ValidationError("--all and --surface exclude each other.")
        }
        guard output != "-" || !control.json else {
            throw ValidationError("--json and a picture on standard output exclude each other.")
        }
    }

    func run() throws {
        let request =
            all
            ? ControlRequest.captureAll(vm: vm)
            : .capture(vm: vm ?? "", surface: surface.map { SurfaceKey($0) })
        try control.ask { client in
            let file = try scratchFile()
            let reply = try client.ask(request, descriptor: file.number)
            try write(file)
            report(reply)
        }
    }

    private func scratchFile() throws -> ScratchFile {
        do throws(KernelError) {
            return try ScratchFile(named: "capture")
        } catch { throw fail("\(error)") }
    }

    /// Only a whole picture replaces a file.
    private func write(_ file: borrowing ScratchFile) throws {
        guard let bytes = file.contents() else { throw fail("the picture cannot be read") }
        if output == "-" {
            guard StandardOutput.write(bytes) else { throw fail("standard output is closed") }
            return
        }
        do throws(KernelError) {
            let writer = try FileWriter(path: output)
            guard writer.write(bytes) else { throw KernelError("write", errno, subject: output) }
        } catch { throw fail("\(error)") }
    }

    private func report(_ reply: JSONValue) {
        if control.json { return control.write([reply.line]) }
        for picture in reply["pictures"]?.elements ?? [] {
            let name = "\(picture["vm"]?.text ?? ""), surface \(picture["surface"]?.count ?? 0)"
            if let trouble = picture["trouble"]?.text {
                StandardError.write(
                    "vm-bridge: no picture of \(name): \(TerminalText.escaped(trouble))\n")
            } else if picture["stable"]?.truth != true {
                StandardError.write(
                    "vm-bridge: \(name): the guest may have drawn into it while it was read\n")
            }
        }
    }

    private func fail(_ why: String) -> ExitCode {
        StandardError.write("vm-bridge: \(why)\n")
        return ExitCode(74)
    }
}
