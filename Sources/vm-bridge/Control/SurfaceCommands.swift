import ArgumentParser
import VMBridge
import VMBridgeCore

/// A command that tells surfaces one thing.
protocol SurfaceCommand: ParsableCommand {
    static var verb: SurfaceVerb { get }
    /// What was done to surfaces, behind their number.
    static var participle: String { get }
    var control: ControlOptions { get }
    var surfaces: SurfaceOptions { get }
}

extension SurfaceCommand {
    static func configured(_ abstract: String, _ discussion: String) -> CommandConfiguration {
        CommandConfiguration(
            commandName: verb.rawValue, abstract: abstract,
            discussion: discussion + "\n\n" + ControlOptions.exitStatus)
    }

    func run() throws {
        try control.ask(.verb(Self.verb, surfaces.selector)) {
            [SurfaceCount.words($0, Self.participle)]
        }
    }
}

/// How many surfaces something was done to.
enum SurfaceCount {
    static func words(_ reply: JSONValue, _ participle: String) -> String {
        let count = reply["surfaces"]?.count ?? 0
        return "\(count) \(count == 1 ? "surface" : "surfaces") \(participle)"
    }
}

/// Asks guests to close surfaces.
struct CloseCommand: SurfaceCommand {
    static let verb = SurfaceVerb.close
    static let participle = "asked to close"
    static let configuration = configured(
        "Ask a VM to close its surfaces.",
        """
        What its guest makes of that is its own affair, as with the button of a window. `hide` takes \
        a surface out of sight whatever the guest does.
        """)

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions
}

/// Takes surfaces out of sight.
struct HideCommand: SurfaceCommand {
    static let verb = SurfaceVerb.hide
    static let participle = "hidden"
    static let configuration = configured(
        "Take a VM's surfaces out of sight.",
        "Their guest goes on; `show` brings them back. It holds whatever the rules say.")

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions
}

/// Shows surfaces again.
struct ShowCommand: SurfaceCommand {
    static let verb = SurfaceVerb.show
    static let participle = "shown"
    static let configuration = configured(
        "Show a VM's surfaces again.",
        """
        Takes back `hide`, `freeze` and `move`; surfaces that the rules do not show are shown all the \
        same.
        """)

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions
}

/// Holds surfaces at their last frame.
struct FreezeCommand: SurfaceCommand {
    static let verb = SurfaceVerb.freeze
    static let participle = "frozen"
    static let configuration = configured(
        "Hold a VM's surfaces at their last frame.",
        "Later frames end unseen; `thaw` lets them go on.")

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions
}

/// Lets frozen surfaces go on.
struct ThawCommand: SurfaceCommand {
    static let verb = SurfaceVerb.thaw
    static let participle = "thawed"
    static let configuration = configured(
        "Let a VM's frozen surfaces go on.", "Whether they are shown stays as it is.")

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions
}

/// Sends surfaces where a rule would.
struct MoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Send a VM's surfaces where a rule would send them.",
        discussion: """
            The action is written as in a rule of the configuration, without braces. It holds for the
            surfaces that are there now, whatever the rules say, until `show` or another `move`.

            EXAMPLES
              vm-bridge move --vm work --surface 1 hide
              vm-bridge move --vm work show fullscreen DP-1
              vm-bridge move --vm work hand-to consumer recorder

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var surfaces: SurfaceOptions
    @OptionGroup var control: ControlOptions

    @Argument(help: ArgumentHelp("An action in the words of a rule.", valueName: "action"))
    var action: [String]

    func run() throws {
        try control.ask(.move(action, surfaces.selector)) { [SurfaceCount.words($0, "moved")] }
    }
}

/// Reads the configuration again.
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Let the running bridge read its configuration again.",
        discussion: """
            What can change does so at once; what cannot is said. A file with an error changes nothing.

            \(ControlOptions.exitStatus)
            """)

    @OptionGroup var control: ControlOptions

    func run() throws {
        try control.ask(.reload) { reply in
            let notes = (reply["notes"]?.elements ?? []).compactMap(\.text)
            return ["configuration read again"] + notes.map(TerminalText.escaped)
        }
    }
}
