import Glibc
import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[kernel] the reference producer against a tiny bridge")
struct ProducerTests {
    /// A bridge and a producer on one loop.
    private func withDialogue(
        _ change: (inout ProducerOptions) -> Void = { _ in },
        _ body: (EventLoop, TinyBridge, Producer) throws -> Void
    ) throws {
        try TinyBridge.withProducer(
            {
                $0.size = Size(width: 256, height: 64)
                $0.rate = 500
                change(&$0)
            }, body)
    }

    @Test func aWholeDialogue() throws {
        try withDialogue {
            $0.surfaces = 2
            $0.frames = 5
            $0.title = "T"
            $0.appID = "org.example"
        } _: { loop, bridge, producer in
            var marks: [FrameMark.Verdict] = []
            bridge.onRecord = { record in
                guard case .frame(let frame) = record else { return }
                if let picture = try? bridge.picture(frame) {
                    marks.append(FrameMark.verdict(picture))
                }
                bridge.present(frame)
                bridge.release(frame)
            }
            producer.start()
            try run(loop) { producer.end != nil && bridge.isClosed }

            #expect(producer.end == .done)
            #expect(bridge.producerName == "vm-bridge produce")
            var titles: [String?] = []
            var destroyed: Set<UInt64> = []
            var freed: Set<UInt64> = []
            for record in bridge.records {
                switch record {
                case .surfaceCreate(_, let role, let isGraphics, let metadata):
                    #expect(role == .toplevel && isGraphics && metadata.appID == "org.example")
                    titles.append(metadata.title)
                case .surfaceDestroy(let key): destroyed.insert(key.value)
                case .bufferDestroy(let key):
                    #expect(destroyed == [1, 2])
                    freed.insert(key.value)
                default: break
                }
            }
            #expect(titles == ["T 1", "T 2"])
            #expect(freed == Set(1...6))
            for surface in [1, 2] as [UInt64] {
                let frames = bridge.frames.filter { $0.surface.value == surface }
                #expect(frames.map(\.sequence.value) == [1, 2, 3, 4, 5])
                #expect(frames[0].damage.isWhole)
                let later = frames.dropFirst().allSatisfy {
                    !$0.damage.isWhole && !$0.damage.isEmpty
                }
                #expect(later)
            }
            #expect(marks == bridge.frames.map { .whole(UInt32($0.sequence.value)) })
            let summary = producer.summary
            #expect(summary.sent == 10 && summary.shown == 10 && summary.presented == 10)
            #expect(summary.refused == 0 && summary.lost == 0 && summary.superseded == 0)
            #expect(summary.meanLatency == 2_000_000)
        }
    }

