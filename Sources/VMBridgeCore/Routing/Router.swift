/// What is shown in a window's title bar and told to the compositor about it.
public struct WindowIdentity: Sendable, Equatable {
    /// "[vm] title".
    public var title: String
    /// "vm-bridge.<vm>.<guest app id>".
    public var appID: String
    /// A title and app id that are clean already.
    public init(title: String, appID: String) {
        self.title = title
        self.appID = appID
    }
}

/// Where a surface goes.
public enum Route: Sendable, Equatable {
    /// It becomes a window.
    case show(WindowIdentity)
    /// It is not shown.
    case refuse(Refusal)
}

/// Decides by VM and metadata where a surface goes. Identity comes from the host: the guest's text
/// stands behind a prefix that it cannot reach.
public struct Router: Sendable {
    /// The VM's name on this host.
    public let vmName: String

    /// Routes for one VM.
    public init(vmName: String) { self.vmName = vmName }

    /// The route of a new surface.
    public func route(role: SurfaceRole, isGraphics: Bool, metadata: SurfaceMetadata) -> Route {
        guard role == .toplevel else {
            return .refuse(
                Refusal(.unsupported, "Only the role 1 (toplevel) is part of version 1 yet."))
        }
        guard isGraphics else {
            return .refuse(
                Refusal(.notRouted, "No rule of this host takes content that is not graphics."))
        }
        return .show(identity(metadata))
    }

    /// Title and app id for the metadata as it stands.
    public func identity(_ metadata: SurfaceMetadata) -> WindowIdentity {
        let prefix = "[\(vmName)]"
        let title = metadata.title ?? ""
        let appID = CleanText.identifier(metadata.appID ?? "")
        // A dot ends the VM's part, so that "a" with the guest's "b.c" is never VM "a.b" with "c".
        let vm = String(CleanText.identifier(vmName).map { $0 == "." ? "_" : $0 })
        return WindowIdentity(
            title: CleanText.clean(title.isEmpty ? prefix : "\(prefix) \(title)"),
            appID: CleanText.clean("vm-bridge.\(vm)" + (appID.isEmpty ? "" : ".\(appID)")))
    }
}
