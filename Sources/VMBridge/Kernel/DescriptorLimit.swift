import CLinux

/// How many descriptors this process may have open (`RLIMIT_NOFILE`).
public struct DescriptorLimit: Equatable, Sendable {
    /// The limit in force.
    public let soft: UInt64
    /// How far an ordinary process may raise it.
    public let hard: UInt64

    /// The limit now.
    public static func current() throws(KernelError) -> DescriptorLimit {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        try check(vmb_descriptor_limit(&soft, &hard), "getrlimit")
        return DescriptorLimit(soft: soft, hard: hard)
    }

    /// Sets the soft limit, at most the hard one.
    package static func set(soft: UInt64) throws(KernelError) {
        let hard = try current().hard
        try check(vmb_set_descriptor_limit(min(soft, hard), hard), "setrlimit")
    }

    /// Raises the soft limit to the hard one: every buffer in flight is a descriptor, and the usual 1024 is for
    /// programs that use select(2). Call it once at start, before anything else runs.
    public static func raise() throws(KernelError) -> (
        before: DescriptorLimit, after: DescriptorLimit
    ) {
        let before = try current()
        if before.soft < before.hard {
            try check(vmb_set_descriptor_limit(before.hard, before.hard), "setrlimit")
        }
        return (before, try current())
    }
}
