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

/// What is known of a surface when it is routed.
public struct SurfaceFacts: Sendable, Equatable {
    /// What it is for.
    public var role: SurfaceRole
    /// Whether it is graphics or other data.
    public var isGraphics: Bool
    /// What it says about itself.
    public var metadata: SurfaceMetadata
    /// Size of its last frame's buffer; nil before the first.
    public var size: Size?
    /// Transform of its last frame; nil before the first.
    public var transform: Transform?

    /// A surface without a frame.
    public init(role: SurfaceRole, isGraphics: Bool = true, metadata: SurfaceMetadata) {
        self.role = role
        self.isGraphics = isGraphics
        self.metadata = metadata
    }
}

/// Where a surface goes.
public enum Route: Sendable, Equatable {
    /// It becomes a window.
    case show(WindowIdentity, ShowProperties)
    /// It is accepted and not shown.
    case hide(WindowIdentity)
    /// It is refused.
    case refuse(Refusal)
    /// Its buffers go to somebody else.
    case handTo(HandTarget, WindowIdentity)
}

/// Decides by VM and metadata where a surface goes. Identity comes from the host: the guest's text
/// stands where the host's rules put it, by default behind a prefix that it cannot reach.
public struct Router: Sendable {
    /// The VM's name on this host.
    public let vmName: String
    /// What stands in front of titles.
    public let label: String
    /// The kind of the VM's source.
    public let sourceKind: String
    /// The first that matches counts.
    public let rules: [Rule]
    /// How windows are shown that no rule is about.
    public let unruled: ShowProperties

    /// Routes for one VM by a configuration.
    public init(
        vmName: String, sourceKind: String = "socket",
        configuration: Configuration = Configuration()
    ) {
        self.vmName = vmName
        self.sourceKind = sourceKind
        rules = configuration.rules
        let vm = configuration.vm(vmName)
        label = vm.label ?? vmName
        var unruled = ShowProperties()
        if let fullscreen = vm.fullscreen { unruled.mode = .fullscreen(fullscreen) }
        self.unruled = unruled
    }

    /// Whether a frame's size or transform can change a route.
    public var looksAtFrames: Bool {
        rules.contains { $0.match.size != nil || $0.match.transform != nil }
    }

    /// The route of a surface.
    ///
    /// - Parameter wish: stands in the place of whatever rule matches; nil for the rules.
    public func route(_ facts: SurfaceFacts, wish: RuleAction? = nil) -> Route {
        guard facts.role == .toplevel else {
            // A pointer's image goes with the surface that it is for.
            guard facts.role == .cursor else {
                return .refuse(
                    Refusal(
                        .unsupported,
                        "Only the roles 1 (toplevel) and 4 (cursor) are part of version 1 yet."))
            }
            return shown(facts, ShowProperties())
        }
        let action = wish ?? rules.first { matches($0.match, facts) }?.action
        switch action {
        case .show(let properties): return shown(facts, properties)
        case .hide: return .hide(identity(facts.metadata))
        case .handTo(let target): return .handTo(target, identity(facts.metadata))
        case .refuse(let sentence):
            return .refuse(Refusal(.notRouted, sentence ?? "A rule of this host refuses it."))
        case nil: return shown(facts, unruled)
        }
    }

    private func shown(_ facts: SurfaceFacts, _ properties: ShowProperties) -> Route {
        guard facts.isGraphics else {
            return .refuse(
                Refusal(.notRouted, "No rule of this host takes content that is not graphics."))
        }
        return .show(identity(facts.metadata, properties), properties)
    }

    private func matches(_ match: RuleMatch, _ facts: SurfaceFacts) -> Bool {
        func holds(_ glob: Glob?, _ text: String?) -> Bool { glob?.matches(text ?? "") ?? true }
        if let size = match.size {
            guard let known = facts.size, size.width.contains(known.width),
                size.height.contains(known.height)
            else { return false }
        }
        if let transform = match.transform, transform != facts.transform { return false }
        if let source = match.source, source != sourceKind { return false }
        if let role = match.role, role != facts.role { return false }
        if let isGraphics = match.isGraphics, isGraphics != facts.isGraphics { return false }
        return holds(match.vm, vmName) && holds(match.tag, facts.metadata.consumerTag)
            && holds(match.title, facts.metadata.title) && holds(match.appID, facts.metadata.appID)
    }

    /// Title and app id for the metadata as it stands.
    public func identity(
        _ metadata: SurfaceMetadata, _ properties: ShowProperties = ShowProperties()
    ) -> WindowIdentity {
        func value(_ place: TextTemplate.Place) -> String? {
            switch place {
            case .vm: vmName
            case .label: label
            case .title: metadata.title
            case .appID: metadata.appID
            case .tag: metadata.consumerTag
            }
        }
        let prefix = "[\(label)]"
        let title = metadata.title ?? ""
        let shown =
            properties.title?.filled(value) ?? (title.isEmpty ? prefix : "\(prefix) \(title)")
        let appID = CleanText.identifier(properties.appID?.filled(value) ?? metadata.appID ?? "")
        return WindowIdentity(
            title: CleanText.clean(shown),
            appID: CleanText.clean(
                "vm-bridge.\(Self.identityName(vmName))" + (appID.isEmpty ? "" : ".\(appID)")))
    }

    /// A VM's name as a part of app ids. Two VMs must not share one: the reader of configurations sees
    /// to that.
    public static func identityName(_ vmName: String) -> String {
        // A dot ends the VM's part, so that "a" with the guest's "b.c" is never VM "a.b" with "c".
        String(CleanText.identifier(vmName).map { $0 == "." ? "_" : $0 })
    }
}
