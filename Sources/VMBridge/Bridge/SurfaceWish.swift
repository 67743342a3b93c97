import VMBridgeCore

/// What a person asks of a surface, by the control socket. `hide`, `freeze` and `move` stand above all
/// rules, also those of a reload, until they are taken back or the surface ends.
public enum SurfaceWish: Sendable, Equatable {
    /// Its guest is asked to close it.
    case close
    /// It is not shown; its guest goes on.
    case hide
    /// What was wished before is taken back, a frozen surface goes on, and one that the rules do not
    /// show is shown all the same.
    case show
    /// It keeps showing its last frame; later ones end unseen.
    case freeze
    /// A frozen surface goes on; whether it is shown stays as it is.
    case thaw
    /// It goes where a rule would have sent it.
    case move(RuleAction)
}
