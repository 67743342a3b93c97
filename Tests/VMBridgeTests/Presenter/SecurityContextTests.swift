import Descriptors
import Glibc
import Logging
import Synchronization
import Testing
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// Connections that bear their VM's name, on a compositor that does what a test wants. That a real one
/// takes the name is seen in the test machine.
@Suite("[kernel] security context on a fake compositor", .serialized)
struct SecurityContextTests {
    private static let offering = FakeSession.usual + [("wp_security_context_manager_v1", 1)]

    private func names(_ compositor: FakeCompositor) -> [String] {
        compositor.requests.map { "\($0.interface).\($0.name)" }
    }

    /// Lets both sides talk, for longer than one exchange.
    private func until(_ fake: FakeSession, _ condition: () -> Bool) throws -> Bool {
        try fake.live.until(seconds: 10) {
            for compositor in fake.compositors.suffix(2) { _ = compositor.receive() }
            return condition()
        }
    }

    /// A window with a frame on the latest connection.
    private func showsWindows(_ fake: FakeSession, _ key: UInt64 = 1) throws -> Bool {
        fake.live.makeSurface(key)
        let buffer = try fake.live.makeBuffer(noise(8, 6))
        fake.live.show(buffer, on: SurfaceKey(key), 1)
        try fake.settle()
        return !fake.committed.isEmpty && fake.compositor.complaints.isEmpty
    }

