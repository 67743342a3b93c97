import CWayland

/// A typed pointer to a protocol object: what the generated structs have in common.
///
/// A handle is one pointer and owns nothing. It is valid from the request (or event) that made the
/// object until one of these, after which no copy of it may be used:
/// * a request marked as ending the object, or ``destroyProxy()``;
/// * the event that ends it (`wl_callback.done`, both `wp_presentation_feedback` results,
///   both `zwp_linux_buffer_release_v1` results), where the dispatcher destroys the object after
///   the target's method has returned;
/// * the end of the ``WaylandConnection``. Every object must be destroyed before it; objects of a
///   lost connection too (that works and sends nothing), or their memory is lost.
///
/// Equality is identity of the object. Handles are for the connection's thread only.
public protocol WaylandHandle: Hashable {
    /// libwayland's `wl_proxy`.
    var proxy: OpaquePointer { get }
    /// Makes a handle for a proxy that has this interface.
    init(proxy: OpaquePointer)
    /// The name on the wire.
    static var interfaceName: String { get }
    /// The newest version that these bindings know (the protocol file's).
    static var interfaceVersion: UInt32 { get }
    /// The interface's number among the run-time tables.
    static var interfaceNumber: Int { get }
}

extension WaylandHandle {
    /// The object's number on the wire.
    public var id: UInt32 { wl_proxy_get_id(proxy) }

    /// The version the object was bound with, or got from the object that made it.
    public var version: UInt32 { wl_proxy_get_version(proxy) }

    /// Forgets the object without telling the compositor: for interfaces (or versions) that have no
    /// destructor request, and for one-shot objects that are no longer wanted.
    ///
    /// The compositor's object lives on until it ends it or the connection ends; events still under
    /// way are swallowed by libwayland, their descriptors closed.
    public func destroyProxy() {
        Marshal.forget(proxy)
        wl_proxy_destroy(proxy)
    }

    /// A request that is newer than its object is a protocol error, fatal for the connection.
    func assertVersion(_ since: UInt32) {
        assert(version >= since, "\(Self.interfaceName) has version \(version), needs \(since)")
    }
}

/// A signed 24.8 fixed-point number, as on the wire.
public struct WaylandFixed: RawRepresentable, Hashable, Sendable {
    /// The value times 256.
    public var rawValue: Int32

    /// Takes the value times 256.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The nearest representable value; what does not fit is clamped, not-a-number is 0.
    public init(_ value: Double) {
        let scaled = (value * 256).rounded()
        if scaled.isNaN {
            rawValue = 0
        } else {
            rawValue = Int32(max(Double(Int32.min), min(Double(Int32.max), scaled)))
        }
    }

    /// The value.
    public var double: Double { Double(rawValue) / 256 }
}
