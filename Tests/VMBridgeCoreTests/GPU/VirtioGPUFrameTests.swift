import Testing
import VMBridgeCore

@Suite("[pure] virtio-gpu: scanouts, pointers and answers that wait")
struct VirtioGPUFrameTests {
    private let ok: UInt32 = 0x1100
    private let window = SurfaceKey(1)

    private func callback(_ world: GPUWorld, _ sequence: UInt64, on surface: UInt64 = 1) {
        world.act {
            world.device.frameCallback(SurfaceKey(surface), FrameSequence(sequence), &$0)
        }
    }

    private func release(
        _ world: GPUWorld, _ sequence: UInt64, _ outcome: UseOutcome = .shown,
        _ surface: SurfaceKey? = nil
    ) {
        world.act {
            world.device.released(surface ?? window, FrameSequence(sequence), outcome, &$0)
        }
    }

    /// Two resources on scanout 0; frame 1 of the first is shown.
    private func flipping() throws -> GPUWorld {
        let world = try GPUWorld()
        world.show(1)
        #expect(world.ask(Command.create(2)) == ok)
        #expect(world.ask(Command.attach(2, [(0x4000, 8192)])) == ok)
        #expect(world.ask(Command.flush(1)) == ok)
        callback(world, 1)
        #expect(world.ask(Command.scanout(0, 2)) == ok)
        return world
    }

    @Test func aFencedFlushWaitsForItsCallbackAndTheFormerRelease() throws {
        for callbackFirst in [true, false] {
            let world = try flipping()
            #expect(!world.device.isPaced)
            let flush = world.send(Command.flush(2, fence: 9))
            #expect(world.device.isPaced)
            #expect(world.type(flush) == 0)
            if callbackFirst { callback(world, 2) } else { release(world, 1) }
            #expect(world.type(flush) == 0, "one of two is not enough")
            if callbackFirst { release(world, 1) } else { callback(world, 2) }
            #expect(world.type(flush) == ok)
            #expect(world.device.nextDeadline == nil)
            #expect(world.problems.isEmpty)
        }
    }

    @Test func theSameResourceNeedsNoRelease() throws {
        let world = try GPUWorld()
        world.show(1)
        #expect(world.ask(Command.flush(1)) == ok)
        callback(world, 1)
        let flush = world.send(Command.flush(1, fence: 9))
        callback(world, 1)
        #expect(world.type(flush) == 0, "an older frame's")
        callback(world, 2)
        #expect(world.type(flush) == ok)
    }

    @Test func framesThatAreNotShownAreAnsweredAtOnce() throws {
        for outcome in [UseOutcome.superseded, .refused, .lost] {
            let world = try flipping()
            let flush = world.send(Command.flush(2, fence: 9))
            release(world, 2, outcome)
            #expect(world.type(flush) == ok, "\(outcome)")
        }
        let world = try flipping()
        let flush = world.send(Command.flush(2, fence: 9))
        world.act { world.device.discarded(window, FrameSequence(2), &$0) }
        #expect(world.type(flush) == ok)
    }

    @Test func patienceEnds() throws {
        let world = try flipping()
        let flush = world.send(Command.flush(2, fence: 9))
        let deadline = try #require(world.device.nextDeadline)
        #expect(deadline == world.now + 40_000_000)
        world.act { world.device.tick(now: deadline - 1, &$0) }
        #expect(world.type(flush) == 0)
        world.act { world.device.tick(now: deadline, &$0) }
        #expect(world.type(flush) == ok)
        callback(world, 2)
        release(world, 1)
        #expect(world.problems.isEmpty, "not answered a second time")
    }

    @Test func aStopAnswersEverything() throws {
        let world = try flipping()
        let flush = world.send(Command.flush(2, fence: 9))
        world.act { world.device.answerAll(&$0) }
        #expect(world.type(flush) == ok)
    }

