import Testing
import VMBridgeCore

@Suite("[pure] virtqueue: chains, events and what a hostile driver writes")
struct VirtqueueTests {
    private typealias D = FakeDriver.Descriptor
    private let data = FakeMemory.base + 0x20000

    private func guest(
        size: UInt32 = 8, from first: UInt16 = 0
    ) throws -> (FakeMemory, FakeDriver, DeviceQueue) {
        let memory = try FakeMemory()
        let driver = try FakeDriver(memory, size: size, from: first)
        return (memory, driver, try #require(driver.queue()))
    }

    @Test func aRequestIsReadAnsweredAndGivenBack() throws {
        let (memory, driver, queue) = try guest()
        #expect(queue.next(in: memory) == .none)
        _ = memory.write([1, 2, 3, 4, 5][...], at: data)
        _ = memory.write([6, 7][...], at: data + 0x100)
        driver.set(3, D(address: data, length: 5, flags: FakeDriver.next, next: 5))
        driver.set(5, D(address: data + 0x100, length: 2, flags: FakeDriver.next, next: 1))
        driver.set(
            1,
            D(
                address: data + 0x200, length: 3, flags: FakeDriver.write | FakeDriver.next, next: 0
            ))
        driver.set(0, D(address: data + 0x300, length: 8, flags: FakeDriver.write))
        driver.offer(3)
        guard case .chain(let chain) = queue.next(in: memory) else {
            Issue.record("no chain")
            return
        }
        #expect(chain.head == 3)
        #expect(chain.readableBytes == 7)
        #expect(chain.writableBytes == 11)
        #expect(chain.gather(from: memory) == [1, 2, 3, 4, 5, 6, 7])
        #expect(chain.gather(from: memory, limit: 6) == [1, 2, 3, 4, 5, 6])
        #expect(chain.scatter([9, 8, 7, 6], to: memory) == 4)
        #expect(memory.bytes(data + 0x200, 3) == [9, 8, 7])
        #expect(memory.bytes(data + 0x300, 2) == [6, 0])
        #expect(chain.scatter([UInt8](repeating: 1, count: 40), to: memory) == 11)
        #expect(queue.next(in: memory) == .none)
        #expect(queue.complete(3, written: 4, in: memory))
        #expect(driver.usedIndex == 1)
        #expect(driver.used(0) == (3, 4))
        #expect(queue.nextAvailable == 1)
    }

    @Test func indirectTables() throws {
        let (memory, driver, queue) = try guest()
        let table = data + 0x1000
        driver.put(D(address: data, length: 4, flags: FakeDriver.next, next: 2), at: table)
        driver.put(D(address: data + 64, length: 16, flags: FakeDriver.write), at: table + 32)
        // Behind an ordinary descriptor, as virtio allows.
        driver.set(0, D(address: data + 8, length: 2, flags: FakeDriver.next, next: 4))
        driver.set(4, D(address: table, length: 48, flags: FakeDriver.indirect))
        driver.offer(0)
        guard case .chain(let chain) = queue.next(in: memory) else {
            Issue.record("no chain")
            return
        }
        #expect(
            chain.readable == [
                GuestRange(address: data + 8, length: 2), GuestRange(address: data, length: 4),
            ])
        #expect(chain.writable == [GuestRange(address: data + 64, length: 16)])
    }

