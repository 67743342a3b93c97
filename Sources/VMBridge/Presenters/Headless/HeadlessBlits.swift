import VMBridgeCore

/// A window's last picture whose dma-buf the processor cannot read, and what ends with it.
struct UnreadPicture {
    var id: SurfaceID
    var properties: WindowProperties
    var frame: Frame
    var memory: BufferMemory
    /// Why it cannot be read.
    var why: KernelError
    /// Uses that are released when the picture is taken, or given up.
    var held: [UseID] = []
}

/// Lets the graphics worker draw what the processor cannot read into memory that it can.
///
/// While the bridge runs that happens beside everything else; the window's end and its buffers wait for it,
/// for as long as the worker may take. At the bridge's end there is nothing beside: ``finish(_:)`` waits, within
/// a limit, as writing the pictures to files does.
final class HeadlessBlits {
    /// All the pictures of a VM together, at the end, nanoseconds.
    private static let finishLimit: UInt64 = 15_000_000_000

    private let loop: EventLoop
    private let options: GraphicsWorkerOptions
    private let launcher: (EventLoop) -> any GraphicsWorkerLauncher
    private var worker: GraphicsWorker?
    private var waiting: [GraphicsRequest: UnreadPicture] = [:]
    private var unread: [UnreadPicture] = []
    private var isEnding = false

    /// - Parameter launcher: of workers that are served by a loop; another one at the end.
    init(
        _ loop: EventLoop, _ options: GraphicsWorkerOptions,
        launcher: @escaping (EventLoop) -> any GraphicsWorkerLauncher
    ) {
        self.loop = loop
        self.options = options
        self.launcher = launcher
    }

    /// How the worker fares; nil when none was ever needed.
    var status: GraphicsWorkerStatus? { worker?.status }
    /// Whether ``settle(_:)`` has something to say.
    var hasEvents: Bool { worker?.hasEvents ?? false }

    /// Takes a picture that ``settle(_:)`` or ``finish(_:)`` will give back.
    func draw(_ picture: UnreadPicture) throws(KernelError) {
        guard !isEnding else { return unread.append(picture) }
        let made: GraphicsWorker
        if let worker {
            made = worker
        } else {
            made = try GraphicsWorker(loop: loop, options: options, launcher: launcher(loop))
            worker = made
        }
        waiting[made.open(picture.memory)] = picture
    }

    /// The session has ended a use by itself: it is not reported again.
    func forget(_ use: UseID) {
        guard !waiting.isEmpty else { return }
        for (request, picture) in waiting where picture.held.contains(use) {
            waiting[request]?.held.removeAll { $0 == use }
        }
    }

    /// Gives back what was drawn meanwhile: the picture and its pixels, or why there are none.
    func settle(_ body: (UnreadPicture, Result<BufferMemory, GraphicsRefusal>) -> Void) {
        guard let worker, worker.hasEvents else { return }
        worker.takeEvents { event in
            switch event {
            case .opened(let request, let pair, let output):
                if let picture = waiting.removeValue(forKey: request) {
                    body(picture, Self.pixels(output))
                }
                worker.drop(pair)
            case .refused(let request, let refusal):
                guard let picture = waiting.removeValue(forKey: request) else { return }
                body(picture, .failure(refusal))
            case .allocated, .blitted: break
            }
        }
    }

    /// Nothing is drawn beside any more; what is not drawn waits for ``finish(_:)``.
    func beginEnding() {
        isEnding = true
        worker?.shutDown()
        unread += waiting.values
        waiting.removeAll()
    }

    /// Draws all that is left and waits for it, on a loop of its own: that of the bridge has ended.
    func finish(_ body: (UnreadPicture, Result<BufferMemory, GraphicsRefusal>) -> Void) {
        guard !unread.isEmpty else { return }
        defer { unread.removeAll() }
        do throws(KernelError) {
            let own = try EventLoop()
            let end = own.now() + Self.finishLimit
            let worker = try GraphicsWorker(
                loop: own, options: options, launcher: launcher(own))
            defer { worker.shutDown() }
            for picture in unread {
                body(picture, Self.draw(picture.memory, worker, own, until: end))
            }
        } catch {
            for picture in unread {
                body(picture, .failure(GraphicsRefusal(.notStarted, "\(error)")))
            }
        }
    }

    private static func draw(
        _ memory: BufferMemory, _ worker: GraphicsWorker, _ loop: EventLoop, until end: UInt64
    ) -> Result<BufferMemory, GraphicsRefusal> {
        let request = worker.open(memory)
        var result: Result<BufferMemory, GraphicsRefusal>?
        while result == nil, loop.now() < end {
            worker.takeEvents { event in
                switch event {
                case .opened(request, let pair, let output):
                    result = pixels(output)
                    worker.drop(pair)
                case .refused(request, let refusal): result = .failure(refusal)
                default: break
                }
            }
            if result == nil { _ = try? loop.runOnce(milliseconds: 100) }
        }
        return result ?? .failure(GraphicsRefusal(.timedOut, "There was no time left for it."))
    }

    private static func pixels(_ output: BlitOutput) -> Result<BufferMemory, GraphicsRefusal> {
        guard let memory = output.memfd ?? output.dmaBuf else {
            return .failure(GraphicsRefusal(.noOutput, "The output cannot be read."))
        }
        return .success(memory)
    }
}
