import Descriptors
import VMBridgeCore
import Wayland

/// A group of requests that is sent when the compositor takes it. Each object is in the queue at most
/// once, with all that is to be done to it, so the queue is as bounded as the objects are.
enum PresenterOperation {
    /// Whatever a window has pending.
    case window(WaylandWindow)
    /// The import of an image.
    case importImage(BufferImage)
    /// Ends an object.
    case destroyBuffer(WlBuffer)
    /// Ends an object.
    case destroyParams(ZwpLinuxBufferParamsV1)
    /// Ends an object.
    case destroyPool(WlShmPool)
    /// Ends an object.
    case destroyTimeline(WpLinuxDrmSyncobjTimelineV1)
    /// Answers the latest ping.
    case pong
    /// Shows the image that a pointer is to have.
    case pointer(WaylandPointer)
}

/// What the parts of one Wayland presenter share: the events for the session, who has which use, and
/// the requests that wait.
final class PresenterBooks {
    /// For the session, in the order of what happened.
    private let events = Gathered<PresenterEvent>(capacity: 256)
    /// The image that serves a use.
    var images = SlotObjects<BufferImage>()
    /// The fences of `releasedWithFence` events that were told, in order.
    let releaseFences = DescriptorQueue()
    /// Objects that left the tables while libwayland may still be calling one of their methods; let
    /// go of outside of its dispatching.
    private var retired: ContiguousArray<HotEventTarget> = []
    /// Images whose buffer is gone and whose import is not answered yet.
    private(set) var abandoned: ContiguousArray<BufferImage> = []
    /// Windows whose end the compositor has not confirmed yet.
    private(set) var closing: ContiguousArray<WaylandWindow> = []
    /// Whether there is any of the three: a steady frame has none, and asks a number of times.
    private var hasLeftovers = false
    /// What is to be sent, in order.
    private var queue: ContiguousArray<PresenterOperation> = []
    private var head = 0
    /// How many groups wait.
    private(set) var waiting = 0
    /// Serial of the latest ping that is not answered.
    private var ping: UInt32?

    private var hasToldOfKeymap = false

    /// What the log was told already, whatever compositor comes next.
    var hasToldOfCopying = false
    var hasToldOfBlits = false
    var hasToldOfMissingViewporter = false
    var hasToldOfArrow = false

    /// Histories of windows that were begun.
    var histories: UInt64 = 0

    /// Names of outputs that the log was told to be missing; they come from the host's configuration.
    var outputsMissed: Set<String> = []

    /// Bytes of the guest's buffers, which the session's ledger bounds.
    var bufferBytes: UInt64 = 0
    /// Bytes of our own memory that copies of them take.
    var copyBytes: UInt64 = 0

    /// Blits, whose images end their pairs.
    weak var blits: BlitPath?

    /// The device that the compositor draws with; nil when it has told none.
    var device: HostDevice?

    /// For the log.
    let vmName: String

    init(vmName: String) {
        self.vmName = vmName
        queue.reserveCapacity(64)
    }

    // MARK: Requests

    /// Puts a group of requests behind those that wait.
    func later(_ operation: PresenterOperation) {
        queue.append(operation)
        waiting += 1
    }

    /// The group whose turn it is.
    var next: PresenterOperation? { waiting > 0 ? queue[head] : nil }

    /// The group whose turn it was is done.
    func removeNext() {
        head += 1
        waiting -= 1
        if waiting == 0 {
            queue.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 256, head * 2 >= queue.count {
            queue.removeFirst(head)
            head = 0
        }
    }

    /// Answers a ping when there is room; of several only the latest.
    func pinged(_ serial: UInt32) {
        if ping == nil { later(.pong) }
        ping = serial
    }

    /// The serial to answer with.
    func takePing() -> UInt32? {
        defer { ping = nil }
        return ping
    }

    // MARK: Events

    var hasEvents: Bool { !events.isEmpty }

    func tell(_ event: PresenterEvent) { events.append(event) }

    /// The keymap changed; told once until the events are taken, since the latest one is asked for then.
    func tellKeymapChanged() {
        guard !hasToldOfKeymap else { return }
        hasToldOfKeymap = true
        events.append(.keymapChanged)
    }

    /// Hands the events over, those included that come meanwhile.
    func take(_ body: (PresenterEvent) -> Void) {
        hasToldOfKeymap = false
        events.take(body)
    }

    /// A release that waits for a fence.
    func tellReleased(_ use: UseID, _ fence: consuming OwnedDescriptor) {
        releaseFences.append(fence)
        events.append(.releasedWithFence(use))
    }

    func forgetEvents() {
        events.removeAll()
        hasToldOfKeymap = false
        releaseFences.removeAll()
    }

    // MARK: Ends

    /// Keeps an object until it can be let go of.
    func retire(_ object: HotEventTarget) {
        retired.append(object)
        hasLeftovers = true
    }

    /// Keeps an image until its import is answered.
    func abandon(_ image: BufferImage) {
        abandoned.append(image)
        hasLeftovers = true
    }

    /// Keeps a window until the compositor has confirmed its end.
    func close(_ window: WaylandWindow) {
        closing.append(window)
        hasLeftovers = true
    }

    /// Lets go of what left the tables. Not while libwayland dispatches.
    func sweep() {
        guard hasLeftovers else { return }
        retired.removeAll(keepingCapacity: true)
        abandoned.removeAll { $0.isAnswered }
        closing.removeAll { $0.isGone }
        hasLeftovers = !retired.isEmpty || !abandoned.isEmpty || !closing.isEmpty
    }
}
