import Foundation
import Synchronization
import Testing
import Wayland
import WaylandTestSupport

@Suite("[kernel] libwayland's messages")
struct LogTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    @Test func bringTheTextOfProtocolErrors() throws {
        let lines = Lines()
        WaylandLog.set { line in lines.all.withLock { $0.append(line) } }
        let pair = try Pair()
        let text = "a reason " + UUID().uuidString
        pair.compositor.protocolError(1, code: 3, text)
        pair.settle()
        let found = lines.all.withLock { $0.filter { $0.contains(text) } }
        // Other tests' connections may log meanwhile.
        #expect(found == ["wl_display@1: error 3: \(text)"])
    }
}
