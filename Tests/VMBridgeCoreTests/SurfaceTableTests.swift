import Testing
import VMBridgeCore

/// Every event in every phase: the actions and the phase after it stand in the table, by hand.
@Suite("[pure] surface machine: every phase, every event")
struct SurfaceTableTests {
    /// Where a row begins. The first seven are one each for the phases, the others are variants.
    enum Start: CaseIterable {
        /// Frame 1 lacks its import in the first three.
        case unmapped, awaitingConfigure, ready
        /// Frame 1 is committed and held, its callback pending; 2 is complete; 3 waits for a fence.
        case presenting
        /// The same after a silence.
        case hidden
        /// The same after a destroy.
        case closing
        /// And after the window went.
        case gone
        /// Frame 1 is committed and held, its callback came.
        case idle
        /// As `idle`, then suspended, then frame 2 complete.
        case suspended
        /// Unmapped for too long.
        case dormant
        /// As `presenting`, then concealed.
        case concealed
        /// Frame 1 is committed and held, its callback came; frozen, then 2 complete and 3 waiting.
        case frozen

        var phase: SurfaceMachine.Phase {
            switch self {
            case .unmapped, .dormant: .unmapped
            case .awaitingConfigure: .awaitingConfigure
            case .ready: .ready
            case .presenting, .idle, .frozen: .presenting
            case .hidden, .suspended: .hidden
            case .concealed: .concealed
            case .closing: .closing
            case .gone: .gone
            }
        }
    }

    enum Event: CaseIterable {
        case map, configure, suspend, callback, silence, tick, released, close, lost, heldTooLong
        case accept, acceptFence, acceptImport, unblockOldest, unblockFence, failOldest, failFence
        case failReady, commitFailed, refused, destroy, windowGone
        case conceal, reveal, freeze, thaw
    }

    private func fixture(_ start: Start) -> SurfaceFixture {
        var it = SurfaceFixture()
        switch start {
        case .unmapped, .awaitingConfigure, .ready:
            _ = it.accept(1, .importing)
            if start != .unmapped { _ = it.map() }
            if start == .ready { _ = it.configure() }
        case .presenting, .hidden, .closing, .gone, .concealed:
            it = .configured()
            _ = it.accept(1)
            _ = it.accept(2)
            _ = it.accept(3, .fence)
            if start == .hidden { _ = it.silence() }
            if start == .concealed { _ = it.conceal() }
            if start == .closing || start == .gone { _ = it.destroy() }
            if start == .gone { _ = it.gone() }
        case .idle, .suspended:
            it = .configured()
            _ = it.accept(1)
            _ = it.callback()
            if start == .suspended {
                _ = it.configure(states: SurfaceFixture.suspended)
                _ = it.accept(2)
            }
        case .frozen:
            it = .configured()
            _ = it.accept(1)
            it.machine.freeze()
            _ = it.callback()
            _ = it.accept(2)
            _ = it.accept(3, .fence)
        case .dormant:
            _ = it.accept(1, .importing)
            _ = it.heldTooLong()
        }
        return it
    }

    private func send(_ event: Event, _ it: inout SurfaceFixture) -> String {
        let size = Size(width: 800, height: 600)
        switch event {
        case .map: return it.map()
        case .configure: return it.configure(size, serial: 9)
        case .suspend: return it.configure(size, states: SurfaceFixture.suspended, serial: 9)
        case .callback: return it.callback()
        case .silence: return it.silence()
        case .tick: return it.tick()
        case .released:
            it.machine.released(SurfaceFixture.use(1))
            return ""
        case .close: return it.close()
        case .lost: return it.lost()
        case .heldTooLong: return it.heldTooLong()
        case .accept: return it.accept(9)
        case .acceptFence: return it.accept(9, .fence)
        case .acceptImport: return it.accept(9, .importing)
        case .unblockOldest: return it.unblock(1, .importing)
        case .unblockFence: return it.unblock(3, .fence)
        case .failOldest: return it.fail(1)
        case .failFence: return it.fail(3)
        case .failReady: return it.fail(2)
        case .commitFailed: return it.commitFailed(1)
        case .refused:
            it.machine.frameWasRefused()
            return ""
        case .destroy: return it.destroy()
        case .windowGone: return it.gone()
        case .conceal: return it.conceal()
        case .reveal: return it.reveal()
        case .freeze:
            it.machine.freeze()
            return ""
        case .thaw: return it.thaw()
        }
    }

