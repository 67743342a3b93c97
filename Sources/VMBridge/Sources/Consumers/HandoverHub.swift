import Logging
import VMBridgeCore

/// All that surfaces can be handed to: configured consumers with their sockets, and whoever connects to
/// a VM's own socket as a consumer.
package final class HandoverHub {
    private let loop: EventLoop
    private let logger: Logger
    private let probe: DescriptorProbe
    private let reaper: DescriptorReaper
    private var endpoints: [ConsumerEndpoint] = []
    private var listeners: [String: ConsumerListener] = [:]
    private var presenters: [(vm: String, presenter: ConsumerPresenter)] = []

    /// A hub without consumers.
    package init(
        loop: EventLoop, logger: Logger, probe: DescriptorProbe, reaper: DescriptorReaper
    ) {
        self.loop = loop
        self.logger = logger
        self.probe = probe
        self.reaper = reaper
    }

    /// Makes a socket for each configured consumer and closes those of consumers that are none any more;
    /// whoever is connected there is disconnected. Limits count from the next thing that is handed over.
    ///
    /// - Parameter limits: what a consumer is given at most when its configuration says nothing.
    /// - Returns: sentences about sockets that cannot be made.
    package func apply(_ configuration: Configuration, limits: VMLimits = VMLimits()) -> [String] {
        var faults: [String] = []
        let names = Set(configuration.consumers.map(\.name))
        for endpoint in endpoints {
            guard case .consumer(let name) = endpoint.target, !names.contains(name) else {
                continue
            }
            listeners.removeValue(forKey: name)?.shutDown()
            endpoint.disconnect("the configuration no longer has it")
        }
        for consumer in configuration.consumers {
            let endpoint = makeEndpoint(.consumer(consumer.name))
            endpoint.setLimits(consumer.limits.applied(to: limits))
            guard let path = Self.path(of: consumer) else {
                faults.append(
                    "The consumer \(consumer.name) has no socket: XDG_RUNTIME_DIR is not set, and its block names none."
                )
                continue
            }
            guard listeners[consumer.name]?.path != path else { continue }
            listeners.removeValue(forKey: consumer.name)?.shutDown()
            do throws(KernelError) {
                try RuntimeDirectory.makeIfHolding(path)
                listeners[consumer.name] = try ConsumerListener(
                    path: path, endpoint: endpoint, loop: loop, reaper: reaper, logger: logger)
                logger.info("\(endpoint.description): listening on \(path)")
            } catch {
                faults.append("The consumer \(consumer.name) has no socket: \(error)")
            }
        }
        return faults
    }

    /// A relative path lies in the runtime directory, and without one it is NAME.consumer there; nil when
    /// there is none.
    private static func path(of consumer: ConsumerConfiguration) -> String? {
        let path = consumer.socket ?? "\(consumer.name).consumer"
        if path.hasPrefix("/") { return path }
        return RuntimeDirectory.path.map { "\($0)/\(path)" }
    }

    /// What takes those who greet as consumers on a VM's own socket.
    package func endpoint(ofVM name: String, limits: VMLimits) -> ConsumerEndpoint {
        let endpoint = makeEndpoint(.vm(name))
        endpoint.setLimits(limits)
        return endpoint
    }

    private func makeEndpoint(_ target: HandTarget) -> ConsumerEndpoint {
        if let known = endpoints.first(where: { $0.target == target }) { return known }
        let endpoint = ConsumerEndpoint(
            target: target, limits: VMLimits(), loop: loop, logger: logger, probe: probe,
            reaper: reaper)
        endpoints.append(endpoint)
        return endpoint
    }

    /// One VM's half of a target; nil for a VM that the bridge does not have. A consumer that is not
    /// configured (yet) is one that nobody is.
    package func presenter(for target: HandTarget, vm: String) -> ConsumerPresenter? {
        if let known = presenters.first(where: { $0.vm == vm && $0.presenter.target == target }) {
            return known.presenter
        }
        if case .vm = target, !endpoints.contains(where: { $0.target == target }) { return nil }
        let presenter = ConsumerPresenter(vmName: vm, endpoint: makeEndpoint(target))
        presenters.append((vm, presenter))
        return presenter
    }

    /// A VM is no more: what it handed over is taken back, and its own consumer is disconnected.
    package func forget(vm name: String) {
        presenters.removeAll { entry in
            if entry.vm == name { entry.presenter.shutDown() }
            return entry.vm == name
        }
        guard let place = endpoints.firstIndex(where: { $0.target == .vm(name) }) else { return }
        // Other VMs' halves stay: nobody takes what they hand over.
        endpoints[place].disconnect("its VM is no more")
    }

    /// Sends what was written; called when all sessions have settled.
    ///
    /// - Returns: whether a consumer turned out to be gone, which sessions have to hear.
    package func flush() -> Bool {
        var isLost = false
        for endpoint in endpoints where !endpoint.flush() { isLost = true }
        return isLost
    }

    /// Every consumer.
    package var status: [ConsumerStatus] { endpoints.map(\.status) }

    /// Closes everything.
    package func shutDown() {
        for listener in listeners.values { listener.shutDown() }
        listeners.removeAll()
        for (_, presenter) in presenters { presenter.shutDown() }
        for endpoint in endpoints { endpoint.shutDown() }
        presenters.removeAll()
        endpoints.removeAll()
    }
}
