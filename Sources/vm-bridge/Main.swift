import ArgumentParser

@main
struct VMBridgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "vm-bridge")
}
