/// The globals that a compositor offers, kept up to date, and the way to bind them.
///
/// Complete when the callback of a `sync()` sent after making it has come. Keep it as long as the
/// connection is used, and let it go before the connection.
public final class WaylandRegistry {
    /// One offer.
    public struct Global: Equatable, Sendable {
        /// The compositor's number for it, good for this connection.
        public let name: UInt32
        /// The interface, as on the wire.
        public let interface: String
        /// The newest version that the compositor has.
        public let version: UInt32
    }

    /// What is on offer, in the order it was announced.
    public private(set) var globals: [Global] = []

    /// Called after a global was added to ``globals``.
    public var onAdded: ((Global) -> Void)?

    /// Called after a global was taken out of ``globals``. Objects bound to it still exist, and
    /// must be destroyed by their owner.
    public var onRemoved: ((Global) -> Void)?

    private let registry: WlRegistry
    // The proxy must go before its connection does.
    private let connection: WaylandConnection

    /// Asks for the globals.
    public init(_ connection: WaylandConnection) {
        self.connection = connection
        registry = connection.display.getRegistry()
        registry.onEvent { [unowned self] event in receive(event) }
    }

    deinit { registry.destroyProxy() }

    /// The first offer of an interface.
    public func first<Interface: WaylandHandle>(_ interface: Interface.Type) -> Global? {
        globals.first { $0.interface == Interface.interfaceName }
    }

    /// Binds an offer, or the first one of the interface; nil if there is none.
    ///
    /// - Parameters:
    ///   - interface: the handle type to bind.
    ///   - global: which offer, when there are several (outputs, seats).
    ///   - maximum: the newest version that the caller can handle. The object gets the lowest of
    ///     this, the compositor's and these bindings'.
    public func bind<Interface: WaylandHandle>(
        _ interface: Interface.Type, _ global: Global? = nil, maximum: UInt32 = .max
    ) -> Interface? {
        guard let global = global ?? first(interface), maximum > 0, global.version > 0,
            global.interface == Interface.interfaceName
        else { return nil }
        let version = min(maximum, global.version, Interface.interfaceVersion)
        return registry.bind(name: global.name, interface: interface, version: version)
    }

    private func receive(_ event: consuming WlRegistry.Event) {
        switch consume event {
        case .global(let name, let interface, let version):
            let global = Global(name: name, interface: interface, version: version)
            globals.append(global)
            onAdded?(global)
        case .globalRemove(let name):
            guard let index = globals.firstIndex(where: { $0.name == name }) else { return }
            onRemoved?(globals.remove(at: index))
        }
    }
}
