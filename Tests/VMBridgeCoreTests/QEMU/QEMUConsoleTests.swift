import Testing
@testable import VMBridgeCore

/// One console of QEMU, call by call.
@Suite("[pure] QEMU's console")
struct QEMUConsoleTests {
    private static let xrgb: UInt32 = 0x2002_0888
    private static let millisecond: UInt64 = 1_000_000

    /// A console that is told one thing after another, and what it does, in words.
    private struct Script {
        var machine = QEMUConsoleMachine(firstKey: 100)
        var now: UInt64 = 1_000_000_000
        var calls: UInt64 = 0
        /// What the session says to every buffer; nil when it would make it.
        var refusal: Refusal?
        /// How often it was asked.
        var asked = 0

        mutating func take(_ call: QEMUListenerCall, _ inodes: [UInt64] = []) throws -> [String] {
            calls += 1
            var asked = 0
            defer { self.asked += asked }
            let refusal = refusal
            let result = try machine.take(
                call, memory: inodes.map { QEMUMemoryName(device: 1, inode: $0) },
                id: QEMUCallID(calls), now: now
            ) { (layout) throws(Refusal) in
                asked += 1
                if let refusal { throw refusal }
                return layout
            }
            return result.actions.map(words) + (result.isAnswered ? ["ok"] : ["later"])
        }

        mutating func settle() -> [String] { machine.settle(now: now).map(words) }

        mutating func wait(_ milliseconds: UInt64) -> [String] {
            now += milliseconds * QEMUConsoleTests.millisecond
            return machine.timeCame(now: now).map(words)
        }

        func words(_ action: QEMUConsoleAction) -> String {
            switch action {
            case .createSurface: "surface"
            case .destroySurface: "no surface"
            case .makeCanvas(let picture): "canvas \(picture.size)"
            case .growCanvas(let picture): "grow \(picture.size)"
            case .dropCanvas: "no canvas"
            case .write(let copy):
                "write \(copy.target.x),\(copy.target.y) \(copy.target.width)x\(copy.target.height) from \(copy.start)"
            case .createCanvasBuffer(let key, let layout): "make \(key) \(layout.size)"
            case .fill(let key, let damage): "fill \(key) \(Self.words(damage))"
            case .createBuffer(let key, let layout): "import \(key) \(layout.size)"
            case .destroyBuffer(let key): "destroy \(key)"
            case .frame(let key, let sequence, let damage, let crop, let waits):
                "frame \(sequence) of \(key) \(Self.words(damage))"
                    + (crop.map { " crop \($0.x),\($0.y)" } ?? "") + (waits ? " waits" : "")
            case .answer(let call): "answer \(call.value)"
            }
        }

        static func words(_ damage: Damage) -> String {
            if damage.isWhole { return "all" }
            return (0..<damage.count).map {
                let part = damage[$0]
                return "\(part.x),\(part.y)+\(part.width)x\(part.height)"
            }.joined(separator: " ")
        }
    }

    private func scanout(_ width: UInt32, _ height: UInt32) -> QEMUListenerCall {
        .scanout(
            width: width, height: height, stride: width * 4, pixman: Self.xrgb,
            bytes: Int(width * height * 4))
    }

    private func update(_ x: Int32, _ y: Int32, _ width: Int32, _ height: Int32) -> QEMUListenerCall
    {
        .update(
            QEMUArea(x: x, y: y, width: width, height: height), stride: UInt32(max(width, 0)) * 4,
            pixman: Self.xrgb, bytes: Int(max(width, 0) * max(height, 0)) * 4)
    }

    private func dmaBuf(_ width: UInt32 = 64, _ height: UInt32 = 32) -> QEMUListenerCall {
        .scanoutDMABUF(
            QEMUDMABUF(
                width: width, height: height, strides: [width * 4],
                fourcc: FourCC.xrgb8888.rawValue, modifier: 0, isBottomUp: false))
    }

    private func updated(_ x: Int32, _ y: Int32, _ width: Int32, _ height: Int32)
        -> QEMUListenerCall
    { .updateDMABUF(QEMUArea(x: x, y: y, width: width, height: height)) }

    private func reason(_ body: () throws -> Void) -> RefusalReason? {
        do {
            try body()
            return nil
        } catch { return (error as? Refusal)?.reason }
    }

    // MARK: Bytes

