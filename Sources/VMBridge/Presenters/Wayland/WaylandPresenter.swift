import Logging
import VMBridgeCore
package final class WaylandPresenter: Presenter {
    package init(display: String?, vmName: String, loop: EventLoop, logger: Logger) throws {}
    package var formats: [ImportableFormat] { [] }
    package var isReady: Bool { false }
    package var name: String { "" }
    package func addBuffer(_ id: BufferID, _ memory: BufferMemory) {}
    package func forgetBuffer(_ id: BufferID) {}
    package func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer { .ready }
    package func cancelImage(_ use: UseID) {}
    package func importPath(of buffer: BufferID) -> String { "" }
    package func createWindow(_ id: SurfaceID, _ properties: WindowProperties) {}
    package func updateWindow(_ id: SurfaceID, _ properties: WindowProperties) {}
    package func acknowledge(_ id: SurfaceID, serial: UInt32) {}
    package func commit(_ id: SurfaceID, _ frame: Frame) {}
    package func commitState(_ id: SurfaceID) {}
    package func destroyWindow(_ id: SurfaceID) {}
    package func takeEvents(_ body: (PresenterEvent) -> Void) {}
    package func flush() {}
    package func shutDown() {}
}