    /// What each broken chain is refused for. Descriptors 0… are set as given, and 0 is offered.
    @Test func chainsThatAreRefused() throws {
        let (next, write, indirect) = (FakeDriver.next, FakeDriver.write, FakeDriver.indirect)
        let table = data + 0x1000
        let ordinary = D(address: data, length: 4)
        let cases: [(String, [D], [D], RefusalReason)] = [
            ("no length", [D(address: data, length: 0)], [], .badValue),
            ("past the last address", [D(address: .max - 2, length: 4)], [], .badValue),
            (
                "next out of range", [D(address: data, length: 4, flags: next, next: 8)], [],
                .badValue
            ),
            ("itself", [D(address: data, length: 4, flags: next, next: 0)], [], .badValue),
            (
                "a loop of two",
                [
                    D(address: data, length: 4, flags: next, next: 1),
                    D(address: data, length: 4, flags: next, next: 0),
                ], [], .badValue
            ),
            (
                "read behind written",
                [D(address: data, length: 4, flags: next | write, next: 1), ordinary], [], .badValue
            ),
            (
                "4 GiB to write",
                [
                    D(address: data, length: .max, flags: next | write, next: 1),
                    D(address: data, length: 1, flags: write),
                ], [], .tooManyBytes
            ),
            (
                "too much to read",
                [D(address: data, length: UInt32(DescriptorChain.maximumReadable) + 1)], [],
                .tooManyBytes
            ),
            ("an empty table", [D(address: table, length: 0, flags: indirect)], [], .badValue),
            ("a part of an entry", [D(address: table, length: 24, flags: indirect)], [], .badValue),
            (
                "a table of 2^28 entries",
                [D(address: table, length: 0xffff_fff0, flags: indirect)], [], .badValue
            ),
            (
                "a table of 1025 entries", [D(address: table, length: 1025 * 16, flags: indirect)],
                [], .badValue
            ),
            (
                "a table that is not RAM", [D(address: 0, length: 16, flags: indirect)], [],
                .badLayout
            ),
            (
                "a table at the end of RAM",
                [
                    D(
                        address: FakeMemory.base + (1 << 20) - 16, length: 32, flags: indirect)
                ], [], .badLayout
            ),
            (
                "a table that goes on", [D(address: table, length: 16, flags: indirect | next)],
                [ordinary], .badValue
            ),
            (
                "a table in a table", [D(address: table, length: 16, flags: indirect)],
                [D(address: table, length: 16, flags: indirect)], .badValue
            ),
            (
                "out of its table", [D(address: table, length: 16, flags: indirect)],
                [D(address: data, length: 4, flags: next, next: 1)], .badValue
            ),
            (
                "a loop in a table", [D(address: table, length: 32, flags: indirect)],
                [
                    D(address: data, length: 4, flags: next, next: 1),
                    D(address: data, length: 4, flags: next, next: 0),
                ], .badValue
            ),
        ]
        for (name, direct, inTable, wanted) in cases {
            let (memory, driver, queue) = try guest()
            for (index, descriptor) in direct.enumerated() { driver.set(UInt16(index), descriptor) }
            for (index, descriptor) in inTable.enumerated() {
                driver.put(descriptor, at: table + 16 * UInt64(index))
            }
            driver.offer(0)
            guard case .refused(head: 0, let refusal) = queue.next(in: memory) else {
                Issue.record("\(name): taken")
                continue
            }
            #expect(refusal.reason == wanted, "\(name)")
            #expect(!refusal.sentence.isEmpty)
            // The queue goes on.
            #expect(queue.complete(0, written: 0, in: memory))
            driver.set(2, ordinary)
            driver.offer(2)
            guard case .chain = queue.next(in: memory) else {
                Issue.record("\(name): the next is not taken")
                continue
            }
        }
    }

    @Test func tablesThatWereNotNegotiated() throws {
        let memory = try FakeMemory()
        let driver = try FakeDriver(memory)
        let queue = try #require(driver.queue([]))
        driver.set(0, D(address: data, length: 16, flags: FakeDriver.indirect))
        driver.offer(0)
        guard case .refused(_, let refusal) = queue.next(in: memory) else {
            Issue.record("taken")
            return
        }
        #expect(refusal.reason == .unsupported)
    }

