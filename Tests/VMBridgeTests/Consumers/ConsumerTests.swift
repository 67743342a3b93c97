import Descriptors
import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] surfaces handed to a consumer")
struct ConsumerTests {
    @Test("a frame goes over with its memory, under keys of ours, and comes back")
    func dialogue() throws {
        let harness = try ConsumerHarness()
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer(surfaces: [77], buffers: [1001, 1002])
        var frame = FrameRecord(
            surface: SurfaceKey(77), buffer: BufferKey(1001), sequence: FrameSequence(500))
        frame.damage = .none
        frame.damage.add(Rectangle(x: 1, y: 2, width: 3, height: 4))
        frame.crop = Rectangle(x: 0, y: 0, width: 32, height: 16)
        frame.destination = Size(width: 10, height: 20)
        frame.transform = try #require(Transform(rawValue: 3))
        producer.send(.frame(frame))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        let welcome = try #require(consumer.welcome)
        #expect(welcome.vmName == "test" && welcome.generation == 1 && welcome.formats.isEmpty)
        #expect(welcome.acquireKinds == 1)
        let surface = try #require(consumer.surfaces.first)
        #expect(surface.key == SurfaceKey(1) && surface.isGraphics)
        #expect(surface.metadata.originVM == "a" && surface.metadata.title == "[a] S77")
        #expect(surface.metadata.appID == "vm-bridge.a" && surface.metadata.consumerTag == nil)
        let first = consumer.frames[0]
        #expect(first.surface == SurfaceKey(1) && first.buffer == BufferKey(1))
        #expect(first.sequence == FrameSequence(1) && first.acquire == .none)
        // The first one is whole, whatever the guest says of it.
        #expect(first.damage.isWhole && first.crop == frame.crop)
        #expect(first.destination == frame.destination && first.transform == frame.transform)

        producer.send(Make.frame(77, 1001, 501), Make.frame(77, 1002, 502))
        consumer.send(
            .presented(
                SurfaceKey(1),
                PresentedRecord(
                    sequence: FrameSequence(1), time: harness.loop.now(), latency: 9, refresh: 7,
                    flags: 1)))
        consumer.release(first)
        #expect(
            try harness.turn {
                try producer.listen()
                try consumer.listen()
                return producer.released.count >= 1 && consumer.frames.count >= 2
                    && producer.heard.contains { if case .presented = $0 { true } else { false } }
            })
        #expect(producer.released.first?.0 == BufferKey(1001))
        #expect(producer.released.first?.1 == FrameSequence(500))
        #expect(producer.released.first?.2 == .shown)
        for case .presented(let key, let presented) in producer.heard {
            #expect(key == SurfaceKey(77) && presented.sequence == FrameSequence(500))
            #expect(presented.latency > 9 && presented.refresh == 7)
        }
        // Each buffer goes over once.
        #expect(Set(consumer.buffers).count == consumer.buffers.count)
        producer.send(.surfaceDestroy(SurfaceKey(77)))
        producer.send(.bufferDestroy(BufferKey(1001)), .bufferDestroy(BufferKey(1002)))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.gone == [SurfaceKey(1)]
            })
        for frame in consumer.frames.dropFirst() { consumer.release(frame) }
        #expect(
            try harness.turn {
                try consumer.listen()
                return harness.sources[0].session.holdings.buffers == 0
                    && Set(consumer.forgotten) == Set(consumer.buffers)
            })
        let status = harness.endpoint.status
        #expect(status.surfaces == 0 && status.buffers == 0 && status.bytes == 0)
        #expect(status.counters.refusals.isEmpty && producer.refusals.isEmpty)
        #expect(status.counters.released == status.counters.frames)
    }

    @Test("a memfd goes over for reading only, with the pixels that the guest writes")
    func memory() throws {
        let harness = try ConsumerHarness()
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer(buffers: [])
        let memory = try Make.memfd()
        producer.send(.bufferCreate(BufferKey(1), Make.layout()), descriptors: [memory.number])
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        guard let handed = consumer.memory.takeFirst() else {
            Issue.record("no memory came")
            return
        }
        #expect(consumer.memory.count == 0)
        #expect(fcntl(handed.number, F_GETFL) & O_ACCMODE == O_RDONLY)
        let count = Int(Make.size.width * Make.size.height * 4)
        #expect(
            mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, handed.number, 0) == MAP_FAILED)
        var written = try MappedMemory(memory.number, count: count, access: .readWrite)
        written.withUnsafeMutableBytes { $0[5] = 42 }
        let seen = try MappedMemory(handed.number, count: count)
        #expect(seen.withUnsafeBytes { $0[5] } == 42)
        #expect(harness.endpoint.status.counters.readOnlyBuffers == 1)
        #expect(harness.counters().importPath == "memfd, handed over to be read")
    }

    @Test("content that is no graphics says so, titles and limits follow")
    func metadata() throws {
        let harness = try ConsumerHarness()
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer()
        producer.send(Make.frame(1, 1, 1))
        var update = SurfaceMetadata()
        update.title = "new\u{202e}"
        update.minimumSize = Size(width: 3, height: 4)
        update.maximumSize = Size(width: 30, height: 40)
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        producer.send(.surfaceUpdate(SurfaceKey(1), update))
        #expect(
            try harness.turn {
                try consumer.listen()
                return !consumer.titles.isEmpty
            })
        #expect(consumer.titles == ["[a] new"])
        for case .surfaceUpdate(_, let metadata) in consumer.heard {
            #expect(metadata.maximumSize == Size(width: 30, height: 40))
        }
        consumer.send(
            .configure(
                SurfaceKey(1), ConfigureRecord(size: Size(width: 200, height: 100), states: 2)),
            .close(SurfaceKey(1)))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.heard.contains { $0 == .close(SurfaceKey(1)) }
            })
        #expect(
            producer.heard.contains {
                if case .configure(SurfaceKey(1), let told) = $0 {
                    told.size == Size(width: 200, height: 100) && told.states == 2
                } else {
                    false
                }
            })
    }

    @Test("who releases nothing gets two frames; its guest, another surface and another VM go on")
    func neverReleases() throws {
        let harness = try ConsumerHarness(vms: ["a", "b"])
        let consumer = try TestConsumer(harness.path)
        let stuck = try harness.producer("a", surfaces: [1, 2], buffers: [1, 2, 3, 4, 5, 6])
        let other = try harness.producer("b")
        var released = 0
        for number in 1...40 as ClosedRange<UInt64> {
            stuck.send(Make.frame(1, 1 + number % 3, number), Make.frame(2, 4 + number % 3, number))
            other.send(Make.frame(1, 1 + number % 3, number))
            // All but the first VM's first surface are given back.
            #expect(
                try harness.turn {
                    try consumer.listen()
                    let frames = consumer.frames
                    let first = consumer.surfaces.first { $0.metadata.title == "[a] S1" }?.key
                    for frame in frames[released...] where frame.surface != first {
                        consumer.release(frame)
                    }
                    released = frames.count
                    return harness.counters(0, 1).shown == number
                        && harness.counters(1).shown == number
                }, "frame \(number)")
        }
        #expect(harness.counters(0, 0).shown == 2)
        #expect(harness.counters(0, 1).superseded == 0 && harness.counters(1).superseded == 0)
        // The newest one waits; each of the others has ended.
        #expect(
            try harness.turn {
                try stuck.listen()
                return stuck.released.count { $0.2 == .superseded } >= 37
            })
        #expect(stuck.refusals.isEmpty)
        // What it holds of a surface that is gone is taken back in the end.
        stuck.send(.surfaceDestroy(SurfaceKey(1)))
        #expect(try harness.turn { harness.endpoint.status.counters.overdue == 2 })
        #expect(try harness.turn { harness.sources[0].session.status.contains { $0.isGone } })
        #expect(harness.endpoint.status.surfaces == 2)
        // And what it says of them then is no fault.
        let late = consumer.frames.filter { $0.surface == SurfaceKey(1) }
        consumer.release(try #require(late.first))
        try harness.turn(5)
        #expect(harness.endpoint.status.counters.refusals.isEmpty)
    }

    @Test("who does not read stops nobody; the newest of all comes when it reads again")
    func doesNotRead() throws {
        var vmLimits = VMLimits()
        vmLimits.baseRate = 1_000_000
        let harness = try ConsumerHarness(vms: ["a", "b"], vmLimits: vmLimits)
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer("a")
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        let title = String(repeating: "x", count: 200)
        var update = SurfaceMetadata()
        for number in 1...3000 {
            update.title = "\(number)" + title
            #expect(producer.send(.surfaceUpdate(SurfaceKey(1), update)) == .sent)
            try harness.turn()
        }
        let (count, _) = harness.endpoint.waiting
        #expect(count < 1024, "\(count) bytes wait for who does not read")
        #expect(harness.endpoint.isConnected && !harness.endpoint.isOpen)
        // The guest goes on meanwhile, at the beat of windows that are not seen.
        for number in 2...5 as ClosedRange<UInt64> {
            producer.send(Make.frame(1, 1 + number % 3, number))
            try harness.turn(3)
        }
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count >= 2
            })
        #expect(producer.refusals.isEmpty)
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.titles.last?.hasPrefix("[a] 3000x") == true
            },
            "\(consumer.titles.last ?? "none"), \(harness.endpoint.waiting), \(harness.endpoint.isOpen)"
        )
        consumer.release(consumer.frames[0])
        producer.send(Make.frame(1, 2, 6))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count >= 2
            })
        #expect(harness.endpoint.status.counters.refusals.isEmpty)
    }

    @Test("one that dies loses what it had; the next one gets the newest frame anew")
    func diesAndReturns() throws {
        let harness = try ConsumerHarness()
        var consumer: TestConsumer? = try TestConsumer(harness.path)
        let producer = try harness.producer()
        producer.send(Make.frame(1, 1, 1))
        #expect(try harness.turn { harness.counters().shown == 1 })
        producer.send(Make.frame(1, 2, 2))
        #expect(try harness.turn { harness.counters().shown == 2 })
        producer.send(Make.frame(1, 3, 3))
        try harness.turn(3)
        consumer = nil
        #expect(try harness.turn { !harness.endpoint.isConnected })
        #expect(harness.endpoint.status.surfaces == 0 && harness.endpoint.status.bytes == 0)
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 2
            })
        #expect(producer.released.allSatisfy { $0.2 == .lost })
        #expect(harness.sources[0].session.holdings.uses == 1)
        let next = try TestConsumer(harness.path)
        #expect(
            try harness.turn {
                try next.listen()
                return next.frames.count == 1
            })
        #expect(next.welcome?.generation == 2)
        #expect(next.surfaces.map(\.key) == [SurfaceKey(1)] && next.buffers == [BufferKey(1)])
        next.release(next.frames[0])
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.released.count == 3
            })
        #expect(producer.released.last?.1 == FrameSequence(3))
        #expect(producer.released.last?.2 == .shown)
        #expect(consumer == nil)
    }

    @Test("what a consumer does not hold it cannot give back, and is told so")
    func refusals() throws {
        let harness = try ConsumerHarness()
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer()
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        let (surface, buffer, one) = (SurfaceKey(1), BufferKey(1), FrameSequence(1))
        let seen = PresentedRecord(sequence: one, time: .max, latency: 0, refresh: 0, flags: ~0)
        let wrong: [(BridgeRecord, RefusalReason)] = [
            (.released(BufferKey(2), surface, one, .shown), .unknownObject),
            (.released(buffer, surface, FrameSequence(2), .shown), .unknownObject),
            (.released(buffer, SurfaceKey(2), one, .shown), .unknownObject),
            (.released(buffer, SurfaceKey(.max), one, .shown), .unknownObject),
            (.presented(SurfaceKey(9), seen), .unknownObject),
            (.discarded(surface, FrameSequence(2)), .badSequence),
            (.discarded(surface, FrameSequence(0)), .badSequence),
            (.configure(SurfaceKey(9), ConfigureRecord(size: .zero)), .unknownObject),
            (.close(SurfaceKey(9)), .unknownObject), (.formatsChanged([]), .unsupported),
            (.targets([]), .unsupported),
        ]
        for (record, _) in wrong { consumer.send(record) }
        // An eventfd is no fence.
        let event = try EventFile.make()
        consumer.send(
            .releasedWithFence(buffer, surface, one, .shown), descriptors: [event.number])
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.refusals.count == wrong.count + 1
            })
        #expect(
            consumer.refusals.map(\.refusal.reason) == wrong.map(\.1) + [.badDescriptor])
        #expect(harness.endpoint.status.counters.refusals[.unknownObject] == 7)
        #expect(harness.sources[0].session.holdings.uses == 1)
        // A time that lies ahead is none, and each frame is told of once.
        consumer.send(.presented(surface, seen), .presented(surface, seen))
        consumer.send(.released(buffer, surface, one, .refused))
        consumer.send(.released(buffer, surface, one, .shown))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.refusals.count == wrong.count + 3
            })
        #expect(
            consumer.refusals.suffix(2).map(\.refusal.reason) == [.badSequence, .unknownObject])
        try producer.listen()
        #expect(producer.released.map(\.2) == [.shown] && producer.refusals.isEmpty)
        for case .presented(_, let presented) in producer.heard {
            #expect(presented.time == 0 && presented.latency == 0 && presented.flags == 0xf)
        }
    }

    @Test("a consumer's limits refuse the frames that do not fit, and nothing else")
    func budgets() throws {
        var limits = VMLimits()
        limits.surfaces = 1
        limits.buffers = 1
        let harness = try ConsumerHarness(limits: limits)
        let consumer = try TestConsumer(harness.path)
        #expect(try harness.turn { harness.endpoint.isConnected })
        let producer = try harness.producer(surfaces: [1, 2])
        producer.send(Make.frame(1, 1, 1))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 1
            })
        producer.send(Make.frame(2, 1, 1), Make.frame(1, 2, 2))
        #expect(
            try harness.turn {
                try producer.listen()
                return producer.refusals.count == 2
            })
        #expect(Set(producer.refusals) == [.tooManySurfaces, .tooManyBuffers])
        #expect(harness.endpoint.status.counters.overBudget == 2)
        try consumer.listen()
        #expect(consumer.frames.count == 1)
        producer.send(Make.frame(1, 1, 3))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 2
            })
        // The second surface has its place when the first one is gone.
        producer.send(.surfaceDestroy(SurfaceKey(1)))
        for frame in consumer.frames { consumer.release(frame) }
        try harness.turn(10)
        producer.send(Make.frame(2, 1, 9))
        #expect(
            try harness.turn {
                try consumer.listen()
                return consumer.frames.count == 3
            })
        #expect(consumer.surfaces.map(\.metadata.title) == ["[a] S1", "[a] S2"])
    }

    @Test("above its frames a second a surface waits, and the newest frame comes")
    func rate() throws {
        var limits = VMLimits()
        limits.baseRate = 20
        limits.ratePerSurface = 1
        let harness = try ConsumerHarness(limits: limits)
        let consumer = try TestConsumer(harness.path)
        let producer = try harness.producer()
        var released = 0
        let start = harness.loop.now()
        var number: UInt64 = 0
        while harness.loop.now() - start < 500_000_000 {
            number += 1
            producer.send(Make.frame(1, 1 + number % 3, number))
            try harness.loop.runOnce(milliseconds: 2)
            harness.settle()
            try consumer.listen()
            for frame in consumer.frames[released...] { consumer.release(frame) }
            released = consumer.frames.count
        }
        // A burst of one second, and what half a second brings.
        #expect((20...35).contains(consumer.frames.count), "\(consumer.frames.count)")
        #expect(harness.endpoint.status.counters.throttled > 0)
        #expect(producer.refusals.isEmpty)
    }

    @Test("a pending fence goes along with who takes fences")
    func fences() throws {
        let harness = try ConsumerHarness()
        let session = harness.sources[0].session
        let consumer = try TestConsumer(
            harness.path, greeting: ConsumerGreeting(takesFences: true))
        #expect(try harness.turn { harness.endpoint.isConnected })
        let (use, id) = (
            UseID(SlotIndex(index: 9, generation: 9)), SurfaceID(SlotIndex(index: 9, generation: 9))
        )
        let presenter = session.presenter
        #expect(presenter.passesFence(of: use))
        var bundle = DescriptorBundle()
        #expect(bundle.append(try Make.memfd()))
        let buffer = BufferID(SlotIndex(index: 9, generation: 9))
        presenter.addBuffer(
            buffer, BufferMemory(layout: Make.layout(), bytes: 8192, from: &bundle, 0..<1))
        presenter.createWindow(
            id,
            WindowProperties(
                identity: WindowIdentity(title: "t", appID: "i"), minimumSize: .zero,
                maximumSize: .zero))
        // Any descriptor does here: what it is was looked at before.
        presenter.pass(try EventFile.make(), with: use)
        let record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(8),
            acquire: .syncFile)
        presenter.commit(
            id,
            Frame(record, use: use, buffer: buffer, size: Make.size, receivedAt: 1, waits: []))
        harness.endpoint.flush()
        try consumer.listen()
        #expect(consumer.welcome?.acquireKinds == 0b101)
        #expect(consumer.frames.map(\.acquire) == [.syncFile])
        guard let fence = consumer.fences.takeFirst() else {
            Issue.record("no fence came")
            return
        }
        #expect(DescriptorProbe.name(of: fence.number) == "anon_inode:[eventfd]")
        #expect(harness.endpoint.status.counters.fences == 1)
    }
}
