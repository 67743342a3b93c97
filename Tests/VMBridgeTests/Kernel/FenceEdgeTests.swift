import CLinux
import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

/// What the sync ladder asks of the kernel, as far as a machine without fences has it: the rest is
/// proved in the test machine (`KernelProof`).
@Suite("[kernel] descriptors, events and waits of fences") struct FenceEdgeTests {
    private func identity(_ number: Int32) throws -> FileIdentity {
        try DescriptorProbe().facts(of: number).identity
    }

    // MARK: DescriptorQueue

    @Test func aQueueHandsOverInOrder() throws {
        let queue = DescriptorQueue()
        let nothing = queue.takeFirst() == nil
        #expect(queue.count == 0 && nothing)
        var wanted: [FileIdentity] = []
        var taken: [FileIdentity] = []
        // So many that the array is cut in between, and never empty until the end.
        for round in 0..<300 {
            let memory = try MemoryFile.create(size: 4096)
            wanted.append(try identity(memory.number))
            queue.append(memory)
            guard round >= 100, round.isMultiple(of: 3) || round > 200 else { continue }
            if let first = queue.takeFirst() { taken.append(try identity(first.number)) }
        }
        #expect(queue.count == 300 - taken.count && taken.count > 100)
        while let next = queue.takeFirst() { taken.append(try identity(next.number)) }
        #expect(taken == wanted)
        #expect(queue.count == 0)
    }

    @Test func aQueueLendsItsFirst() throws {
        let queue = DescriptorQueue()
        var numbers: [Int32] = []
        for _ in 0..<5 {
            let memory = try MemoryFile.create(size: 4096)
            numbers.append(memory.number)
            queue.append(memory)
        }
        #expect(queue.withFirst(3) { Array($0) } == Array(numbers[..<3]))
        #expect(queue.withFirst(9) { Array($0) } == numbers)
        #expect(queue.withFirst(0) { $0.count } == 0)
        #expect(queue.count == 5)
        queue.removeFirst(2)
        #expect(queue.withFirst(1) { Array($0) } == [numbers[2]])
        // Closed, not only forgotten.
        #expect(vmb_fcntl(numbers[1], VMB_F_GETFL, 0) < 0 || queue.count == 3)
        queue.removeFirst(9)
        #expect(queue.count == 0)
    }

