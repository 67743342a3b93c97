import Logging
import VMBridgeCore

/// All VMs of one process on one loop, with one kind of presenter.
final class Bridge<P: Presenter> {
    private var sources: [SocketSource<P>] = []

    /// Makes a presenter, a session and a listening socket for each VM.
    init(
        _ configuration: BridgeConfiguration, loop: EventLoop, logger: Logger,
        makePresenter: (_ source: SourceSpecification, _ syncDevice: SyncDevice?) throws -> P
    ) throws {
        let probe = try DescriptorProbe()
        let reaper = try DescriptorReaper()
        let syncDevice = SyncDevice.find()
        for source in configuration.sources {
            let session = VMSession(
                name: source.vm, limits: configuration.limits,
                presenter: try makePresenter(source, syncDevice), loop: loop, probe: probe,
                syncDevice: syncDevice, logger: logger)
            if let program = configuration.graphicsProgram {
                session.graphics = try GraphicsWorker(
                    loop: loop, options: GraphicsWorkerOptions(program: program))
            }
            sources.append(
                try SocketSource(path: source.socketPath, session: session, reaper: reaper))
            logger.info("\(source.vm): listening on \(source.socketPath)")
        }
    }

    /// What gathered in a batch is settled once: presenter and producers hear of it together.
    func settle() {
        for source in sources { source.settle() }
    }

    var status: [VMStatus] {
        sources.map { source in
            let holdings = source.session.holdings
            return VMStatus(
                name: source.session.name, isConnected: source.isConnected,
                generation: source.connectionNumber,
                isPresenting: source.session.presenter.isReady,
                trouble: source.session.presenter.trouble,
                device: source.session.presenter.device,
                securityContext: source.session.presenter.securityContext,
                buffers: holdings.buffers,
                bytes: holdings.bytes, uses: holdings.uses, refusals: source.session.refusals,
                surfaces: source.session.status, allocator: source.session.graphics?.status,
                blitter: source.session.presenter.graphicsStatus)
        }
    }

    func shutDown() {
        for source in sources { source.shutDown() }
        sources.removeAll()
    }
}
