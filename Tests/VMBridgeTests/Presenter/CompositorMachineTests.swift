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
        case (.binding, .bound): (.ready, .tellReady)
        case (.binding, .unsuitable), (.binding, .failed), (.binding, .silent):
            (.lost, [.log, .clear])
        case (.ready, .failed): (.lost, [.clear, .tellLost])
        case (.lost, .cleared): (.backOff, .wait)
        case (.backOff, .retry): (.connecting, .connect)
        case (.binding, .end), (.ready, .end), (.lost, .end): (.ended, .clear)
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
