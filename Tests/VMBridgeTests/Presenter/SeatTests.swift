import CLinux
import Descriptors
import Glibc
import Testing
import Wayland
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] keyboards, pointers and touch screens, on a fake compositor", .serialized)
struct SeatTests {
    private func at(_ x: Double, _ y: Double) -> InputPoint {
        InputPoint(x: Int32(x * 256), y: Int32(y * 256))
    }

    private func now() -> UInt32 { UInt32(truncatingIfNeeded: MonotonicClock.now() / 1_000_000) }

    // MARK: Pointers

    @Test("what a pointer does is told in order, with the frames of the compositor")
    func pointer() throws {
        let windows = try FakeWindows()
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        fake.pointerEnter(window, 1.5, 2)
        #expect(try windows.input() == [.pointerEnter(at(1.5, 2)), .frame])
        let time = now()
        fake.pointerMotion(3, 4.25, time: time)
        fake.send(fake.pointer(), "button", .uint(9), .uint(time), .uint(0x110), .uint(1))
        fake.send(fake.pointer(), "motion", .uint(time), .fixed(-500), .fixed(100_000))
        fake.send(fake.pointer(), "button", .uint(10), .uint(time), .uint(0x110), .uint(0))
        fake.pointerFrame()
        let told = try windows.inputs()
        #expect(
            told.map(\.event) == [
                .pointerMotion(at(3, 4.25)), .frame, .button(0x110, isPressed: true),
                .pointerMotion(InputPoint(x: 0, y: 6 * 256 - 1)), .button(0x110, isPressed: false),
                .frame,
            ])
        let wanted = CompositorTime.nanoseconds(time, now: MonotonicClock.now())
        #expect(told.allSatisfy { $0.time == wanted })
        fake.pointerLeave(window)
        #expect(try windows.input() == [.pointerLeave, .frame])
        fake.pointerMotion(1, 1)
        fake.send(fake.pointer(), "button", .uint(10), .uint(time), .uint(0x110), .uint(1))
        #expect(try windows.input() == [])
        windows.end()
    }

    @Test("wheels and fingers scroll, by what each version of the seat tells", arguments: [5, 8])
    func scrolling(_ version: Int) throws {
        let windows = try FakeWindows(seats: [UInt32(version)])
        try windows.makeWindow()
        let fake = windows.compositor
        fake.pointerEnter(try #require(windows.surfaces[0]), 1, 1)
        _ = try windows.input()
        let pointer = fake.pointer()
        // A wheel's two notches back.
        fake.send(pointer, "axis_source", .uint(0))
        if version >= 8 {
            fake.send(pointer, "axis_value120", .uint(0), .int(-240))
        } else {
            fake.send(pointer, "axis_discrete", .uint(0), .int(-2))
        }
        fake.send(pointer, "axis", .uint(0), .uint(0), .fixed(-30 * 256))
        fake.pointerFrame()
        // A finger, which is lifted.
        fake.send(pointer, "axis_source", .uint(1))
        fake.send(pointer, "axis", .uint(0), .uint(1), .fixed(77))
        fake.send(pointer, "axis_stop", .uint(0), .uint(0))
        fake.pointerFrame()
        // An axis that nobody knows, and a frame without anything.
        fake.send(pointer, "axis", .uint(0), .uint(7), .fixed(77))
        fake.pointerFrame()
        #expect(
            try windows.input() == [
                .axis(.vertical, distance: -30 * 256, value120: -240), .frame,
                .axisStop(.vertical), .axis(.horizontal, distance: 77, value120: 0), .frame,
            ])
        windows.end()
    }

    @Test("an old seat has no frames: each event is one")
    func oldPointer() throws {
        let windows = try FakeWindows(seats: [1])
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        fake.pointerEnter(window, 1, 1)
        fake.pointerMotion(2, 2)
        fake.send(fake.pointer(), "axis", .uint(0), .uint(0), .fixed(2560))
        fake.send(fake.pointer(), "button", .uint(9), .uint(0), .uint(0x111), .uint(1))
        fake.pointerLeave(window)
        #expect(
            try windows.input() == [
                .pointerEnter(at(1, 1)), .frame, .pointerMotion(at(2, 2)), .frame,
                .axis(.vertical, distance: 2560, value120: 0), .frame,
                .button(0x111, isPressed: true), .frame, .pointerLeave, .frame,
            ])
        windows.end()
    }

    @Test("places are of the picture: cropped, turned, upside down and scaled, as it is shown")
    func places() throws {
        let windows = try FakeWindows()
        let turned = try #require(Transform(rawValue: 1))
        try windows.makeWindow(size: Size(width: 8, height: 6), isBottomUp: true) {
            $0.transform = turned
            $0.crop = Rectangle(x: 2, y: 1, width: 4, height: 3)
            $0.destination = Size(width: 30, height: 40)
        }
        let fake = windows.compositor
        let view = FrameView(
            makeFrame(
                use(0), BufferID(SlotIndex(index: 0, generation: 0)), 1,
                size: Size(width: 8, height: 6)
            ) {
                $0.transform = turned
                $0.crop = Rectangle(x: 2, y: 1, width: 4, height: 3)
                $0.destination = Size(width: 30, height: 40)
            }, isBottomUp: true, forced: nil)
        fake.pointerEnter(try #require(windows.surfaces[0]), 7, 33)
        let place = view.place(7 * 256, 33 * 256, in: Size(width: 8, height: 6))
        #expect(try windows.input() == [.pointerEnter(place), .frame])
        // Shown at another size from here on.
        try windows.configure(60, 80)
        fake.pointerMotion(14, 66)
        #expect(try windows.input().first == .pointerMotion(place))
        windows.end()
    }

    @Test("without wp_viewporter the picture is shown whole and unscaled, and so are places")
    func placesWithoutViewporter() throws {
        let windows = try FakeWindows(without: ["wp_viewporter"])
        try windows.makeWindow(size: Size(width: 8, height: 6)) {
            $0.crop = Rectangle(x: 2, y: 1, width: 4, height: 3)
            $0.destination = Size(width: 40, height: 30)
        }
        windows.compositor.pointerEnter(try #require(windows.surfaces[0]), 7, 5)
        #expect(try windows.input() == [.pointerEnter(at(7, 5)), .frame])
        try windows.configure(60, 80)
        windows.compositor.pointerMotion(7, 5)
        #expect(try windows.input().first == .pointerMotion(at(7, 5)))
        windows.end()
    }

    // MARK: Keyboards

    @Test("of keys that are down already only those are told that change what others mean")
    func keyboard() throws {
        let windows = try FakeWindows()
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        // Tab and the left Alt.
        fake.keyboardEnter(window, keys: [15, 56])
        fake.send(fake.keyboard(), "modifiers", .uint(1), .uint(8), .uint(1), .uint(2), .uint(3))
        let time = now()
        fake.key(15, false, time: time)
        fake.key(30, true, time: time)
        // Repeats by the compositor's hand are of a version that is not bound.
        fake.send(fake.keyboard(), "key", .uint(1), .uint(time), .uint(30), .uint(2))
        let told = try windows.inputs()
        #expect(
            told.map(\.event) == [
                .keyboardEnter, .key(56, isPressed: true),
                .modifiers(depressed: 8, latched: 1, locked: 2, group: 3),
                .key(15, isPressed: false), .key(30, isPressed: true),
            ])
        #expect(told.last?.time == CompositorTime.nanoseconds(time, now: MonotonicClock.now()))
        fake.keyboardLeave(window)
        fake.key(30, false)
        fake.send(fake.keyboard(), "modifiers", .uint(1), .uint(8), .uint(1), .uint(2), .uint(3))
        #expect(try windows.input() == [.keyboardLeave])
        windows.end()
    }

    private func sendKeymap(
        _ windows: FakeWindows, _ text: [UInt8], size: Int? = nil, format: UInt32 = 1, seat: Int = 0
    ) throws {
        let file = try MemoryFile.create(
            name: "keymap", holding: text, seals: [.write, .shrink, .grow])
        windows.compositor.send(
            windows.compositor.keyboard(seat), "keymap", .uint(format), .descriptor(file.number),
            .uint(UInt32(size ?? text.count)))
    }

    /// Whether a change of the keymap was told, and the text that holds then.
    private func keymap(_ windows: FakeWindows) throws -> (isTold: Bool, text: String?) {
        _ = try windows.input()
        var told = 0
        for case .keymapChanged in windows.others { told += 1 }
        windows.others = []
        // A descriptor ends what is read at once.
        #expect(told <= 2)
        let presenter = windows.presenter
        guard let size = presenter.keymap?.size, size > 0 else {
            let copy = presenter.copyKeymap()
            let isValid = copy.isValid
            #expect(!isValid)
            return (told > 0, nil)
        }
        let copy = presenter.copyKeymap()
        let seals = try MemoryFile.seals(of: copy.number)
        #expect(seals.isSuperset(of: [.write, .shrink, .grow, .seal]))
        let contents = SharedFile.contents(of: copy, count: Int(size))
        let bytes = try #require(contents)
        #expect(bytes.last == 0 && !bytes.dropLast().contains(0))
        return (told > 0, String(decoding: bytes.dropLast(), as: UTF8.self))
    }

    @Test("a keymap is copied, ended by a zero, and told again when it changes")
    func keymaps() throws {
        let windows = try FakeWindows()
        let fake = windows.compositor
        try sendKeymap(windows, Array("xkb one".utf8) + [0])
        fake.send(fake.keyboard(), "repeat_info", .int(30), .int(500))
        #expect(try keymap(windows) == (true, "xkb one"))
        #expect(
            windows.presenter.keymap == KeymapRecord(size: 8, repeatRate: 30, repeatDelay: 500))
        // The same again is no change.
        try sendKeymap(windows, Array("xkb one".utf8) + [0])
        fake.send(fake.keyboard(), "repeat_info", .int(30), .int(500))
        #expect(try keymap(windows) == (false, "xkb one"))
        // Not ended by a zero, and ended before its end.
        try sendKeymap(windows, Array("xkb two".utf8))
        #expect(try keymap(windows) == (true, "xkb two"))
        try sendKeymap(windows, Array("xkb three".utf8) + [0, 65, 66, 0])
        #expect(try keymap(windows) == (true, "xkb three"))
        fake.send(fake.keyboard(), "repeat_info", .int(-1), .int(-1))
        #expect(try keymap(windows).isTold)
        #expect(windows.presenter.keymap?.repeatRate == 0)
        windows.end()
    }

    @Test("a keymap that cannot be one is none", arguments: 0..<5)
    func badKeymaps(_ kind: Int) throws {
        let windows = try FakeWindows()
        try sendKeymap(windows, Array("xkb good".utf8) + [0])
        #expect(try keymap(windows) == (true, "xkb good"))
        switch kind {
        case 0: try sendKeymap(windows, Array("short".utf8), size: 4096)
        case 1: try sendKeymap(windows, [UInt8](repeating: 65, count: (1 << 20) + 1))
        case 2: try sendKeymap(windows, [0])
        case 3: try sendKeymap(windows, [65], size: 0)
        default: try sendKeymap(windows, Array("none".utf8), format: 0)
        }
        #expect(try keymap(windows) == (true, nil))
        #expect(windows.presenter.isReady)
        windows.end()
    }

    @Test("the largest keymap is taken")
    func largestKeymap() throws {
        let windows = try FakeWindows()
        try sendKeymap(windows, [UInt8](repeating: 65, count: (1 << 20) - 1) + [0])
        #expect(try keymap(windows).text?.utf8.count == (1 << 20) - 1)
        windows.end()
    }

    @Test("an old keyboard repeats as is usual, since nobody says how")
    func oldKeyboard() throws {
        let windows = try FakeWindows(seats: [1])
        try sendKeymap(windows, Array("xkb".utf8) + [0])
        #expect(try keymap(windows).isTold)
        #expect(
            windows.presenter.keymap == KeymapRecord(size: 4, repeatRate: 25, repeatDelay: 600))
        windows.end()
    }

    // MARK: Touch screens

    @Test("fingers have numbers of ours and belong to the window they went down on")
    func touch() throws {
        let windows = try FakeWindows()
        try windows.makeWindow(0)
        try windows.makeWindow(1)
        let fake = windows.compositor
        let (first, second) = (
            try #require(windows.surfaces[0]), try #require(windows.surfaces[1])
        )
        let touch = fake.touch()
        fake.touchDown(first, 40, 1, 1)
        fake.touchDown(second, 41, 2, 2)
        fake.send(touch, "motion", .uint(0), .int(40), .fixed(1024), .fixed(1280))
        fake.send(touch, "motion", .uint(0), .int(99), .fixed(1024), .fixed(1280))
        fake.send(touch, "shape", .int(40), .fixed(1), .fixed(1))
        fake.send(touch, "frame")
        fake.send(touch, "up", .uint(1), .uint(0), .int(40))
        fake.send(touch, "frame")
        let told = try windows.inputs()
        #expect(
            told.filter { $0.surface == surface(0) }.map(\.event) == [
                .touchDown(0, at(1, 1)), .touchMotion(0, at(4, 5)), .frame, .touchUp(0), .frame,
            ])
        #expect(
            told.filter { $0.surface == surface(1) }.map(\.event) == [
                .touchDown(1, at(2, 2)), .frame,
            ])
        fake.touchDown(second, 40, 3, 3)
        fake.send(touch, "cancel")
        fake.send(touch, "frame")
        #expect(try windows.input(of: 1) == [.touchDown(0, at(3, 3)), .touchCancel])
        windows.end()
    }

    // MARK: Seats

    @Test("devices come and go with what a seat has, and windows are told of the end")
    func capabilities() throws {
        let windows = try FakeWindows(capabilities: 0)
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        let seat = fake.seats.all[0].seat
        #expect(fake.seats.all.count == 1 && fake.seats.all[0].isEmpty)
        fake.send(seat, "capabilities", .uint(7))
        _ = try windows.input()
        fake.send(seat, "capabilities", .uint(7))
        _ = try windows.input()
        try sendKeymap(windows, Array("xkb".utf8) + [0])
        #expect(try keymap(windows) == (true, "xkb"))
        fake.pointerEnter(window, 1, 1)
        fake.keyboardEnter(window)
        fake.touchDown(window, 3, 1, 1)
        _ = try windows.input()
        fake.send(seat, "capabilities", .uint(0))
        #expect(
            try windows.input() == [.keyboardLeave, .pointerLeave, .frame, .touchCancel])
        #expect(try keymap(windows).text == nil)
        #expect(windows.presenter.keymap == nil)
        #expect(fake.seats.all.count == 1 && fake.seats.all[0].isEmpty)
        fake.send(seat, "capabilities", .uint(3))
        _ = try windows.input()
        fake.pointerEnter(window, 1, 1)
        #expect(try windows.input() == [.pointerEnter(at(1, 1)), .frame])
        #expect(fake.seats.all[0].touch == nil)
        windows.end()
    }

    @Test("a seat that goes is released, and so are its devices", arguments: [1, 5])
    func seatGoes(_ version: Int) throws {
        let windows = try FakeWindows(seats: [UInt32(version)])
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        fake.pointerEnter(window, 1, 1)
        fake.keyboardEnter(window)
        _ = try windows.input()
        fake.removeGlobal(UInt32(FakeSession.usual.count) + 1)
        #expect(try windows.input() == [.keyboardLeave, .pointerLeave, .frame])
        #expect(fake.seats.all.isEmpty == (version >= 5))
        let name = fake.addGlobal("wl_seat", UInt32(version))
        _ = try windows.input()
        let seat = fake.seats.all.count - 1
        fake.keyboardEnter(window, seat: seat)
        #expect(try windows.input() == [.keyboardEnter])
        fake.removeGlobal(name)
        #expect(try windows.input() == [.keyboardLeave])
        windows.end()
    }

    @Test(
        "with several seats a window's focus ends with the last one, and the keymap follows who types"
    )
    func severalSeats() throws {
        let windows = try FakeWindows(seats: [8, 5])
        try windows.makeWindow()
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        try sendKeymap(windows, Array("first".utf8) + [0])
        try sendKeymap(windows, Array("second".utf8) + [0], seat: 1)
        #expect(try keymap(windows) == (true, "first"))
        fake.keyboardEnter(window, seat: 1)
        #expect(try windows.input() == [.keyboardEnter])
        #expect(try keymap(windows) == (true, "second"))
        fake.keyboardEnter(window)
        #expect(try keymap(windows) == (true, "first"))
        fake.pointerEnter(window, 1, 1)
        fake.pointerEnter(window, 2, 2, seat: 1)
        _ = try windows.input()
        // The one that stays enters again, so that only what the other one holds is released.
        fake.pointerLeave(window)
        fake.keyboardLeave(window)
        #expect(
            try windows.input() == [
                .pointerLeave, .pointerEnter(at(2, 2)), .frame, .keyboardLeave, .keyboardEnter,
            ])
        fake.keyboardLeave(window, seat: 1)
        #expect(try windows.input() == [.keyboardLeave])
        // The keyboard that holds goes.
        fake.keyboardEnter(window, seat: 1)
        #expect(try keymap(windows) == (true, "second"))
        fake.send(fake.seats.all[1].seat, "capabilities", .uint(1))
        #expect(try keymap(windows) == (true, "first"))
        windows.end()
    }

    // MARK: Ends

    @Test("nothing is told of a window that is being taken away")
    func leavingWindow() throws {
        let windows = try FakeWindows()
        try windows.makeWindow(0)
        try windows.makeWindow(1)
        let (fake, window) = (windows.compositor, try #require(windows.surfaces[0]))
        fake.pointerEnter(window, 1, 1)
        fake.keyboardEnter(window)
        fake.touchDown(window, 3, 1, 1)
        _ = try windows.input()
        windows.presenter.destroyWindow(surface(0))
        fake.pointerMotion(2, 2)
        fake.key(30, true)
        fake.send(fake.touch(), "up", .uint(1), .uint(0), .int(3))
        fake.send(fake.touch(), "frame")
        // It has not seen the end, so its events name a surface that is no object of ours any more.
        fake.pointerLeave(window)
        fake.keyboardLeave(window)
        fake.pointerEnter(window, 1, 1)
        fake.keyboardEnter(window)
        fake.touchDown(window, 4, 1, 1)
        #expect(try windows.input() == [])
        fake.pointerEnter(try #require(windows.surfaces[1]), 1, 1)
        #expect(try windows.inputs().map(\.surface) == [surface(1), surface(1)])
        windows.end()
    }

    @Test("a lost compositor takes its seats along, and the next one has its own")
    func loss() throws {
        let windows = try FakeWindows()
        try windows.makeWindow()
        let window = try #require(windows.surfaces[0])
        try sendKeymap(windows, Array("xkb".utf8) + [0])
        #expect(try keymap(windows) == (true, "xkb"))
        windows.compositor.pointerEnter(window, 1, 1)
        windows.compositor.keyboardEnter(window)
        _ = try windows.input()
        windows.compositor.hangUp()
        _ = try windows.input()
        #expect(windows.presenter.keymap == nil)
        let fake = windows.fake
        #expect(
            try fake.live.until {
                fake.compositors.last?.receive()
                return fake.compositors.count == 2 && fake.live.presenter.isReady
            })
        #expect(windows.compositor.seats.all.count == 1)
        try sendKeymap(windows, Array("new".utf8) + [0])
        #expect(try keymap(windows) == (true, "new"))
        windows.end()
    }

    @Test("as many descriptors are open after seats, keymaps and images as before")
    func descriptors() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                for hasShapes in [true, false] {
                    let windows = try FakeWindows(seats: [8, 1], hasShapes: hasShapes)
                    try windows.makeWindow()
                    for round in 0..<20 as Range<UInt8> {
                        try SeatTests().sendKeymap(windows, [65 + round, 0], seat: Int(round % 2))
                        windows.compositor.pointerEnter(try #require(windows.surfaces[0]), 1, 1)
                        _ = try SeatTests().keymap(windows)
                    }
                    try windows.makeWindow(1, cursorOf(0))
                    windows.presenter.destroyWindow(surface(1))
                    _ = try windows.input()
                    windows.presenter.shutDown()
                }
            }
        }
    }
}
