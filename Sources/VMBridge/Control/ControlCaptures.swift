import CLinux
import Descriptors
import Glibc
import Synchronization
import VMBridgeCore

/// Pictures of committed frames, made beside the loop: a thread reads pixels and writes the file, the
/// graphics worker draws what the processor cannot read. The frame path is not touched; whether the
/// frame's buffer stayed ours until it was read is said with the picture.
final class ControlCaptures {
    /// How one capture ended.
    typealias Completion = (Result<[JSONMember], ControlFault>) -> Void

    private let loop: EventLoop
    private let graphics: GraphicsWorkerOptions?
    private let results = Mailbox()
    private var worker: GraphicsWorker?
    /// Orders in turn; the first is being worked on.
    private var queue: [Capture] = []

    init(loop: EventLoop, graphics: GraphicsWorkerOptions?) {
        self.loop = loop
        self.graphics = graphics
    }

    /// Takes an order; `completion` is called later, on the loop, unless the bridge ends before.
    ///
    /// - Parameter descriptor: of a regular file that can be written; closed on the thread, since that can wait too.
    func begin(
        _ order: CaptureOrder, into descriptor: consuming OwnedDescriptor,
        target: any ControlTarget, _ completion: @escaping Completion
    ) throws(ControlFault) {
        guard descriptor.isValid else {
            throw ControlFault(
                .noDescriptor,
                "no descriptor came with the request: pass that of a file to write to")
        }
        try Self.check(descriptor.number)
        queue.append(
            Capture(order, SendableDescriptor(descriptor), target: target, completion))
        if queue.count == 1 { startReading() }
    }

    /// A file only: whatever else is there to be written to may keep a writer waiting.
    private static func check(_ number: Int32) throws(ControlFault) {
        var facts = vmb_file_facts()
        guard vmb_file_facts(number, &facts) == 0, facts.mode & VMB_S_IFMT == VMB_S_IFREG else {
            throw ControlFault(.cannotWrite, "the descriptor is not that of a regular file")
        }
        let flags = vmb_fcntl(number, VMB_F_GETFL, 0)
        guard flags >= 0, flags & O_ACCMODE != O_RDONLY else {
            throw ControlFault(.cannotWrite, "the descriptor's file is open for reading only")
        }
    }

    func shutDown() {
        queue.removeAll()
        worker?.shutDown()
        worker = nil
    }

    // MARK: Steps

    /// First step: what can be mapped is read.
    private func startReading() {
        guard let capture = queue.first else { return }
        let jobs = capture.shots.map { ReadingJob(memory: $0.memory, frame: $0.committed.frame) }
        let fitting = capture.order.isSheet
        start { .read(jobs.map { $0.picture(fitting: fitting) }) }
    }

    /// Last step: what was drawn for us is read too, and all of it is written.
    private func startWriting() {
        guard let capture = queue.first else { return }
        let isSheet = capture.order.isSheet
        let jobs = capture.shots.map { shot in
            shot.picture == nil && shot.isDrawn
                ? ReadingJob(memory: shot.memory, frame: shot.committed.frame) : nil
        }
        let pictures = capture.shots.map(\.picture)
        let labels = capture.order.frames.map {
            SheetLabel(vm: $0.vm, title: $0.title, sequence: $0.frame.sequence)
        }
        var colours: [String: RGB] = [:]
        for vm in capture.target?.status ?? [] { colours[vm.name] = vm.colour }
        let descriptor = capture.descriptor
        start { [colours] in
            var all = pictures
            for index in jobs.indices {
                guard let job = jobs[index] else { continue }
                if case .picture(let picture) = job.picture(fitting: isSheet) {
                    all[index] = picture
                }
            }
            return .wrote(
                CaptureWriter.write(
                    all, labels, colours, asSheet: isSheet, to: descriptor.take()),
                all.map { $0.map { CaptureSize(width: $0.width, height: $0.height) } })
        }
    }

    private func start(_ body: @escaping @Sendable () -> CaptureStep) {
        let results = results
        let waker = loop.waker
        do throws(KernelError) {
            try BackgroundWork.start {
                results.put(body())
                waker.wake()
            }
        } catch {
            finish(.failure(ControlFault(.failed, "no thread for a picture: \(error)")))
        }
    }