    @Test func inputAndCursors() throws {
        var lines: [String] = []
        try withDirectory { directory in
            let loop = try EventLoop()
            let bridge = try TinyBridge(path: directory + "/s", loop: loop)
            defer { bridge.shutDown() }
            var options = ProducerOptions(socketPath: directory + "/s")
            options.size = Size(width: 64, height: 64)
            options.surfaces = 2
            options.frames = 1
            options.holds = true
            options.cursor = .quarters
            options.wantsInput = true
            let producer = Producer(options: options, loop: loop) { lines.append($0) }
            producer.start()
            func cursors() -> [(SurfaceKey, SurfaceMetadata)] {
                bridge.records.compactMap {
                    if case .surfaceCreate(let key, .cursor, true, let metadata) = $0 {
                        (key, metadata)
                    } else {
                        nil
                    }
                }
            }
            try run(loop) { cursors().count == 2 && bridge.frames.count == 4 }
            #expect(bridge.producerWantsInput)
            #expect(cursors().map(\.1.parent) == [SurfaceKey(1), SurfaceKey(2)])
            #expect(cursors().allSatisfy { $0.1.hotSpot == HotSpot(x: 8, y: 8) })
            let keys = cursors().map(\.0)
            let pictures = bridge.frames.filter { keys.contains($0.surface) }
            #expect(pictures.count == 2)
            for frame in pictures {
                #expect(try bridge.picture(frame) == ProducerCursor.picture)
            }
            // Its window was hidden, and is seen again: the same picture, while it is held.
            bridge.send(
                .configure(keys[0], ConfigureRecord(size: .zero, wantsFrame: true)),
                .input(SurfaceKey(1), InputRecord(.key(30, isPressed: true))),
                .keymap(KeymapRecord(size: 0)))
            try run(loop) { bridge.frames.count == 5 && lines.count == 2 }
            #expect(bridge.frames.last?.surface == keys[0])
            #expect(bridge.frames.last?.sequence == FrameSequence(2))
            #expect(
                lines == ["input 1 key 30 pressed", "keymap 0 bytes, repeat 0 a second after 0 ms"])
            #expect(producer.summary.input == ["key": 1])
            // Only windows' frames are counted.
            #expect(producer.summary.sent == 2)
            bridge.send(.close(SurfaceKey(1)))
            try run(loop) {
                bridge.records.contains {
                    if case .surfaceDestroy(keys[0]) = $0 { true } else { false }
                }
            }
            for frame in bridge.frames { bridge.release(frame) }
            producer.stop()
            try run(loop) { producer.end != nil && bridge.isClosed }
            #expect(producer.end == .done)
            #expect(lines.count == 2, "\(lines)")
        }
    }

    @Test func aHiddenPointer() throws {
        try withDialogue {
            $0.frames = 1
            $0.holds = true
            $0.cursor = .hidden
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            let roles = bridge.records.compactMap {
                if case .surfaceCreate(_, let role, _, let metadata) = $0 {
                    "\(role) \(metadata.hotSpot == nil)"
                } else {
                    nil
                }
            }
            #expect(roles == ["toplevel true", "cursor true"])
            #expect(!bridge.producerWantsInput && producer.summary.input == nil)
            producer.stop()
            for frame in bridge.frames { bridge.release(frame) }
            try run(loop) { producer.end != nil }
        }
    }

    @Test func memfdsAreWhatCompositorsWant() throws {
        try withDialogue {
            $0.buffers = 1
            $0.frames = 1
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            let memory = try #require(bridge.memory[1])
            let facts = try DescriptorProbe().facts(of: memory.descriptor.number)
            #expect(facts.seals.isSuperset(of: [.shrink, .grow]))
            #expect(facts.seals.isDisjoint(with: [.write, .futureWrite]))
            #expect(facts.accessMode == .readWrite)
            let layout = try #require(bridge.layouts[1])
            #expect(layout.planes == [PlaneLayout(descriptor: 0, offset: 0, stride: 1024)])
        }
    }

    @Test func aHeldBufferIsNotDrawnAgain() throws {
        try withDialogue { _ in
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { producer.summary.skipped > 20 }
            #expect(bridge.frames.map(\.buffer.value) == [1, 2, 3])
            bridge.release(bridge.frames[1], .superseded)
            try run(loop) { bridge.frames.count == 4 }
            #expect(bridge.frames[3].buffer.value == 2)
            #expect(producer.summary.superseded == 1)
            // A use that is not there ends nothing.
            bridge.release(bridge.frames[1])
            let skipped = producer.summary.skipped
            try run(loop) { producer.summary.skipped > skipped + 5 }
            #expect(bridge.frames.count == 4)
        }
    }

    @Test func aFrameIsRepeatedWhenOneIsWanted() throws {
        try withDialogue {
            $0.buffers = 1
            $0.frames = 1
            $0.holds = true
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            bridge.send(
                .configure(SurfaceKey(1), ConfigureRecord(size: .zero, wantsFrame: true)))
            try run(loop) { bridge.frames.count == 2 }
            // Its only buffer is held, so the same content comes again under a new number.
            #expect(bridge.frames[1].buffer == bridge.frames[0].buffer)
            #expect(bridge.frames[1].sequence.value == 2)
            #expect(bridge.frames[1].damage.isEmpty)
            bridge.release(bridge.frames[0])
            bridge.release(bridge.frames[1])
            bridge.send(
                .configure(SurfaceKey(1), ConfigureRecord(size: .zero, wantsFrame: true)))
            try run(loop) { bridge.frames.count == 3 }
            #expect(FrameMark.verdict(try bridge.picture(bridge.frames[2])) == .whole(3))
        }
    }

    @Test func closedWindowsEndIt() throws {
        try withDialogue {
            $0.surfaces = 2
            $0.frames = 1
            $0.holds = true
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 2 }
            bridge.send(.close(SurfaceKey(1)))
            try run(loop) {
                bridge.records.contains { if case .surfaceDestroy = $0 { true } else { false } }
            }
            #expect(producer.end == nil)
            bridge.send(.close(SurfaceKey(2)))
            for frame in bridge.frames { bridge.release(frame, .lost) }
            try run(loop) { producer.end != nil }
            #expect(producer.end == .done)
            #expect(producer.summary.lost == 2)
        }
    }

    @Test func aRefusedConnectionIsTold() throws {
        try withDialogue { _ in
        } _: { loop, bridge, producer in
            let refusal = Refusal(.busy, "Another producer is here.")
            bridge.welcome = .refused(RefusedRecord(type: 0, object: 0, refusal: refusal))
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(producer.end == .refused(refusal))
            #expect(producer.end?.exitCode == 65)
            #expect(
                producer.summary.json(.refused(refusal)).hasSuffix(
                    "\"exit\":65,\"end\":\"the bridge ended the connection, busy: Another producer is here.\"}"
                ))
        }
    }

    @Test func refusedBuffersEndItToo() throws {
        try withDialogue {
            $0.buffers = 2
        } _: { loop, bridge, producer in
            let refusal = Refusal(.badFormat, "Not here.")
            bridge.onRecord = { record in
                guard case .bufferCreate(let key, _) = record else { return }
                bridge.send(
                    .refused(
                        RefusedRecord(
                            type: RecordType.bufferCreate, object: key.value, refusal: refusal)))
            }
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(producer.end == .refused(refusal))
        }
    }

    /// A memfd where the bridge would make a dma-buf, which a plain machine cannot; the layout says so.
    @Test func buffersOfTheBridgeAreWaitedFor() throws {
        try withDialogue {
            $0.buffers = 2
            $0.frames = 3
            $0.memory = .host
        } _: { loop, bridge, producer in
            var wishes: [BufferWish] = []
            var marks: [FrameMark.Verdict] = []
            bridge.onRecord = { record in
                switch record {
                case .bufferAllocate(let key, let wish):
                    wishes.append(wish)
                    // Both at once, the later one first.
                    guard key.value == 2 else { return }
                    #expect(throws: Never.self) {
                        for key: UInt64 in [2, 1] { try bridge.allocate(BufferKey(key), wish) }
                    }
                case .frame(let frame):
                    if let picture = try? bridge.picture(frame) {
                        marks.append(FrameMark.verdict(picture))
                    }
                    bridge.present(frame)
                    bridge.release(frame)
                default: break
                }
            }
            producer.start()
            try run(loop) { producer.end != nil && bridge.isClosed }
            #expect(producer.end == .done && producer.summary.skipped == 0)
            let wish = BufferWish(size: Size(width: 256, height: 64), format: .xrgb8888)
            #expect(wishes == [wish, wish])
            #expect(marks == (1...3).map { .whole($0) })
            #expect(
                !bridge.records.contains { if case .bufferCreate = $0 { true } else { false } })
        }
    }

    @Test func buffersThatTheBridgeRefusesEndIt() throws {
        try withDialogue {
            $0.memory = .hostContiguous
        } _: { loop, bridge, producer in
            let refusal = Refusal(.noContiguous, "None here.")
            bridge.onRecord = { record in
                guard case .bufferAllocate(let key, let wish) = record else { return }
                #expect(wish.isContiguous)
                bridge.send(
                    .refused(
                        RefusedRecord(
                            type: RecordType.bufferAllocate, object: key.value, refusal: refusal)))
            }
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(producer.end == .refused(refusal) && bridge.frames.isEmpty)
        }
    }

    @Test func memoryThatWasNotAskedForIsNotUsed() throws {
        try withDialogue {
            $0.memory = .host
        } _: { loop, bridge, producer in
            bridge.onRecord = { record in
                guard case .bufferAllocate(let key, var wish) = record else { return }
                wish.size.width += 1
                #expect(throws: Never.self) { try bridge.allocate(key, wish) }
            }
            producer.start()
            try run(loop) { producer.end != nil }
            guard case .deviceMissing(let why)? = producer.end else {
                Issue.record("\(String(describing: producer.end))")
                return
            }
            #expect(why.contains("not asked for") && bridge.frames.isEmpty)
        }
    }

    @Test(arguments: [nil, 30] as [UInt64?])
    func aMessageFollowsItsFrame(delay: UInt64?) throws {
        try withDialogue {
            $0.frames = 1
            $0.fence = .message
            $0.fenceDelay = delay.map { $0 * 1_000_000 }
        } _: { loop, bridge, producer in
            var sentAt: UInt64 = 0
            var signalledAt: UInt64?
            bridge.onRecord = { record in
                switch record {
                case .frame: sentAt = loop.now()
                case .fenceSignal(let surface, let sequence, let isError):
                    #expect(surface.value == 1 && sequence.value == 1 && !isError)
                    signalledAt = loop.now()
                default: break
                }
            }
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            #expect(bridge.frames[0].acquire == .message)
            let end = loop.now() + 100_000_000
            try run(loop) { loop.now() > end }
            if let delay {
                let at = try #require(signalledAt)
                #expect(at + 5_000_000 >= sentAt + delay * 1_000_000)
            } else {
                #expect(signalledAt == nil)
            }
        }
    }

    @Test func geometryGoesWithEachFrame() throws {
        try withDialogue {
            $0.frames = 1
            $0.format = .argb8888
            $0.crop = Rectangle(x: 8, y: 4, width: 32, height: 16)
            $0.destination = Size(width: 64, height: 48)
            $0.transform = Transform(rawValue: 3)!
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { bridge.frames.count == 1 }
            let frame = bridge.frames[0]
            #expect(frame.crop == Rectangle(x: 8, y: 4, width: 32, height: 16))
            #expect(frame.destination == Size(width: 64, height: 48))
            #expect(frame.transform.rawValue == 3)
            #expect(bridge.layouts[1]?.format == .argb8888)
        }
    }

    @Test func aPictureCarriesTheMark() throws {
        var picture = Picture(width: 300, height: 40, fill: Colour(10, 200, 30))
        picture.fill(Colour(200, 0, 0), PixelRect(x: 250, y: 0, width: 50, height: 40))
        try withDialogue {
            $0.size = nil
            $0.picture = picture
            $0.frames = 4
        } _: { loop, bridge, producer in
            var shown: [Picture] = []
            bridge.onRecord = { record in
                guard case .frame(let frame) = record else { return }
                if let read = try? bridge.picture(frame) { shown.append(read) }
                bridge.present(frame)
                bridge.release(frame)
            }
            producer.start()
            try run(loop) { producer.end != nil }
            #expect(shown.map { FrameMark.verdict($0) } == (1...4).map { .whole($0) })
            let mark = FrameMark.area(width: 300, height: 40)
            let rest = PixelRect(x: mark.width, y: 0, width: 300 - mark.width, height: 40)
            #expect(shown.allSatisfy { $0.cropped(to: rest) == picture.cropped(to: rest) })
        }
    }

    @Test func nobodyListens() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            let producer = Producer(
                options: ProducerOptions(socketPath: directory + "/s"), loop: loop)
            producer.start()
            guard case .notConnected(let why) = producer.end else {
                Issue.record("\(String(describing: producer.end))")
                return
            }
            #expect(why.contains(directory + "/s") && why.contains("--wait"))
            #expect(producer.end?.exitCode == 69)
        }
    }

    @Test func itWaitsForABridge() throws {
        try withDirectory { directory in
            let loop = try EventLoop()
            var options = ProducerOptions(socketPath: directory + "/s")
            options.connectPatience = 10_000_000_000
            options.frames = 1
            let producer = Producer(options: options, loop: loop)
            producer.start()
            let late = loop.now() + 120_000_000
            try run(loop) { loop.now() > late }
            #expect(producer.end == nil)
            let bridge = try TinyBridge(path: directory + "/s", loop: loop)
            defer { bridge.shutDown() }
            try run(loop) { bridge.frames.count == 1 }
        }
    }

    @Test func aBridgeThatDiesIsTold() throws {
        try withDialogue { _ in
        } _: { loop, bridge, producer in
            producer.start()
            try run(loop) { !bridge.frames.isEmpty }
            bridge.shutDown()
            try run(loop) { producer.end != nil }
            #expect(producer.end == .disconnected("the bridge closed the connection"))
        }
    }

    @Test(
        .enabled(if: access("/dev/udmabuf", F_OK) != 0, "this machine has udmabufs"))
    func aMissingDeviceIsNamed() throws {
        try withDialogue {
            $0.memory = .udmabuf
        } _: { _, _, producer in
            producer.start()
            guard case .deviceMissing(let why) = producer.end else {
                Issue.record("\(String(describing: producer.end))")
                return
            }
            #expect(why.contains("/dev/udmabuf") && why.contains("load the module udmabuf"))
            #expect(producer.end?.exitCode == 70)
        }
    }
}

@Suite("[pure] the reference producer's words")
struct ProducerWordsTests {
    @Test func everyColourHasASeed() throws {
        for name in Colour.accentNames {
            let seed = try #require(Colour.seed(named: name))
            #expect(Colour.seed(named: "\(seed)") == seed)
        }
        let red = Colour.accent(seed: try #require(Colour.seed(named: "red")))
        #expect(red.red > 200 && red.green < 60 && red.blue < 60)
        let green = Colour.accent(seed: try #require(Colour.seed(named: "green")))
        #expect(green.green > 200 && green.red < 60 && green.blue < 60)
        #expect(Colour.seed(named: "mauve") == nil)
        #expect(Colour.seed(named: "-1") == nil)
    }
}
