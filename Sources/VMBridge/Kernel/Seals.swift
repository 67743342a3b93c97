import CLinux

/// What can no longer be done to a memfd (fcntl F_GET_SEALS).
public struct Seals: OptionSet, Hashable, Sendable {
    /// The kernel's bits.
    public let rawValue: UInt32
    /// From the kernel's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// No seal can be added.
    public static let seal = Seals(rawValue: VMB_SEAL_SEAL)
    /// It cannot become smaller: mapping it cannot end in SIGBUS.
    public static let shrink = Seals(rawValue: VMB_SEAL_SHRINK)
    /// It cannot become larger.
    public static let grow = Seals(rawValue: VMB_SEAL_GROW)
    /// Its contents cannot change.
    public static let write = Seals(rawValue: VMB_SEAL_WRITE)
    /// Its contents change only through mappings that existed before the seal.
    public static let futureWrite = Seals(rawValue: VMB_SEAL_FUTURE_WRITE)
    /// Its mode's execute bits cannot change (Linux 6.3).
    public static let exec = Seals(rawValue: VMB_SEAL_EXEC)
}
