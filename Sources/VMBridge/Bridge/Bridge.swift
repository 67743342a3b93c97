import Descriptors
import Logging
import VMBridgeCore

/// All VMs of one process on one loop, with one kind of presenter.
final class Bridge<P: Presenter> {
    /// A class, since all are gone through after each batch: a copy of what was configured would be one of much.
    private final class VM {
        var plan: VMPlan
        let source: VMSource<P>

        init(plan: VMPlan, source: VMSource<P>) {
            self.plan = plan
            self.source = source
        }
    }

    private var vms: [VM] = []
    private var configuration: BridgeConfiguration
    private let loop: EventLoop
    private let logger: Logger
    private let probe: DescriptorProbe
    private let reaper: DescriptorReaper
    private let syncDevice: SyncDevice?
    private let handover: HandoverHub
    /// One for each node of hyper_dmabuf, and there is one as a rule.
    private var hyperHubs: [String: HyperHub] = [:]
    private let tracer: Tracer?
    private let passed: ListenDescriptors
    private let makePresenter: (_ plan: VMPlan, _ syncDevice: SyncDevice?) throws -> P
    private let readerLauncher: any HyperReaderLauncher

    /// Makes a presenter, a session and a listening socket for each VM.
    ///
    /// - Parameters:
    ///   - passed: sockets that listen already; a VM's own is taken, by name, instead of one at its path.
    ///   - readerLauncher: starts what reads hyper_dmabuf's queue.
    init(
        _ configuration: BridgeConfiguration, passed: ListenDescriptors = ListenDescriptors(),
        loop: EventLoop, logger: Logger, readerLauncher: any HyperReaderLauncher = ReaderProgram(),
        makePresenter: @escaping (_ plan: VMPlan, _ syncDevice: SyncDevice?) throws -> P
    ) throws {
        self.configuration = configuration
        self.passed = passed
        self.loop = loop
        self.logger = logger
        self.makePresenter = makePresenter
        self.readerLauncher = readerLauncher
        probe = try DescriptorProbe()
        reaper = try DescriptorReaper()
        syncDevice = SyncDevice.find()
        handover = HandoverHub(loop: loop, logger: logger, probe: probe, reaper: reaper)
        tracer = try configuration.trace.map {
            try Tracer(path: $0.path, limit: $0.limit, logger: logger)
        }
        let plan = BridgePlan(configuration)
        if let problem = plan.problems.first { throw SpecificationError(problem.why) }
        for plan in plan.vms { vms.append(try make(plan)) }
        for node in configuration.hyperNodes { _ = hyperHub(node) }
        let faults = handover.apply(configuration.rules, limits: configuration.limits)
        if let fault = faults.first { throw SpecificationError(fault) }
    }

    private func make(_ plan: VMPlan) throws -> VM {
        let name = plan.source.vm
        let presenter = try makePresenter(plan, syncDevice)
        let session = VMSession(
            name: name, limits: plan.limits, router: plan.router, presenter: presenter, loop: loop,
            probe: probe, syncDevice: syncDevice,
            tap: SessionTap(name, configuration.recording, tracer, loop, logger), logger: logger)
        session.handover = handover
        do {
            if let program = configuration.graphicsProgram {
                session.graphics = try GraphicsWorker(
                    loop: loop, options: GraphicsWorkerOptions(program: program))
            }
            return VM(plan: plan, source: try makeSource(plan, session))
        } catch {
            // It has timers and perhaps a connection, which nobody else would end.
            session.shutDown()
            throw error
        }
    }

    /// The VM's end of its transport.
    private func makeSource(_ plan: VMPlan, _ session: VMSession<P>) throws -> VMSource<P> {
        switch plan.source.kind {
        case .socket(let path):
            let source = try makeSocket(path, session)
            source.consumers = handover.endpoint(ofVM: session.name, limits: plan.limits)
            return source
        case .vhostUserGPU(let path, let qmp): return try makeGPU(path, qmp, session)
        case .qemu(let path):
            session.logger.info("\(session.name): asks for QEMU's display at \(path)")
            return QEMUDisplaySource(qmp: path, session: session, reaper: reaper)
        case .qemuBus(let name, let bus):
            let place = bus.map { "bus at \($0)" } ?? "session's bus"
            session.logger.info("\(session.name): looks for \(name) on the \(place)")
            return QEMUDisplaySource(busName: name, bus: bus, session: session, reaper: reaper)
        case .hyperDmabuf(let domain, let node):
            return try HyperDmabufSource(
                session: session, domain: UInt8(truncatingIfNeeded: domain), hub: hyperHub(node))
        }
    }

