import VMBridgeCore

/// Sends one console's input by D-Bus, and asks it for a size.
///
/// Places of the pointer are sent while QEMU keeps up; of those in between only the last one.
final class QEMUInputSender {
    /// Places that QEMU has not answered yet, the most there may be.
    private static let placeLimit = 4
    /// How long a wish for a size waits for a further one, nanoseconds.
    static let sizeDelay: UInt64 = 100_000_000

    private unowned let connection: DBusConnection
    private let destination: String?
    private let path: String
    private let loop: EventLoop
    private var translator = QEMUInputTranslator(size: .zero, isAbsolute: false)
    private var places: Set<UInt32> = []
    private var heldPlace: InputPoint?
    private var timer: TimerID?
    private var wanted: Size?
    private var asked = Size.zero

    init(_ connection: DBusConnection, destination: String?, console: UInt32, loop: EventLoop) {
        self.connection = connection
        self.destination = destination
        self.loop = loop
        path = "/org/qemu/Display1/Console_\(console)"
        timer = loop.makeTimer { [unowned self] _ in self.askForSize() }
    }

    /// Ends it. QEMU releases what is pressed when the listener goes.
    func close() {
        if let timer { loop.remove(timer) }
        timer = nil
    }

    /// Whether the guest takes places.
    func setAbsolute(_ isAbsolute: Bool) {
        heldPlace = nil
        translator.setAbsolute(isAbsolute)
    }

    /// Fingers that the guest can tell apart.
    func setTouchSlots(_ slots: UInt32) { translator.touchSlots = slots }

    /// What a person did to the console's window.
    func send(_ event: InputEvent, size: Size) {
        translator.size = size
        for call in translator.translate(event) { send(call) }
    }

    /// Releases all that is pressed.
    func releaseAll() {
        for call in translator.releaseAll() { send(call) }
    }

    private func send(_ call: QEMUInputCall) {
        switch call {
        case .key(let number, let isPressed):
            tell("Keyboard", isPressed ? "Press" : "Release") { $0.append(number) }
        case .button(let button, let isPressed):
            flushPlace()
            tell("Mouse", isPressed ? "Press" : "Release") { $0.append(button.rawValue) }
        case .position(let point):
            heldPlace = point
            if places.count < Self.placeLimit { flushPlace() }
        case .motion(let x, let y):
            tell("Mouse", "RelMotion") {
                $0.append(x)
                $0.append(y)
            }
        case .touch(let kind, let slot, let point):
            tell("MultiTouch", "SendEvent") {
                $0.append(kind.rawValue)
                $0.append(UInt64(slot))
                $0.append(Double(point.x) / 256)
                $0.append(Double(point.y) / 256)
            }
        }
    }

    private func flushPlace() {
        guard let place = heldPlace else { return }
        heldPlace = nil
        let serial = connection.call(
            destination, path, "org.qemu.Display1.Mouse", "SetAbsPosition"
        ) {
            $0.append(UInt32(clamping: place.x / 256))
            $0.append(UInt32(clamping: place.y / 256))
        }
        if let serial { places.insert(serial) }
    }

    /// An answer came; true if it was to one of its calls.
    func answered(_ serial: UInt32) -> Bool {
        guard places.remove(serial) != nil else { return false }
        if places.count < Self.placeLimit { flushPlace() }
        return true
    }

    private func tell(_ interface: String, _ member: String, _ fill: (DBusBody) -> Void) {
        connection.call(
            destination, path, "org.qemu.Display1." + interface, member, wantsAnswer: false, fill)
    }

    // MARK: Size

    /// The window has another size: the guest is asked for it once no further one comes for a while.
    func want(_ size: Size, now picture: Size) {
        let sides: ClosedRange<UInt32> = 64...VMLimits.maximumDimension
        guard sides.contains(size.width), sides.contains(size.height), let timer else { return }
        guard size != asked, size != picture || asked != .zero else { return }
        wanted = size
        loop.arm(timer, after: Self.sizeDelay)
    }

    private func askForSize() {
        guard let size = wanted else { return }
        wanted = nil
        asked = size
        tell("Console", "SetUIInfo") {
            $0.append(UInt16(0))
            $0.append(UInt16(0))
            $0.append(Int32(0))
            $0.append(Int32(0))
            $0.append(size.width)
            $0.append(size.height)
        }
    }
}
