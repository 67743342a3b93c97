import Descriptors
import Testing
import VMBridgeCore

@testable import VMBridge

/// QEMU's D-Bus display as a source, against a QEMU that behaves and against others.
@Suite("[kernel] QEMU's display", .serialized) struct QEMUDisplayTests {
    @Test func bytesAreShown() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        #expect(harness.source.connectionNumber == 1)
        #expect(try !harness.answer(harness.qemu.scanout(64, 32)))
        try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
        #expect(harness.surface?.title.contains("pretend") == true)
        let before = harness.surface?.counters.presented ?? 0
        #expect(try !harness.answer(harness.qemu.update(3, 4, 5, 6)))
        try harness.wait { (harness.surface?.counters.presented ?? 0) > before }
        // Into the picture, and into a buffer of it: twice.
        let bytes = harness.surface?.counters.bytesCopied ?? 0
        #expect(bytes >= 2 * (64 * 32 + 5 * 6) * 4 && bytes <= 2 * 3 * 64 * 32 * 4)
        #expect(harness.surface?.counters.importPath.contains("copied from QEMU") == true)
        #expect(harness.session.refusals.isEmpty)
        #expect(harness.source.words?.contains("console 0 by bytes") == true)
    }

    @Test func sharedMemoryIsShownWithoutACopy() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        let memory = try MemoryFile.create(size: 64 * 32 * 4, seals: [.seal])
        #expect(try !harness.answer(harness.qemu.map(memory.number, 64, 32)))
        #expect(harness.session.refusals.isEmpty, "\(harness.session.refusals)")
        try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
        #expect(harness.surface?.counters.bytesCopied == 0)
        #expect(harness.surface?.counters.importPath.contains("QEMU's shared memory") == true)
        #expect(harness.session.refusals.isEmpty)
    }

    @Test func itsQuestionsAreAnswered() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        let properties = "org.freedesktop.DBus.Properties"
        let all = harness.qemu.call("GetAll", interface: properties) {
            $0.append("org.qemu.Display1.Listener")
        }
        #expect(try !harness.answer(all))
        let one = harness.qemu.call("Get", interface: properties) {
            $0.append("org.qemu.Display1.Listener")
            $0.append("Interfaces")
        }
        #expect(try !harness.answer(one))
        let node = harness.qemu.call(
            "Introspect", interface: "org.freedesktop.DBus.Introspectable")
        #expect(try !harness.answer(node))
    }

    @Test func aQEMUThatGoesTakesItsWindowsAlongAndBringsThemBack() throws {
        let harness = try QEMUHarness()
        for round in 1...3 as ClosedRange<UInt64> {
            try harness.attach()
            #expect(harness.source.connectionNumber == round)
            harness.qemu.scanout(64, 32)
            try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
            harness.qemu.crash()
            try harness.wait { !harness.source.isConnected }
            #expect(harness.surface == nil && harness.session.holdings.buffers == 0)
        }
        #expect(harness.session.refusals.isEmpty)
    }

    @Test func inputArrivesAndIsReleased() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        harness.qemu.scanout(64, 32)
        try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
        let key = SurfaceKey(1)
        for event in [
            .pointerEnter(InputPoint(x: 256 * 3, y: 256 * 4)), .button(0x110, isPressed: true),
            .button(0x110, isPressed: false), .key(30, isPressed: true),
            .key(30, isPressed: false),
        ] as [InputEvent] {
            harness.session.feedback.append(.input(key, InputRecord(event)))
        }
        try harness.wait { harness.qemu.told.count >= 5 }
        #expect(
            harness.qemu.told == [
                "at 3,4", "button 0 Press", "button 0 Release", "key 30 Press", "key 30 Release",
            ])
        harness.session.feedback.append(
            .configure(key, ConfigureRecord(size: Size(width: 800, height: 600))))
        try harness.wait { harness.qemu.told.last == "size 800x600" }
        harness.session.feedback.append(.close(key))
        try harness.wait { harness.qemu.commands.last == "system_powerdown" }
    }

    @Test func aPointersPicture() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        harness.qemu.scanout(64, 32)
        func define(_ width: Int32, _ height: Int32, _ count: Int) -> UInt32? {
            harness.qemu.call("CursorDefine") {
                for value in [width, height, 1, 2] { $0.append(value) }
                $0.append(bytes: [UInt8](repeating: 0xff, count: count))
            }
        }
        #expect(try !harness.answer(define(8, 8, 256)))
        try harness.wait { harness.session.status.filter { !$0.isGone }.count == 2 }
        for wrong in [define(8, 8, 255), define(0, 8, 256), define(-8, -8, 256)] {
            #expect(try harness.answer(wrong))
        }
        #expect(try harness.answer(define(16_384, 1, 65_536)))
        #expect(harness.session.refusals[.badLayout] == 1)
        #expect(harness.session.refusals[.badValue] == 3)
    }

    // MARK: Hostile

    @Test func whatIsWrongIsRefusedAndCounted() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        let qemu = harness.qemu
        #expect(try !harness.answer(qemu.scanout(64, 32)))
        let wrong: [UInt32?] = [
            qemu.scanout(64, 32, count: 64 * 32 * 4 - 1), qemu.scanout(0, 0),
            qemu.scanout(4, 4, stride: 3),
            qemu.scanout(.max, .max, stride: .max, count: 16), qemu.scanout(4, 4, pixman: 1),
            qemu.update(0, 0, -1, -1), qemu.update(.max, .max, .max, .max, count: 4),
            qemu.update(0, 0, 8, 8, count: 3),
            qemu.call("Scanout"), qemu.call("Scanout") { $0.append("text") },
            qemu.call("Nonsense"), qemu.call("Disable", path: "/elsewhere"),
            qemu.call("Disable", interface: "org.qemu.Display1.Elsewhere"),
            qemu.call("UpdateDMABUF") { for _ in 0..<4 { $0.append(Int32(1)) } },
            qemu.map(nil, 64, 32),
        ]
        for (index, cookie) in wrong.enumerated() {
            #expect(try harness.answer(cookie), "\(index)")
        }
        let counted = harness.session.refusals.values.reduce(0, +)
        #expect(counted >= UInt64(wrong.count))
        // The picture is still there, and goes on.
        let before = harness.surface?.counters.presented ?? 0
        #expect(try !harness.answer(qemu.update(0, 0, 64, 32)))
        try harness.wait { (harness.surface?.counters.presented ?? 0) > before }
    }

    @Test func memoryOfAnotherKindOrTooSmallIsRefused() throws {
        let harness = try QEMUHarness()
        try harness.attach()
        let qemu = harness.qemu
        let event = try EventFile.make()
        var pair = try StreamPair()
        let socket = pair.takeOurs()
        let small = try MemoryFile.create(size: 4096, seals: [.seal])
        let memory = try MemoryFile.create(size: 64 * 32 * 4, seals: [.seal])
        let mapped = "org.qemu.Display1.Listener.Unix.Map"
        // Whatever is shown stays, and goes on.
        for isMapped in [false, true] {
            func change() -> UInt32? {
                guard isMapped else { return qemu.update(0, 0, 64, 32) }
                return qemu.call("UpdateMap", interface: mapped) {
                    for value in [0, 0, 64, 32] as [Int32] { $0.append(value) }
                }
            }
            let first = isMapped ? qemu.map(memory.number, 64, 32) : qemu.scanout(64, 32)
            #expect(try !harness.answer(first))
            // The words follow with the first frame that comes so.
            let way = isMapped ? "by shared memory" : "by bytes"
            try harness.wait { harness.source.words?.hasSuffix(way) == true }
            let path = harness.source.words
            for wrong in [
                qemu.map(event.number, 64, 32), qemu.map(socket.number, 64, 32),
                qemu.map(small.number, 64, 32), qemu.dmaBuf(memory.number, 64, 32),
                qemu.dmaBuf(socket.number, 64, 32),
            ] { #expect(try harness.answer(wrong)) }
            #expect(harness.source.words == path)
            let before = harness.surface?.counters.presented ?? 0
            #expect(try !harness.answer(change()))
            try harness.wait { (harness.surface?.counters.presented ?? 0) > before }
        }
        #expect(harness.session.refusals[.badDescriptor] == 8)
        #expect(harness.session.refusals[.badLayout] == 2)
        #expect(harness.session.holdings.buffers <= 3)
        #expect(harness.source.isConnected)
    }

    @Test func aQEMUThatTakesNoListenerIsAskedLessAndLess() throws {
        let harness = try QEMUHarness()
        harness.qemu.refusesListeners = true
        let begun = harness.loop.now()
        // After half a second, and one more.
        try harness.wait { harness.qemu.commands.filter { $0 == "add_client" }.count == 3 }
        #expect(harness.loop.now() - begun >= 1_400_000_000)
        #expect(harness.source.words?.contains("a listener's connection") == true)
        harness.qemu.refusesListeners = false
        try harness.attach()
        _ = harness.qemu.scanout(64, 32)
        try harness.wait { (harness.surface?.counters.presented ?? 0) > 0 }
    }

    @Test func floodsAreBoundedAndNothingIsLeftBehind() async throws {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let harness = try QEMUHarness()
                try harness.attach()
                for round in 0..<1000 as Range<UInt32> {
                    let memory = try MemoryFile.create(size: 64 * 64 * 4, seals: [.seal])
                    let call = harness.qemu.map(memory.number, 16 + round % 48, 32)
                    if round % 3 == 0 { harness.qemu.scanout(16 + round % 48, 32) }
                    // The pretended QEMU's library keeps so many calls waiting and no more.
                    if round % 10 == 0 { _ = try harness.answer(call) }
                    #expect(harness.session.holdings.buffers <= 24)
                }
                let last = harness.qemu.scanout(64, 32)
                #expect(try !harness.answer(last))
                try harness.wait { (harness.surface?.counters.presented ?? 0) >= 1 }
            }
        }
    }

    @Test func whoNeverAnswersKeepsNobody() throws {
        let loop = try EventLoop()
        let mute = try QEMUHarness(loop: loop)
        let other = try QEMUHarness(loop: loop)
        mute.qemu.isMute = true
        for _ in 0..<200 {
            try mute.qemu.poll()
            mute.source.settle()
            try loop.runOnce(milliseconds: 1)
        }
        try other.attach()
        other.qemu.scanout(64, 32)
        try other.wait {
            mute.source.settle()
            return (other.surface?.counters.presented ?? 0) >= 1
        }
        #expect(!mute.source.isConnected && other.source.isConnected)
    }

    @Test func aListenerThatEndsConcernsItsVMAlone() throws {
        let loop = try EventLoop()
        let broken = try QEMUHarness(loop: loop)
        let other = try QEMUHarness(loop: loop)
        try broken.attach()
        try other.attach()
        broken.qemu.breakListener()
        try broken.wait { !broken.source.isConnected }
        other.qemu.scanout(64, 32)
        try other.wait { (other.surface?.counters.presented ?? 0) >= 1 }
        #expect(other.session.refusals.isEmpty)
        try broken.attach()
    }
}
