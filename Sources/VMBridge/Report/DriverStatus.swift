import VMBridgeCore

/// A driver of this host that several VMs' surfaces come by, in a report.
public struct DriverStatus: Sendable, Equatable {
    /// The driver's name.
    public var name: String
    /// Its node.
    public var node: String
    /// Why nothing is read from it, in words; nil while it is.
    public var trouble: String?
    /// Records that came by it.
    public var records: UInt64 = 0
    /// Those of domains that no VM has.
    public var unmapped: UInt64 = 0
    /// Those that made no sense.
    public var malformed: UInt64 = 0
    /// Records that another program took.
    public var stolen: UInt64 = 0
    /// Messages of the kernel about the node.
    public var uevents: UInt64 = 0

    var object: JSONObject {
        var object = JSONObject()
        object.add("name", name)
        object.add("node", node)
        object.add("reading", trouble == nil)
        if let trouble { object.add("trouble", trouble) }
        object.add("records", records)
        object.add("unmapped", unmapped)
        object.add("malformed", malformed)
        object.add("stolen", stolen)
        object.add("uevents", uevents)
        return object
    }
}
