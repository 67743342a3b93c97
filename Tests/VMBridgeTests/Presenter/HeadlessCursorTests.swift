import Foundation
import Testing

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] images of pointers on a virtual output")
struct HeadlessCursorTests {
    @Test("they are captured under a name of their own, and are no windows")
    func captured() throws {
        try withDirectory { directory in
            let capture = try HeadlessCapture(directory: directory)
            var options = HeadlessOptions()
            options.windowSize = Size(width: 100, height: 50)
            options.refreshRate = 1000
            let live = try LiveSession { loop, logger in
                HeadlessPresenter(
                    vmName: "alpha", options: options, capture: capture, loop: loop,
                    logger: logger)
            }
            live.makeSurface(1)
            live.show(try live.makeBuffer(noise(8, 6)), 1)
            var metadata = SurfaceMetadata()
            metadata.parent = SurfaceKey(1)
            metadata.hotSpot = HotSpot(x: 1, y: 2)
            live.send(
                .surfaceCreate(SurfaceKey(2), .cursor, isGraphics: true, metadata),
                type: RecordType.surfaceCreate, object: 2)
            let image = noise(4, 4, seed: 9)
            func shown() -> UInt64 {
                live.session.status.first { $0.surface == SurfaceKey(2) }?.counters.shown ?? 0
            }
            live.show(try live.makeBuffer(noise(4, 4, seed: 3)), on: SurfaceKey(2), 1)
            #expect(try live.until { shown() == 1 })
            // The next frame comes through the callback, and releases the first.
            live.show(try live.makeBuffer(image), on: SurfaceKey(2), 2)
            #expect(try live.until { shown() == 2 && live.released(.shown) == [1] })
            #expect(try live.until { live.presented == [1] })
            let told = live.feedback.compactMap { record -> ConfigureRecord? in
                guard case .configure(SurfaceKey(2), let configure) = record else { return nil }
                return configure
            }
            #expect(told.allSatisfy { $0.size == .zero && $0.states == 0 })
            live.presenter.shutDown()
            #expect(capture.windows.count == 1)
            #expect(capture.windows["alpha-0.png"]?.picture == noise(8, 6))
            #expect(try PNGFile.read(directory + "/alpha-1-cursor.png") == image)
            let log = try String(contentsOfFile: directory + "/commits.jsonl", encoding: .utf8)
            let lines = log.split(separator: "\n")
            #expect(lines.filter { $0.contains(#""cursor":true"#) }.count == 2)
            #expect(lines.filter { !$0.contains(#""cursor":true"#) }.count == 1)
            live.session.shutDown()
        }
    }
}