    @Test func queuesThatBreak() throws {
        for jump: UInt16 in [9, 10, 0x8000, 0xffff] {
            let (memory, driver, queue) = try guest()
            _ = memory.store16(jump, at: driver.layout.available + 2)
            guard case .broken = queue.next(in: memory) else {
                Issue.record("a jump by \(jump) of a queue of 8")
                continue
            }
        }
        for head: UInt16 in [8, 0xffff] {
            let (memory, driver, queue) = try guest()
            driver.offer(head)
            guard case .broken = queue.next(in: memory) else {
                Issue.record("descriptor \(head)")
                continue
            }
        }
        // A full queue is none that broke.
        let (memory, driver, queue) = try guest()
        driver.set(0, D(address: data, length: 4))
        for _ in 0..<8 { driver.offer(0) }
        var taken = 0
        while case .chain = queue.next(in: memory) { taken += 1 }
        #expect(taken == 8)
        let nowhere = try #require(
            VirtqueueLayout(size: 8, descriptors: 0, available: 0x100, used: 0x200))
        #expect(Virtqueue(nowhere, base: 0, features: [], memory: memory) == nil)
    }

    @Test func layouts() {
        func isTaken(
            _ size: UInt32, _ descriptors: UInt64 = 0, _ available: UInt64 = 0, _ used: UInt64 = 0
        ) -> Bool {
            VirtqueueLayout(
                size: size, descriptors: descriptors, available: available, used: used) != nil
        }
        for size: UInt32 in [1, 2, 64, 256, 1024] { #expect(isTaken(size), "\(size)") }
        for size: UInt32 in [0, 3, 1023, 2048, 1 << 16, .max] { #expect(!isTaken(size), "\(size)") }
        #expect(!isTaken(8, 8))
        #expect(!isTaken(8, 16, 1))
        #expect(!isTaken(8, 16, 2, 2))
        #expect(isTaken(8, 16, 2, 4))
    }

    /// virtio 1.2 §2.7.7.2 and its vring_need_event, for every place of the event and across the wrap.
    @Test func notifications() throws {
        for start: UInt16 in [0, 0xfffe] {
            for event in -3...3 {
                let (memory, driver, queue) = try guest(from: start)
                let wanted = start &+ UInt16(truncatingIfNeeded: event)
                _ = memory.store16(wanted, at: driver.layout.available + 4 + 16)
                #expect(!queue.wantsNotification(in: memory), "nothing was completed")
                #expect(queue.complete(1, written: 0, in: memory))
                #expect(queue.complete(2, written: 0, in: memory))
                // Told when the used index passes the event: one of the two did.
                let isPassed = event == 0 || event == 1
                #expect(queue.wantsNotification(in: memory) == isPassed, "\(start) \(event)")
                #expect(!queue.wantsNotification(in: memory), "told once")
            }
        }
        let memory = try FakeMemory()
        let driver = try FakeDriver(memory)
        let queue = try #require(driver.queue([]))
        #expect(queue.complete(1, written: 0, in: memory))
        #expect(queue.wantsNotification(in: memory))
        _ = memory.store16(1, at: driver.layout.available)
        #expect(queue.complete(1, written: 0, in: memory))
        #expect(!queue.wantsNotification(in: memory), "VIRTQ_AVAIL_F_NO_INTERRUPT")
        #expect(memory.fences > 0)
    }

    @Test func askingForTheNext() throws {
        let (memory, driver, queue) = try guest(from: 0xffff)
        driver.set(0, D(address: data, length: 4))
        #expect(!queue.askForNext(in: memory))
        #expect(memory.load16(driver.layout.used + 4 + 64) == 0xffff)
        driver.offer(0)
        #expect(queue.askForNext(in: memory), "one that came meanwhile")
        guard case .chain = queue.next(in: memory) else {
            Issue.record("no chain")
            return
        }
        #expect(queue.nextAvailable == 0)
        #expect(!queue.askForNext(in: memory))
        #expect(memory.load16(driver.layout.used + 4 + 64) == 0)
    }

    /// Whatever tables hold, a look ends in a bounded chain that lies within the rules, a refusal or a broken queue.
    @Test func mutatedTables() throws {
        var random = Random(seed: 5)
        let (memory, driver, _) = try guest()
        let table = data + 0x1000
        var counts = [0, 0, 0]
        for round in 0..<200_000 {
            for _ in 0...random.below(3) {
                let isTable = random.below(2) == 0
                var descriptor = D(
                    address: data + UInt64(random.below(0x2000)), length: UInt32(random.below(64)),
                    flags: UInt16(random.below(8)), next: UInt16(random.below(9)))
                switch random.below(12) {
                case 0: descriptor.address = random.next()
                case 1: descriptor.length = UInt32(truncatingIfNeeded: random.next())
                case 2: descriptor.flags = UInt16(truncatingIfNeeded: random.next())
                case 3: descriptor.next = UInt16(truncatingIfNeeded: random.next())
                case 4...6:
                    descriptor = D(
                        address: table, length: 16 * UInt32(1 + random.below(8)),
                        flags: FakeDriver.indirect)
                default: break
                }
                let at = isTable ? table : driver.layout.descriptors
                driver.put(descriptor, at: at + 16 * UInt64(random.below(8)))
            }
            // The device begins anew each time where the driver is: a broken queue is of no more use.
            guard let queue = driver.queue() else {
                Issue.record("no queue in round \(round)")
                return
            }
            driver.offer(UInt16(random.below(random.below(50) == 0 ? 65_536 : 8)))
            switch queue.next(in: memory) {
            case .none: Issue.record("nothing in round \(round)")
            case .chain(let chain):
                counts[0] += 1
                #expect(chain.head < 8)
                #expect(chain.readable.count + chain.writable.count <= 8 + 1024)
                #expect(chain.readableBytes <= DescriptorChain.maximumReadable)
                #expect(chain.readableBytes == chain.readable.reduce(0) { $0 + $1.length })
                #expect(chain.writableBytes == chain.writable.reduce(0) { $0 + $1.length })
                let gathered = chain.gather(from: memory)
                if let gathered { #expect(UInt64(gathered.count) == chain.readableBytes) }
                let answer = chain.scatter([0, 1, 2], to: memory)
                if let answer { #expect(UInt64(answer) == min(3, chain.writableBytes)) }
            case .refused(_, let refusal):
                counts[1] += 1
                #expect(!refusal.sentence.isEmpty)
            case .broken: counts[2] += 1
            }
        }
        #expect(counts.allSatisfy { $0 > 500 }, "\(counts)")
    }
}