    @Test func whatGoesWithItsScanout() throws {
        for command in [Command.scanout(0, 0), Command.unref(2)] {
            let world = try flipping()
            let flush = world.send(Command.flush(2, fence: 9))
            #expect(world.ask(command) == ok)
            #expect(world.type(flush) == ok)
            #expect(world.windows.isEmpty)
            // Feedback for the former window is nobody's.
            callback(world, 2)
            release(world, 2)
            #expect(world.problems.isEmpty)
        }
    }

    @Test func thereIsABoundOnWhatWaits() throws {
        let world = try GPUWorld()
        world.show(1)
        for fence: UInt64 in 1...100 { world.send(Command.flush(1, fence: fence)) }
        #expect(world.waiting.count == 64)
        #expect(world.device.holdings.deferred == 64)
        callback(world, 100)
        #expect(world.waiting.isEmpty)
    }

    @Test func oneResourceOnManyScanouts() throws {
        let world = try GPUWorld()
        world.show(1)
        #expect(world.ask(Command.scanout(0, 1, 0, 0, 32, 32)) == ok)
        #expect(world.ask(Command.scanout(5, 1, 32, 0, 32, 32)) == ok)
        #expect(world.windows == [SurfaceKey(1), SurfaceKey(6)])
        let flush = world.send(Command.flush(1, 16, 8, 32, 4, fence: 3))
        #expect(world.shown.map(\.frame.surface) == [SurfaceKey(1), SurfaceKey(6)])
        #expect(
            world.shown.map(\.frame.crop) == [
                Rectangle(x: 0, y: 0, width: 32, height: 32),
                Rectangle(x: 32, y: 0, width: 32, height: 32),
            ])
        callback(world, 1)
        #expect(world.type(flush) == 0, "the other has not")
        callback(world, 2, on: 6)
        #expect(world.type(flush) == ok)
        #expect(world.ask(Command.flush(1, 0, 0, 8, 8)) == ok)
        #expect(world.shown.count == 3, "only where it was changed")
        #expect(
            world.shown.last?.frame.damage == Rectangle(x: 0, y: 0, width: 8, height: 8))
        // One goes, the other stays.
        #expect(world.ask(Command.scanout(0, 0)) == ok)
        #expect(world.windows == [SurfaceKey(6)])
        #expect(world.ask(Command.flush(1)) == ok)
        #expect(world.shown.last?.frame.surface == SurfaceKey(6))
        #expect(world.problems.isEmpty)
    }

    @Test func aWindowThatWantsItsPictureAgainGetsItWhole() throws {
        let world = try GPUWorld()
        world.show(1)
        #expect(world.ask(Command.flush(1)) == ok)
        #expect(world.ask(Command.flush(1, 0, 0, 8, 8)) == ok)
        // The last one was let go unseen.
        release(world, 2, .superseded)
        world.act { world.device.wantsFrame(window, &$0) }
        #expect(world.shown.count == 3)
        #expect(world.shown.last?.buffer == world.shown.first?.buffer)
        #expect(world.shown.last?.frame.damage == nil)
        // A window without a picture, one that is not there, and a cursor's want nothing.
        #expect(world.ask(Command.scanout(0, 0)) == ok)
        for surface: UInt64 in [1, 2, 16, 17, 40, .max] {
            world.act { world.device.wantsFrame(SurfaceKey(surface), &$0) }
        }
        #expect(world.shown.count == 3)
        #expect(world.problems.isEmpty)
    }

    @Test func sixteenScanouts() throws {
        let world = try GPUWorld()
        for scanout: UInt32 in 0..<16 {
            world.show(scanout + 1, on: scanout, at: 0x1000 + 0x2000 * UInt64(scanout))
        }
        #expect(world.windows.count == 16)
        for id: UInt32 in 1...16 { #expect(world.ask(Command.flush(id)) == ok) }
        #expect(Set(world.shown.map(\.frame.surface)).count == 16)
        world.reset()
        #expect(world.problems.isEmpty)
    }

    @Test func pointers() throws {
        let world = try GPUWorld()
        #expect(world.ask(Command.create(9, 64, 64, format: 1)) == ok)
        #expect(world.ask(Command.attach(9, [(0x9000, 16384)])) == ok)
        world.send(Command.cursor(0, 0), cursor: true)
        world.send(Command.cursor(0, 9), cursor: true)
        #expect(world.cursors.isEmpty, "there is no window yet")
        world.show(1)
        #expect(world.cursors == [SurfaceKey(0x101)])
        #expect(world.created.last?.layout.format == .argb8888, "with its alpha")
        #expect(world.shown.last?.frame.surface == SurfaceKey(0x101))
        let frames = world.shown.count
        world.send(Command.cursor(0, 9, type: 0x301), cursor: true)
        #expect(world.shown.count == frames, "a move shows nothing")
        world.send(Command.cursor(0, 9, hot: (200, 3)), cursor: true)
        #expect(world.shown.count == frames + 1)
        world.send(Command.cursor(0, 0), cursor: true)
        #expect(world.cursors == [SurfaceKey(0x101)], "a pointer without an image")
        world.send(Command.cursor(0, 0), cursor: true)
        #expect(world.ask(Command.unref(9)) == ok)
        #expect(world.ask(Command.scanout(0, 0)) == ok)
        #expect(world.cursors.isEmpty)
        #expect(world.refusals.isEmpty)
        #expect(world.problems.isEmpty)
    }

    @Test func aPointerBeforeItsFirstImageIsTheHosts() throws {
        let world = try GPUWorld()
        world.show(1)
        world.send(Command.cursor(0, 0), cursor: true)
        #expect(world.cursors.isEmpty)
    }

    @Test func aResetLeavesNothingAndBringsNoKeyAgain() throws {
        let world = try flipping()
        world.send(Command.flush(2, fence: 9))
        #expect(world.ask(Command.create(9, 64, 64, format: 1)) == ok)
        #expect(world.ask(Command.attach(9, [(0x9000, 16384)])) == ok)
        world.send(Command.cursor(0, 9), cursor: true)
        world.reset()
        #expect(world.device.holdings == (0, 0, 0, 0))
        #expect(!world.device.isPaced)
        world.show(1)
        let flush = world.send(Command.flush(1, fence: 1))
        release(world, 2, .lost)
        #expect(world.type(flush) == 0, "feedback of before is nobody's")
        callback(world, world.shown.last?.frame.sequence.value ?? 0)
        #expect(world.type(flush) == ok)
        #expect(world.problems.isEmpty)
    }

    @Test func whatWasTransferredIsToldWithTheNextFlush() throws {
        let world = try GPUWorld()
        world.show(1)
        #expect(world.ask(Command.transfer(1, 0, 8, 64, 2, offset: 8 * 256)) == ok)
        #expect(world.ask(Command.flush(1, 0, 0, 4, 4)) == ok)
        let changed = try #require(world.changes.last)
        #expect(
            rectangles(changed) == [
                Rectangle(x: 0, y: 8, width: 64, height: 2),
                Rectangle(x: 0, y: 0, width: 4, height: 4),
            ])
        #expect(world.ask(Command.flush(1, 0, 0, 4, 4)) == ok)
        #expect(world.changes.last?.count == 1)
    }
}