    /// Takes what the thread and the worker have finished.
    func settle() {
        guard !queue.isEmpty else { return }
        if let step = results.take() {
            switch step {
            case .read(let outcomes): wereRead(outcomes)
            case .wrote(let failure, let sizes): wasWritten(failure, sizes)
            }
        }
        guard let worker, worker.hasEvents else { return }
        worker.takeEvents { event in
            switch event {
            case .opened(let request, let pair, let output):
                drawn(request, output.memfd ?? output.dmaBuf, "its output cannot be read")
                worker.drop(pair)
            case .refused(let request, let refusal): drawn(request, nil, refusal.sentence)
            case .allocated, .blitted: break
            }
        }
    }

    private func wereRead(_ outcomes: [ReadOutcome]) {
        guard let capture = queue.first else { return }
        for index in outcomes.indices {
            let shot = capture.shots[index]
            shot.isStable = capture.target?.isHeld(shot.committed) ?? false
            switch outcomes[index] {
            case .picture(let picture): shot.picture = picture
            case .unreadable(let why): shot.trouble = why
            case .needsDrawing(let why): draw(shot, why)
            }
        }
        if capture.isDrawn { startWriting() }
    }

    private func draw(_ shot: Shot, _ why: String) {
        guard let graphics else {
            shot.trouble = "\(why), and there is no graphics worker"
            return
        }
        do throws(KernelError) {
            if worker == nil { worker = try GraphicsWorker(loop: loop, options: graphics) }
            shot.request = worker?.open(shot.committed.memory)
        } catch {
            shot.trouble = "\(why), and the graphics worker does not start: \(error)"
        }
    }

    private func drawn(_ request: GraphicsRequest, _ memory: BufferMemory?, _ why: String) {
        guard let capture = queue.first,
            let shot = capture.shots.first(where: { $0.request == request })
        else { return }
        shot.request = nil
        shot.isStable = capture.target?.isHeld(shot.committed) ?? false
        if let memory {
            shot.memory = memory
            shot.isDrawn = true
        } else {
            shot.trouble = why
        }
        if capture.isDrawn { startWriting() }
    }

    private func wasWritten(_ failure: ControlFault?, _ sizes: [CaptureSize?]) {
        guard let capture = queue.first else { return }
        if let failure {
            let troubles = capture.shots.compactMap(\.trouble)
            guard failure.code == .noPicture, let trouble = troubles.first else {
                return finish(.failure(failure))
            }
            return finish(.failure(ControlFault(.noPicture, trouble)))
        }
        var pictures: [JSONValue] = []
        for (shot, size) in zip(capture.shots, sizes) {
            var object = JSONObject()
            object.add("vm", shot.committed.vm)
            object.add("surface", shot.committed.surface.value)
            object.add("title", shot.committed.title)
            object.add("sequence", shot.committed.frame.sequence.value)
            if let size {
                object.add("width", UInt64(size.width))
                object.add("height", UInt64(size.height))
                object.add("stable", shot.isStable)
            } else {
                object.add("trouble", shot.trouble ?? "it cannot be read")
            }
            pictures.append(object.value)
        }
        finish(.success([JSONMember("pictures", .array(pictures))]))
    }

    private func finish(_ result: Result<[JSONMember], ControlFault>) {
        guard !queue.isEmpty else { return }
        let capture = queue.removeFirst()
        capture.completion(result)
        startReading()
    }
}

/// One surface of a capture on its way.
private final class Shot {
    let committed: CommittedFrame
    /// What its pixels are read from: its own, or what the worker drew.
    var memory: BufferMemory
    var picture: Picture?
    var isDrawn = false
    var request: GraphicsRequest?
    var isStable = false
    var trouble: String?

    init(_ committed: CommittedFrame) {
        self.committed = committed
        memory = committed.memory
    }
}

/// One order on its way.
private final class Capture {
    let order: CaptureOrder
    let descriptor: SendableDescriptor
    let shots: [Shot]
    let completion: ControlCaptures.Completion
    weak var target: (any ControlTarget)?

    init(
        _ order: CaptureOrder, _ descriptor: SendableDescriptor, target: any ControlTarget,
        _ completion: @escaping ControlCaptures.Completion
    ) {
        self.order = order
        self.descriptor = descriptor
        self.target = target
        self.completion = completion
        shots = order.frames.map(Shot.init)
    }

    /// Whether the worker has nothing more to do for it.
    var isDrawn: Bool { shots.allSatisfy { $0.request == nil } }
}

/// Where the thread leaves what it has finished.
private final class Mailbox: Sendable {
    private let step = Mutex<CaptureStep?>(nil)
    func put(_ new: CaptureStep) { step.withLock { $0 = new } }
    func take() -> CaptureStep? { step.withLock { $0.take() } }
}