    @Test func bytesTakeTurnsInThreeBuffers() throws {
        var script = Script()
        #expect(
            try script.take(scanout(64, 32)) == [
                "surface", "canvas 64x32", "write 0,0 64x32 from 0", "ok",
            ])
        #expect(script.settle() == ["make 100 64x32", "fill 100 all", "frame 1 of 100 all"])
        // One frame is on its way: what changes meanwhile waits for it, and goes together.
        #expect(try script.take(update(1, 2, 3, 4)) == ["write 1,2 3x4 from 0", "ok"])
        #expect(try script.take(update(8, 8, 2, 2)) == ["write 8,8 2x2 from 0", "ok"])
        #expect(script.settle() == [])
        #expect(script.machine.frameCallback(FrameSequence(1)).isEmpty)
        #expect(
            script.settle() == [
                "make 101 64x32", "fill 101 all", "frame 2 of 101 1,2+3x4 8,8+2x2",
            ])
        // The first is free: it lacks what the second showed, and what comes now.
        #expect(script.machine.released(BufferKey(100), FrameSequence(1), .shown).isEmpty)
        #expect(script.machine.frameCallback(FrameSequence(2)).isEmpty)
        #expect(try script.take(update(0, 0, 1, 1)) == ["write 0,0 1x1 from 0", "ok"])
        #expect(
            script.settle() == ["fill 100 1,2+3x4 8,8+2x2 0,0+1x1", "frame 3 of 100 0,0+1x1"])
        // Without an answer of the compositor the next goes after a while.
        #expect(try script.take(update(0, 0, 1, 1)).last == "ok")
        #expect(script.settle() == [])
        #expect(script.machine.deadline == script.now + QEMUConsoleMachine.answerLimit)
        #expect(script.wait(40) == ["make 102 64x32", "fill 102 all", "frame 4 of 102 0,0+1x1"])
        // All three are held: nothing is lost, and it goes when one is free.
        #expect(try script.take(update(5, 5, 1, 1)).last == "ok")
        #expect(script.wait(40) == [])
        #expect(script.machine.released(BufferKey(101), FrameSequence(2), .shown).isEmpty)
        #expect(script.settle() == ["fill 101 0,0+1x1 0,0+1x1 5,5+1x1", "frame 5 of 101 5,5+1x1"])
    }

    @Test func anotherSizeIsAnotherPicture() throws {
        var script = Script()
        _ = try script.take(scanout(64, 32))
        _ = script.settle()
        #expect(
            try script.take(scanout(32, 32)) == [
                "destroy 100", "canvas 32x32", "write 0,0 32x32 from 0", "ok",
            ])
        #expect(script.machine.frameCallback(FrameSequence(1)).isEmpty)
        #expect(script.settle() == ["make 101 32x32", "fill 101 all", "frame 2 of 101 all"])
    }

    /// A mode of text after a BIOS: QEMU sends parts of the new picture, and its size by another way, sooner or later.
    @Test func aSizeMayComeByAnotherWay() throws {
        for isFirst in [true, false] {
            var script = Script()
            _ = try script.take(scanout(640, 480))
            _ = script.settle()
            _ = script.machine.frameCallback(FrameSequence(1))
            let size = Size(width: 720, height: 400)
            if isFirst {
                #expect(
                    script.machine.announce(size).map(script.words) == [
                        "destroy 100", "grow 720x480",
                    ])
                #expect(try script.take(update(0, 0, 720, 16)).first == "write 0,0 720x16 from 0")
            } else {
                #expect(
                    try script.take(update(0, 0, 720, 16)) == [
                        "grow 720x480", "write 0,0 720x16 from 0", "ok",
                    ])
                #expect(script.machine.size == Size(width: 640, height: 480))
                #expect(script.machine.announce(size).map(script.words) == ["destroy 100"])
            }
            #expect(script.machine.size == size)
            #expect(script.settle() == ["make 101 720x400", "fill 101 all", "frame 2 of 101 all"])
            #expect(script.machine.announce(size).isEmpty)
        }
    }

    /// A Scanout that is older than the size that was announced, and read later.
    @Test func theAnnouncedSizeCountsInTheEnd() throws {
        let size = Size(width: 720, height: 400)
        for hasPicture in [true, false] {
            var script = Script()
            if hasPicture {
                _ = try script.take(scanout(320, 200))
                _ = script.settle()
            }
            _ = script.machine.announce(size)
            _ = try script.take(scanout(640, 480))
            #expect(script.machine.size == Size(width: 640, height: 480))
            _ = try script.take(update(0, 0, 720, 16))
            _ = script.wait(299)
            #expect(script.machine.size == Size(width: 640, height: 480))
            _ = script.wait(1)
            #expect(script.machine.size == size)
            _ = script.wait(100)
            #expect(script.machine.deadline == nil)
        }
        // One that is newer: its announcement comes in time, or heals what the old one did.
        for isLate in [false, true] {
            var script = Script()
            _ = script.machine.announce(size)
            _ = try script.take(scanout(800, 600))
            if isLate { _ = script.wait(300) }
            #expect(script.machine.size == (isLate ? size : Size(width: 800, height: 600)))
            _ = script.machine.announce(Size(width: 800, height: 600))
            _ = script.wait(300)
            #expect(script.machine.size == Size(width: 800, height: 600))
        }
    }

    @Test func partsAreClippedAndBytesPassedOver() throws {
        var script = Script()
        _ = try script.take(scanout(64, 32))
        #expect(try script.take(update(-2, -1, 4, 4)).first == "write 0,0 2x3 from 24")
        #expect(try script.take(update(-9, 0, 4, 4)) == ["ok"])
    }

    @Test func whatIsWrongIsRefused() throws {
        var script = Script()
        func refused(_ call: QEMUListenerCall, _ inodes: [UInt64] = []) -> RefusalReason? {
            reason { _ = try script.take(call, inodes) }
        }
        #expect(refused(update(0, 0, 1, 1)) == .unknownObject)
        #expect(refused(updated(0, 0, 1, 1)) == .unknownObject)
        #expect(refused(.updateMap(QEMUArea(x: 0, y: 0, width: 1, height: 1))) == .unknownObject)
        #expect(refused(scanout(0, 4)) == .badValue && refused(scanout(4, 16_385)) == .badValue)
        #expect(
            refused(.scanout(width: 4, height: 4, stride: 15, pixman: Self.xrgb, bytes: 1000))
                == .badLayout)
        #expect(
            refused(.scanout(width: 4, height: 4, stride: .max, pixman: Self.xrgb, bytes: .max))
                == .badLayout)
        #expect(
            refused(.scanout(width: 4, height: 4, stride: 16, pixman: Self.xrgb, bytes: 63))
                == .badLayout)
        #expect(
            refused(.scanout(width: 4, height: 4, stride: 16, pixman: 7, bytes: 64)) == .badFormat)
        _ = try script.take(scanout(64, 32))
        for area in [(0, 0, -1, 1), (0, 0, 1, .min), (0, 0, 0, 5)] as [(Int32, Int32, Int32, Int32)]
        {
            #expect(refused(update(area.0, area.1, area.2, area.3)) == .badValue, "\(area)")
        }
        #expect(
            refused(
                .update(
                    QEMUArea(x: 0, y: 0, width: 2, height: 2), stride: 8, pixman: Self.xrgb,
                    bytes: 15)) == .badLayout)
        #expect(
            refused(
                .update(
                    QEMUArea(x: 0, y: 0, width: 2, height: 2), stride: 4, pixman: 0x1002_0565,
                    bytes: 64)) == .badFormat)
        // Room for a picture does not grow without bounds.
        #expect(refused(update(16_000, 16_000, 4, 4)) == .tooManyBytes)
        #expect(refused(update(.max, 0, 4, 4)) == .badValue)
        #expect(script.machine.announce(Size(width: .max, height: .max)).isEmpty)
        #expect(refused(dmaBuf()) == .badDescriptor)
        #expect(
            refused(
                .scanoutMap(offset: 0, width: 4, height: 4, stride: 16, pixman: Self.xrgb))
                == .badDescriptor)
        for change in 0..<5 {
            var picture = QEMUDMABUF(
                width: 4, height: 4, strides: [16], fourcc: 1, modifier: 0, isBottomUp: false)
            switch change {
            case 0: picture.x = 1
            case 1: picture.y = .max
            case 2: picture.backingWidth = 3
            case 3: picture.strides = []
            default: picture.offsets = [0, 0]
            }
            #expect(refused(.scanoutDMABUF(picture), [1]) != nil, "\(change)")
        }
        // None of it has changed anything.
        #expect(script.machine.path == .bytes)
        #expect(script.settle() == ["make 100 64x32", "fill 100 all", "frame 1 of 100 all"])
    }

    // MARK: Shared memory

    @Test func sharedMemoryIsShownAtTheCompositorsPace() throws {
        var script = Script()
        let map = QEMUListenerCall.scanoutMap(
            offset: 0, width: 64, height: 32, stride: 256, pixman: Self.xrgb)
        #expect(try script.take(map, [7]) == ["surface", "import 100 64x32", "ok"])
        let part = QEMUListenerCall.updateMap(QEMUArea(x: 1, y: 1, width: 2, height: 2))
        #expect(try script.take(part) == ["ok"])
        #expect(script.settle() == ["frame 1 of 100 all"])
        #expect(try script.take(part) == ["ok"])
        #expect(script.settle() == [])
        #expect(script.machine.frameCallback(FrameSequence(1)).isEmpty)
        #expect(script.settle() == ["frame 2 of 100 1,1+2x2"])
        // The same memory again is the same buffer.
        #expect(try script.take(map, [7]) == ["ok"])
        #expect(try script.take(map, [8]) == ["import 101 64x32", "ok"])
        _ = script.machine.frameCallback(FrameSequence(2))
        #expect(script.settle() == ["frame 3 of 101 all"])
    }

    // MARK: dma-bufs

    @Test func theAnswerIsTheFrameCallback() throws {
        var script = Script()
        #expect(try script.take(dmaBuf(), [7]) == ["surface", "import 100 64x32", "ok"])
        #expect(
            try script.take(updated(0, 0, 64, 32)) == ["frame 1 of 100 all waits", "later"])
        #expect(script.machine.frameCallback(FrameSequence(1)).map(script.words) == ["answer 2"])
        // The same dma-buf by another descriptor is no new buffer.
        #expect(try script.take(dmaBuf(), [7]) == ["ok"])
        #expect(try script.take(updated(1, 1, 2, 2)).last == "later")
        // A further call: nobody waits for the former any more.
        #expect(
            try script.take(updated(3, 3, 2, 2)) == [
                "answer 4", "frame 3 of 100 3,3+2x2 waits", "later",
            ])
        // A hidden window is never ready.
        #expect(script.machine.deadline == script.now + 40 * Self.millisecond)
        #expect(script.wait(39) == [])
        #expect(script.wait(1) == ["answer 5"])
        #expect(script.machine.frameCallback(FrameSequence(3)).isEmpty)
        // Nor does a frame that is refused or superseded keep a guest.
        for outcome in [UseOutcome.refused, .superseded, .lost] {
            #expect(try script.take(updated(3, 3, 2, 2)).last == "later")
            let sequence = FrameSequence(script.calls - 2)
            #expect(
                script.machine.released(BufferKey(100), sequence, outcome).map(script.words)
                    == ["answer \(script.calls)"], "\(outcome)")
        }
        // What changes nothing is answered at once.
        #expect(try script.take(updated(64, 32, 5, 5)) == ["ok"])
    }

    @Test func disableIsNotOffWhenAPictureFollows() throws {
        var script = Script()
        #expect(try script.take(.disable) == ["ok"])
        #expect(script.wait(10_000) == [])
        for flip in 1...5 as ClosedRange<UInt64> {
            _ = try script.take(dmaBuf(), [flip % 2])
            #expect(try script.take(.disable) == ["ok"])
            #expect(try script.take(updated(0, 0, 64, 32)).last == "later")
            #expect(
                script.machine.frameCallback(FrameSequence(flip)).map(script.words)
                    == ["answer \(script.calls)"])
            #expect(script.wait(16) == [])
        }
        #expect(script.wait(1000) == [])
        #expect(try script.take(.disable) == ["ok"])
        #expect(script.wait(249) == [])
        #expect(script.wait(1) == ["destroy 101", "destroy 100", "no surface"])
        #expect(script.machine.path == .none && script.machine.deadline == nil)
        #expect(try script.take(dmaBuf(), [9]).first == "surface")
    }

    /// QEMU 10.0 throws a ScanoutDMABUF away with the Disable that follows it, and not the update.
    @Test func whatIsInThePlaceOfALostPictureIsNotShown() throws {
        var script = Script()
        _ = try script.take(dmaBuf(), [7])
        #expect(try script.take(updated(0, 0, 64, 32)).last == "later")
        #expect(script.machine.frameCallback(FrameSequence(1)).count == 1)
        for lost in 1...3 as ClosedRange<UInt64> {
            #expect(try script.take(.disable) == ["ok"])
            #expect(try script.take(updated(0, 0, 64, 32)) == ["ok"])
            #expect(script.machine.lostPictures == lost)
            #expect(script.wait(16) == [])
        }
        // The last good one stays, and the next that comes is shown.
        #expect(script.wait(1000) == [] && script.machine.path == .dmaBuf)
        for inode in [7, 8] as [UInt64] {
            _ = try script.take(dmaBuf(), [inode])
            #expect(try script.take(.disable) == ["ok"])
            #expect(try script.take(updated(0, 0, 64, 32)).last == "later")
            // More of the same picture, too.
            #expect(try script.take(updated(1, 1, 2, 2)).last == "later")
        }
        #expect(script.machine.lostPictures == 3)
        // Who waits for the last one's answer is not forgotten.
        #expect(try script.take(.disable) == ["ok"])
        #expect(
            try script.take(updated(0, 0, 64, 32)) == ["answer \(script.calls - 2)", "ok"])
        #expect(script.machine.lostPictures == 4)
        // What was refused has not been lost, and nothing is shown in its place either.
        _ = try script.take(dmaBuf(), [7])
        _ = try script.take(updated(0, 0, 64, 32))
        script.refusal = Refusal(.badModifier, "It cannot be imported.")
        #expect(reason { _ = try script.take(dmaBuf(), [9]) } == .badModifier)
        script.refusal = nil
        _ = try script.take(.disable)
        #expect(try script.take(updated(0, 0, 64, 32)).last == "ok")
        #expect(script.machine.lostPictures == 4)
        // Nothing is lost with a screen that goes off.
        #expect(try script.take(.disable) == ["ok"])
        #expect(script.wait(250).last == "no surface")
        _ = try script.take(dmaBuf(), [7])
        #expect(try script.take(updated(0, 0, 64, 32)).last == "later")
        #expect(script.machine.lostPictures == 4)
    }

    @Test func aPictureWithoutAnUpdateIsShownAWhileLater() throws {
        var script = Script()
        _ = try script.take(dmaBuf(), [7])
        #expect(script.wait(39) == [])
        #expect(script.wait(1) == ["frame 1 of 100 all waits"])
    }

    @Test func buffersAreBounded() throws {
        var script = Script()
        var held: Set<String> = []
        for inode in 0..<1000 as Range<UInt64> {
            for action in try script.take(dmaBuf(), [inode]) {
                let words = action.split(separator: " ")
                if words[0] == "import" { held.insert(String(words[1])) }
                if words[0] == "destroy" { held.remove(String(words[1])) }
            }
            #expect(held.count <= 8)
        }
        #expect(script.machine.switchOff().count == 9)
    }

    @Test func theWayMayChange() throws {
        var script = Script()
        _ = try script.take(scanout(64, 32))
        _ = script.settle()
        #expect(
            try script.take(dmaBuf(), [7]) == [
                "no canvas", "destroy 100", "import 101 64x32", "ok",
            ])
        #expect(script.machine.path == .dmaBuf)
        #expect(try script.take(updated(0, 0, 1, 1)).last == "later")
        #expect(
            try script.take(scanout(64, 32)) == [
                "answer 3", "destroy 101", "canvas 64x32", "write 0,0 64x32 from 0", "ok",
            ])
    }

    @Test func aPartOfTheMemoryIsCropped() throws {
        var script = Script()
        var picture = QEMUDMABUF(
            width: 32, height: 16, offsets: [0, 4096], strides: [256, 128],
            fourcc: FourCC.nv12.rawValue, modifier: 0, isBottomUp: true, descriptors: 2)
        picture.x = 8
        picture.y = 4
        picture.backingWidth = 64
        picture.backingHeight = 32
        #expect(
            try script.take(.scanoutDMABUF(picture), [1, 2]) == [
                "surface", "import 100 64x32", "ok",
            ])
        #expect(
            try script.take(updated(0, 0, 1, 1)) == ["frame 1 of 100 all crop 8,4 waits", "later"])
        #expect(script.machine.size == Size(width: 32, height: 16))
    }

    /// QEMU 11 says INVALID of the guest's pages. What else is in a dma-buf its driver alone knows.
    @Test func theModifierOfPagesIsKnown() throws {
        let (layout, _) = try QEMUDMABUF(
            width: 64, height: 32, strides: [256], fourcc: FourCC.xrgb8888.rawValue,
            modifier: Modifier.invalid.rawValue, isBottomUp: false
        ).layout()
        for (exporters, modifier) in [
            (["udmabuf"], .linear), (["udmabuf", "udmabuf"], .linear),
            (["udmabuf", "vgem"], .invalid), (["i915"], .invalid), ([nil], .invalid),
        ] as [([String?], Modifier)] {
            #expect(QEMUDMABUF.known(layout, exporters: exporters).modifier == modifier)
        }
        var tiled = layout
        tiled.modifier = Modifier(7)
        #expect(QEMUDMABUF.known(tiled, exporters: ["udmabuf"]) == tiled)
        // The buffer is made as it is known, and found again by what QEMU says.
        var machine = QEMUConsoleMachine(firstKey: 100)
        var made: [Modifier] = []
        for call in 1...2 as ClosedRange<UInt64> {
            let result = try machine.take(
                .scanoutDMABUF(
                    QEMUDMABUF(
                        width: 64, height: 32, strides: [256], fourcc: FourCC.xrgb8888.rawValue,
                        modifier: Modifier.invalid.rawValue, isBottomUp: false)),
                memory: [QEMUMemoryName(device: 1, inode: 7)], id: QEMUCallID(call), now: 0
            ) { QEMUDMABUF.known($0, exporters: ["udmabuf"]) }
            for case .createBuffer(_, let layout) in result.actions { made.append(layout.modifier) }
        }
        #expect(made == [.linear])
    }

    @Test func whatTheSessionRefusedIsForgotten() throws {
        var script = Script()
        _ = try script.take(dmaBuf(), [7])
        script.machine.bufferRefused(BufferKey(100))
        #expect(reason { _ = try script.take(updated(0, 0, 1, 1)) } == .unknownObject)
        #expect(try script.take(dmaBuf(), [7]) == ["import 101 64x32", "ok"])
    }

    /// A memfd for a dma-buf, say, or memory that is too small: what is shown stays.
    @Test func whatTheSessionWouldRefuseTakesNoPictureAway() throws {
        let map = QEMUListenerCall.scanoutMap(
            offset: 0, width: 64, height: 32, stride: 256, pixman: Self.xrgb)
        let part = QEMUListenerCall.updateMap(QEMUArea(x: 1, y: 1, width: 2, height: 2))
        var script = Script()
        func refused(_ call: QEMUListenerCall) -> RefusalReason? {
            script.refusal = Refusal(.badDescriptor, "It is none.")
            defer { script.refusal = nil }
            return reason { _ = try script.take(call, [99]) }
        }
        // No window for it either.
        #expect(refused(dmaBuf()) == .badDescriptor && refused(map) == .badDescriptor)
        #expect(script.machine.path == .none && script.machine.switchOff().isEmpty)
        _ = try script.take(scanout(64, 32))
        _ = script.settle()
        _ = script.machine.frameCallback(FrameSequence(1))
        #expect(refused(dmaBuf(32, 32)) == .badDescriptor && refused(map) == .badDescriptor)
        #expect(script.machine.path == .bytes && script.machine.size.width == 64)
        #expect(try script.take(update(1, 2, 3, 4)) == ["write 1,2 3x4 from 0", "ok"])
        #expect(
            script.settle() == ["make 101 64x32", "fill 101 all", "frame 2 of 101 1,2+3x4"])
        _ = script.machine.frameCallback(FrameSequence(2))

        _ = try script.take(map, [7])
        _ = script.settle()
        _ = script.machine.frameCallback(FrameSequence(3))
        #expect(refused(dmaBuf()) == .badDescriptor && refused(map) == .badDescriptor)
        #expect(try script.take(part) == ["ok"])
        #expect(script.settle() == ["frame 4 of 102 1,1+2x2"])

        _ = try script.take(dmaBuf(), [7])
        #expect(try script.take(updated(0, 0, 64, 32)).last == "later")
        #expect(refused(map) == .badDescriptor && refused(dmaBuf()) == .badDescriptor)
        // Whoever waits for an answer gets it as before.
        #expect(
            script.machine.frameCallback(FrameSequence(5)).map(script.words)
                == ["answer \(script.calls - 2)"])
        #expect(try script.take(updated(1, 1, 2, 2)) == ["frame 6 of 103 1,1+2x2 waits", "later"])
        // Memory that was good is not looked at again.
        script.asked = 0
        #expect(try script.take(dmaBuf(), [7]) == ["ok"])
        #expect(script.asked == 0)
    }

    @Test func aFrameIsShownAgainWhenOneIsWanted() throws {
        var script = Script()
        #expect(script.machine.wantsFrame(now: script.now).isEmpty)
        _ = try script.take(scanout(64, 32))
        _ = script.settle()
        #expect(
            script.machine.wantsFrame(now: script.now).map(script.words) == [
                "make 101 64x32", "fill 101 all", "frame 2 of 101 all",
            ])
    }

    /// Whatever comes in whatever order: as many answers as calls were put off, sequences that rise, buffers that
    /// exist, copies inside the canvas.
    @Test func anyOrderOfCalls() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var script = Script()
            var putOff: Set<UInt64> = []
            var buffers: Set<UInt64> = []
            var last: UInt64 = 0
            var room = Size.zero
            func check(_ actions: [QEMUConsoleAction]) {
                for action in actions {
                    switch action {
                    case .createBuffer(let key, _), .createCanvasBuffer(let key, _):
                        #expect(buffers.insert(key.value).inserted)
                    case .destroyBuffer(let key): #expect(buffers.remove(key.value) != nil)
                    case .fill(let key, _): #expect(buffers.contains(key.value))
                    case .frame(let key, let sequence, _, _, _):
                        #expect(buffers.contains(key.value) && sequence.value > last)
                        last = sequence.value
                    case .answer(let call): #expect(putOff.remove(call.value) != nil)
                    case .makeCanvas(let picture), .growCanvas(let picture): room = picture.size
                    case .write(let copy): #expect(copy.target.fits(in: room))
                    case .createSurface, .destroySurface, .dropCanvas: break
                    }
                }
            }
            for _ in 0..<60 {
                script.now += UInt64.random(in: 0...20, using: &random) * Self.millisecond
                let x = Int32.random(in: -80...80, using: &random)
                let side = Int32.random(in: -2...90, using: &random)
                let call: QEMUListenerCall =
                    switch Int.random(in: 0..<8, using: &random) {
                    case 0: scanout(64, 32)
                    case 1: scanout(UInt32(max(1, side)), 32)
                    case 2: update(x, 3, side, 4)
                    case 3: dmaBuf()
                    case 4: updated(x, 1, side, 3)
                    case 5: .disable
                    case 6: .updateMap(QEMUArea(x: x, y: 0, width: side, height: 2))
                    default:
                        .scanoutMap(
                            offset: 0, width: 64, height: 32, stride: 256, pixman: Self.xrgb)
                    }
                script.calls += 1
                let inode = UInt64.random(in: 0..<12, using: &random)
                if let result = try? script.machine.take(
                    call, memory: [QEMUMemoryName(device: 1, inode: inode)],
                    id: QEMUCallID(script.calls), now: script.now,
                    layout: { (layout) throws(Refusal) in
                        if inode == 11 { throw Refusal(.badDescriptor, "It is none.") }
                        return layout
                    })
                {
                    if !result.isAnswered { putOff.insert(script.calls) }
                    #expect(putOff.count <= 2)
                    check(result.actions)
                }
                switch Int.random(in: 0..<5, using: &random) {
                case 0: check(script.machine.frameCallback(FrameSequence(last)))
                case 1:
                    if let key = buffers.randomElement(using: &random) {
                        check(
                            script.machine.released(BufferKey(key), FrameSequence(last), .shown))
                    }
                case 2: check(script.machine.announce(Size(width: UInt32(abs(x)), height: 20)))
                case 3: check(script.machine.wantsFrame(now: script.now))
                default: break
                }
                check(script.machine.timeCame(now: script.now))
                check(script.machine.settle(now: script.now))
            }
            check(script.machine.switchOff())
            #expect(buffers.isEmpty && putOff.isEmpty)
        }
    }
}
