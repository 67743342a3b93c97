import VMBridgeCore

/// What a person asks of a surface, by the control socket.
public enum SurfaceWish: Sendable, Equatable {
    /// Its guest is asked to close it.
    case close
    /// It is not shown; its guest goes on.
    case hide
    /// A hidden surface is shown again, and a frozen one goes on.
    case show
    /// It keeps showing its last frame; later ones end unseen.
    case freeze
    /// It goes where a rule would have sent it.
    case move(RuleAction)
}
