import Descriptors
import Logging
import VMBridgeCore

@testable import VMBridge

/// The virtual output with a person in front of it: what the test says happens to a surface, and the session's
/// keyboard is the test's.
final class SeatedPresenter: Presenter {
    private let output: HeadlessPresenter
    private var events: [PresenterEvent] = []
    /// What each window was told last.
    private(set) var properties: [SurfaceID: WindowProperties] = [:]
    private(set) var windows: [SurfaceID] = []
    var keymap: KeymapRecord?
    /// The text of the keymap, in a memfd.
    var keymapMemory = OwnedDescriptor.none
    /// Whether the compositor is there.
    private(set) var isReady = true

    init(vmName: String, loop: EventLoop, logger: Logger) {
        var options = HeadlessOptions()
        options.refreshRate = 1000
        output = HeadlessPresenter(
            vmName: vmName, options: options, capture: nil, loop: loop, logger: logger)
    }

    /// The window that was made last for a surface that is there.
    var window: SurfaceID? { windows.last }

    func happens(_ id: SurfaceID, _ inputs: InputEvent..., time: UInt64 = 7_000_000) {
        for event in inputs { events.append(.input(id, event, time: time)) }
    }

    func changeKeymap(_ keymap: KeymapRecord?) {
        self.keymap = keymap
        events.append(.keymapChanged)
    }

    func lose() {
        isReady = false
        windows.removeAll()
        events.append(.lost("the test says so"))
    }

    func copyKeymap() -> OwnedDescriptor { keymapMemory.duplicate() }

    func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        windows.append(id)
        self.properties[id] = properties
        output.createWindow(id, properties)
    }

    func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {
        self.properties[id] = properties
        output.updateWindow(id, properties)
    }

    func destroyWindow(_ id: SurfaceID) {
        windows.removeAll { $0 == id }
        properties[id] = nil
        output.destroyWindow(id)
    }

    func takeEvents(_ body: (PresenterEvent) -> Void) {
        let gathered = events
        events.removeAll()
        for event in gathered { body(event) }
        output.takeEvents(body)
    }

    // MARK: The output's

    var formats: [ImportableFormat] { output.formats }
    var trouble: String? { output.trouble }
    var name: String { output.name }
    func addBuffer(_ id: BufferID, _ memory: BufferMemory) { output.addBuffer(id, memory) }
    func forgetBuffer(_ id: BufferID) { output.forgetBuffer(id) }
    func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer {
        output.reserveImage(use, of: buffer)
    }
    func cancelImage(_ use: UseID) { output.cancelImage(use) }
    func memory(of buffer: BufferID) -> BufferMemory? { output.memory(of: buffer) }
    func importPath(of buffer: BufferID) -> String { output.importPath(of: buffer) }
    func acknowledge(_ id: SurfaceID, serial: UInt32) { output.acknowledge(id, serial: serial) }
    func commit(_ id: SurfaceID, _ frame: Frame) { output.commit(id, frame) }
    func commitState(_ id: SurfaceID) { output.commitState(id) }
    func flush() { output.flush() }
    func shutDown() { output.shutDown() }
}