    /// Rows that do something or change the phase: [start: [event: (actions, phase)]]. Every other
    /// pair does nothing and stays where it is, and `quiet` lists those, so that none is forgotten.
    private let rows: [Start: [Event: (String, SurfaceMachine.Phase)]] = [
        .unmapped: [
            .conceal: ("give 1, tell 0x0 suspended", .concealed),
            .map: ("create window", .awaitingConfigure),
            .heldTooLong: ("cancel 1, end 1 lost", .unmapped),
            .accept: ("cancel 1, end 1 superseded", .unmapped),
            .acceptImport: ("cancel 1, end 1 superseded", .unmapped),
            .failOldest: ("cancel 1, end 1 refused", .unmapped),
            .destroy: ("cancel 1, end 1 lost", .gone),
        ],
        .awaitingConfigure: [
            .conceal: ("give 1, destroy window, tell 0x0 suspended", .concealed),
            .configure: ("ack 9, tell 800x600", .ready),
            .suspend: ("ack 9, tell 800x600 suspended", .ready),
            .close: ("tell close", .awaitingConfigure),
            .lost: ("", .unmapped),
            .accept: ("cancel 1, end 1 superseded", .awaitingConfigure),
            .failOldest: ("cancel 1, end 1 refused", .awaitingConfigure),
            .destroy: ("cancel 1, end 1 lost, destroy window", .closing),
        ],
        .ready: [
            .conceal: ("give 1, destroy window, tell 640x480 suspended", .concealed),
            .configure: ("ack 9, tell 800x600", .ready),
            .suspend: ("ack 9, tell 800x600 suspended", .ready),
            .close: ("tell close", .ready),
            .lost: ("", .unmapped),
            .accept: ("cancel 1, end 1 superseded, commit", .presenting),
            .unblockOldest: ("commit", .presenting),
            .failOldest: ("cancel 1, end 1 refused", .ready),
            .destroy: ("cancel 1, end 1 lost, destroy window", .closing),
        ],
        .presenting: [
            .conceal: ("give 2, give 3, destroy window, tell 640x480 suspended", .concealed),
            .configure: ("ack 9, tell 800x600, commit state", .presenting),
            .suspend: ("ack 9, tell 800x600 suspended, commit state", .hidden),
            .callback: ("commit", .presenting),
            .silence: ("", .hidden),
            .close: ("tell close", .presenting),
            .lost: ("cancel 3, end 3 lost, end 1 lost", .unmapped),
            .accept: ("cancel 3, end 3 superseded, end 2 superseded", .presenting),
            .unblockFence: ("end 2 superseded", .presenting),
            .failFence: ("cancel 3, end 3 refused", .presenting),
            .failReady: ("end 2 refused", .presenting),
            .commitFailed: ("end 1 refused, commit", .presenting),
            .destroy: ("cancel 3, end 3 lost, end 2 lost, destroy window", .closing),
        ],
        .hidden: [
            .conceal: ("give 2, give 3, destroy window, tell 640x480 suspended", .concealed),
            .configure: ("ack 9, tell 800x600, commit state", .hidden),
            .suspend: ("ack 9, tell 800x600 suspended, commit state", .hidden),
            .callback: ("commit", .presenting),
            .tick: ("end 2 superseded, discarded 2", .hidden),
            .close: ("tell close", .hidden),
            .lost: ("cancel 3, end 3 lost, end 1 lost", .unmapped),
            .accept: ("cancel 3, end 3 superseded, end 2 superseded", .hidden),
            .unblockFence: ("end 2 superseded", .hidden),
            .failFence: ("cancel 3, end 3 refused", .hidden),
            .failReady: ("end 2 refused", .hidden),
            .commitFailed: ("end 1 refused, commit", .presenting),
            .destroy: ("cancel 3, end 3 lost, end 2 lost, destroy window", .closing),
        ],
        .closing: [
            .lost: ("end 1 lost", .gone),
            .accept: ("end 9 lost", .closing),
            .acceptFence: ("cancel 9, end 9 lost", .closing),
            .acceptImport: ("cancel 9, end 9 lost", .closing),
            .commitFailed: ("end 1 refused", .closing),
            .windowGone: ("end 1 shown", .gone),
        ],
        .gone: [
            .accept: ("end 9 lost", .gone),
            .acceptFence: ("cancel 9, end 9 lost", .gone),
            .acceptImport: ("cancel 9, end 9 lost", .gone),
        ],
        .idle: [
            .conceal: ("destroy window, tell 640x480 suspended", .concealed),
            .configure: ("ack 9, tell 800x600, commit state", .presenting),
            .suspend: ("ack 9, tell 800x600 suspended, commit state", .hidden),
            .close: ("tell close", .presenting),
            .lost: ("", .unmapped),
            .accept: ("commit", .presenting),
            .commitFailed: ("end 1 refused", .presenting),
            .destroy: ("destroy window", .closing),
        ],
        .suspended: [
            .conceal: ("give 2, destroy window, tell 640x480 suspended", .concealed),
            .configure: ("ack 9, tell 800x600, commit", .presenting),
            .suspend: ("ack 9, tell 800x600 suspended, commit state", .hidden),
            .tick: ("end 2 superseded, discarded 2", .hidden),
            .close: ("tell close", .hidden),
            .lost: ("end 1 lost", .unmapped),
            .accept: ("end 2 superseded", .hidden),
            .failReady: ("end 2 refused", .hidden),
            .commitFailed: ("end 1 refused", .hidden),
            .destroy: ("end 2 lost, destroy window", .closing),
        ],
        .dormant: [
            .conceal: ("tell 0x0 suspended", .concealed),
            .map: ("create window", .awaitingConfigure),
            .accept: ("end 9 superseded", .unmapped),
            .acceptFence: ("cancel 9, end 9 superseded", .unmapped),
            .acceptImport: ("cancel 9, end 9 superseded", .unmapped),
            .destroy: ("", .gone),
        ],
        .concealed: [
            .tick: ("end 2 superseded, discarded 2", .concealed),
            .accept: ("cancel 3, end 3 superseded, end 2 superseded", .concealed),
            .unblockFence: ("end 2 superseded", .concealed),
            .failFence: ("cancel 3, end 3 refused", .concealed),
            .failReady: ("end 2 refused", .concealed),
            .destroy: ("cancel 3, end 3 lost, end 2 lost", .closing),
            .reveal: ("", .unmapped),
        ],
        .frozen: [
            .configure: ("ack 9, tell 800x600, commit state", .presenting),
            .suspend: ("ack 9, tell 800x600 suspended, commit state", .hidden),
            .tick: ("end 2 superseded, discarded 2", .presenting),
            .close: ("tell close", .presenting),
            .lost: ("cancel 3, end 3 lost, end 1 lost", .unmapped),
            .accept: ("cancel 3, end 3 superseded, end 2 superseded", .presenting),
            .unblockFence: ("end 2 superseded", .presenting),
            .failFence: ("cancel 3, end 3 refused", .presenting),
            .failReady: ("end 2 refused", .presenting),
            .commitFailed: ("end 1 refused", .presenting),
            .destroy: ("cancel 3, end 3 lost, end 2 lost, destroy window", .closing),
            .conceal: ("give 2, give 3, destroy window, tell 640x480 suspended", .concealed),
            .thaw: ("commit", .presenting),
        ],
    ]

