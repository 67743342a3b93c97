import VMBridgeCore

/// The ways of fences between a VM's producer and one compositor, the best one first.
enum FenceWay: String, CaseIterable {
    /// linux-drm-syncobj-v1: points of timelines, both ways.
    case timelines = "drm-syncobj"
    /// linux-explicit-synchronization-v1: a fence with the commit, another with the release.
    case explicit = "explicit-synchronization"
    /// The fences that dma-bufs carry themselves.
    case implicit = "implicit"
    /// None: frames are held until their fence has signalled.
    case hold = "hold"

    /// How releases come, in the words of status.
    var releaseWords: String {
        switch self {
        case .timelines: "drm-syncobj point"
        case .explicit: "explicit-synchronization"
        case .implicit, .hold: "wl_buffer.release and the dma-buf's own fences"
        }
    }
}

/// Which way fences take, and why. Pure.
///
/// A commit cannot be recalled, and many compositors stop for all when one surface's fence is pending
/// (weston 14 stood still for as long as a fence of one client took). So pending fences are passed on
/// only where that was seen to stop nothing else, or where the host says so.
struct FenceChoice {
    /// The way.
    let way: FenceWay
    /// Whether pending acquire fences are passed on; else they are held in the loop.
    let passesPending: Bool
    /// Both, and what stands against a better way, in a sentence's words.
    let words: String

    /// - Parameters:
    ///   - hasTimelines: whether the compositor offers drm-syncobj.
    ///   - hasDevice: whether a device here knows timelines.
    ///   - hasExplicit: whether the compositor offers explicit-synchronization.
    ///   - isPatient: whether it is one of ``PatientCompositors``.
    init(
        policy: FencePolicy, hasTimelines: Bool, hasDevice: Bool, hasExplicit: Bool,
        isPatient: Bool
    ) {
        way =
            if policy == .hold {
                .hold
            } else if hasTimelines && hasDevice {
                .timelines
            } else {
                hasExplicit ? .explicit : .implicit
            }
        passesPending =
            switch policy {
            case .hold: false
            case .pass: true
            case .auto: way == .timelines && isPatient
            }
        var said =
            switch way {
            case .timelines: "points of timelines (drm-syncobj)"
            case .explicit: "explicit-synchronization"
            case .implicit: "the dma-bufs' own (the compositor takes none with a commit)"
            case .hold: "none handed on, as asked for"
            }
        if hasTimelines, !hasDevice, policy != .hold {
            said += "; not by drm-syncobj, since no DRM device here knows timelines"
        }
        words =
            said + (passesPending ? "; pending ones are passed on" : "; pending ones are held here")
    }
}

/// Compositors that were seen to keep all other surfaces going while some wait for the fence of a
/// timeline's point, each with its test. To all others a pending fence is passed on only on demand.
enum PatientCompositors {
    static let names: [(name: String, test: String)] = [
        ("kwin_wayland", "Tests/vm/tests/kwin")
    ]

    static func contains(_ compositor: CompositorIdentity?) -> Bool {
        guard let compositor else { return false }
        return names.contains { compositor.isCalled($0.name) }
    }
}
