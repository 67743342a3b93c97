/// What a rule says of the surfaces that it matches. The first rule that matches counts.
public struct Rule: Sendable, Equatable {
    /// All of it must hold; empty matches every surface.
    public var match: RuleMatch
    /// What happens then.
    public var action: RuleAction

    /// A rule from its halves.
    public init(match: RuleMatch = RuleMatch(), action: RuleAction) {
        self.match = match
        self.action = action
    }
}

/// Conditions on a surface; those that are nil hold always.
public struct RuleMatch: Sendable, Equatable {
    /// The VM's name.
    public var vm: Glob?
    /// The kind of source that the surface came by: "socket".
    public var source: String?
    /// What the surface is for.
    public var role: SurfaceRole?
    /// Whether it is graphics (true) or other data.
    public var isGraphics: Bool?
    /// The guest's routing tag; a surface without one has the empty one.
    public var tag: Glob?
    /// The guest's title, without the VM's prefix.
    public var title: Glob?
    /// The guest's app id, without the VM's prefix.
    public var appID: Glob?
    /// The buffer's size; unknown before the first frame, and then no such rule matches.
    public var size: SizeCondition?
    /// The transform of the last frame; unknown before the first, and then no such rule matches.
    public var transform: Transform?

    /// No condition.
    public init() {}
}

/// Bounds of a picture's size in pixels, both ends included.
public struct SizeCondition: Sendable, Equatable {
    /// Least and greatest width.
    public var width: ClosedRange<UInt32>
    /// Least and greatest height.
    public var height: ClosedRange<UInt32>

    /// Bounds for both sides.
    public init(width: ClosedRange<UInt32>, height: ClosedRange<UInt32>) {
        self.width = width
        self.height = height
    }
}

/// What happens to a surface.
public enum RuleAction: Sendable, Equatable {
    /// It becomes a window.
    case show(ShowProperties)
    /// It is accepted and not shown; its frames end at the hidden beat, so that its guest goes on.
    case hide
    /// It is refused with the reason `not_routed` and this sentence; nil for the usual one.
    case refuse(String?)
    /// Its buffers go to somebody else instead of a window.
    case handTo(HandTarget)
}

/// Who takes surfaces that are not shown.
public enum HandTarget: Sendable, Hashable {
    /// A configured local program.
    case consumer(String)
    /// The consumer that is connected to another VM's socket.
    case vm(String)
}

/// Fullscreen, and where.
public enum Fullscreen: Sendable, Equatable {
    /// On the output of that name (wl_output.name), or where the compositor likes when it is not there.
    case output(String)
    /// Where the compositor likes.
    case anywhere
}

/// How a window is shown.
public struct ShowProperties: Sendable, Equatable {
    /// The state that a window asks for when it is made.
    public enum Mode: Sendable, Equatable {
        /// None.
        case normal
        /// Maximized.
        case maximized
        /// Fullscreen.
        case fullscreen(Fullscreen)
    }

    /// Title; nil for "[VM] title".
    public var title: TextTemplate?
    /// What stands behind "vm-bridge.VM." in the app id; nil for the guest's own.
    public var appID: TextTemplate?
    /// State when it is made.
    public var mode = Mode.normal
    /// Whether its size follows the buffer alone: least and greatest size are the buffer's.
    public var isFixedSize = false
    /// Whether the compositor is asked to draw a frame around it.
    public var hasFrame = true

    /// A plain window.
    public init() {}
}
