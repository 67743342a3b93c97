/// What a person wrote down about virtual machines and their surfaces: the configuration file's content,
/// checked and with nothing left to look up. An empty one is a good one.
public struct Configuration: Sendable, Equatable {
    /// One entry for each VM, in the file's order.
    public var vms: [VMConfiguration] = []
    /// Programs that surfaces can be handed to.
    public var consumers: [ConsumerConfiguration] = []
    /// What happens to surfaces; the first that matches counts.
    public var rules: [Rule] = []

    /// Nothing is configured.
    public init() {}

    /// The settings of a VM, or those of one that the file does not name.
    public func vm(_ name: String) -> VMConfiguration {
        vms.first { $0.name == name } ?? VMConfiguration(name: name)
    }
}

/// One VM's settings.
public struct VMConfiguration: Sendable, Equatable {
    /// Its name on this host.
    public var name: String
    /// Where its surfaces come from, "KIND:REST" as after `--source VM=`; nil when the file names none.
    /// REST may be empty or relative here: `socketPath(in:)` gives the path itself.
    public var source: String?
    /// Its colour in tables and on contact sheets.
    public var colour: RGB?
    /// What stands before its windows' titles, in square brackets; nil for its name.
    public var label: String?
    /// What it may take; nil for what all may.
    public var limits: LimitChanges = LimitChanges()
    /// What happens to frames whose fence is pending; nil for what holds for all.
    public var fences: FencePolicy?
    /// How its windows are shown when no rule says so.
    public var fullscreen: Fullscreen?

    /// A VM of which only the name is known.
    public init(name: String) { self.name = name }
}

/// A colour, 8 bits a channel.
public struct RGB: Sendable, Equatable {
    /// Red, green and blue.
    public var red: UInt8, green: UInt8, blue: UInt8

    /// A colour from its channels.
    public init(red: UInt8, green: UInt8, blue: UInt8) {
        self.red = red
        self.green = green
        self.blue = blue
    }
}

/// The limits that a configuration changes; nil leaves one as it is.
public struct LimitChanges: Sendable, Equatable {
    /// As in `VMLimits`.
    public var surfaces: Int?
    /// As in `VMLimits`.
    public var buffers: Int?
    /// As in `VMLimits`.
    public var bytes: UInt64?
    /// As in `VMLimits`.
    public var baseRate: Int?
    /// As in `VMLimits`.
    public var ratePerSurface: Int?
    /// As in `VMLimits`, nanoseconds.
    public var fenceLimit: UInt64?

    /// No change.
    public init() {}

    /// The limits with the changes made.
    public func applied(to limits: VMLimits) -> VMLimits {
        var limits = limits
        if let surfaces { limits.surfaces = surfaces }
        if let buffers { limits.buffers = buffers }
        if let bytes { limits.bytes = bytes }
        if let baseRate { limits.baseRate = baseRate }
        if let ratePerSurface { limits.ratePerSurface = ratePerSurface }
        if let fenceLimit { limits.fenceLimit = fenceLimit }
        return limits
    }
}

/// A local program that surfaces can be handed to.
public struct ConsumerConfiguration: Sendable, Equatable {
    /// Its name on this host.
    public var name: String
    /// Path of the socket that the bridge makes and the program connects to, as it was written; nil for
    /// NAME.consumer. `socketPath(in:)` gives the path itself.
    public var socket: String?
    /// What it is given at most.
    public var limits: LimitChanges = LimitChanges()

    /// A program of which only the name is known.
    public init(name: String) { self.name = name }
}