    private let quiet: [Start: Set<Event>] = [
        .unmapped: [
            .reveal, .freeze, .thaw,
            .configure, .suspend, .callback, .silence, .tick, .released, .close, .lost,
            .acceptFence, .unblockOldest, .unblockFence, .failFence, .failReady, .commitFailed,
            .refused,
            .windowGone,
        ],
        .awaitingConfigure: [
            .reveal, .freeze, .thaw,
            .map, .callback, .silence, .tick, .released, .heldTooLong, .acceptFence, .acceptImport,
            .unblockOldest, .unblockFence, .failFence, .failReady, .commitFailed, .refused,
            .windowGone,
        ],
        .ready: [
            .reveal, .freeze, .thaw,
            .map, .callback, .silence, .tick, .released, .heldTooLong, .acceptFence, .acceptImport,
            .unblockFence, .failFence, .failReady, .commitFailed, .refused, .windowGone,
        ],
        .presenting: [
            .reveal, .freeze, .thaw,
            .map, .tick, .released, .heldTooLong, .acceptFence, .acceptImport, .unblockOldest,
            .failOldest, .refused, .windowGone,
        ],
        .hidden: [
            .reveal, .freeze, .thaw,
            .map, .silence, .released, .heldTooLong, .acceptFence, .acceptImport, .unblockOldest,
            .failOldest, .refused, .windowGone,
        ],
        .closing: [
            .conceal, .reveal, .freeze, .thaw,
            .map, .configure, .suspend, .callback, .silence, .tick, .released, .close, .heldTooLong,
            .unblockOldest, .unblockFence, .failOldest, .failFence, .failReady, .refused, .destroy,
        ],
        .gone: [
            .conceal, .reveal, .freeze, .thaw,
            .map, .configure, .suspend, .callback, .silence, .tick, .released, .close, .lost,
            .heldTooLong, .unblockOldest, .unblockFence, .failOldest, .failFence, .failReady,
            .commitFailed, .refused, .destroy, .windowGone,
        ],
        .idle: [
            .reveal, .freeze, .thaw,
            .map, .callback, .silence, .tick, .released, .heldTooLong, .acceptFence, .acceptImport,
            .unblockOldest, .unblockFence, .failOldest, .failFence, .failReady, .refused,
            .windowGone,
        ],
        .suspended: [
            .reveal, .freeze, .thaw,
            .map, .callback, .silence, .released, .heldTooLong, .acceptFence, .acceptImport,
            .unblockOldest, .unblockFence, .failOldest, .failFence, .refused, .windowGone,
        ],
        .dormant: [
            .reveal, .freeze, .thaw,
            .configure, .suspend, .callback, .silence, .tick, .released, .close, .lost,
            .heldTooLong, .unblockOldest, .unblockFence, .failOldest, .failFence, .failReady,
            .commitFailed, .refused, .windowGone,
        ],
        .concealed: [
            .conceal, .freeze, .thaw, .map, .configure, .suspend, .callback, .silence, .released,
            .close, .lost, .heldTooLong, .acceptFence, .acceptImport, .unblockOldest, .failOldest,
            .commitFailed, .refused, .windowGone,
        ],
        .frozen: [
            .reveal, .freeze, .map, .callback, .silence, .released, .heldTooLong, .acceptFence,
            .acceptImport, .unblockOldest, .failOldest, .refused, .windowGone,
        ],
    ]

    @Test(arguments: Start.allCases)
    func row(start: Start) throws {
        let active = try #require(rows[start])
        let quiet = try #require(quiet[start])
        for event in Event.allCases {
            var it = fixture(start)
            try #require(it.machine.phase == start.phase)
            let expected = active[event] ?? ("", start.phase)
            #expect(
                (active[event] != nil) != quiet.contains(event), "\(start) \(event): in one list")
            let actions = send(event, &it)
            #expect(actions == expected.0, "\(start) \(event)")
            #expect(it.machine.phase == expected.1, "\(start) \(event)")
        }
    }

    @Test func everyPhaseIsThere() {
        #expect(Set(Start.allCases.map(\.phase)) == Set(SurfaceMachine.Phase.allCases))
        #expect(Set(rows.keys) == Set(Start.allCases))
        #expect(Set(quiet.keys) == Set(Start.allCases))
    }
}
