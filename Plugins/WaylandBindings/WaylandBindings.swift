import Foundation
import PackagePlugin

/// Runs WaylandScanner over the protocol files that the bindings cover.
///
/// The list is here, in source, because the plugin's answer is cached: a list in a side file would
/// not be read again after a change.
@main
struct WaylandBindings: BuildToolPlugin {
    /// Output name, and where the file may be: the first that exists is taken. Relative paths are
    /// below the package.
    private static let protocols: [(name: String, candidates: [String])] = [
        ("Wayland", ["/usr/share/wayland/wayland.xml"]),
        ("XdgShell", ["/usr/share/wayland-protocols/stable/xdg-shell/xdg-shell.xml"]),
        ("Viewporter", ["/usr/share/wayland-protocols/stable/viewporter/viewporter.xml"]),
        (
            "PresentationTime",
            ["/usr/share/wayland-protocols/stable/presentation-time/presentation-time.xml"]
        ),
        (
            "LinuxDmabuf",
            [
                "/usr/share/wayland-protocols/stable/linux-dmabuf/linux-dmabuf-v1.xml",
                "/usr/share/wayland-protocols/unstable/linux-dmabuf/linux-dmabuf-unstable-v1.xml",
            ]
        ),
        (
            "LinuxExplicitSynchronization",
            [
                "/usr/share/wayland-protocols/unstable/linux-explicit-synchronization/"
                    + "linux-explicit-synchronization-unstable-v1.xml"
            ]
        ),
        (
            "XdgDecoration",
            [
                "/usr/share/wayland-protocols/unstable/xdg-decoration/"
                    + "xdg-decoration-unstable-v1.xml"
            ]
        ),
        ("LinuxDrmSyncobj", ["Protocols/linux-drm-syncobj-v1.xml"]),
        ("SecurityContext", ["Protocols/security-context-v1.xml"]),
        ("XdgToplevelTag", ["Protocols/xdg-toplevel-tag-v1.xml"]),
        // Of its tools only the name is needed: cursor-shape has a request with one.
        (
            "Tablet",
            [
                "/usr/share/wayland-protocols/stable/tablet/tablet-v2.xml",
                "/usr/share/wayland-protocols/unstable/tablet/tablet-unstable-v2.xml",
            ]
        ),
        ("CursorShape", ["Protocols/cursor-shape-v1.xml"]),
    ]

    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let scanner = try context.tool(named: "WaylandScanner").url
        let directory = context.pluginWorkDirectoryURL
        let shared = directory.appending(path: "SharedBindings.swift")
        var arguments = ["generate", shared.path]
        var inputs: [URL] = []
        var outputs = [shared]
        for (name, candidates) in Self.protocols {
            let urls = candidates.map { candidate in
                candidate.hasPrefix("/")
                    ? URL(filePath: candidate)
                    : context.package.directoryURL.appending(path: candidate)
            }
            let found = urls.first { FileManager.default.fileExists(atPath: $0.path) }
            guard let found else {
                Diagnostics.error(
                    "no protocol file for \(name): \(candidates.joined(separator: ", ")) "
                        + "(packages libwayland-dev and wayland-protocols)")
                continue
            }
            let output = directory.appending(path: "\(name).swift")
            inputs.append(found)
            outputs.append(output)
            arguments.append("\(found.path)=\(output.path)")
        }
        return [
            .buildCommand(
                displayName: "Wayland bindings", executable: scanner, arguments: arguments,
                inputFiles: inputs, outputFiles: outputs)
        ]
    }
}