    private func hyperHub(_ node: String) -> HyperHub {
        if let hub = hyperHubs[node] { return hub }
        var options = HyperReaderOptions()
        options.node = node
        options.program = configuration.readerProgram ?? ReaderProgram.usual ?? options.program
        let hub = HyperHub(
            loop: loop, options: options, launcher: readerLauncher, logger: logger)
        hyperHubs[node] = hub
        if configuration.hyperNodes.contains(node) {
            hub.onUnmapped = { [unowned self] domain in self.discover(domain, node) }
        }
        return hub
    }

    /// A domain exports that nobody wrote of: it becomes a VM.
    private func discover(_ domain: UInt8, _ node: String) {
        let source = SourceSpecification.discovered(domain: domain, node: node)
        // Once: what cannot be made now is made when the configuration is read again.
        guard !configuration.discovered.contains(source) else { return }
        configuration.discovered.append(source)
        let plan = BridgePlan(configuration).vms.first { $0.source == source }
        guard let plan, !vms.contains(where: { $0.plan.source == source }) else { return }
        do {
            vms.append(try make(plan))
            logger.info(
                "\(source.vm): domain \(domain) of hyper_dmabuf exports, and no VM was named for it"
            )
        } catch {
            logger.error("\(source.vm) is not served: \(error)")
        }
    }

    private func makeSocket(_ path: String, _ session: VMSession<P>) throws -> SocketSource<P> {
        let name = session.name
        if let descriptor = passed.take(named: name) {
            let source = try SocketSource(
                listener: try SeqPacketListener(adopting: descriptor), session: session,
                reaper: reaper)
            session.logger.info("\(name): listening on the socket that was passed by that name")
            return source
        }
        try RuntimeDirectory.makeIfHolding(path)
        let source = try SocketSource(path: path, session: session, reaper: reaper)
        session.logger.info("\(name): listening on \(path)")
        return source
    }

    private func makeGPU(
        _ path: String, _ qmp: String?, _ session: VMSession<P>
    ) throws -> VMSource<P> {
        let name = session.name
        if let descriptor = passed.take(named: name) {
            session.logger.info("\(name): listening on the socket that was passed by that name")
            return try VhostUserGPUSource(
                adopting: descriptor, qmp: qmp, session: session, reaper: reaper)
        }
        try RuntimeDirectory.makeIfHolding(path)
        let source = try VhostUserGPUSource(
            path: path, qmp: qmp, session: session, reaper: reaper)
        session.logger.info("\(name): listening on \(path) for the VMM's vhost-user-gpu device")
        return source
    }

    // MARK: Changes

    /// Goes on by another configuration: a VM that is there and stays keeps its connection and its
    /// windows; others come and go without touching it.
    ///
    /// - Returns: what could not be done, as sentences.
    func apply(_ rules: Configuration) -> [String] {
        configuration.rules = rules
        let plan = BridgePlan(configuration)
        var sentences = plan.problems.map(\.why)
        sentences += handover.apply(rules, limits: configuration.limits)
        var former = vms
        vms.removeAll()
        // What leaves goes first: another VM may have been given its socket.
        former.removeAll { vm in
            let name = vm.plan.source.vm
            let next = plan.vms.first { $0.source.vm == name }
            // One that cannot be served as configured goes on as it is.
            let isKept =
                next?.source.kind == vm.plan.source.kind
                || next == nil && plan.problems.contains { $0.vm == name }
            if !isKept {
                close(vm, next == nil ? "is not configured any more" : "gets another source")
            }
            return !isKept
        }
        for wanted in plan.vms {
            if let index = former.firstIndex(where: { $0.plan.source.vm == wanted.source.vm }) {
                let vm = former.remove(at: index)
                change(vm, to: wanted)
                vms.append(vm)
            } else {
                do {
                    vms.append(try make(wanted))
                } catch {
                    sentences.append("\(wanted.source.vm) is not served: \(error)")
                }
            }
        }
        vms += former
        return sentences
    }

