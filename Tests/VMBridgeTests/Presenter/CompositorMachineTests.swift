import Testing

@testable import VMBridge

@Suite("[pure] compositor machine")
struct CompositorMachineTests {
    typealias Machine = CompositorMachine

    /// A machine in a phase, by the shortest way there.
    private func machine(in phase: Machine.Phase) -> Machine {
        var machine = Machine()
        let way: [Machine.Event] =
            switch phase {
            case .connecting: []
            case .binding: [.connected]
            case .arranging: [.connected, .offered]
            case .ready: [.connected, .bound]
            case .lost: [.connected, .bound, .failed]
            case .backOff: [.refused]
            case .ended: [.end]
            }
        for event in way { _ = machine.handle(event, now: 0) }
        return machine
    }

    /// What every pair that means something leads to; all others change nothing.
    private func expected(
        _ phase: Machine.Phase, _ event: Machine.Event
    ) -> (Machine.Phase, Machine.Actions)? {
        switch (phase, event) {
        case (.connecting, .connected): (.binding, .bind)
        case (.connecting, .refused): (.backOff, [.log, .wait])
        case (.binding, .offered): (.arranging, .awaitArranged)
        case (.arranging, .arranged): (.binding, .enter)
        case (.arranging, .failed), (.arranging, .silent): (.lost, [.logNameless, .clear])
        case (.binding, .bound): (.ready, .tellReady)
        case (.binding, .unsuitable), (.binding, .failed), (.binding, .silent):
            (.lost, [.log, .clear])
        case (.ready, .failed): (.lost, [.clear, .tellLost])
        case (.lost, .cleared): (.backOff, .wait)
        case (.backOff, .retry): (.connecting, .connect)
        case (.binding, .end), (.arranging, .end), (.ready, .end), (.lost, .end):
            (.ended, .clear)
        case (.connecting, .end), (.backOff, .end): (.ended, [])
        default: nil
        }
    }

    @Test func everyPair() {
        for phase in Machine.Phase.allCases {
            for event in Machine.Event.allCases {
                var machine = machine(in: phase)
                #expect(machine.phase == phase)
                let actions = machine.handle(event, now: 0)
                let (next, wanted) = expected(phase, event) ?? (phase, [])
                #expect(machine.phase == next, "\(phase) \(event)")
                #expect(actions == wanted, "\(phase) \(event)")
            }
        }
    }

    /// What a name comes to at each step, and what follows.
    @Test(arguments: [
        [Machine.Event.offered, .failed], [.offered, .silent], [.offered, .arranged, .failed],
        [.offered, .arranged, .silent], [.offered, .arranged, .unsuitable],
    ])
    func withoutANameAtOnce(events: [Machine.Event]) {
        var machine = machine(in: .binding)
        var actions = Machine.Actions()
        for event in events { actions = machine.handle(event, now: 0) }
        #expect(actions == [.logNameless, .clear])
        let next = machine.handle(.cleared, now: 0)
        #expect(next == .connect && machine.phase == .connecting && !machine.isNamed)
        _ = machine.handle(.connected, now: 0)
        #expect(!machine.wantsName)
        let offered = machine.handle(.offered, now: 0)
        #expect(offered == [])
        // What fails now is the compositor itself.
        var other = machine
        let failed = other.handle(.failed, now: 0)
        #expect(failed == [.log, .clear])
        let waits = other.handle(.cleared, now: 0)
        #expect(waits == .wait)
        // Only another compositor is asked again.
        for event in [Machine.Event.bound, .failed, .cleared, .retry, .connected] {
            _ = machine.handle(event, now: 0)
        }
        #expect(machine.wantsName)
    }

    @Test func aNamedConnectionThatIsLostWaits() {
        var machine = machine(in: .arranging)
        for event in [Machine.Event.arranged, .bound] { _ = machine.handle(event, now: 0) }
        #expect(machine.isNamed && machine.phase == .ready)
        let lost = machine.handle(.failed, now: 0)
        #expect(lost == [.clear, .tellLost])
        let waits = machine.handle(.cleared, now: 0)
        #expect(waits == .wait && machine.phase == .backOff)
    }

    @Test func backOffDoublesUpToItsLimitAndLogsOnce() {
        var machine = Machine()
        var delays: [UInt64] = []
        var logs = 0
        for _ in 0..<9 {
            if machine.handle(.refused, now: 0).contains(.log) { logs += 1 }
            delays.append(machine.delay / 1_000_000)
            _ = machine.handle(.retry, now: 0)
        }
        #expect(delays == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000])
        #expect(logs == 1)
    }

    @Test func aCompositorThatLastedIsTrustedAgain() {
        var machine = machine(in: .binding)
        func lose(after time: UInt64) -> UInt64 {
            _ = machine.handle(.bound, now: 0)
            _ = machine.handle(.failed, now: time)
            _ = machine.handle(.cleared, now: time)
            _ = machine.handle(.retry, now: time)
            _ = machine.handle(.connected, now: time)
            return machine.delay
        }
        #expect(lose(after: 1) == 100_000_000)
        #expect(lose(after: 1) == 200_000_000)
        #expect(lose(after: Machine.trustedAfter) == 100_000_000)
    }

    @Test(arguments: [Machine.Event.unsuitable, .silent])
    func aCompositorOfNoUseIsAskedRarely(event: Machine.Event) {
        var machine = machine(in: .binding)
        let first = machine.handle(event, now: 0)
        #expect(first == [.log, .clear])
        let second = machine.handle(.cleared, now: 0)
        #expect(second == .wait)
        #expect(machine.delay == Machine.unsuitableDelay)
    }
}
