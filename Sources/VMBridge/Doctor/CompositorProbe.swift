import Glibc
import Logging
import VMBridgeCore
import Wayland

/// Connects to a compositor, learns what it offers through the presenter's own objects, and leaves.
final class CompositorProbe: HotEventTarget {
    /// How long a compositor may take to answer, nanoseconds.
    static let patience: UInt64 = 5_000_000_000

    private let connection: WaylandConnection
    private let registry: WaylandRegistry
    private let deadline: UInt64
    private var awaited: WlCallback?

    private struct Silence: Error {
        let why: String
    }

    private init(_ connection: WaylandConnection, patience: UInt64) {
        self.connection = connection
        registry = WaylandRegistry(connection)
        deadline = MonotonicClock.now() + patience
    }

    /// What the compositor of that name, or the environment's, answers.
    static func ask(
        display: String?, patience: UInt64 = CompositorProbe.patience
    ) -> CompositorAnswer {
        let variables = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET"]
        if display == nil, variables.allSatisfy({ SystemFiles.variable($0) == nil }) {
            return .unnamed
        }
        do throws(WaylandConnectError) {
            let connection = try WaylandConnection.connect(name: display)
            return CompositorProbe(connection, patience: patience).answer()
        } catch {
            return .unreachable(error.description)
        }
    }

    private func answer() -> CompositorAnswer {
        do throws(Silence) {
            try settle()
            return .offers(try offer())
        } catch {
            return .silent(error.why)
        }
    }

    private func offer() throws(Silence) -> CompositorOffer {
        var offer = CompositorOffer()
        for global in registry.globals {
            offer.versions[global.interface] = max(
                offer.versions[global.interface] ?? 0, global.version)
        }
        offer.missing = WaylandGlobals.missing(in: registry)
        offer.isPatient = PatientCompositors.contains(
            CompositorIdentity(peerOf: connection.fileDescriptor))
        let logger = Logger(label: "doctor") { _ in SwiftLogNoOpLogHandler() }
        let books = PresenterBooks(vmName: "doctor")
        guard let globals = WaylandGlobals(registry, books, logger) else { return offer }
        defer {
            globals.tearDown()
            _ = connection.flush()
        }
        try settle()
        globals.complete()
        offer.takesDMABufs = globals.dmabuf != nil
        take(globals.catalog.entries, &offer)
        offer.mainDevice = globals.catalog.mainDevice
        if let clock = globals.presentationClock {
            offer.clock = clock.number
            offer.isClockReadable = clock.monotonic(0) != nil
        }
        return offer
    }

    private func take(_ entries: [ImportableFormat], _ offer: inout CompositorOffer) {
        let dmaBufs = entries.filter { $0.memory & ImportableFormat.bit(.dmaBuf) != 0 }
        offer.pairs = dmaBufs.count
        offer.formats = Set(dmaBufs.map(\.format)).count
        offer.modifiers = Set(dmaBufs.map(\.modifier)).count
        offer.memoryFormats =
            entries.filter {
                $0.memory & ImportableFormat.bit(.memfd) != 0
            }.count
    }

    // MARK: Waiting

    override func wlCallbackDone(_ sender: WlCallback, callbackData: UInt32) {
        if sender == awaited { awaited = nil }
    }

    /// Until the compositor has handled all that was sent, or the time is over.
    private func settle() throws(Silence) {
        let callback = connection.sync()
        callback.setTarget(self)
        awaited = callback
        do throws(Silence) {
            while awaited != nil { try turn() }
        } catch {
            // A target must not outlive its object, nor the other way round.
            awaited?.destroyProxy()
            awaited = nil
            throw error
        }
    }

    private func turn() throws(Silence) {
        guard case .done = connection.dispatchAndPrepareRead() else { throw lost() }
        guard awaited != nil else { return connection.cancelRead() }
        if case .lost = connection.flush() {
            connection.cancelRead()
            throw lost()
        }
        let now = MonotonicClock.now()
        var descriptor = pollfd(fd: connection.fileDescriptor, events: Int16(POLLIN), revents: 0)
        let left = deadline > now ? (deadline - now) / 1_000_000 : 0
        guard poll(&descriptor, 1, Int32(clamping: left)) > 0 else {
            connection.cancelRead()
            if left > 0 { return }
            throw Silence(why: "it was connected to, and has not answered in time")
        }
        guard case .done = connection.readEvents(), case .done = connection.dispatchPending() else {
            throw lost()
        }
    }

    private func lost() -> Silence {
        switch connection.failure {
        case .protocolError(let interface, _, let code):
            Silence(why: "it ended the connection: error \(code) of \(interface ?? "an object")")
        case .system(EPIPE), .system(ECONNRESET), nil:
            Silence(why: "it took the connection and hung up")
        case .system(let code): Silence(why: "the connection failed: \(KernelError.text(of: code))")
        }
    }
}