    private func change(_ vm: VM, to plan: VMPlan) {
        if vm.plan.limits != plan.limits || vm.plan.fences != plan.fences {
            _ = handover.endpoint(ofVM: plan.source.vm, limits: plan.limits)
            vm.source.apply(plan.limits, fences: plan.fences)
        }
        vm.plan = plan
        vm.source.session.apply(plan.router)
    }

    private func close(_ vm: VM, _ why: String) {
        vm.source.session.logger.info("\(vm.plan.source.vm): closed, since it \(why)")
        vm.source.shutDown()
        handover.forget(vm: vm.plan.source.vm)
        // The last domain that left leaves nothing to read for.
        if case .hyperDmabuf(_, let node) = vm.plan.source.kind, hyperHubs[node]?.isIdle == true,
            !configuration.hyperNodes.contains(node)
        {
            hyperHubs.removeValue(forKey: node)?.shutDown()
        }
    }

    /// Fulfils a person's wish; see `BridgeService.perform`.
    func perform(_ wish: SurfaceWish, vm: String, surface: SurfaceKey?) -> Int {
        vms.first { $0.plan.source.vm == vm }?.source.session.fulfil(wish, of: surface) ?? 0
    }

    /// Gives a vhost-user-gpu front end's connection to the VM's source, which otherwise waits for one.
    func serveOnce(
        _ connection: consuming OwnedDescriptor, vm: String, onEnd: @escaping () -> Void
    ) {
        let source = vms.first { $0.plan.source.vm == vm }?.source
        guard let source = source as? VhostUserGPUSource<P> else { return }
        source.onDisconnect = onEnd
        if connection.isValid { source.adopt(connection) }
    }

    /// The session of a VM; nil when there is none of that name.
    func session(of vm: String) -> VMSession<P>? {
        vms.first { $0.plan.source.vm == vm }?.source.session
    }

    // MARK: Running

    /// What gathered in a batch is settled once: presenter and producers hear of it together.
    func settle() {
        for vm in vms { vm.source.settle() }
        // Last of all, and what comes of it is not left for the next batch, which may be long in coming.
        if handover.flush() { for vm in vms { vm.source.settle() } }
    }

    /// Those that surfaces can be handed to.
    var consumers: [ConsumerStatus] { handover.status }

    /// Drivers that VMs come by.
    var drivers: [DriverStatus] {
        hyperHubs.keys.sorted().compactMap { node in hyperHubs[node]?.status }
    }

    var status: [VMStatus] { vms.map { Self.status($0) } }

    private static func status(_ vm: VM) -> VMStatus {
        let source = vm.source
        let session = source.session
        let holdings = session.holdings
        var status = VMStatus(
            name: session.name, isConnected: source.isConnected,
            generation: source.connectionNumber, isPresenting: session.presenter.isReady,
            trouble: session.presenter.trouble, device: session.presenter.device,
            securityContext: session.presenter.securityContext,
            buffers: holdings.buffers, bytes: holdings.bytes, uses: holdings.uses,
            refusals: session.refusals, surfaces: session.status,
            allocator: session.graphics?.status, blitter: session.presenter.graphicsStatus)
        status.descriptors = source.descriptors
        status.source = source.words
        status.label = vm.plan.settings.label
        status.colour = vm.plan.settings.colour
        status.limits = session.limits
        status.recording = session.tap?.recording
        return status
    }

    func shutDown() {
        for vm in vms { vm.source.shutDown() }
        vms.removeAll()
        for hub in hyperHubs.values { hub.shutDown() }
        hyperHubs.removeAll()
        handover.shutDown()
        tracer?.shutDown()
    }
}
