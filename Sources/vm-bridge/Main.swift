import ArgumentParser

@main
struct VMBridgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vm-bridge",
        abstract: "Shows the surfaces of virtual machines as windows on a Wayland desk.",
        discussion: """
            Guests hand over dma-bufs or memfds with metadata and fences; vm-bridge imports them \
            without a copy, shows each surface as a window and reports releases, sizes and timing back.
            """,
        version: "0.1.0",
        subcommands: [
            RunCommand.self, DemoCommand.self, ProduceCommand.self, ReplayCommand.self,
            DoctorCommand.self,
            CheckConfigCommand.self,
            GraphicsWorkerCommand.self, HyperReaderCommand.self,
            TopCommand.self, MetricsCommand.self,
            StatusCommand.self, ListCommand.self, WatchCommand.self, CloseCommand.self,
            HideCommand.self, ShowCommand.self, FreezeCommand.self, ThawCommand.self,
            MoveCommand.self, CaptureCommand.self, ReloadCommand.self, LogCommand.self,
        ])
}