    @Test func aQueueClosesWhatItHas() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let queue = DescriptorQueue()
                for _ in 0..<200 { queue.append(try MemoryFile.create(size: 4096)) }
                queue.removeFirst(70)
                queue.removeAll()
                #expect(queue.count == 0)
                for _ in 0..<80 { queue.append(try MemoryFile.create(size: 4096)) }
                _ = queue.takeFirst()
            }
        }
    }

    // MARK: Events

    private func signal(_ event: Int32) {
        var one: UInt64 = 1
        #expect(write(event, &one, 8) == 8)
    }

    @Test func anEventFileIsReadableOnceSomebodySaysSo() throws {
        let event = try EventFile.make()
        #expect(vmb_poll_now(event.number) & Int32(POLLIN) == 0)
        #expect(vmb_fcntl(event.number, F_GETFD, 0) & FD_CLOEXEC != 0)
        signal(event.number)
        #expect(vmb_poll_now(event.number) & Int32(POLLIN) != 0)
    }

    @Test func anEdgeIsToldOncePerSignal() throws {
        let loop = try EventLoop()
        let event = try EventFile.make()
        var told = 0
        let registration = try loop.register(event.number, [.read, .edge]) { readiness in
            #expect(readiness.contains(.readable))
            told += 1
        }
        try loop.runOnce(milliseconds: 0)
        #expect(told == 0)
        for round in 1...5 {
            signal(event.number)
            try loop.runOnce(milliseconds: 1000)
            #expect(told == round)
            // Nothing was read, and yet it is not told again.
            #expect(try loop.runOnce(milliseconds: 0) == 0)
            #expect(told == round)
        }
        loop.remove(registration)
        signal(event.number)
        #expect(try loop.runOnce(milliseconds: 0) == 0)
        #expect(told == 5)
    }

    @Test func anEdgeFromBeforeTheRegistrationIsTold() throws {
        let loop = try EventLoop()
        let event = try EventFile.make()
        signal(event.number)
        var told = 0
        _ = try loop.register(event.number, [.read, .edge]) { _ in told += 1 }
        try loop.runOnce(milliseconds: 1000)
        try loop.runOnce(milliseconds: 0)
        #expect(told == 1)
    }

    // MARK: The gate

    private func use(_ number: UInt32) -> UseID {
        UseID(SlotIndex(index: number, generation: 0))
    }

    private func words(_ gate: FenceGate) -> [String] {
        var words: [String] = []
        gate.takeEvents {
            switch $0 {
            case .open(let use, let waits): words.append("open \(use.slot.index) \(waits.rawValue)")
            case .failed(let use, let code): words.append("failed \(use.slot.index) \(code)")
            case .timedOut(let use): words.append("late \(use.slot.index)")
            case .released(let use): words.append("released \(use.slot.index)")
            }
        }
        return words
    }

    @Test func theGateRefusesWhatIsNoFence() throws {
        let gate = FenceGate(loop: try EventLoop())
        for descriptor in 0..<3 {
            do throws(Refusal) {
                let made: OwnedDescriptor
                switch descriptor {
                case 0: made = (try? EventFile.make()) ?? .none
                case 1: made = (try? MemoryFile.create(size: 4096)) ?? .none
                default: made = .none
                }
                _ = try gate.wait(use(1), fence: made, deadline: .max)
                Issue.record("taken: \(descriptor)")
            } catch {
                #expect(error.reason == .badDescriptor)
            }
        }
        #expect(gate.count == 0)
        // A release that cannot be watched is over.
        let isWatched = gate.waitForRelease(use(1), try EventFile.make())
        let isNothingWatched = gate.waitForRelease(use(1), .none)
        #expect(!isWatched && !isNothingWatched)
        #expect(gate.count == 0 && !gate.isReleasing(use(1)))
    }

    @Test func theGateOpensOnceByMessageTimeOrLimit() throws {
        let loop = try EventLoop()
        let gate = FenceGate(loop: loop)
        gate.waitForMessage(use(1), deadline: .max)
        gate.waitForMessage(use(2), deadline: loop.now() + 1_000_000)
        gate.wait(use(3), until: loop.now() + 2_000_000)
        gate.waitForMessage(use(4), deadline: .max)
        #expect(gate.count == 4)
        #expect(gate.message(use(1), isError: false))
        #expect(!gate.message(use(1), isError: false))
        #expect(!gate.message(use(3), isError: false))
        #expect(gate.message(use(4), isError: true))
        #expect(words(gate) == ["open 1 2", "failed 4 0"])
        var heard: [String] = []
        let end = loop.now() + 2_000_000_000
        while heard.count < 2, loop.now() < end {
            try loop.runOnce(milliseconds: 10)
            heard += words(gate)
        }
        #expect(heard == ["late 2", "open 3 4"])
        #expect(gate.count == 0)
        gate.shutDown()
    }

    @Test func cancelledWaitsSayNothing() throws {
        let loop = try EventLoop()
        let gate = FenceGate(loop: loop)
        gate.waitForMessage(use(1), deadline: loop.now())
        gate.wait(use(1), until: loop.now())
        gate.waitForMessage(use(2), deadline: loop.now())
        gate.cancel(use(1))
        #expect(gate.count == 1)
        gate.cancelAll()
        #expect(gate.count == 0)
        try loop.runOnce(milliseconds: 20)
        #expect(words(gate) == [])
        // Their places are used again.
        gate.waitForMessage(use(3), deadline: .max)
        #expect(gate.message(use(3), isError: false))
        #expect(words(gate) == ["open 3 2"])
        gate.shutDown()
    }
}
