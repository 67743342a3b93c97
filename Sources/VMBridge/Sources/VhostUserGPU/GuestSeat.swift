import VMBridgeCore

/// Keyboard and pointer of a guest whose GPU we are: they go by the VMM's machine protocol (QMP), since the GPU's own has none.
final class GuestSeat {
    private let client: QMPClient
    private var translator = QEMUInputTranslator(size: .zero, isAbsolute: true)
    private var miceQuery: UInt64?

    /// Connects, now and again.
    init(path: String, loop: EventLoop, reaper: DescriptorReaper) {
        client = QMPClient(path: path, loop: loop, reaper: reaper)
        client.start()
    }

    /// Descriptors that are open for it.
    var descriptors: Int { client.descriptors }
    /// Whether input reaches the guest.
    var isReady: Bool { client.isReady }

    /// Ends for good.
    func shutDown() { client.shutDown() }

    /// Takes what came since; called after each batch. What a person should know of it goes to `tell`.
    func settle(_ tell: (String) -> Void) {
        client.takeNews { news in
            switch news {
            case .ready:
                tell("input goes by \(client.path)")
                askForMice()
            case .lost(let why): tell("no input: QMP is gone: \(why)")
            case .unreachable(let why):
                tell(
                    "no input: \(why); start QEMU with -qmp unix:\(client.path),server=on,wait=off")
            case .success(let id, let value) where id == miceQuery: take(mice: value)
            case .failure(_, let sentence): tell("QEMU refused input: \(sentence)")
            default: break
            }
        }
    }

    /// Tells the guest of an event on one of its screens.
    ///
    /// - Parameters:
    ///   - left: of the screen on the guest's desktop, in pixels.
    ///   - desktop: of all its screens.
    func send(_ event: InputEvent, left: UInt32, desktop: Size) {
        if case .pointerEnter = event { askForMice() }
        translator.size = desktop
        let calls = translator.translate(event.moved(right: left))
        guard let arguments = QMPInput.arguments(calls, size: desktop) else { return }
        client.execute("input-send-event", arguments)
    }

    /// Presses the guest's power button; false when nobody is there to do it.
    func powerDown() -> Bool { client.execute("system_powerdown") != nil }

    /// Whether there is a tablet is known once the guest's driver runs, and nobody tells of it.
    private func askForMice() { miceQuery = client.execute("query-mice") ?? miceQuery }

    private func take(mice: JSONValue) {
        guard case .array(let devices) = mice else { return }
        let current = devices.first { $0["current"] == .boolean(true) }
        translator.setAbsolute(current?["absolute"] != .boolean(false))
    }
}

extension InputEvent {
    /// The same event so many pixels further to the right.
    fileprivate func moved(right pixels: UInt32) -> InputEvent {
        func moved(_ point: InputPoint) -> InputPoint {
            InputPoint(x: Int32(clamping: Int64(point.x) + Int64(pixels) * 256), y: point.y)
        }
        return switch self {
        case .pointerEnter(let point): .pointerEnter(moved(point))
        case .pointerMotion(let point): .pointerMotion(moved(point))
        case .touchDown(let finger, let point): .touchDown(finger, moved(point))
        case .touchMotion(let finger, let point): .touchMotion(finger, moved(point))
        default: self
        }
    }
}