    @Test func theNameIsToldAndTheFirstConnectionLeft() throws {
        let fake = try FakeSession(Self.offering)
        #expect(fake.compositors.count == 2)
        #expect(fake.live.presenter.isReady)
        #expect(fake.live.presenter.securityContext == .named)
        let first = fake.compositors[0]
        #expect(first.complaints.isEmpty)
        #expect(
            names(first) == [
                "wl_display.get_registry", "wl_display.sync", "wl_registry.bind",
                "wp_security_context_manager_v1.create_listener",
                "wp_security_context_v1.set_sandbox_engine", "wp_security_context_v1.set_app_id",
                "wp_security_context_v1.set_instance_id", "wp_security_context_v1.commit",
                "wp_security_context_v1.destroy", "wp_security_context_manager_v1.destroy",
                "wl_display.sync",
            ])
        func said(_ request: String) -> [FakeArgument]? {
            first.requests("wp_security_context_v1.\(request)").first?.arguments
        }
        #expect(said("set_sandbox_engine") == [.string("vm-bridge")])
        #expect(said("set_app_id") == [.string("vm-bridge.fake")])
        #expect(said("set_instance_id") == [.string("fake")])
        _ = first.receive()
        #expect(first.isAtEnd)
        #expect(try showsWindows(fake))
        #expect(fake.compositors.count == 2)
        fake.live.session.shutDown()
    }

    @Test func appIDsAreOfTheKindThatWindowsHave() {
        for name in ["work", "a.b", "ä b"] {
            let window = Router(vmName: name).identity(SurfaceMetadata()).appID
            #expect(SecurityContext.appID(name) == window)
        }
    }

    /// The listener is heard as long as the connection is used, and no longer.
    @Test func theCompositorIsToldWhenNoMoreIsToCome() throws {
        let fake = try FakeSession(Self.offering)
        guard
            case .descriptor(let heard) = fake.compositors[0].requests(
                "wp_security_context_manager_v1.create_listener")[0].arguments[2]
        else {
            Issue.record("no descriptor to listen to")
            return
        }
        func hangsUp() -> Bool {
            var asked = pollfd(fd: heard, events: 0, revents: 0)
            return poll(&asked, 1, 0) == 1 && asked.revents & Int16(POLLHUP) != 0
        }
        #expect(!hangsUp())
        fake.live.session.shutDown()
        #expect(hangsUp())
    }

    @Test func withoutAnOfferTheConnectionIsKept() throws {
        let fake = try FakeSession()
        #expect(fake.compositors.count == 1 && fake.live.presenter.isReady)
        #expect(
            fake.live.presenter.securityContext == .nameless("the compositor offers none"))
        fake.live.session.shutDown()
    }

    /// Whatever goes wrong with the name, the windows are shown without one, at once and with the reason.
    @Test(arguments: [
        (FakeSession.NameAnswer.refused, "protocol error 3 of"),
        (.death, "the compositor closed the connection"),
        (.silence, "gave no answer for"), (.ignored, "gave no answer for"),
        (.hungUp, "the compositor closed the connection"),
    ])
    func aFailureCostsNoWindows(_ answer: FakeSession.NameAnswer, _ why: String) throws {
        let fake = try FakeSession(
            Self.offering, answerLimit: 200_000_000, nameAnswer: answer)
        #expect(try until(fake) { fake.live.presenter.isReady })
        guard case .nameless(let reason) = fake.live.presenter.securityContext else {
            Issue.record("\(String(describing: fake.live.presenter.securityContext))")
            return
        }
        #expect(reason.contains(why), "\(reason)")
        // The plain connection is the second to the compositor, and no name was asked for on it.
        #expect(fake.compositors.count == 2)
        #expect(fake.compositor.requests("wp_security_context_manager_v1.create_listener").isEmpty)
        #expect(fake.live.presenter.trouble == nil)
        #expect(try showsWindows(fake))
        fake.live.session.shutDown()
    }

    /// A compositor that comes back is asked for a name again, also when its predecessor had refused.
    @Test func anotherCompositorIsAskedAgain() throws {
        let fake = try FakeSession(Self.offering, nameAnswer: .refused)
        #expect(try until(fake) { fake.live.presenter.isReady })
        #expect(fake.live.presenter.securityContext != .named)
        fake.nameAnswer = .taken
        for _ in 0..<2 {
            fake.compositor.hangUp()
            #expect(try until(fake) { !fake.live.presenter.isReady })
            #expect(fake.live.presenter.securityContext == nil)
            #expect(try until(fake) { fake.live.presenter.isReady })
            #expect(fake.live.presenter.securityContext == .named)
        }
        fake.live.session.shutDown()
    }

    /// A compositor that shows less to those with a name: what windows need brings back the plain
    /// connection, the rest is missing and the log says so.
    @Test func whatTheCompositorHides() throws {
        let bare = FakeSession.usual.filter { $0.interface != "xdg_wm_base" }
        let fake = try FakeSession(Self.offering, globalsOfNamed: bare)
        #expect(try until(fake) { fake.live.presenter.isReady })
        #expect(
            fake.live.presenter.securityContext
                == .nameless("the compositor does not offer xdg_wm_base"))
        #expect(fake.compositors.count == 3)
        #expect(try showsWindows(fake))
        fake.live.session.shutDown()

        let less = FakeSession.usual.filter { $0.interface != "wp_viewporter" }
        let other = try FakeSession(Self.offering, globalsOfNamed: less)
        #expect(other.live.presenter.securityContext == .named)
        #expect(try showsWindows(other))
        other.live.session.shutDown()
    }

    /// The list by which hidden globals are noticed has everything that is bound where all there is is offered.
    @Test func whatIsBoundIsLookedFor() throws {
        let fake = try FakeSession(FakeCompositor.everything)
        #expect(fake.compositors.count == 2 && fake.live.presenter.isReady)
        let bound = fake.compositor.requests("wl_registry.bind").compactMap { request in
            if case .string(let name) = request.arguments[1] { name } else { nil }
        }
        #expect(Set(bound) == Set(WaylandGlobals.used))
        fake.live.session.shutDown()
    }

    @Test func whatIsSaidInTheLog() throws {
        let log = SharedLog()
        var naming = ConnectionNaming()
        let logger = Logger(label: "test") { _ in log }
        naming.failed("no")
        naming.settled(isNamed: false, "a", logger)
        naming.settled(isNamed: false, "a", logger)
        naming.settled(isNamed: true, "a", logger)
        naming.settled(isNamed: true, "a", logger)
        #expect(
            log.lines == [
                "a: connected without a security context: no",
                "a: connected with a security context of its own",
            ])
    }

    @Test func noDescriptorIsLost() async {
        await #expect(processExitsWith: .success) {
            let answers: [FakeSession.NameAnswer] = [
                .taken, .refused, .death, .silence, .ignored, .hungUp,
            ]
            func round(_ answer: FakeSession.NameAnswer) throws {
                let fake = try FakeSession(
                    SecurityContextTests.offering, answerLimit: 100_000_000, nameAnswer: answer)
                let isReady = try SecurityContextTests().until(fake) {
                    fake.live.presenter.isReady
                }
                #expect(isReady)
                fake.live.session.shutDown()
            }
            try round(.taken)
            try withoutLeaks {
                for _ in 0..<5 {
                    for answer in answers { try round(answer) }
                }
            }
        }
    }

    /// An end in the middle of asking leaves nothing behind either.
    @Test func anEndInBetween() async {
        await #expect(processExitsWith: .success) {
            func round(_ turns: Int) throws {
                let fake = try FakeSession(
                    SecurityContextTests.offering, isThere: true, nameAnswer: .silence)
                for _ in 0..<turns {
                    try fake.live.turn()
                    _ = fake.compositor.receive()
                }
                #expect(!fake.live.presenter.isReady)
                fake.live.session.shutDown()
            }
            try round(1)
            try withoutLeaks { for turns in 0..<6 { try round(turns) } }
        }
    }
}

/// Keeps what is logged.
private final class SharedLog: LogHandler, Sendable {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .info }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    func log(event: LogEvent) {
        kept.withLock { $0.append("\(event.message)") }
    }
}