@Suite("[pure] virtio-gpu: copies")
struct CopyRingTests {
    private let part = Rectangle(x: 1, y: 2, width: 3, height: 4)

    private func damage(_ rectangle: Rectangle) -> Damage {
        var damage = Damage.none
        damage.add(rectangle)
        return damage
    }

    @Test func eachCopyLacksWhatChangedSinceItWasFilled() {
        var ring = CopyRing()
        var taken: [Int] = []
        for _ in 0..<3 {
            let copy = ring.take(frames: 1)
            #expect(copy?.stale.isWhole == true)
            taken.append(copy?.slot ?? -1)
        }
        #expect(taken == [0, 1, 2])
        var none = ring.take(frames: 1)
        #expect(none?.slot == nil)
        ring.changed(damage(part))
        ring.released(1)
        let second = ring.take(frames: 2)
        #expect(second?.slot == 1)
        #expect(second?.stale.parts == [part])
        ring.released(1)
        none = ring.take(frames: 1)
        #expect(none?.slot == nil, "two frames show it")
        ring.released(1)
        let third = ring.take(frames: 1)
        #expect(third?.stale.parts == [])
        ring.failed(1)
        let fourth = ring.take(frames: 1)
        #expect(fourth?.stale.isWhole == true)
        ring.released(7)
        ring.released(-1)
    }

    @Test func nothingIsCopiedTwice() {
        var area = StaleArea.none
        let all = Rectangle(x: 0, y: 0, width: 100, height: 100)
        for rectangle in [part, part, all, part] { area.add(damage(rectangle)) }
        #expect(area.parts == [all])
        area.add(.whole)
        #expect(area.isWhole)
    }

    /// The parts cover all that changed, by counting pixels.
    @Test func randomParts() {
        var random = Random(seed: 3)
        for _ in 0..<2000 {
            var area = StaleArea.none
            var pixels: Set<Int> = []
            for _ in 0..<random.below(20) {
                let rectangle = Rectangle(
                    x: UInt32(random.below(12)), y: UInt32(random.below(12)),
                    width: UInt32(random.below(5)), height: UInt32(random.below(5)))
                area.add(damage(rectangle))
                for y in rectangle.y..<rectangle.y + rectangle.height {
                    for x in rectangle.x..<rectangle.x + rectangle.width {
                        pixels.insert(Int(y) * 32 + Int(x))
                    }
                }
            }
            #expect(area.parts.count <= 8)
            for pixel in pixels {
                let (x, y) = (UInt32(pixel % 32), UInt32(pixel / 32))
                #expect(
                    area.parts.contains {
                        x >= $0.x && y >= $0.y && x < $0.x + $0.width && y < $0.y + $0.height
                    })
            }
        }
    }
}

@Suite("[pure] EDID")
struct EDIDTests {
    @Test func theBlockOfAWindow() {
        let block = EDID.block(Size(width: 1280, height: 800))
        #expect(
            block
                == hex(
                    """
                    00 ff ff ff ff ff ff 00 59 a2 01 00 00 00 00 00 | head, VMB
                    01 22 01 04 a0 22 15 78 06 ee 91 a3 54 4c 99 26 | 34 x 21 cm, sRGB
                    0f 50 54 00 00 00 01 01 01 01 01 01 01 01 01 01
                    01 01 01 01 01 01 c7 1b 00 a0 50 20 17 30 30 20 | 71.11 MHz
                    36 00 52 d3 10 00 00 1a 00 00 00 fc 00 76 6d 2d | vm-
                    62 72 69 64 67 65 0a 20 20 20 00 00 00 10 00 00 | bridge
                    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10
                    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 38
                    """))
    }

    @Test func everySizeSaysItself() {
        for width in stride(from: UInt32(1), through: 4200, by: 61) {
            for height in stride(from: UInt32(1), through: 4200, by: 97) {
                let block = EDID.block(Size(width: width, height: height))
                #expect(block.count == 128)
                #expect(block.reduce(0 as UInt8) { $0 &+ $1 } == 0)
                guard width <= 4095, height <= 4095 else {
                    #expect(block.allSatisfy { $0 == 0 })
                    continue
                }
                let timing = Array(block[54..<72])
                func twelve(_ low: Int, _ high: UInt8) -> UInt32 {
                    UInt32(timing[low]) | UInt32(high) << 8
                }
                #expect(twelve(2, timing[4] >> 4) == width)
                #expect(twelve(5, timing[7] >> 4) == height)
                let across = UInt64(width + twelve(3, timing[4] & 15))
                let down = UInt64(height + twelve(6, timing[7] & 15))
                let clock = (UInt64(timing[0]) | UInt64(timing[1]) << 8) * 10_000
                #expect(clock > 0)
                let rate = Double(clock) / Double(across * down)
                let isSlower = clock == 65_535 * 10_000 && rate < 60
                // A small picture's clock is coarse: in steps of 10 kHz.
                #expect(
                    isSlower || abs(rate - 60) < 60 * 5000 / Double(across * down * 60) * 2 + 0.01,
                    "\(width)x\(height): \(rate)")
            }
        }
    }
}
